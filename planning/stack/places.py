"""Place of a checkpoint and the way servers find it there: one arm for each kind of weights.

A further kind is one settings class, one arm in each function of this module, and what `planning.plan.weights` lacks
for it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import ceil

from catalog.engine import Loading
from catalog.load import Catalog
from catalog.schema import Model
from planning.capacity.budget import Parallelism
from planning.capacity.memory import GIB, weight_bytes
from planning.plan.pods import ImagePlan
from planning.plan.pools import PoolPlan
from planning.plan.servers import COMPILE_CACHE
from planning.plan.weights import (
    ClaimVolume,
    ExistingClaim,
    Hub,
    ImageVolume,
    LocalCopy,
    ObjectStore,
    OciImage,
    OwnClaim,
    Place,
    Source,
    Volume,
)
from planning.stack.hubs import ENDPOINT_VARIABLES, HUB_HOSTS, TOKEN_VARIABLES, hub_way, job_env_problems, xet
from planning.stack.network import endpoint_problems
from planning.stack.stores import scheme_of, store_problems, streamed
from planning.stack.timing import download_s, fetch
from settings.problems import Problem
from settings.schema import (
    ClusterSettings,
    ExistingClaimWeights,
    FilledWeights,
    HubSettings,
    ImageWeights,
    NodeCacheWeights,
    ObjectStoreWeights,
    SharedClaimWeights,
    StackSettings,
    WeightsSettings,
    hub_of,
    takes_token,
)

MOUNT_PATH = "/models"
# Where a pod's own copy is.
COPY_PATH = "/copy"
# What lets in the pods of one node alone, one pod alone, and any number of readers.
ONE_NODE, ONE_POD, READERS = "ReadWriteOnce", "ReadWriteOncePod", "ReadOnlyMany"
# The first whose API server and kubelets mount images without being told to (KEP-4639, stable in 1.36).
IMAGE_VOLUMES_MINOR = 36
# A copy has no other in it while it is made, so only the file system's own needs are added.
COPY_MARGIN = 1.05
# Four files on their way through ten parts of 32 MiB each (components/pod_scripts/buckets.py), twice.
FILL_MEMORY_GIB = 4
# Filesystem overhead, and room for one more copy of the largest single file while it is checked.
CLAIM_MARGIN = 1.15


def disk_bytes(model: Model) -> int:
    """Bytes of the checkpoint on disk: known, or what is loaded plus a twentieth for what is not."""
    if model.checkpoint.disk_bytes is not None:
        return model.checkpoint.disk_bytes
    return ceil(weight_bytes(model, Parallelism())[0] * 1.05)


def _least_bytes(model: Model) -> int:
    """Fewer safetensors bytes cannot be the whole checkpoint; a count from the shape is taken with a tenth off."""
    known = model.checkpoint.disk_bytes or model.checkpoint.loaded_bytes
    return known or int(weight_bytes(model, Parallelism())[0] * 0.9)


@dataclass(frozen=True)
class Keeping:
    """Everything that a checkpoint is planned with, beside the settings of its weights.

    `usual`: the weights of the stack, whose claims have the plain names; `image` runs downloads; `store_image`, which
    has the clients of object stores too, fills buckets (vLLM's for CPUs lacks them, docker/Dockerfile.cpu of 0.33.0);
    `on`: where the server is that is planned.
    """

    usual: WeightsSettings
    catalog: Catalog
    cluster: ClusterSettings
    image: ImagePlan
    store_image: ImagePlan
    on: PoolPlan | None = None
    vouched: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    """(repository, commit, spread where ranks have files of their own) → hash of the manifest, as the stack says it."""


def place_key(settings: WeightsSettings) -> tuple[str, ...]:
    """Key of the place of one checkpoint: weights with equal keys are in one place."""
    match settings:
        case SharedClaimWeights(hub=hub):
            return settings.kind, settings.storage_class, settings.access_mode, hub.kind, hub.endpoint or ""
        case ExistingClaimWeights():
            return settings.kind, settings.claim_name
        case ImageWeights():
            return settings.kind, settings.reference
        case NodeCacheWeights():
            return place_key(settings.copied_from)
        case ObjectStoreWeights():
            account = (settings.account,) if settings.account else ()
            layout = (settings.layout,) if settings.layout != "whole" else ()
            return settings.kind, settings.url, settings.endpoint or "", *account, *layout


def kept_at(folder: str, name: str, model: Model, settings: WeightsSettings, keeping: Keeping) -> tuple[Place, Source]:
    """(where it is kept, how servers find it) of each kind of weights."""
    directory = f"{MOUNT_PATH}/{folder}"
    match settings:
        case SharedClaimWeights():
            own = _own_claim(name, model, settings, keeping)
            return own, _files(directory, ClaimVolume(own.mounted, MOUNT_PATH), settings, keeping)
        case ExistingClaimWeights(claim_name=claim):
            return ExistingClaim(claim), _files(directory, ClaimVolume(claim, MOUNT_PATH), settings, keeping)
        case ImageWeights(reference=reference):
            gib = settings.size_gib or ceil(disk_bytes(model) / GIB)
            return OciImage(reference, gib, settings.size_gib is not None), _files(
                directory, ImageVolume(reference, MOUNT_PATH), settings, keeping
            )
        case NodeCacheWeights():
            place, origin = kept_at(folder, name, model, settings.copied_from, keeping)
            place = replace(place, copied=True) if isinstance(place, ObjectStore) else place
            return place, _copied(origin, folder, model, settings, keeping.catalog.vllm.loading)
        case ObjectStoreWeights():
            url = f"{settings.url}/{folder}"
            there = ObjectStore(url, settings.url, usd_per_gib_month=settings.usd_per_gib_month)
            filled = _filled(url, model, settings, keeping) if settings.fill else there
            return filled, streamed(url, settings, keeping.catalog, keeping.cluster)


def prewarm(settings: WeightsSettings) -> tuple[bool, str]:
    """Whether pods read the weights into the page cache before their engine starts, and why."""
    match settings:
        case SharedClaimWeights(prewarm=choice) | ExistingClaimWeights(prewarm=choice) | ImageWeights(prewarm=choice):
            if choice is not None:
                return choice, "given"
            return (
                True,
                "several readers fill the page cache from the volume, and the engine's one finds all of it there",
            )
        case NodeCacheWeights():
            return False, "what was just copied is in the page cache already"
        case ObjectStoreWeights():
            return False, "they are streamed past the page cache"


def _files(directory: str, volume: Volume, settings: FilledWeights, keeping: Keeping) -> Source:
    """Files on a volume."""
    return Source(
        argument=directory,
        directory=directory,
        load_format=keeping.catalog.vllm.loading.files,
        volume=volume,
        read_mib_per_s=settings.read_mib_per_s,
        prewarm=prewarm(settings)[0],
    )


def _copied(origin: Source, folder: str, model: Model, settings: NodeCacheWeights, loading: Loading) -> Source:
    """Files of a volume or a bucket, copied to the node's disk first; what was just written is in the page cache."""
    gib = _step(disk_bytes(model) * COPY_MARGIN / GIB)
    folder, price = f"{COPY_PATH}/{folder}", settings.usd_per_gib_month
    copy = LocalCopy(settings.storage_class, gib, COPY_PATH, folder, origin.read_mib_per_s, price)
    return replace(
        origin,
        argument=copy.directory,
        script="copy_store" if origin.streamed else "copy_weights",
        load_format=loading.files,
        buffer_gib_per_gpu=0,
        copy=copy,
        read_mib_per_s=settings.read_mib_per_s,
        prewarm=False,
    )


def _filled(url: str, model: Model, settings: ObjectStoreWeights, keeping: Keeping) -> ObjectStore:
    """A folder of a bucket that a Job fills; it goes to the hub and to the store, servers to the store alone."""
    fill = settings.fill
    assert fill is not None
    writing = settings.model_copy(update={"credentials": fill.credentials or settings.credentials})
    writer = streamed(url, writing, keeping.catalog, keeping.cluster, beside=(fill.hub, HUB_HOSTS[fill.hub.kind]))
    hub = _hub(fill.hub, _mirror(fill.hub), FILL_MEMORY_GIB, keeping.store_image, keeping)
    store_host = keeping.catalog.stores[scheme_of(settings)].host
    way = hub_way(fill.hub, keeping.cluster, keeping.catalog.networks, beside=(settings, store_host))
    coming = fetch(
        replace(hub, environment={**hub.environment, **way.environment}),
        least_bytes=_least_bytes(model),
        download_s=download_s(disk_bytes(model), fill.download_mib_per_s),
        gated=model.gated,
    )
    return ObjectStore(url, settings.url, coming, writer, settings.usd_per_gib_month)


def _own_claim(name: str, model: Model, settings: SharedClaimWeights, keeping: Keeping) -> OwnClaim:
    size, readers = disk_bytes(model), settings.access_mode == READERS
    environment = {**xet(settings, keeping.cluster)[0], **_mirror(settings.hub), **settings.env}
    return OwnClaim(
        f"weights-{name}",
        settings.storage_class,
        # what is filled is written
        ONE_NODE if readers else settings.access_mode,
        _step(size * CLAIM_MARGIN / GIB),
        fetch(
            _hub(settings.hub, environment, settings.download_memory_gib, keeping.image, keeping),
            least_bytes=_least_bytes(model),
            download_s=download_s(size, settings.download_mib_per_s),
            gated=model.gated and settings.hub.kind == "huggingface",
        ),
        # a disk is in one zone, and only some kinds of machines take it
        on=keeping.on if settings.access_mode in (ONE_NODE, ONE_POD, READERS) else None,
        cloned=readers,
        usd_per_gib_month=settings.usd_per_gib_month,
    )


def _mirror(hub: HubSettings) -> dict[str, str]:
    return {ENDPOINT_VARIABLES[hub.kind]: hub.endpoint} if hub.endpoint else {}


def _hub(hub: HubSettings, environment: Mapping[str, str], memory_gib: int, image: ImagePlan, keeping: Keeping) -> Hub:
    way = hub_way(hub, keeping.cluster, keeping.catalog.networks)
    return Hub(
        kind=hub.kind,
        endpoint=hub.endpoint,
        egress=way.egress,
        token_variable=TOKEN_VARIABLES[hub.kind],
        token_secret=hub.token_secret,
        image=image,
        environment={**environment, **way.environment},
        memory_gib=memory_gib // 2,
        memory_limit_gib=memory_gib,
        secrets=way.secrets,
        ca_bundle=way.ca_bundle,
        takes_token=takes_token(hub, hub_of(keeping.usual)),
    )


def place_problems(weights: WeightsSettings, path: str, stack: StackSettings, keeping: Keeping) -> Iterator[Problem]:
    """Problems of such weights in this stack, reported at their `path`."""
    cluster = stack.cluster
    match weights:
        case SharedClaimWeights(hub=hub):
            yield from endpoint_problems(hub, f"{path}.hub", keeping.catalog.networks, cluster.namespace, "hub")
            yield from job_env_problems(weights.env, f"{path}.env")
        case ExistingClaimWeights(claim_name=claim):
            if claim == COMPILE_CACHE and stack.compile_cache.kind == "claim":
                yield Problem(f"{path}.claimName", f"{claim} is the claim that compileCache makes; use another one")
        case ImageWeights():
            if cluster.kubernetes_minor < IMAGE_VOLUMES_MINOR:
                yield Problem(
                    path,
                    f"kind image needs Kubernetes 1.{IMAGE_VOLUMES_MINOR}, where image volumes are stable, and "
                    f"cluster.kubernetes is {cluster.kubernetes}; use kind: existingClaim or sharedClaim",
                )
        case NodeCacheWeights():
            yield from place_problems(weights.copied_from, f"{path}.from", stack, keeping)
        case ObjectStoreWeights():
            yield from store_problems(weights, path, keeping.catalog, cluster)
            if weights.fill:
                hub, networks = weights.fill.hub, keeping.catalog.networks
                yield from endpoint_problems(hub, f"{path}.fill.hub", networks, cluster.namespace, "hub")


def _step(gib: float) -> int:
    """The next of 2, 3, 4, 6, 8 … GiB, so that a better figure in the catalogue rarely asks for another size."""
    size = 2
    while size < gib:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size
