"""A small stack as data, and what settings and planner make of it."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from hypothesis import settings as hypothesis_settings

from catalog import load_catalog
from planning import resolve_stack
from planning.plan import Plan
from planning.plan.servers import ServerPlan
from planning.stack.images import resolve_images
from planning.stack.places import Keeping
from settings import Refused, StackSettings, validate
from settings.schema import ClusterSettings, ImagesSettings, WeightsSettings

ROOT = Path(__file__).parents[2]
CATALOG = load_catalog()
GIB = 2**30
A10 = {"gpu": "nvidia-a10", "nodes": 4, "gpusPerNode": 2}
H100 = {"gpu": "nvidia-h100", "nodes": 1, "gpusPerNode": 8}
H200 = {"gpu": "nvidia-h200", "nodes": 1, "gpusPerNode": 8}
CPU = {"gpu": "none", "nodes": 2, "cpusPerNode": 32, "memoryGibPerNode": 128}
MODEL = {"model": "Qwen/Qwen3-14B", "pool": "a10", "contextTokens": 32768}


def properties(examples: int) -> hypothesis_settings:
    """The same examples in every run, as many as asked for."""
    return hypothesis_settings(max_examples=examples, deadline=None, derandomize=True, database=None)


def stack(**sections: Any) -> dict[str, Any]:
    """Qwen3-14B on eight A10s as raw configuration, with other top-level sections."""
    raw = {
        "cluster": {"context": "test", "identifier": "test-1"},
        "gpuPools": {"a10": A10},
        "weights": {"storageClass": "nfs"},
        "models": {"m": MODEL},
        "gateway": {"existingSecret": "llm-keys"},
    }
    return deepcopy({**raw, **sections})


def serving(on: dict[str, Any] | None = None, **model: Any) -> dict[str, Any]:
    """The same stack with its one model changed, on one pool named `a10` whatever it has."""
    changed = {key: value for key, value in {**MODEL, **model}.items() if value != "leave out"}
    return stack(gpuPools={"a10": on or A10}, models={"m": changed})


def stack_file(name: str) -> dict[str, Any]:
    """The raw configuration of a stack file of this repository."""
    config = yaml.safe_load((ROOT / f"Pulumi.{name}.yaml").read_text(encoding="utf-8"))["config"]
    prefix = "llm-stack:"
    return {key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)}


def checked(raw: dict[str, Any]) -> StackSettings:
    """The settings of a configuration that has nothing wrong with it."""
    settings, problems = validate(raw)
    assert (problems, settings is None) == ([], False)
    assert settings is not None
    return settings


def planned(raw: dict[str, Any]) -> Plan:
    """The plan of a configuration that can be deployed."""
    return resolve_stack(checked(raw), CATALOG)


def server(raw: dict[str, Any], name: str = "vllm-m") -> ServerPlan:
    """One server of the plan."""
    return next(item for item in planned(raw).servers if item.name == name)


def keeping(usual: WeightsSettings) -> Keeping:
    """What every checkpoint of a stack with these weights is planned with."""
    images, _ = resolve_images(ImagesSettings(), "generic", CATALOG)
    cluster = ClusterSettings.model_validate({"context": "test", "identifier": "test"})
    return Keeping(usual, CATALOG, cluster, images["vllm-cpu"], images["vllm"])


def refusals(raw: dict[str, Any]) -> list[str]:
    """Everything that is said against a configuration, settings and planning together; empty when it is fine."""
    settings, problems = validate(raw)
    try:
        resolve_stack(settings, CATALOG, problems)
    except Refused as refused:
        return [str(problem) for problem in refused.problems]
    return []
