"""What every runtime promises, judged on the memory double, on the local one with a real keeper, and on the Kubernetes one with
a fake API server and real receivers."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import cast

import pytest

from tests.support.hosting import KEY, SALT, new_clone_id, running_keeper
from tests.support.kubernetes_bench import kubernetes_bench
from tests.support.places import open_directory
from tests.support.servers import SERVICE, Mariadb
from workers.runtimes import Content, Place, Runtime
from workers.runtimes.local import LocalRuntime
from workers.runtimes.memory import MemoryRuntime
from wpclone.core.jobs.errors import Fatal, RetryLater
from wpclone.wordpress.guard import GuardSettings, guard_config, guard_files

ENDS = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.fixture(params=["memory", "local", "kubernetes"])
async def runtime(request: pytest.FixtureRequest) -> AsyncIterator[Runtime]:
    if request.param == "memory":
        with open_directory("runtime") as directory:
            yield MemoryRuntime(directory)
        return
    if request.param == "kubernetes":
        async with kubernetes_bench() as bench:
            yield bench.runtime
        return
    mariadb = cast(Mariadb, request.getfixturevalue("mariadb_server"))
    with running_keeper(mariadb.place.port) as keeper:
        yield LocalRuntime(keeper.place.socket)


def content(place: Place, title: str = "one") -> Content:
    settings = GuardSettings(
        clone_id=place.clone_id, url=place.url, expires_at=ENDS, admin_login="admin", password="p", salt=SALT, key=KEY,
        state_dir=place.guard_state,
    )  # fmt: skip
    config = f"<?php // {title}\n".encode()
    return Content(config, {**guard_files(), "config.json": guard_config(settings)})


def put_site(place: Place) -> None:
    assert place.staging is not None
    page = place.staging / "index.php"
    page.write_text("<?php echo 'a page';")
    SERVICE.own(page)


async def test_a_place_is_made_once_and_found_again(runtime: Runtime) -> None:
    clone_id = new_clone_id()
    first = await runtime.create(clone_id)
    second = await runtime.create(clone_id)
    assert first == second == await runtime.ready(clone_id)
    assert first.clone_id in first.url
    assert first.staging is not None
    assert first.staging.is_dir()
    assert not first.is_serving
    await runtime.delete(clone_id)


async def test_an_exposed_place_serves_at_the_same_url_and_may_be_exposed_again(runtime: Runtime) -> None:
    clone_id = new_clone_id()
    place = await runtime.create(clone_id)
    put_site(place)
    for title in ("one", "two"):
        exposed = await runtime.expose(clone_id, content(place, title))
        assert exposed.is_serving
        assert exposed.url == place.url
    await runtime.delete(clone_id)


async def test_an_expiry_is_kept_and_may_be_told_again(runtime: Runtime) -> None:
    clone_id = new_clone_id()
    place = await runtime.create(clone_id)
    put_site(place)
    await runtime.expose(clone_id, content(place))
    for _ in range(2):
        await runtime.extend(clone_id, ENDS)
    found = await runtime.describe(clone_id)
    assert found is not None
    assert found.expires_at == ENDS
    await runtime.delete(clone_id)


async def test_a_deleted_place_is_gone_and_deleting_it_again_succeeds(runtime: Runtime) -> None:
    clone_id = new_clone_id()
    place = await runtime.create(clone_id)
    assert clone_id in {listed.clone_id for listed in await runtime.list()}
    for _ in range(2):
        await runtime.delete(clone_id)
    for _ in range(2):
        await runtime.forget(clone_id)
    assert await runtime.describe(clone_id) is None
    assert clone_id not in {listed.clone_id for listed in await runtime.list()}
    assert place.staging is not None
    assert not place.staging.exists()


async def test_a_place_nobody_made_is_a_final_error(runtime: Runtime) -> None:
    with pytest.raises(Fatal) as raised:
        await runtime.ready(new_clone_id())
    assert raised.value.code == "NOT_FOUND"


async def test_a_keeper_that_is_away_is_worth_a_retry() -> None:
    with open_directory("no-keeper") as directory, pytest.raises(RetryLater):
        await LocalRuntime(directory / "keeper.sock").create(new_clone_id())
