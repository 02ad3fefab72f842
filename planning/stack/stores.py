"""Buckets as a source of weights: what the streamer is told, how a pod proves who it is, where it may connect to."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from catalog.engine import Loading
from catalog.load import Catalog
from catalog.stores import Store
from planning.capacity import flags
from planning.plan.access import Identity, SecretFile, SecretVariable
from planning.plan.pods import AddressBlock, EgressRule
from planning.plan.weights import CheckpointPlan, ObjectStore, Source
from planning.stack.network import HTTPS_PORT, HasEndpoint, blocks, endpoint_problems
from planning.stack.outward import (
    DIRECT_VARIABLES,
    PROXY_VARIABLES,
    TRUST_VARIABLES,
    outward,
    through_proxy,
)
from settings.problems import Problem
from settings.schema import ClusterSettings, ObjectStoreWeights, PublicStore, StoreIdentity, StoreSecret

# Below the pod's /tmp: the check writes it, and vLLM, which asks for small files in Python, finds it there.
CLIENT_CONFIG = "/tmp/aws-config"  # noqa: S108 - an emptyDir of the pod
# Memory that one worker streams through; without a limit the streamer takes up to 40 GB of it.
BUFFER_GIB = 2


def scheme_of(settings: ObjectStoreWeights) -> str:
    """s3, gs or az."""
    return settings.url.partition(":")[0]


def streaming_options(loading: Loading, workers: int) -> tuple[str, ...]:
    """Options of vLLM's loader: how much memory each worker takes, and that several share the reading."""
    options: dict[str, object] = {loading.memory_limit: BUFFER_GIB * 2**30}
    if workers > 1:
        options[loading.distributed] = True
    return (f"{flags.LOADER_CONFIG}={json.dumps(options, separators=(',', ':'))}",)


def for_workers(checkpoint: CheckpointPlan, loading: Loading, workers: int) -> CheckpointPlan:
    """The checkpoint as `workers` of one replica read it: streamed, each takes its part and they exchange them."""
    if not checkpoint.source.streamed:
        return checkpoint
    return replace(checkpoint, source=replace(checkpoint.source, options=streaming_options(loading, workers)))


def options_of(source: Source) -> tuple[str, ...]:
    """Options that the place of the weights decides."""
    return (flags.LOAD_FORMAT, flags.LOADER_CONFIG) if source.streamed else ()


def streaming_problems(source: Source, args: Sequence[str], path: str, *, on_cpu: bool) -> list[Problem]:
    """Problems of reading a store: no client of it in the server's image, or a loader of the user's own."""
    if source.volume is not None:
        return []
    problems = []
    if on_cpu:
        message = (
            "kind objectStore is for servers with GPUs: vLLM's image for CPUs has no client of stores; use another kind"
        )
        problems.append(Problem(f"{path}.weights", message))
    names = [argument.partition("=")[0].partition(".")[0] for argument in args]
    taken = [option for option in options_of(source) if option in names]
    return [
        *problems,
        *(Problem(f"{path}.args", f"{argument} is decided by weights.kind objectStore") for argument in taken),
    ]


def access_problems(source: Source, env: Mapping[str, str], catalog: Catalog, path: str) -> Iterator[Problem]:
    """Problems of variables of `env` that would lead a server to its store in another way, or to another store."""
    if not source.streamed:
        return
    settings = _settings_of(catalog)
    prefixes = (catalog.vllm.loading.variables, *(store.prefix for store in catalog.stores.values()))
    for name in env:
        if name in settings:
            yield Problem(f"{path}.{name}", f"is decided by {settings[name]}; set that")
        elif name.startswith(prefixes):
            yield Problem(f"{path}.{name}", "is decided by the plan")


def _settings_of(catalog: Catalog) -> dict[str, str]:
    """Variable → the setting that decides it."""
    ways: dict[str, str] = dict.fromkeys((*PROXY_VARIABLES, *DIRECT_VARIABLES), "cluster.proxy")
    ways |= dict.fromkeys(TRUST_VARIABLES, "cluster.caBundle")
    for store in catalog.stores.values():
        ways |= dict.fromkeys(store.trust, "cluster.caBundle")
        ways |= dict.fromkeys(store.account, "weights.account")
        ways |= dict.fromkeys(store.region, "weights.region")
        ways |= dict.fromkeys(store.endpoint, "weights.endpoint")
        ways |= dict.fromkeys((*store.keys, *store.public), "weights.credentials")
        if store.key_file:
            ways[store.key_file.variable] = "weights.credentials"
        if store.addressing:
            ways[store.addressing.variable] = "weights.addressing"
    return ways


def streamed(
    url: str,
    settings: ObjectStoreWeights,
    catalog: Catalog,
    cluster: ClusterSettings,
    beside: tuple[HasEndpoint, str] | None = None,
) -> Source:
    """Objects below `url`, read as the engine loads them, from a bucket without problems; `beside`: see `outward`."""
    store = catalog.stores[scheme_of(settings)]
    way = outward(settings, store.host, cluster, catalog.networks, trust=store.trust, beside=beside, forwards=False)
    source = Source(
        argument=url,
        directory=url,
        script="check_store",
        load_format=catalog.vllm.loading.streamed,
        read_mib_per_s=settings.read_mib_per_s,
        prewarm=False,
        buffer_gib_per_gpu=BUFFER_GIB,
        environment={**_environment(settings, store), **way.environment},
        secrets=way.secrets,
        ca_bundle=way.ca_bundle,
        egress=way.egress,
    )
    match settings.credentials:
        case PublicStore():
            return replace(source, environment={**source.environment, **store.public})
        case StoreSecret(name=name):
            keys = tuple(SecretVariable(variable, name, entry) for variable, entry in store.keys.items())
            file = SecretFile(store.key_file.variable, name, store.key_file.entry) if store.key_file else None
            return replace(source, secrets=(*keys, *source.secrets), secret_file=file)
        case StoreIdentity(identity=who):
            known = catalog.workload_identity.get(cluster.platform)
            service = known and (known.annotated if who else known.bare)
            if known is None or service is None:
                return source
            identity = Identity({known.annotation: who} if who else {}, known.pod_labels)
            agents = tuple(EgressRule((AddressBlock(agent.cidr, ()),), (), (agent.port,)) for agent in service.agents)
            direct = service.internet and not through_proxy(settings, store.host, cluster)
            tokens = (EgressRule(blocks(catalog.networks, private=False), (), (HTTPS_PORT,)),) if direct else ()
            return replace(source, identity=identity, egress=tuple(dict.fromkeys((*source.egress, *tokens, *agents))))


def _environment(settings: ObjectStoreWeights, store: Store) -> dict[str, str]:
    environment = dict(store.always)
    named = ((store.account, settings.account), (store.region, settings.region), (store.endpoint, settings.endpoint))
    for variables, value in named:
        environment |= dict.fromkeys(variables, value) if value else {}
    if how := store.addressing:
        in_path = settings.addressing == "path" if settings.addressing else settings.endpoint is not None
        environment[how.variable] = how.path if in_path else how.virtual_host
        if settings.endpoint and not in_path:
            # boto3 has the bucket in the path of every other endpoint than AWS's, and no variable against that
            environment[how.config_file] = CLIENT_CONFIG
    return environment


def store_problems(
    settings: ObjectStoreWeights, path: str, catalog: Catalog, cluster: ClusterSettings
) -> list[Problem]:
    """Problems that keep the pods of a cluster from the bucket."""
    problems = list(endpoint_problems(settings, path, catalog.networks, cluster.namespace, "store"))
    scheme, known = scheme_of(settings), sorted(catalog.vllm.loading.sharded_schemes)
    if settings.layout == "sharded" and scheme not in known:
        schemes = " and ".join(f"{name}://" for name in known)
        why = f"sharded is read from {schemes} alone, not from {scheme}://; leave it out"
        problems.append(Problem(f"{path}.layout", why))
    credentials_at: dict[str, StoreIdentity | StoreSecret | PublicStore] = {f"{path}.credentials": settings.credentials}
    if settings.fill and settings.fill.credentials:
        credentials_at[f"{path}.fill.credentials"] = settings.fill.credentials
    for where, credentials in credentials_at.items():
        match credentials:
            case StoreIdentity(identity=who):
                problems += _identity_problems(settings, where, who, catalog, cluster)
            case StoreSecret() | PublicStore():
                pass
    return problems


def writer_problems(stores: Sequence[tuple[str, ObjectStoreWeights]]) -> Iterator[Problem]:
    """Jobs that fill buckets share a ServiceAccount, whose name the platform's side has to know: it is one identity."""
    first: tuple[str, str | None] | None = None
    for path, weights in stores:
        if weights.fill is None:
            continue
        match weights.fill.credentials or weights.credentials:
            case StoreIdentity(identity=who):
                first = first or (path, who)
                if who != first[1]:
                    yield Problem(
                        f"{path}.fill",
                        f"is done as another identity than that of {first[0]}; the Jobs of a stack have one: give both "
                        "the same fill.credentials",
                    )
            case StoreSecret() | PublicStore():
                pass


def fill_problems(checkpoint: CheckpointPlan, path: str) -> list[Problem]:
    """A folder of a bucket is of one commit."""
    if checkpoint.pinned or not isinstance(checkpoint.place, ObjectStore) or checkpoint.place.fetch is None:
        return []
    return [Problem(f"{path}.revision", "is needed to fill a bucket, for a branch moves; give the commit, 40 digits")]


def _identity_problems(
    settings: ObjectStoreWeights,
    path: str,
    who: str | None,
    catalog: Catalog,
    cluster: ClusterSettings,
) -> Iterator[Problem]:
    platform, scheme = cluster.platform, scheme_of(settings)
    known, host = catalog.workload_identity.get(platform), catalog.stores[scheme].host
    instead = "use {kind: existingSecret, name: …}"
    if platform not in catalog.platforms:
        return
    if known is None:
        yield Problem(path, f"pods of platform {platform} have no identity that a store knows; {instead}")
    elif known.scheme != scheme or settings.endpoint:
        where = settings.endpoint or f"{scheme}://"
        yield Problem(path, f"the identity of {platform}'s pods is for {known.scheme}://, not for {where}; {instead}")
    elif who is None and known.bare is None:
        yield Problem(path, f"pods of platform {platform} need identity, such as {known.example}")
    elif who is not None and not re.fullmatch(known.like, who):
        yield Problem(f"{path}.identity", f'"{who}" is none of {platform}; write one such as {known.example}')
    elif (
        (service := known.annotated if who else known.bare)
        and service.agents
        and through_proxy(settings, host, cluster)
    ):
        yield Problem(
            path,
            f"pods of platform {platform} ask an agent on their node who they are, which the store's client would look "
            f"for behind cluster.proxy; where the bucket can be reached directly, add {host} to cluster.proxy.noProxy, "
            f"otherwise {instead}",
        )
