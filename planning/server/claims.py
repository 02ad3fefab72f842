"""Claims of a server's pods on the GPUs of its pool."""

import hashlib
import json

from planning.plan.pools import PoolPlan
from planning.plan.servers import GpuClaim


def gpu_claim(pool: PoolPlan, gpus: int) -> GpuClaim | None:
    """The claim of each pod; None: there is nothing to claim.

    The API server lets nobody change a template, so one that asks for something else has another name: it is there
    before the pods are told of it, and the former goes when none of them is left.
    """
    devices = pool.claims
    if devices is None or not gpus:
        return None
    content = json.dumps([devices.device_class, gpus, *devices.selectors])
    mark = hashlib.sha256(content.encode()).hexdigest()[:8]
    return GpuClaim(devices.device_class, gpus, devices.selectors, mark)
