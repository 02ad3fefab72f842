"""Requests of one pod: CPU cores, memory with room for the page cache, shared memory, cache space."""

from math import ceil, floor, inf

from catalog.schema import Model
from planning.capacity import flags, memory
from planning.capacity.cards import RUNTIME_GIB
from planning.capacity.flags import number
from planning.capacity.lora import adapter_bytes
from planning.capacity.memory import GIB
from planning.plan.pools import PoolPlan
from planning.plan.servers import PodResources
from planning.plan.weights import Source
from planning.server.claims import gpu_claim
from planning.server.placement import NODE_MEMORY_SHARE, Placement
from planning.server.shares import slices_of
from settings.problems import Problem
from settings.schema import ModelSettings

# Cores of a CPU node left to the kubelet and daemons.
NODE_RESERVED_CPUS = 2
# Memory that distributions keep for the kubelet at most: (GiB up to which, share), and what they never let pods have
# (GKE documentation, "Plan node sizes"; AKS, "Resource reservations", 750 MiB until 1.28); and what of a machine's
# memory its kernel does not show.
KEPT_MEMORY = ((4, 0.25), (8, 0.20), (16, 0.10), (128, 0.06), (inf, 0.02))
EVICTION_MIB, KERNEL_SHARE = 750, 0.04
# Compiled kernels and graphs of one model; CPU servers compile little.
GPU_CACHE_GIB, CPU_CACHE_GIB = 20, 10


def least_memory_mib(memory_gib: int) -> int:
    """Memory that pods have of a node of so much memory wherever it runs, MiB."""
    steps = zip((0, *(until for until, _ in KEPT_MEMORY)), KEPT_MEMORY, strict=False)
    kept_gib = sum(share * max(0, min(memory_gib, until) - since) for since, (until, share) in steps)
    return max(0, floor((memory_gib * (1 - KERNEL_SHARE) - kept_gib) * 1024) - EVICTION_MIB)


def pod_resources(
    settings: ModelSettings, model: Model, pool: PoolPlan, placed: Placement, nodes: int, source: Source
) -> tuple[PodResources, dict[str, str]]:
    """CPU and memory of one pod; `nodes`: pods of one replica."""
    parallelism, workload, cpu_kv_gib = placed.parallelism, placed.workload, placed.cpu_kv_cache_gib
    # in the page cache they are as on disk
    weights_gib = memory.weight_bytes(model, parallelism)[0] / GIB
    if cpu_kv_gib is not None:
        cpus = settings.cpus or max(1, (pool.cpus_per_node or NODE_RESERVED_CPUS + 1) - NODE_RESERVED_CPUS)
        loaded_gib = memory.weight_bytes(model, parallelism, model_bytes=workload.model_bytes)[0] / GIB
        loaded_gib += (memory.slot_bytes(model.architecture, workload, parallelism) if model.architecture else 0) / GIB
        waiting_gib = waiting_adapters_gib(settings, model, placed, 1)
        needed = settings.memory_gib or ceil(loaded_gib + cpu_kv_gib + RUNTIME_GIB + waiting_gib)
        limit = ceil(max(needed, min(needed + weights_gib, (pool.memory_gib_per_node or needed) * NODE_MEMORY_SHARE)))
        return PodResources(cpus, needed, limit, 0, 1, CPU_CACHE_GIB), {
            "cpus": f"all but {NODE_RESERVED_CPUS} of the node's"
        }
    gpus, slices = parallelism.gpus // nodes, slices_of(settings, pool)
    # vLLM wants 2 + N cores for N GPUs (docs/configuration/optimization.md, 0.33.0)
    cpus = settings.cpus or 2 + gpus
    # NCCL and the workers exchange through /dev/shm: 2 GiB suffice for one GPU, 8 for a few, 16 for a full node
    shm = 2 if gpus == 1 else 8 if gpus <= 4 else 16
    # the cache that goes on outside of the GPU is a file of /dev/shm (vllm/v1/kv_offload/cpu/shared_offload_region.py)
    cached = ceil(workload.tuning.kv_offload_gib * parallelism.data / nodes)
    kept = kept_weights_gib(model, placed, nodes)
    streamed = source.buffer_gib_per_gpu * gpus
    waiting = ceil(waiting_adapters_gib(settings, model, placed, gpus))
    needed = settings.memory_gib or 8 + 2 * gpus + shm + streamed + cached + kept + waiting
    # of files the limit leaves room in the page cache, which is charged to the pod and given back at need; what is
    # streamed passes through buffers of a fixed size
    limit = needed + (ceil(weights_gib / nodes * 1.1) if not source.streamed else 0)
    if pool.memory_gib_per_node is not None:
        pods = max(1, pool.gpus_per_node // (slices or gpus))
        limit = max(needed, min(limit, floor(pool.memory_gib_per_node * NODE_MEMORY_SHARE / pods)))
    parts = f"{needed} requested: 8 + 2 per GPU + {shm} of /dev/shm"
    parts += f" + {cached} of it for the KV cache beyond the GPU" if cached else ""
    parts += f" + {kept} of weights that stay outside of the GPU" if kept else ""
    parts += f" + {waiting} of adapters that wait for their slots" if waiting else ""
    reasons = {
        "cpus": f"{cpus}: 2 + one per GPU",
        "memoryGib": f"{parts}; up to {limit} with weights in page cache"
        if not source.streamed
        else f"{parts} + {streamed} to stream weights through",
    }
    share, claim = settings.gpu_share, gpu_claim(pool, gpus)
    return PodResources(cpus, needed, limit, slices or gpus, shm + cached, GPU_CACHE_GIB, share, claim), reasons


def waiting_adapters_gib(settings: ModelSettings, model: Model, placed: Placement, workers: int) -> float:
    """Memory of one pod for its adapters: each worker keeps all that it may, whole (vllm/lora/model_manager.py)."""
    shape, workload = model.architecture, placed.workload
    if shape is None or not workload.max_loras:
        return 0
    kept = number(settings.args, flags.MAX_CPU_LORAS, workload.max_loras)
    return workers * kept * adapter_bytes(shape, workload.max_lora_rank, number_bytes=workload.model_bytes) / GIB


def kept_weights_gib(model: Model, placed: Placement, nodes: int) -> int:
    """Memory of one pod for the weights that its GPUs leave outside, whole GiB."""
    gpus = placed.parallelism.gpus // nodes
    return ceil(memory.offloaded_bytes(model, placed.parallelism, placed.workload) * gpus / GIB)


def memory_problems(path: str, resources: PodResources, kept_gib: int) -> list[Problem]:
    """The shared memory of a pod is part of its memory, and so are weights outside of the GPU, `kept_gib`."""
    least = resources.shm_gib + kept_gib
    if resources.memory_gib >= least:
        return []
    weights = f" and {kept_gib} GiB of weights outside of the GPU" if kept_gib else ""
    return [
        Problem(
            f"{path}.memoryGib",
            f"{resources.memory_gib} GiB do not hold the {resources.shm_gib} GiB of /dev/shm, which is in memory"
            f"{weights}; use at least {least}, or leave it out",
        )
    ]
