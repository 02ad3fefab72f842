"""The router between the gateway and one server's replicas: a prompt goes to where its beginning is cached."""

from dataclasses import dataclass

from planning.plan.pods import ImagePlan, Probes

# Name of its pods' application.
ROUTER_APP = "vllm-router"


@dataclass(frozen=True)
class RouterPlan:
    """A vllm-router with its pods; `args` lack the labels and the namespace of the servers it looks for.

    `ready_path`: 503 while it knows no server that is healthy; `alive_path`: says nothing of servers.
    """

    name: str
    image: ImagePlan
    replicas: int
    port: int
    args: tuple[str, ...]
    cpu_millis: int
    memory_mib: int
    memory_limit_mib: int
    disk_mib: int
    probes: Probes
    ready_path: str
    alive_path: str
    pre_stop_s: int
    probe_grace_s: int
    termination_grace_s: int
