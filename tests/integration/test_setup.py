"""`make setup`: what it would install, that nothing of it starts, and what it says when it can't."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.places import open_directory

ROOT = Path(__file__).parents[2]
LOCAL = ROOT / "deploy" / "local"
PACKAGES = [line for line in (LOCAL / "packages").read_text().split("\n") if line and not line.startswith("#")]
DAEMONS = {
    "apache2", "apache2-mpm-prefork", "cron", "dbus", "default-mysql-server", "exim4", "exim4-daemon-light", "lighttpd",
    "mariadb-server", "mariadb-server-10.11",
    "memcached", "mysql-server", "nginx", "openssh-server", "php-fpm", "php8.2", "php8.2-fpm", "postfix",
    "redis-server", "rsync", "rsyslog", "systemd", "wordpress",
}  # fmt: skip


@pytest.fixture
def place() -> Iterator[Path]:
    with open_directory("setup") as path:
        yield path


def _fake(place: Path, name: str, script: str) -> None:
    program = place / name
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(0o755)


def test_the_plan_on_a_bare_machine_has_no_daemon_in_it(place: Path) -> None:
    status = place / "status"
    status.touch()
    plan = subprocess.run(
        ["apt-get", "-s", "-o", f"Dir::State::status={status}", "install", "--no-install-recommends", *PACKAGES],
        capture_output=True, text=True, check=True, timeout=60, env=os.environ | {"LC_ALL": "C"},
    )  # fmt: skip
    installed = {line.split()[1] for line in plan.stdout.splitlines() if line.startswith("Inst ")}
    assert set(PACKAGES) <= installed
    assert installed & DAEMONS == set()
    assert {name for name in installed if name.endswith(("-server", "-fpm", "-daemon", "d-server"))} == set()


def test_the_second_setup_is_silent_and_takes_less_than_a_second_of_work() -> None:
    subprocess.run([LOCAL / "setup"], check=True, timeout=100)
    before = os.times()
    again = subprocess.run([LOCAL / "setup"], check=True, timeout=60, capture_output=True)
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system < 1
    assert again.stdout + again.stderr == b""


@pytest.mark.root
def test_without_root_and_sudo_setup_prints_the_one_command(place: Path) -> None:
    tools = place / "bin"
    tools.mkdir()
    for name in ["sh", "cat", "cut", "dirname", "grep", "id", "ls", "sha256sum", "xargs"]:
        (tools / name).symlink_to(shutil.which(name) or name)
    _fake(tools, "dpkg-query", "exit 1\n")
    result = subprocess.run(
        ["/bin/sh", LOCAL / "setup"], user=64990, group=64990, extra_groups=[], env={"PATH": str(tools), "HOME": "/nonexistent"},
        capture_output=True, text=True, check=False, timeout=30, cwd="/",
    )  # fmt: skip
    assert result.returncode != 0
    assert result.stderr.splitlines()[-1].endswith(f"Run as root:  {LOCAL / 'install_packages'}")


@pytest.mark.root
@pytest.mark.parametrize("apt_works", [True, False])
@pytest.mark.parametrize("policy", ["#!/bin/sh\nexit 101 # the machine's own\n", None])
def test_packages_are_installed_while_starts_are_refused_and_the_policy_is_put_back(
    place: Path, policy: str | None, apt_works: bool
) -> None:
    tools, sbin = place / "bin", place / "sbin"
    tools.mkdir()
    sbin.mkdir()
    if policy is not None:
        _fake(sbin, "policy-rc.d", "")
        (sbin / "policy-rc.d").write_text(policy)
    _fake(tools, "dpkg-query", "exit 1\n")
    _fake(
        tools,
        "apt-get",
        f'case "$*" in *install*) /usr/sbin/policy-rc.d; echo $? $* >{place}/answer; exit {0 if apt_works else 100};; esac\n',
    )
    before = [(path.name, path.stat().st_mode, path.stat().st_mtime_ns, path.read_text()) for path in sbin.iterdir()]
    # A mount namespace of its own: the machine's /usr/sbin is never touched.
    result = subprocess.run(
        ["unshare", "-m", "sh", "-c", f"mount --bind {sbin} /usr/sbin && exec {LOCAL / 'install_packages'}"],
        env={"PATH": f"{tools}:/usr/bin:/bin"}, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert (result.returncode == 0) is apt_works, result.stderr
    answer = (place / "answer").read_text()
    assert answer.startswith("101 ")
    assert "--no-install-recommends" in answer
    assert "DPkg::Lock::Timeout=" in answer
    assert [(path.name, path.stat().st_mode, path.stat().st_mtime_ns, path.read_text()) for path in sbin.iterdir()] == before


def test_requirements_are_hashed_and_name_no_host() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        assert "://" not in text
        assert "--find-links" not in text
        assert text.count("--hash=sha256:") >= text.count("==")
