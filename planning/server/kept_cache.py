"""The cache of compiled code that outlives a server's pod: the key it is found by, and its cost to the pod.

An entry is executable code. It may be taken only by a pod that would have compiled the very same, so everything counts
for the key that is not known to change nothing: a key too many costs one slow start, a key too few a wrong program.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence

from catalog.engine import Uncompiled
from planning.plan.pods import ImagePlan
from planning.plan.servers import COMPILE_CACHE, CompileCacheClaim, KeptCache, PodResources, Requests, Scratch
from planning.plan.weights import CheckpointPlan
from planning.server.scratch import MIB_PER_GIB
from planning.stack.timing import RESTORE_S
from settings.schema import ClaimedCompileCache, NoCompileCache

MOUNT_PATH = "/kept"
# Changes with the layout of entries, or with what is kept (components/pod_scripts/compile_cache.py).
LAYOUT = 1
# The script reads and writes a MiB at a time; Python itself takes 20 MiB.
SIDECAR_CPU_MILLIS, SIDECAR_MEMORY_MIB, SIDECAR_LIMIT_MIB = 50, 64, 512


def claim_of(settings: NoCompileCache | ClaimedCompileCache) -> CompileCacheClaim | None:
    """The claim of a stack that keeps what its servers compile."""
    match settings:
        case NoCompileCache():
            return None
        case ClaimedCompileCache(storage_class=storage_class, access_mode=mode, size_gib=gib, usd_per_gib_month=price):
            return CompileCacheClaim(COMPILE_CACHE, storage_class, mode, gib, price)


def plan_kept_cache(
    claim: CompileCacheClaim | None,
    *,
    script_image: ImagePlan,
    image: ImagePlan,
    checkpoints: Sequence[CheckpointPlan],
    gpu: str,
    nodes: int,
    args: Sequence[str],
    env: Mapping[str, str],
    uncompiled: Uncompiled,
) -> KeptCache | None:
    """The cache of one server on `claim`. `gpu`: its name in the catalogue; `nodes`: pods of one replica.

    `uncompiled`: what of `args`, written as --option=value, and `env` does not count.
    """
    if claim is None:
        return None
    facts = [
        *(LAYOUT, image.reference, gpu, nodes),
        [(checkpoint.model, checkpoint.revision) for checkpoint in checkpoints],
        [argument for argument in args if argument.partition("=")[0] not in uncompiled.options],
        sorted((name, value) for name, value in env.items() if name not in uncompiled.variables),
    ]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    return KeptCache(claim, key, script_image, RESTORE_S)


def claim_mib(claim: CompileCacheClaim) -> int:
    """Space of a claim that entries may take, MiB; shares of a file server often hold more than they were asked for."""
    return claim.gib * MIB_PER_GIB


def sidecar_requests(scratch: Scratch) -> Requests:
    """Requests of the container that writes the cache back."""
    return Requests(SIDECAR_CPU_MILLIS, SIDECAR_MEMORY_MIB, scratch.logs_mib)


def engine_requests(resources: PodResources, scratch: Scratch, kept_cache: KeptCache | None) -> Requests:
    """Requests of the engine: all of its pod, less the sidecar's, so that pods are as large as planned."""
    whole = Requests(resources.cpus * 1000, resources.memory_gib * MIB_PER_GIB, scratch.disk_mib)
    if kept_cache is None:
        return whole
    sidecar = sidecar_requests(scratch)
    return Requests(
        whole.cpu_millis - sidecar.cpu_millis, whole.memory_mib - sidecar.memory_mib, whole.disk_mib - sidecar.disk_mib
    )
