"""Networks between nodes, once the servers are known: what cannot be, and what a reader should know of them."""

from collections.abc import Iterator, Mapping, Sequence

from catalog.load import Catalog
from planning.capacity import flags
from planning.plan.fabrics import TCP, Traffic
from planning.plan.pools import PoolPlan
from planning.plan.servers import ServerPlan
from planning.server.fit import Site
from planning.server.servers import Draft
from planning.server.unplanned import image_name
from planning.stack.fabrics import cards_of, refusal
from settings.problems import Problem
from settings.schema import ModelSettings

# Links between nodes that are common, Gbit/s.
LINKS_GBIT = (10, 25, 100)
# Milliseconds from which a time has no fraction that matters.
WHOLE_MS = 100


def fabric_problems(site: Site, path: str, draft: Draft) -> Iterator[Problem]:
    """An image that lacks what the network needs, so that NCCL would not start, and variables that say otherwise."""
    fabric = draft.fabric
    if fabric is None or fabric.kind == TCP:
        return
    known, pool = site.catalog.fabrics[fabric.kind], f"pool '{draft.pool}' has interconnect {fabric.kind}"
    name = image_name(site, site.catalog.gpus.get(draft.on.gpu))
    lacks = known.image_lacks.get(name)
    if lacks and not _is_own(site, draft.settings, name):
        yield Problem(
            f"{path}.image",
            f"is missing: {pool}, and vLLM's own image has no {lacks}, without which NCCL does not start; name an "
            "image that has them (vLLM's docker/Dockerfile.efa makes one), or use interconnect: tcp",
        )
    for variable, value in draft.settings.env.items():
        decided = known.environment.get(variable)
        if decided not in (None, value) or value in known.contradicts.get(variable, ()):
            fix = "leave it out, or use interconnect: tcp"
            yield Problem(f"{path}.env.{variable}", f"is {value}, and {pool}, with which it cannot be; {fix}")


def _is_own(site: Site, settings: ModelSettings, name: str) -> bool:
    override = site.settings.images.overrides.get(name)  # pyright: ignore[reportArgumentType] - a name is str
    return settings.image is not None or bool(override and override.repository)


def spanning_problems(site: Site, drafts: Sequence[Draft]) -> Iterator[Problem]:
    """Networks between nodes where no replica spans any, and cards of one that nobody uses."""
    for name, pool in site.pools.items():
        written = site.settings.gpu_pools[name]
        inside = [draft for draft in drafts if draft.pool == name]
        names = {key for key, model in site.settings.models.items() if model.pool == name}
        if pool.fabric is None or names - {draft.model_name for draft in inside}:
            continue  # of a server that is not planned nobody knows how many nodes it spans
        spanning = [draft for draft in inside if draft.nodes_per_replica > 1]
        path, none = f"gpuPools.{name}", f"no replica on pool '{name}' spans nodes"
        if not spanning:
            if written.interconnect == pool.fabric.kind != TCP:
                yield Problem(f"{path}.interconnect", f"is {pool.fabric.kind}, and {none}; leave it out")
            if pool.fabric.topology:
                yield Problem(
                    f"{path}.exclusiveTopology", f"is of replicas over several nodes, and {none}; leave it out"
                )
        elif written.interconnect == TCP:
            yield from _unused(site, path, pool, spanning[0])


def _unused(site: Site, path: str, pool: PoolPlan, draft: Draft) -> Iterator[Problem]:
    """Cards of a network that are asked for, while the pool says TCP."""
    platform, provisioning = site.settings.cluster.platform, pool.provisioning.kind
    kinds = {
        kind: (cards, refusal(fabric, platform, provisioning) is None)
        for kind, fabric in site.catalog.fabrics.items()
        if (cards := cards_of(pool.pod_resources, fabric.cards))
    }
    if kinds:
        asked = ", ".join(dict.fromkeys(card for cards, _ in kinds.values() for card in cards))
        usable = " or ".join(kind for kind, (_, here) in kinds.items() if here)
        fix = f"write interconnect: {usable}, or leave {asked} out" if usable else f"leave {asked} out"
        why = (
            f"is tcp, and resources asks for {asked}, so {draft.name} would talk over its nodes by whatever NCCL finds"
        )
        yield Problem(f"{path}.interconnect", f"{why}; {fix}")


def fabric_warnings(catalog: Catalog, pools: Mapping[str, PoolPlan], servers: Sequence[ServerPlan]) -> Iterator[str]:
    """Sentences about networks between nodes, and what TCP costs where there is no other."""
    for name, pool in pools.items():
        inside = [server for server in servers if server.pool == name and server.nodes_per_replica > 1]
        if not inside or pool.fabric is None:
            continue
        if label := pool.fabric.topology:
            most = sum(server.max_replicas for server in inside)
            yield (
                f"pool {name}: a replica over several nodes has one value of the label {label} to itself, so there "
                f"have to be {most}, each on as many nodes as it spans; a replica that finds none waits"
            )
        elif pool.fabric.one_zone:
            yield (
                f"pool {name}: {pool.fabric.name} does not leave a zone, so its nodes have to be of one; else say "
                "exclusiveTopology: topology.kubernetes.io/zone, with which each replica is in a zone of its own"
            )
    yield from _image_warnings(catalog, pools, servers)
    for server in servers:
        if server.fabric and server.fabric.kind == TCP and (cost := _cost(server.fabric.traffic)):
            faster = f"gpuPools.{server.pool}.interconnect names a faster network, where its nodes have one"
            yield f"{server.name}: TCP between its {server.nodes_per_replica} nodes carries {cost}; {faster}"


def _image_warnings(catalog: Catalog, pools: Mapping[str, PoolPlan], servers: Sequence[ServerPlan]) -> Iterator[str]:
    """Sentences about images that nobody here has looked into, and what has to be in them."""
    for server in servers:
        if server.fabric is None or (gpu := catalog.gpus.get(pools[server.pool].gpu)) is None:
            continue
        lacks = catalog.fabrics[server.fabric.kind].image_lacks.get(catalog.vendors[gpu.vendor].image)
        if lacks:
            yield (
                f"{server.name}: its image has to have {lacks}, which nobody here has looked for: without them NCCL "
                f"does not start, as it is told to use {server.fabric.name} and nothing else"
            )


def _cost(sent: Traffic | None) -> str:
    """Bytes between nodes, and the time they take by their number alone; empty: there are none."""
    if sent is None:
        return ""
    parts: list[str] = []
    if sent.stage_bytes:
        links = f", over each of {sent.boundaries} links" if sent.boundaries > 1 else ""
        what = f"from one stage to the next (hidden states and residual){links}"
        parts.append(f"{sent.stage_bytes:,} bytes of each token {what}: {_times(sent, sent.stage_bytes)}")
    if sent.expert_bytes:
        what = "to the experts of other nodes and back"
        parts.append(f"{sent.expert_bytes:,} bytes of each token {what}: {_times(sent, sent.expert_bytes)}")
    elif sent.expert_bytes is None:
        parts.append(f"what its {flags.ALL2ALL_BACKEND} sends to experts of other nodes, which is not counted here")
    return f"{', and '.join(parts)}; latency and the CPU's work come on top" if parts else ""


def _times(sent: Traffic, token_bytes: int) -> str:
    chunk, step = (_milliseconds(tokens * token_bytes) for tokens in (sent.chunk_tokens, sent.sequences))
    rates = _listed([str(rate) for rate in LINKS_GBIT])
    return (
        f"{sent.chunk_tokens:,} tokens of prompts take {chunk} ms at {rates} Gbit/s, a token each of "
        f"{sent.sequences:,} sequences {step} ms"
    )


def _milliseconds(size: int) -> str:
    """Time of so many bytes on each of the links; Gbit/s are 10⁶ bits per ms."""
    times = [size * 8 / (rate * 1e6) for rate in LINKS_GBIT]
    return _listed([f"{time:,.0f}" if time >= WHOLE_MS else f"{time:.3g}" for time in times])


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"
