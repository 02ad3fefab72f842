"""Facts that a reviewer should know although all works: sentences, each about the part it begins with."""

from collections.abc import Iterator, Mapping, Sequence

from catalog.load import Catalog
from planning.own_catalog import own_warnings
from planning.plan.pools import Karpenter, NodeClass, PoolPlan, Shared
from planning.plan.servers import ServerPlan, Timing
from planning.stack.at_zero import at_zero, held_s
from planning.stack.claims import claims_warnings
from planning.stack.cost import nodes_usd_per_hour
from planning.stack.engines import engine_warnings
from planning.stack.mig import mig_warnings
from planning.stack.overlap import shared_nodes
from planning.stack.pod_resources import pod_resource_warnings
from planning.stack.spot import spot_warnings
from settings.schema import ClusterOnly, ModelSettings, StackSettings

# What is idle for less than a cent an hour is a matter of rounding.
LEAST_IDLE_USD = 0.01


def stack_warnings(
    settings: StackSettings, catalog: Catalog, pools: Mapping[str, PoolPlan], servers: Sequence[ServerPlan]
) -> list[str]:
    """Sentences for a reviewer about a stack that works."""
    sentences = [line for server in servers for line in _server_warnings(server, settings.models[server.model_name])]
    if (minor := settings.cluster.kubernetes_minor) > catalog.kubernetes.newest_minor:
        sentences.append(f"cluster: Kubernetes 1.{minor} is newer than what is known of it")
    for name, pool in pools.items():
        inside = [server for server in servers if server.pool == name]
        most = sum(
            server.max_replicas * server.resources.gpus * server.nodes_per_replica
            for server in inside
            if not server.cpu
        )
        if pool.gpus and most > pool.gpus:
            sentences.append(
                f"pool {name}: its servers may ask for {most} {pool.unit}s at their most, it has {pool.gpus}"
            )
        gpu = catalog.gpus.get(pool.gpu)
        if gpu is not None and not pool.claims and (needs := catalog.vendors[gpu.vendor].needs):
            sentences.append(f"pool {name}: {gpu.name} needs {needs}, which the stack does not install")
        match pool.provisioning:
            case Shared():
                sentences.append(
                    f"pool {name}: another stack has its nodes, and pays them: costs here are this stack's part, and "
                    "what others run there is not known, so give as many nodes as this stack may use"
                )
            case Karpenter(node_class=NodeClass(ami_alias=alias)) if alias.endswith("@latest"):
                sentences.append(f"pool {name}: provisioning.amiAlias {alias} moves; name a version")
    match settings.gateway.expose:
        case ClusterOnly() if (host := settings.gateway.host) is not None:
            sentences.append(f"gateway: nothing leads from host {host} to it; give expose, or leave host out")
    sentences += [*pod_resource_warnings(pools, catalog), *spot_warnings(settings, catalog, pools, servers)]
    sentences += [*mig_warnings(pools), *claims_warnings(pools, settings, catalog), *_idle_parts(pools, servers)]
    sentences += [*engine_warnings(servers, catalog), *_shared_cards(servers), *shared_nodes(pools, catalog)]
    return list(dict.fromkeys([*own_warnings(catalog), *sentences]))


def _idle_parts(pools: Mapping[str, PoolPlan], servers: Sequence[ServerPlan]) -> Iterator[str]:
    """A warning for each pool of bought nodes of which the fewest replicas leave a part idle: it is paid for, too."""
    for name, pool in pools.items():
        priced = [(server, server.cost) for server in servers if server.pool == name and server.cost]
        shares = sum(cost.usd_per_hour * server.fewest_replicas for server, cost in priced)
        whole = nodes_usd_per_hour(pool, shares)
        if whole - shares > LEAST_IDLE_USD:
            yield (
                f"pool {name}: nodes are bought whole, so its fewest replicas cost ${whole:.2f}/h, of which "
                f"${whole - shares:.2f} are for what stands idle: use smaller machine types, or more replicas"
            )


def _shared_cards(servers: Sequence[ServerPlan]) -> Iterator[str]:
    """A warning for each pool whose cards have several servers: what one of them does, all of them feel."""
    inside: dict[str, list[str]] = {}
    for server in servers:
        if server.resources.gpu_share is not None:
            inside.setdefault(server.pool, []).append(f"{server.name} {server.resources.gpu_share:g}")
    for pool, parts in inside.items():
        yield (
            f"pool {pool}: its servers share cards ({', '.join(parts)}): nothing keeps them apart, so one that takes "
            "more memory than its share, or brings its card down, fails the others, and a busy one slows them"
        )


def _server_warnings(server: ServerPlan, model: ModelSettings) -> Iterator[str]:
    """Sentences about one server."""
    name = server.name
    if server.rollout.gap_s:
        yield f"{name}: an update stops it for about {_minutes(server.rollout.gap_s)} ({server.rollout.reason})"
    if server.scaling and server.scaling.min_replicas == 0:
        yield f"{name}: a request that finds it at zero {_at_zero(model, server.timing)}"
    if server.nodes_per_replica > 1:
        yield f"{name}: one replica spans {server.nodes_per_replica} nodes; it stops when one of them does"


def _at_zero(model: ModelSettings, timing: Timing) -> str:
    until = f"until it is loaded, about {_minutes(timing.cold_start_s)} later"
    if (longest_s := held_s(model, timing)) is not None:
        return (
            f"waits {until}, and at most {_minutes(longest_s)}; its client must wait as long, and nothing before "
            "the gateway may cut a silent connection: streams get a comment every 15 s, other answers nothing"
        )
    match at_zero(model):
        case "fail":
            return f"gets 503 at once {until}; clients must retry"
        case _ if model.fallbacks:
            return f"is answered by {' or '.join(model.fallbacks)} {until}"
        case _:
            return f"fails {until}; clients must retry, or give it fallbacks, or use scaling.atZero: hold"


def _minutes(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{round(seconds / 60)} min"
