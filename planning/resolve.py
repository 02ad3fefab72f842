"""`resolve(settings, catalog) -> Plan`: all that follows from a configuration, or every reason why nothing does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from catalog.load import Catalog, Health
from planning.gateway.metrics import kept
from planning.gateway.prices import free_routes
from planning.gateway.routing import gateway
from planning.observe.alerts import alerts
from planning.observe.dashboard import dashboard
from planning.plan import (
    BY_DIGEST,
    BundledRedis,
    Endpoint,
    GatewayPlan,
    ImagePlan,
    Karpenter,
    NodeClass,
    ObservabilityPlan,
    Plan,
    PoolPlan,
    Rollout,
    ServerPlan,
    SharedClaims,
    Watched,
    WeightsPlan,
)
from planning.server.placement import Context
from planning.server.rollout import rollout
from planning.server.room import ceiling, check_room, crowding, floor, furnished, sure_replicas
from planning.server.scaling import adapter_rules, scaling
from planning.server.scratch import server_scratch
from planning.server.servers import Draft, draft, server_name
from planning.stack import known_bad
from planning.stack.images import resolve_images, undigested
from planning.stack.network import hub_egress
from planning.stack.overlap import shared_nodes
from planning.stack.pools import resolve_pools
from planning.stack.releases import namespace_problems, prometheus_url, releases
from planning.stack.timing import server_probes
from planning.stack.weights import apart, gated_warnings, weights
from settings.problems import Problem, Refused
from settings.schema import ClusterOnly, IngressExposure, StackSettings
from settings.validate import NAMED, broken_sections

SCRAPE_INTERVAL_S = 15


def resolve(
    settings: StackSettings | None, catalog: Catalog, problems: Sequence[Problem] = (), *, has_hub_token: bool = False
) -> Plan:
    """Plans a whole stack.

    `has_hub_token`: whether the stack's secrets have a token of the hub; what it is, no plan knows.
    `problems` are those already found in the settings; they are reported together with what planning finds. Raises
    `settings.Refused` with all of them, so the plan that is returned can be deployed.
    """
    found = list(problems)
    if settings is None:
        raise Refused(found)
    catalog = kept(catalog)
    images = resolve_images(settings.images, catalog, found)
    pools = resolve_pools(settings, catalog, images, found)
    context = Context(settings, catalog, pools, images, found)
    drafts = [server for name, model in settings.models.items() for server in draft(context, name, model)]
    checkpoints = apart([server.checkpoint for server in drafts])
    drafts = [replace(server, checkpoint=checkpoints[server.checkpoint.directory]) for server in drafts]
    check_room(context, drafts)
    pools = {name: furnished(pool, drafts) for name, pool in pools.items()}
    url = prometheus_url(settings)
    servers = tuple(_server(context, item, drafts, url) for item in drafts)
    planned_gateway = gateway(settings, servers, images, catalog.networks, found)
    rules = alerts(settings, catalog, servers, found)
    adapter = adapter_rules(catalog, servers) if settings.autoscaling.driver == "hpa" else ()
    planned_releases = releases(settings, catalog, list(pools.values()), servers, adapter, found)
    found += namespace_problems(settings, catalog)
    found += _version_problems(settings, catalog)
    egress = hub_egress(settings.weights.hub, catalog.networks, settings.cluster.namespace, found)
    planned_weights = weights(settings.weights, [server.checkpoint for server in servers], images["vllm-cpu"], egress)
    used = {image.reference: image for image in _images(servers, planned_gateway, planned_weights, pools)}
    if settings.images.require_digests:
        found += undigested(used.values())
    if found:
        # what follows from a section that is broken is no fault of its own
        broken = broken_sections(problems) - set(NAMED)
        raise Refused([*problems, *(p for p in found[len(problems) :] if p.path.partition(".")[0] not in broken)])
    unpinned = sorted(image.reference for image in used.values() if not image.pinned)
    return Plan(
        context=settings.cluster.context,
        cluster_identifier=settings.cluster.identifier,
        kubernetes=settings.cluster.kubernetes,
        namespace=settings.cluster.namespace,
        pools=pools,
        weights=planned_weights,
        servers=servers,
        gateway=planned_gateway,
        observability=ObservabilityPlan(
            release=settings.observability.release,
            namespace=settings.observability.namespace,
            prometheus_url=url,
            server_ports=planned_gateway.server_ports,
            scrape_interval_s=SCRAPE_INTERVAL_S,
            runbook_url=settings.observability.runbook_url,
            alerts=rules,
            dashboard=dashboard(catalog, settings.cluster.namespace),
            adapter_rules=adapter,
        ),
        releases=planned_releases,
        images=tuple(used.values()),
        unpinned=tuple(unpinned + _unpinned_weights(servers)),
        warnings=(
            *_warnings(settings, catalog, pools, servers),
            *(
                f"{route.server}: its tokens are charged at zero, so no budget ends; "
                f"give models.{route.model_name}.priceUsdPerMillionTokens"
                for route in free_routes(planned_gateway.routes)
            ),
            *crowding(pools, drafts),
            *known_bad.warnings(used.values(), planned_releases, catalog),
            *gated_warnings(planned_weights.checkpoints, settings.weights, has_token=has_hub_token),
        ),
    )


def _version_problems(settings: StackSettings, catalog: Catalog) -> list[Problem]:
    """A Kubernetes that does not exist; the one after the newest that is known may, by the time this is read."""
    wanted, newest = _minor(settings.cluster.kubernetes), catalog.engines["kubernetes"].newest_minor
    if wanted <= newest + 1:
        return []
    return [Problem("cluster.kubernetes", f'"1.{wanted}" is not known; the newest version that is, is "1.{newest}"')]


def _minor(version: str) -> int:
    """36 of 1.36."""
    return int(version.partition(".")[2])


def _images(
    servers: Sequence[ServerPlan],
    planned_gateway: GatewayPlan,
    planned_weights: WeightsPlan,
    pools: Mapping[str, PoolPlan],
) -> Iterator[ImagePlan]:
    """The images that are really pulled."""
    yield from (server.image for server in servers)
    yield planned_gateway.image
    if isinstance(planned_weights.source, SharedClaims):
        yield planned_weights.source.image
    if isinstance(planned_gateway.redis, BundledRedis):
        yield planned_gateway.redis.image
    yield from (pool.verification.image for pool in pools.values() if pool.verification)


def _unpinned_weights(servers: Sequence[ServerPlan]) -> list[str]:
    return sorted({f"{s.checkpoint.model}@{s.checkpoint.revision}" for s in servers if not s.checkpoint.pinned})


def _server(context: Context, item: Draft, drafts: Sequence[Draft], url: str) -> ServerPlan:
    others = [other for other in drafts if other.pool.name == item.pool.name and other is not item]
    plan = _rollout(item, sure_replicas(item, others))
    watched = Watched(
        item.name,
        context.settings.cluster.namespace,
        item.nodes_per_replica,
        item.max_num_seqs * item.parallelism.data,
    )
    scaled = None
    if not item.canary:
        scaled = scaling(
            item.model_name,
            item.settings,
            context.settings,
            context.catalog,
            item.timing,
            watched,
            url,
            context.problems,
        )
    return ServerPlan(
        name=item.name,
        model_name=item.model_name,
        model=item.model,
        pool=item.pool.name,
        canary=item.canary,
        weight=item.weight,
        image=item.image,
        endpoint=_endpoint(context.catalog.engines["vllm"].health),
        cpu=item.pool.resource_name is None,
        nodes_per_replica=item.nodes_per_replica,
        parallelism=item.parallelism,
        memory=item.memory,
        max_num_seqs=item.max_num_seqs,
        checkpoint=item.checkpoint,
        args=item.args,
        env=item.env,
        resources=item.resources,
        scratch=server_scratch(item.resources),
        timing=item.timing,
        probes=server_probes(item.timing),
        rollout=plan,
        replicas=floor(item),
        max_replicas=ceiling(item),
        scaling=scaled,
        cost=item.cost,
        replaces=server_name(item.settings.replaces, canary=item.canary) if item.settings.replaces else None,
        watched=watched,
        reasons={
            **item.reasons,
            **({"scaling": scaled.reason} if scaled else {}),
            "rollout": plan.reason,
        },
    )


def _endpoint(health: Health) -> Endpoint:
    """What the engine's file says of its servers."""
    return Endpoint(health.port, health.path, health.api_key_env, health.address_env, health.litellm_provider)


def _rollout(item: Draft, room: int) -> Rollout:
    """`room`: replicas of this server that surely find a place."""
    load_s = item.timing.prewarm_s + item.timing.expected_start_s
    if not item.gpus:
        return rollout(gpus_per_replica=0, max_replicas=ceiling(item), gpus_free=0, load_s=load_s, cpu_slots=room)
    free = room * item.gpus
    plan = rollout(gpus_per_replica=item.gpus, max_replicas=ceiling(item), gpus_free=free, load_s=load_s)
    if item.nodes_per_replica == 1 or plan.max_surge == 0 or plan.max_unavailable == 0:
        return plan
    # a LeaderWorkerSet knows no rounding that would serve both a full and a roomy pool
    gap_s = load_s if floor(item) == 1 else 0
    return Rollout(0, 1, gap_s, "a group of nodes is replaced in place, one at a time")


def _warnings(
    settings: StackSettings, catalog: Catalog, pools: dict[str, PoolPlan], servers: Sequence[ServerPlan]
) -> list[str]:
    """What works, but a reviewer should know."""
    engine = catalog.engines["vllm"].version
    said = [
        line
        for server in servers
        for line in _server_warnings(server, engine, settings.models[server.model_name].fallbacks)
    ]
    if (minor := _minor(settings.cluster.kubernetes)) > catalog.engines["kubernetes"].newest_minor:
        said.append(f"cluster: Kubernetes 1.{minor} is newer than what is known of it")
    for name, pool in pools.items():
        inside = [server for server in servers if server.pool == name]
        most = sum(server.max_replicas * server.parallelism.gpus for server in inside if not server.cpu)
        if pool.gpus and most > pool.gpus:
            said.append(f"pool {name}: its servers may ask for {most} GPUs at their most, it has {pool.gpus}")
        match pool.provisioning:
            case Karpenter(node_class=NodeClass(ami_alias=alias)) if alias.endswith("@latest"):
                said.append(f"pool {name}: provisioning.amiAlias {alias} moves; name a version")
    if isinstance(settings.gateway.expose, ClusterOnly) and settings.gateway.host is not None:
        said.append(f"gateway: nothing leads from host {settings.gateway.host} to it; give expose, or leave host out")
    if isinstance(settings.gateway.expose, IngressExposure) and settings.gateway.expose.tls_secret is None:
        said.append("gateway: the Ingress declares no TLS; give expose.tlsSecret, or end TLS in front of it")
    return list(dict.fromkeys([*said, *shared_nodes(pools, catalog.gpus)]))


def _server_warnings(server: ServerPlan, engine: str, fallbacks: Sequence[str]) -> Iterator[str]:
    """The same for one server; `engine`: the vLLM version its arguments were checked for; `fallbacks`: who answers."""
    name = server.name
    if server.rollout.gap_s:
        yield f"{name}: an update stops it for about {_minutes(server.rollout.gap_s)} ({server.rollout.reason})"
    if server.scaling and server.scaling.min_replicas == 0:
        until = f"until it is loaded, about {_minutes(server.timing.cold_start_s)} later"
        if fallbacks:
            yield f"{name}: a request that finds it at zero is answered by {' or '.join(fallbacks)} {until}"
        else:
            yield f"{name}: a request that finds it at zero fails {until}; clients must retry, or give it fallbacks"
    if server.nodes_per_replica > 1:
        yield f"{name}: one replica spans {server.nodes_per_replica} nodes; it stops when one of them does"
    version = server.image.version.removeprefix("v").partition("-")[0]
    if version not in (engine, BY_DIGEST):
        yield f"{name}: its arguments were checked against vLLM {engine}, the image is {version}"


def _minutes(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{round(seconds / 60)} min"
