"""Hubs and their clients: what a download Job is told beside the proxy, and what a user may add to that."""

from collections.abc import Iterator, Mapping

from catalog.schema import Networks
from planning.plan.access import Outward
from planning.stack.network import HasEndpoint
from planning.stack.outward import DIRECT_VARIABLES, PROXY_VARIABLES, TRUST_VARIABLES, outward
from planning.stack.variables import variable_problems
from settings.problems import Problem
from settings.schema import ClusterSettings, HubSettings, SharedClaimWeights

# The environment variables of a client's token and of its mirror, by the kind of its hub.
TOKEN_VARIABLES = {"huggingface": "HF_TOKEN", "modelscope": "MODELSCOPE_API_TOKEN"}
ENDPOINT_VARIABLES = {"huggingface": "HF_ENDPOINT", "modelscope": "MODELSCOPE_ENDPOINT"}
# Where a hub is that has no mirror.
HUB_HOSTS = {"huggingface": "huggingface.co", "modelscope": "modelscope.cn"}
# HF_XET_HIGH_PERFORMANCE buffers up to this much, whatever the container's limit; without it the buffers follow from
# the limit (xet-runtime 1.7.0, src/config/groups/reconstruction.rs, on docs.rs; read 2026-11-28).
XET_HIGH_PERFORMANCE_GIB = 64
# Variables that a download Job sets itself, whatever its hub (components/model_weights.py).
JOB_VARIABLES = (
    *("EXPECTED_BYTES", "HF_HOME", "HOME", "HUB_KIND", "MANIFEST_SHA256"),
    *("MODEL_REPO", "MODEL_REVISION", "TARGET_DIR"),
)
# Variables of a download Job that have a setting; `{weights}`: the path of what it downloads for.
SETTING_OF = {
    **dict.fromkeys((*PROXY_VARIABLES, *DIRECT_VARIABLES), "cluster.proxy"),
    **dict.fromkeys(TRUST_VARIABLES, "cluster.caBundle"),
    **dict.fromkeys(ENDPOINT_VARIABLES.values(), "{weights}.hub.endpoint"),
    "HF_HUB_DISABLE_XET": "{weights}.hub.xet",
    "HF_XET_HIGH_PERFORMANCE": "{weights}.downloadMemoryGib",
}


def xet(settings: SharedClaimWeights, cluster: ClusterSettings) -> tuple[dict[str, str], dict[str, str]]:
    """(environment, reasons): Xet is off where its servers cannot be had, and as large as the Job's memory allows."""
    hub, memory_gib = settings.hub, settings.download_memory_gib
    if hub.kind != "huggingface":
        return {}, {}
    against = _against_xet(hub, cluster)
    if against:
        return {"HF_HUB_DISABLE_XET": "1"}, {"hub.xet": against}
    if memory_gib < XET_HIGH_PERFORMANCE_GIB:
        return {}, {}
    return {"HF_XET_HIGH_PERFORMANCE": "1"}, {
        "downloadMemoryGib": f"{memory_gib} GiB hold Xet's large buffers ({XET_HIGH_PERFORMANCE_GIB} GiB)"
    }


def _against_xet(hub: HubSettings, cluster: ClusterSettings) -> str | None:
    """The reason why files do not come over Xet; None where they do."""
    if hub.xet is not None:
        return None if hub.xet else "given"
    if hub.endpoint is not None:
        return "false: mirrors do not serve Xet, whose servers are beside the hub"
    if cluster.ca_bundle is not None:
        return "false: whether Xet's client trusts cluster.caBundle is not known"
    return None


def hub_way(
    hub: HubSettings, cluster: ClusterSettings, networks: Networks, beside: tuple[HasEndpoint, str] | None = None
) -> Outward:
    """The way of a Job to a hub; `beside`: see `outward`."""
    return outward(hub, HUB_HOSTS[hub.kind], cluster, networks, beside=beside)


def job_env_problems(env: Mapping[str, str], path: str) -> Iterator[Problem]:
    """Problems of variables that a user gives a download Job."""
    for name, value in env.items():
        if name in SETTING_OF:
            setting = SETTING_OF[name].format(weights=path.removesuffix(".env"))
            yield Problem(f"{path}.{name}", f"is decided by {setting}; set that")
        else:
            yield from variable_problems(name, value, JOB_VARIABLES, f"{path}.{name}")
