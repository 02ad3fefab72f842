"""Scripts in pods: the ConfigMap that holds one, how a container runs it, and the Job of those that run once."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from components.pod_scripts import BESIDE, file_of, source
from planning.plan.pods import JobLimits
from planning.plan.pools import PoolPlan

FOLDER = "/scripts"
MOUNT = {"name": "scripts", "mountPath": FOLDER, "readOnly": True}


def config_map(
    label: str,
    metadata: Any,
    script: str,
    opts: pulumi.ResourceOptions,
    *modules: str,
    files: Mapping[str, str] | None = None,
) -> k8s.core.v1.ConfigMap:
    """Declare scripts, and what they import. They never change: another ConfigMap replaces it, and what mounts it.

    `files`: what they read, name → text.
    """
    names = [beside for name in (script, *modules) for beside in (name, *BESIDE.get(name, ()))]
    data = {**{file_of(name): source(name) for name in names}, **(files or {})}
    return k8s.core.v1.ConfigMap(label, metadata=metadata, immutable=True, data=data, opts=opts)


def volume(name: pulumi.Input[str]) -> dict[str, Any]:
    """The volume of `MOUNT`."""
    return {"name": "scripts", "configMap": {"name": name}}


def failing_at_once(container: str, *exit_codes: int) -> dict[str, Any]:
    """The `podFailurePolicy` of a Job that no retry can help when this container ends so."""
    codes = {"containerName": container, "operator": "In", "values": list(exit_codes)}
    return {"rules": [{"action": "FailJob", "onExitCodes": codes}]}


def container(name: str, image: str, program: str, script: str, **fields: Any) -> dict[str, Any]:
    """A container that runs a script of its pod; `program`: what the image calls the script's own."""
    return {
        "name": name,
        "image": image,
        "command": [program, f"{FOLDER}/{file_of(script)}"],
        "securityContext": _k8s.DROP_ALL,
        **fields,
    }


def job(
    label: str,
    name: str,
    metadata: Mapping[str, Any],
    pod: Mapping[str, Any],
    *,
    limits: JobLimits,
    on: PoolPlan | None = None,
    parent: pulumi.Resource,
    after: list[pulumi.Resource],
    once: bool = False,
    named_by_content: bool = False,
    **spec: Any,
) -> k8s.batch.v1.Job:
    """A Job that may be run again: under a fixed name, so that there is never a second one beside it.

    One that failed, or was cut off, is replaced by the next `up` (`replaceUnready`); otherwise that would wait for it
    for ever, because a Job that has failed stays failed. `once`: one that has succeeded stays, whatever changes.
    `named_by_content`: its name is another when it is to run again; the former goes first even so.
    """
    replaced = {**metadata.get("annotations", {}), "pulumi.com/replaceUnready": "true"}
    timeout = f"{limits.await_timeout_s}s"
    body: Any = {
        "backoffLimit": limits.retries,
        "activeDeadlineSeconds": limits.deadline_s,
        "template": {
            "metadata": {"labels": metadata["labels"]},
            "spec": {**pod, **_placed(on), "restartPolicy": "Never"},
        },
        **spec,
    }
    return k8s.batch.v1.Job(
        label,
        metadata=_k8s.annotated(_k8s.named(metadata, name), replaced),
        spec=body,
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=after,
            ignore_changes=["spec"] if once else None,
            delete_before_replace=True if named_by_content else None,
            custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout),
        ),
    )


def _placed(on: PoolPlan | None) -> dict[str, Any]:
    """On the nodes of a pool, or anywhere but where GPUs are."""
    return _k8s.placement(on) if on else {"affinity": _k8s.off_gpu_nodes()}
