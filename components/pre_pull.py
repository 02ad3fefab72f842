"""A DaemonSet that keeps the images of a pool's servers on its nodes: one container of each image that ends at once.

Its Python is the one that the servers' own pods run before the server (`components/_vllm_pod.py`), so it needs no shell
and no image of its own. `up` does not wait for it: pulls take minutes, and one node that is away would hold all.
"""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from components._account import service_account
from planning.plan.pods import ImagePlan
from planning.plan.pools import POOL_LABEL, PrePull
from planning.server.scratch import quantity
from planning.server.small_pods import PULLER, PULLER_LIMIT_MIB

APP = "pre-pull"
# Without site packages, which are large in the image of an engine.
PYTHON = ("python3", "-IS", "-c")
END = "pass"
# The first process of a container gets no signal that it neither handles nor blocks.
SLEEP = "import signal as s; s.pthread_sigmask(s.SIG_BLOCK, {s.SIGTERM}); s.sigwait({s.SIGTERM})"
# Images of CUDA ask for all GPUs of a node (NVIDIA Container Toolkit documentation, "Environment variables").
NO_GPU = {"NVIDIA_VISIBLE_DEVICES": "void"}


def declare_pre_pulls(
    pulls: tuple[PrePull, ...], namespace: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> list[k8s.apps.v1.DaemonSet]:
    """Declare one for each pool, with the account they share."""
    if not pulls:
        return []
    metadata: Any = {"namespace": namespace, "labels": _k8s.labels(APP, "images", APP)}
    account = service_account(APP, _k8s.named(metadata, APP), pulls[0].containers[0], opts)
    return [_daemon_set(pull, namespace, account.metadata.name, opts) for pull in pulls]


def _daemon_set(
    pull: PrePull, namespace: pulumi.Input[str], account: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> k8s.apps.v1.DaemonSet:
    name, (first, *others) = f"{APP}-{pull.pool.name}", pull.containers
    labels = _k8s.labels(APP, "images", name, **{POOL_LABEL: pull.pool.name})
    volumes = [
        {"name": f"weights-{index}", "image": {"reference": reference, "pullPolicy": "IfNotPresent"}}
        for index, reference in enumerate(pull.volumes)
    ]
    mounts = [{"name": volume["name"], "mountPath": f"/{volume['name']}", "readOnly": True} for volume in volumes]
    pod = {
        **_k8s.restricted_pod(account, first, [_container("keep", first, SLEEP, mounts)], volumes),
        "initContainers": [_container(f"pull-{index}", image, END, []) for index, image in enumerate(others)],
        **_k8s.placement(pull.pool),
    }
    spec: Any = {
        "selector": {"matchLabels": _k8s.selector(APP, name)},
        # they serve nobody: all nodes pull at once
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return k8s.apps.v1.DaemonSet(
        name,
        metadata={"name": name, "namespace": namespace, "labels": labels, "annotations": _k8s.SKIP_AWAIT},
        spec=spec,
        opts=opts,
    )


def _container(name: str, image: ImagePlan, code: str, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": name,
        "image": image.reference,
        "command": [*PYTHON, code],
        "env": _k8s.env(NO_GPU),
        "resources": {"requests": _k8s.requests(PULLER), "limits": {"memory": quantity(PULLER_LIMIT_MIB)}},
        "securityContext": _k8s.DROP_ALL,
        "volumeMounts": mounts,
    }
