"""The objects of a clone: exactly these, in this order, each rule of the cluster kept."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.kubernetes_bench import SHAPE
from workers.runtimes.manifests import CLONE_LABEL, job, owned, receiver_service, released

CLONE = "clone-1a2b3c4d5e6f"
GOLDEN = Path(__file__).parent / "golden" / "clone_objects.json"
KEY = b"k" * 32


def objects(**changes: Any) -> list[dict[str, Any]]:
    shape = replace(SHAPE, **changes)
    return [job(shape, CLONE), *owned(shape, CLONE, "the-uid", KEY)]


def containers(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from pod["initContainers"]
    yield from pod["containers"]


def test_a_clone_is_exactly_the_golden_objects_in_their_order() -> None:
    """A change here changes what runs: look at the difference, then write the file anew."""
    assert objects() == json.loads(GOLDEN.read_text())


def test_the_job_waits_suspended_and_lives_no_longer_than_it_is_told() -> None:
    spec = objects()[0]["spec"]
    assert spec["suspend"] is True
    assert spec["activeDeadlineSeconds"] == SHAPE.setup_seconds
    assert spec["ttlSecondsAfterFinished"] == 600
    assert released("u") == {"metadata": {"uid": "u"}, "spec": {"suspend": False}}


def test_the_network_policy_and_the_secret_come_before_the_pod_and_all_belongs_to_the_job() -> None:
    made = objects()
    assert [each["kind"] for each in made] == [
        "Job", "Secret", "PersistentVolumeClaim", "Service", "Service", "NetworkPolicy", "HTTPRoute",
    ]  # fmt: skip
    for each in made[1:]:
        (owner,) = each["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("Job", CLONE, "the-uid")
        assert each["metadata"]["labels"][CLONE_LABEL] == CLONE


def test_every_container_keeps_the_rules_of_the_restricted_standard() -> None:
    pod = objects()[0]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    for container in containers(pod):
        security = container["securityContext"]
        assert security == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert set(container["resources"]) == {"requests", "limits"}
        assert "env" not in container


def test_wordpress_sees_neither_the_receivers_key_nor_files_on_their_way_and_may_not_write_its_guard() -> None:
    pod = objects()[0]["spec"]["template"]["spec"]
    wordpress = next(container for container in containers(pod) if container["name"] == "wordpress")
    mounts = {mount["mountPath"]: mount for mount in wordpress["volumeMounts"]}
    assert mounts["/site/guard"]["readOnly"] is True
    assert "/site" not in mounts
    assert all(mount["name"] != "key" for mount in mounts.values())


def test_no_route_leads_to_the_receiver_and_only_workers_reach_it() -> None:
    made = objects()
    assert receiver_service(CLONE) not in json.dumps(made[-1])
    policy = next(each for each in made if each["kind"] == "NetworkPolicy")["spec"]
    reached = {
        (rule["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], port["port"])
        for rule in policy["ingress"]
        for port in rule["ports"]
    }
    assert reached == {("gateway", 8080), ("wpclone", 8081)}


def test_a_clone_reaches_its_database_and_nothing_else_unless_the_database_has_a_name() -> None:
    egress = next(each for each in objects() if each["kind"] == "NetworkPolicy")["spec"]["egress"]
    assert egress == [{"to": [{"ipBlock": {"cidr": "10.1.2.0/24"}}], "ports": [{"port": 3306, "protocol": "TCP"}]}]
    named = next(each for each in objects(database_host="db.example") if each["kind"] == "NetworkPolicy")["spec"]["egress"]
    assert [port["port"] for rule in named for port in rule["ports"]] == [3306, 53, 53]


def test_an_ingress_takes_the_routes_place_where_that_is_asked_for() -> None:
    ingress = objects(route="ingress", ingress_class="nginx")[-1]
    assert ingress["kind"] == "Ingress"
    assert ingress["spec"]["rules"][0]["host"] == f"{CLONE}.localhost"


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        ({"scheme": "https", "public_port": 0, "host_suffix": "clones.example"}, f"https://{CLONE}.clones.example"),
        ({"public_port": 8080}, f"http://{CLONE}.localhost:8080"),
    ],
)
def test_the_url_is_the_host_below_the_suffix(changes: dict[str, Any], url: str) -> None:
    assert replace(SHAPE, **changes).url(CLONE) == url
