"""Local disk of every kind of pod: what it may write there, and what the scheduler is told of it.

The scheduler places a pod by the larger of the sum over its containers and its largest init container (Kubernetes
documentation, "Resource sharing within containers"), so the first container asks for all volumes of the pod, and every
container for its own logs. Nothing else is written: root file systems are read-only.

There are requests and no limits. A volume has its own limit, beyond which the kubelet evicts the pod; a limit on the
container would add its logs to that, which the kubelet bounds by rotation, though only after a burst: a server would be
evicted for what it says. What is in memory is charged to the container's memory, not to the disk.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import ceil

from planning.plan.servers import PodResources, Scratch

MIB_PER_GIB = 1024
# The kubelet keeps five files of 10 MiB per container (KubeletConfiguration, containerLogMaxSize and -Files, 1.36);
# the rest is for ConfigMaps, of 1 MiB at most, which it counts too (pkg/kubelet/eviction, localEphemeralVolumeNames).
LOGS_MIB = 64
# Temporary files of a server: sockets of its workers, spilled uploads.
SERVER_TMP_GIB = 2
# vLLM's image: 10 GB of layers, and 25 GB unpacked (vllm-project/vllm#17163); the rest is for operators' images.
IMAGES_GIB = 40
# The system itself with drivers, where it shares the disk.
SYSTEM_GIB = 20
# The kubelet evicts pods while less of the disk that images live on is free (evictionHard, imagefs.available, 1.36).
KEPT_FREE = 0.15
# What GKE gives a node, and what of a disk its file system holds (GKE documentation, "Plan node sizes").
GKE_BOOT_DISK_GB, FILE_SYSTEM = 100, 0.94


def plan_scratch(
    volumes_mib: Mapping[str, int] | None = None, memory_mib: Mapping[str, int] | None = None, *, sidecars: int = 0
) -> Scratch:
    """Scratch space of one pod: emptyDirs on disk and in memory, name → size limit."""
    on_disk = volumes_mib or {}
    return Scratch(on_disk, memory_mib or {}, LOGS_MIB * (1 + sidecars) + sum(on_disk.values()), LOGS_MIB)


def with_volumes(scratch: Scratch, volumes_mib: Mapping[str, int]) -> Scratch:
    """The same with further emptyDirs on disk."""
    disk_mib = scratch.disk_mib + sum(volumes_mib.values())
    return replace(scratch, volumes_mib={**scratch.volumes_mib, **volumes_mib}, disk_mib=disk_mib)


def quantity(mib: int) -> str:
    """MiB as Kubernetes writes them, in whole GiB where they are."""
    gib, remainder = divmod(mib, MIB_PER_GIB)
    return f"{mib}Mi" if remainder else f"{gib}Gi"


def cores(millis: int) -> str:
    """Thousandths of a core as Kubernetes writes them."""
    whole, remainder = divmod(millis, 1000)
    return f"{millis}m" if remainder else str(whole)


def plan_server_scratch(resources: PodResources, *, sidecars: int = 0) -> Scratch:
    """Scratch space of a vLLM server: compiled kernels, temporary files, exchange of its workers through memory."""
    on_disk = {"cache": resources.cache_gib * MIB_PER_GIB, "tmp": SERVER_TMP_GIB * MIB_PER_GIB}
    return plan_scratch(on_disk, {"shm": resources.shm_gib * MIB_PER_GIB}, sidecars=sidecars)


def fullest_mib(pods: Iterable[tuple[int, int, int]], units: int) -> int:
    """The most local disk that pods of one node ask for, MiB.

    `pods`: units of the node (GPUs, or cores) that one takes, how many there are, MiB that one asks for; `units`: those
    of a node. A bounded knapsack, unit by unit.
    """
    best = [0] * (units + 1)
    for size, count, mib in pods:
        for _ in range(min(count, units // size)):
            for room in range(units, size - 1, -1):
                best[room] = max(best[room], best[room - size] + mib)
    return best[units]


def least_disk_gib(pods_mib: int, *, with_system: bool) -> int:
    """The smallest disk, GiB, that holds pods that ask for so much, their images, and the system if it is there too."""
    used_gib = pods_mib / MIB_PER_GIB + IMAGES_GIB + (SYSTEM_GIB if with_system else 0)
    return ceil(used_gib / (1 - KEPT_FREE))


def boot_disk_gb(pods_mib: int) -> int | None:
    """The boot disk of a GKE node whose pods ask for so much, GB; None: the one GKE gives by itself is enough.

    GKE keeps the smallest of half the disk, 6 GiB and 35 % of it, and 100 GiB, and evicts below a tenth (GKE
    documentation, "Plan node sizes"; it counts GB as GiB). Of its 100 GB pods have 43.8 GiB.
    """

    def given_gib(size: int) -> float:
        return size * FILE_SYSTEM * 0.9 - min(0.5 * size, 6 + 0.35 * size, 100)

    size = max(GKE_BOOT_DISK_GB, least_disk_gib(pods_mib, with_system=True))
    while given_gib(size) * MIB_PER_GIB < pods_mib:
        size += 10
    return size if size > GKE_BOOT_DISK_GB else None


# It writes its log, and nothing else.
ROUTER = plan_scratch()
# LiteLLM spools uploads there.
GATEWAY = plan_scratch({"tmp": 2048})
# It unpacks the migrations of its database, and Prisma's programs if the image lacks them.
MIGRATION = plan_scratch({"tmp": 2048})
# It keeps nothing; without a place to write it does not start.
REDIS = plan_scratch({"tmp": 64})
# Its socket, and the memory its processes share; everything else is on its claim.
POSTGRES = plan_scratch({"tmp": 64}, {"shm": 128})
# Uploads on their way, caches, and the page's own files, which are copied there; chats and files are on its claim.
CHAT_UI = plan_scratch({"tmp": 2048})
# Caches of the hub's client; the files themselves are staged on the claim.
DOWNLOAD = plan_scratch({"tmp": 20 * MIB_PER_GIB})
# Small files of a checkpoint, and the heads of the others; the rest goes through memory.
FILL = plan_scratch({"tmp": 2048})
VERIFICATION = plan_scratch()
# Python's, for what it compiles.
SIGNATURE = plan_scratch({"tmp": 256})
