"""What operators are told must be all there is."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from pydantic_core import PydanticUndefined

from wpclone.core.metrics import Metrics
from wpclone.core.settings import PREFIX, KubernetesSettings, ServerSettings, WorkerSettings

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


@pytest.mark.parametrize("name", sorted({*ServerSettings.model_fields, *WorkerSettings.model_fields}))
def test_each_setting_is_in_the_operations_page(name: str) -> None:
    assert f"`{PREFIX}{name.upper()}`" in PAGE


@pytest.mark.parametrize("name", sorted(KubernetesSettings.model_fields))
def test_each_setting_of_the_kubernetes_runtime_is_there_with_its_default(name: str) -> None:
    (line,) = [line for line in PAGE.splitlines() if f"`{PREFIX}KUBERNETES_{name.upper()}`" in line and line.startswith("| `WPC")]
    default = KubernetesSettings.model_fields[name].get_default()
    assert default in (None, "", PydanticUndefined) or str(default).lower() in line.lower()


def test_each_metric_is_in_the_operations_page() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    names = {f"{family.name}_total" if family.type == "counter" else family.name for family in registry.collect()}
    assert {name for name in names if name not in PAGE} == set()
