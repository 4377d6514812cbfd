"""Cloning by consent, as somebody with nothing but the command line and a browser does it."""

import json
import zipfile
from pathlib import Path

import pytest
from yarl import URL

from tests.support.clone_content import same_as_source
from tests.support.consenting import Consenting, local_environment
from tests.support.installation import Installation
from tests.support.source_site import SourceSite


@pytest.mark.full
@pytest.mark.timeout(240)
def test_a_site_is_cloned_without_anybodys_own_password(service: Installation, source: SourceSite, tmp_path: Path) -> None:
    made = service.json("agent", "zip", "--keyless", "--to", str(tmp_path / "agent.zip"))
    folder = made["plugin"]
    with local_environment(source):
        page = URL(service.json("source", "consent", "--url", source.url)["url"])
        assert page.path.endswith("/authorize-application.php")
        with zipfile.ZipFile(tmp_path / "agent.zip") as archive:
            (name,) = archive.namelist()
            file = source.put(f"wp-content/plugins/{name}", archive.read(name))
        site = Consenting(source, "", folder)
        password = site.new_password(source.site.admin)
        try:
            job = service.json(
                "clone", "create", "--source", source.url, "--username", source.site.admin, WPCLONE_SOURCE_PASSWORD=password
            )
            assert (job["status"], site.is_active, site.lying_there()) == ("completed", False, [])
        finally:
            file.unlink()
            file.parent.rmdir()
        assert password not in json.dumps(job) + service.said()
        same_as_source(service, source, job)
        service.json("clone", "delete", job["job_id"])
        site.withdraw_passwords()
