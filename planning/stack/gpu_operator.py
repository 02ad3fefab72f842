"""The GPU Operator of a stack: which parts it brings and which the platform has, and the values of its chart."""

from collections.abc import Iterable, Iterator, Mapping

from catalog.load import Catalog
from planning.stack.claims import claims_values, has_claims
from planning.stack.mig import manager_problems, manager_values, strategy_of
from planning.stack.operator_parts import brought
from planning.stack.pools import gpu_toleration
from planning.stack.sharing import plugin_config
from settings.problems import Problem, nearest
from settings.schema import StackSettings

# The operator is NVIDIA's, and so are the nodes it works on.
NVIDIA_TOLERATION = gpu_toleration("nvidia.com/gpu")
# What feature discovery tolerates by itself (GPU Operator v26.7.0, deployments/gpu-operator/values.yaml).
CONTROL_PLANE_TOLERATION = {
    "key": "node-role.kubernetes.io/control-plane",
    "operator": "Exists",
    "effect": "NoSchedule",
}


def platform_problems(settings: StackSettings, catalog: Catalog) -> list[Problem]:
    """A platform that is not known, or one that keeps a pool from dividing its cards or from buying nodes."""
    name = settings.cluster.platform
    if name in catalog.platforms:
        refused = catalog.platforms[name].refuses
        kinds = {pool: each.provisioning.kind for pool, each in settings.gpu_pools.items()}
        return [
            *_sharing_problems(settings, catalog),
            *manager_problems(settings, catalog),
            *(
                Problem(f"gpuPools.{pool}.provisioning.kind", f"{kind} {why}")
                for pool, kind in kinds.items()
                if (why := refused.get(kind))
            ),
        ]
    others = {other.lower(): why for known in catalog.platforms.values() for other, why in known.other_names.items()}
    why = f": {others[name.lower()]}" if name.lower() in others else nearest(name, catalog.platforms)
    return [Problem("cluster.platform", f"unknown platform '{name}'{why}")]


def platform_warnings(settings: StackSettings, charts: Iterable[str], catalog: Catalog) -> Iterator[str]:
    """Charts of the stack that do not run on its platform of themselves, unless they are given values of one's own."""
    doubts = catalog.platform(settings.cluster.platform).doubts
    own = {name for name, chart in settings.charts.items() if chart.values}
    yield from (f"chart {chart}: {doubts[chart]}" for chart in charts if chart in doubts and chart not in own)


def gpu_operator_values(settings: StackSettings, catalog: Catalog) -> dict[str, object]:
    """Values of the GPU Operator: its parts by platform, DCGM metrics on, GPUs shared and cut as pools say."""
    claims = has_claims(settings, catalog)
    values: dict[str, object] = {
        **(claims_values(settings, catalog) if claims else _plugin_values(settings, catalog)),
        "dcgmExporter": {
            "serviceMonitor": {
                "enabled": True,
                "interval": "15s",
                "additionalLabels": {"release": settings.observability.release},
            }
        },
    }
    tolerated = [
        toleration.model_dump(exclude_none=True)
        for pool in settings.gpu_pools.values()
        if pool.gpu != "none"
        for toleration in pool.tolerations
    ]
    if tolerated:
        # lists of a chart are replaced whole, so what the chart itself tolerates is said again
        values["daemonsets"] = {"tolerations": [NVIDIA_TOLERATION, *tolerated]}
        workers = [CONTROL_PLANE_TOLERATION, NVIDIA_TOLERATION, *tolerated]
        values["node-feature-discovery"] = {"worker": {"tolerations": workers}}
    for key, extra in catalog.platform(settings.cluster.platform).operator_values.items():
        if claims and key == "toolkit":
            continue
        current = values.get(key)
        values[key] = {**current, **extra} if isinstance(current, dict) and isinstance(extra, Mapping) else extra
    return values


def _plugin_values(settings: StackSettings, catalog: Catalog) -> dict[str, object]:
    """Those with the device plugin: which parts come along, and how cards are shared and cut."""
    parts = brought(settings, catalog)
    values: dict[str, object] = {
        "driver": {"enabled": parts["driver"]},
        "toolkit": {"enabled": parts["toolkit"]},
        "mig": {"strategy": strategy_of(settings)},
        **manager_values(settings, catalog),
    }
    if not parts["devicePlugin"]:
        values["devicePlugin"] = {"enabled": False}
    elif plugin := plugin_config(settings, strategy_of(settings)):
        values["devicePlugin"] = {"config": plugin}
    return values


def _sharing_problems(settings: StackSettings, catalog: Catalog) -> list[Problem]:
    """Cards that are to be shared where the device plugin is not the operator's, whose values alone say so."""
    if not settings.gpu_operator.install or brought(settings, catalog)["devicePlugin"]:
        return []
    platform = settings.cluster.platform
    why = (
        f"is told to the GPU Operator's device plugin, and nodes of platform {platform} have another one; leave it "
        "out, or set gpuOperator.devicePlugin: true where that one is switched off"
    )
    return [Problem(f"gpuPools.{name}.gpuShare", why) for name, pool in settings.gpu_pools.items() if pool.gpu_share]
