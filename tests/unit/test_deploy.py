"""What we ship to a cluster, looked at without one: every container bounded, nothing secret, no name of what does not exist."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector

from tests.support.places import open_directory
from wpclone.core.metrics import Metrics
from wpclone.core.settings import KubernetesSettings, ServerSettings, WorkerSettings

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deploy" / "kubernetes"
Object = dict[str, Any]


def documents(directory: Path) -> Iterator[Object]:
    for path in sorted(directory.rglob("*.yaml")):
        if path.name not in {"kustomization.yaml", "bootstrap.yaml"}:
            yield from (thing for thing in yaml.safe_load_all(path.read_text()) if thing)


OBJECTS = list(documents(SHIPPED))
PODS = [
    (f"{thing['kind']} {thing['metadata']['name']}", thing["spec"]["template"]["spec"])
    for thing in OBJECTS
    if thing["kind"] in {"Deployment", "StatefulSet", "Job"}
]
CONTAINERS = [
    (f"{name} {container['name']}", container, number)
    for name, pod in PODS
    for number, container in enumerate([*pod["containers"], *pod.get("initContainers", ())])
]


def test_there_is_something_to_look_at() -> None:
    assert {name for name, _ in PODS} == {
        "Deployment server", "Deployment worker", "Deployment envoy", "StatefulSet nats", "Job migrate",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "pod"), PODS)
def test_a_pod_is_nobody_and_reaches_the_api_server_only_when_it_must(name: str, pod: Object) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is (name == "Deployment worker")
    assert pod["enableServiceLinks"] is False


@pytest.mark.parametrize(("name", "container", "number"), CONTAINERS, ids=[name for name, _, _ in CONTAINERS])
def test_a_container_is_bounded_and_may_change_nothing_of_itself(name: str, container: Object, number: int) -> None:
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert "memory" in container["resources"]["limits"]
    assert {"cpu", "memory"} <= set(container["resources"]["requests"])
    is_serving = number == 0 and not name.startswith("Job")
    assert not is_serving or {"startupProbe", "livenessProbe"} <= set(container)


def test_secrets_are_named_and_never_written() -> None:
    assert not [thing for thing in OBJECTS if thing["kind"] == "Secret"]
    for _, container, _ in CONTAINERS:
        for variable in container.get("env", ()):
            assert not re.search(r"URL|TOKEN|PASSWORD|SECRET", variable["name"]) or "valueFrom" in variable


def test_each_variable_is_a_setting() -> None:
    known = {f"WPCLONE_{name.upper()}" for kind in (ServerSettings, WorkerSettings) for name in kind.model_fields}
    known |= {f"WPCLONE_KUBERNETES_{name.upper()}" for name in KubernetesSettings.model_fields}
    named = {variable["name"] for _, container, _ in CONTAINERS for variable in container.get("env", ())}
    for path in SHIPPED.glob("overlays/*/kustomization.yaml"):
        (clones,) = yaml.safe_load(path.read_text())["configMapGenerator"]
        given = {literal.partition("=")[0] for literal in clones["literals"]}
        required = {name for name, field in KubernetesSettings.model_fields.items() if field.is_required()}
        assert {f"WPCLONE_KUBERNETES_{name.upper()}" for name in required} <= given
        named |= given
    assert {name for name in named if name.startswith("WPCLONE_")} - known == set()


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("overlays/*/kustomization.yaml")), ids=lambda path: path.parent.name)
def test_an_overlay_scales_workers_once_and_pins_its_images(path: Path) -> None:
    overlay = yaml.safe_load(path.read_text())
    assert len({"../../components/hpa", "../../components/keda"} & set(overlay["components"])) == 1
    assert {image["name"] for image in overlay["images"]} == {container["image"] for _, container, _ in CONTAINERS}
    assert all(image["newTag"] not in {"", "latest"} for image in overlay["images"])


@pytest.mark.parametrize("kind", ["HorizontalPodAutoscaler", "ScaledObject"])
def test_workers_are_two_to_ten_and_go_slowly(kind: str) -> None:
    (scaler,) = [thing["spec"] for thing in OBJECTS if thing["kind"] == kind]
    text = json.dumps(scaler)
    assert re.search(r'"min(Replicas|ReplicaCount)": 2', text)
    assert re.search(r'"max(Replicas|ReplicaCount)": 10', text)
    assert '"stabilizationWindowSeconds": 600' in text


def test_a_worker_has_more_grace_than_it_needs_to_drain() -> None:
    pod = dict(PODS)["Deployment worker"]
    drain = next(each["value"] for each in pod["containers"][0]["env"] if each["name"] == "WPCLONE_DRAIN_SECONDS")
    assert pod["terminationGracePeriodSeconds"] >= int(drain) + 10


def test_all_workers_have_the_copied_files() -> None:
    work = [each for each in dict(PODS)["Deployment worker"]["volumes"] if each["name"] == "work"]
    assert work == [{"name": "work", "persistentVolumeClaim": {"claimName": "work"}}]
    (claim,) = [thing["spec"] for thing in OBJECTS if thing["kind"] == "PersistentVolumeClaim"]
    assert claim["accessModes"] == ["ReadWriteMany"]


def metrics_there_are() -> set[str]:
    registry = CollectorRegistry()
    Metrics(registry)
    ProcessCollector(registry=registry)
    names = {sample.name for family in registry.collect() for sample in family.samples}
    # A labelled metric has no samples before it is used.
    for family in registry.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        names |= {family.name + suffix for suffix in suffixes}
    return names


def expressions() -> Iterator[tuple[str, str]]:
    for thing in OBJECTS:
        if thing["kind"] == "PrometheusRule":
            for group in thing["spec"]["groups"]:
                for rule in group["rules"]:
                    yield rule.get("alert") or rule["record"], rule["expr"]
    board = json.loads((SHIPPED / "components" / "monitoring" / "dashboard.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.mark.parametrize(("name", "expression"), list(expressions()))
def test_an_expression_asks_only_for_metrics_that_exist(name: str, expression: str) -> None:
    recorded = {rule["record"] for thing in OBJECTS if thing["kind"] == "PrometheusRule"
                for group in thing["spec"]["groups"] for rule in group["rules"] if "record" in rule}  # fmt: skip
    asked = set(re.findall(r"\b(?:clone|process|wpclone)_\w+", expression))
    assert asked, expression
    assert asked - metrics_there_are() - recorded == set()
    assert expression.count("(") == expression.count(")")


def test_each_alert_says_what_is_wrong_and_how_bad_it_is() -> None:
    rules = [rule for thing in OBJECTS if thing["kind"] == "PrometheusRule" for group in thing["spec"]["groups"]
             for rule in group["rules"] if "alert" in rule]  # fmt: skip
    assert len(rules) >= 10
    for rule in rules:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert len(rule["annotations"]["summary"]) > 30


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian's package prometheus)")
def test_prometheus_takes_the_rules() -> None:
    (rules,) = [thing["spec"] for thing in OBJECTS if thing["kind"] == "PrometheusRule"]
    with open_directory("rules") as directory:
        (directory / "rules.yaml").write_text(yaml.safe_dump(rules))
        command: list[str | Path] = ["promtool", "check", "rules", directory / "rules.yaml"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 0, result.stderr
        assert f"{sum(len(group['rules']) for group in rules['groups'])} rules found" in result.stdout


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("envoy_bootstrap", SHIPPED / "envoy_bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_envoys_configuration_is_what_the_one_template_says() -> None:
    assert _script().TARGET.read_text() == _script().bootstrap(), "run python deploy/kubernetes/envoy_bootstrap.py"


def test_envoy_takes_its_configuration() -> None:
    with open_directory("envoy") as directory:
        text = _script().bootstrap().replace("/api/descriptor.binpb", str(ROOT / "gen/wpclone/v2/descriptor.binpb"))
        (directory / "bootstrap.yaml").write_text(text)
        command: list[str | Path] = [Path(sys.executable).parent / "envoy", "--mode", "validate", "--disable-hot-restart", "-c"]
        result = subprocess.run([*command, directory / "bootstrap.yaml"], capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 0, result.stderr[-800:]


def test_nats_takes_its_configuration() -> None:
    (config,) = [thing["data"]["nats.conf"] for thing in OBJECTS if thing["kind"] == "ConfigMap" and "nats.conf" in thing["data"]]
    assert not re.findall(r"[^\s:]\$\w+|\$\w+[^\s\w,}\]]", config), "NATS takes a variable only where it is the whole value"
    with open_directory("nats") as directory:
        (directory / "nats.conf").write_text(config)
        command: list[str | Path] = [Path(sys.executable).parent / "nats-server", "-t", "-c", directory / "nats.conf"]
        env = {"POD_NAME": "nats-0", "NATS_PASSWORD": "played", "NATS_ROUTE_PASSWORD": "played"}
        (routes,) = [
            each["value"] for each in dict(PODS)["StatefulSet nats"]["containers"][0]["env"] if each["name"] == "NATS_ROUTES"
        ]
        env["NATS_ROUTES"] = routes.replace("$(NATS_ROUTE_PASSWORD)", "played")
        assert env["NATS_ROUTES"].count("route:played@nats-") == 3
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
        assert result.returncode == 0, result.stderr[-800:]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl, which contains kustomize")
@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_an_overlay_builds(overlay: str) -> None:
    command = ["kubectl", "kustomize", str(SHIPPED / "overlays" / overlay)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    images = set(re.findall(r"image: (\S+)", built))
    assert len(images) == 3
    assert all(":" in image.rpartition("/")[2] for image in images)
