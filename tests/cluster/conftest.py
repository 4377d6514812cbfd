"""Tests that need a Kubernetes: the one KUBECONFIG names, else the one that `make test` starts for them. Without one they are
skipped, named and counted, with the cause.
"""

import json
import os
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.cluster import node
from tests.cluster.bench import Clusterwide, Volumes, kubectl
from tests.cluster.job_yard import JobYard, job_yard
from tests.cluster.place import ClusterPlace, default_place
from tests.cluster.plugin import ClusterPlugin
from tests.cluster.processes import is_running
from tests.support.servers import Mariadb, Nats
from tests.support.source_site import SourceSite, running_source_site


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(ClusterPlugin(default_place()), "the one cluster")


@pytest.fixture(scope="session")
def cluster() -> Clusterwide:
    place = default_place()
    is_own = os.environ.get("KUBECONFIG") == str(place.kubeconfig()) and is_running(place.directory, "apiserver")
    return Clusterwide(place if is_own else None)


@pytest.fixture
def own_cluster(cluster: Clusterwide) -> ClusterPlace:
    """The cluster of `make cluster`, whose components may be killed."""
    if cluster.own is None:
        pytest.skip("needs the cluster of `make cluster`: its components are stopped and started")
    return cluster.own


@pytest.fixture
def nodes(cluster: Clusterwide) -> None:
    """A cluster that runs pods."""
    if not json.loads(kubectl("get", "nodes", "-o", "json"))["items"]:
        pytest.skip("needs a node: `make cluster` as root")


@pytest.fixture
def clone_image(own_cluster: ClusterPlace, nodes: None) -> str:
    """The clone image on the node."""
    found = [name for name in node.images(own_cluster) if name.startswith("localhost/wpclone-clone:")]
    if not found:
        pytest.skip("needs the clone image on the node: `make images`")
    return found[-1]


@pytest.fixture
def volumes(own_cluster: ClusterPlace) -> Iterator[Volumes]:
    made = Volumes(own_cluster.directory / "volumes")
    yield made
    made.remove()


@pytest.fixture(scope="session")
def source(mariadb_server: Mariadb) -> Iterator[SourceSite]:
    with running_source_site(mariadb_server) as running:
        yield running


@pytest.fixture
async def yard(
    cluster: Clusterwide, clone_image: str, volumes: Volumes, mariadb_server: Mariadb, nats_server: Nats, source: SourceSite
) -> AsyncIterator[JobYard]:
    async with job_yard(cluster, clone_image, volumes, mariadb_server, nats_server, source) as opened:
        yield opened
