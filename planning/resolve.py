"""`resolve(settings, catalog) -> Plan`: all that follows from a configuration, or every reason why nothing does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from catalog.load import Catalog
from planning.gateway.metrics import kept
from planning.gateway.prices import free_warnings
from planning.gateway.routing import resolve_gateway
from planning.observe.alerts import alert_rules
from planning.observe.dashboard import draw_dashboard
from planning.plan import (
    BundledRedis,
    GatewayPlan,
    ImagePlan,
    ObservabilityPlan,
    Plan,
    PoolPlan,
    ServerPlan,
    WeightsPlan,
)
from planning.server.complete import complete_server
from planning.server.fit import Site
from planning.server.room import check_room, crowding, furnished
from planning.server.scaling import adapter_rules
from planning.server.servers import draft_servers
from planning.stack import known_bad
from planning.stack.images import resolve_images, undigested
from planning.stack.pools import resolve_pools
from planning.stack.releases import namespace_problems, prometheus_url, resolve_releases, version_problems
from planning.stack.weights import apart, gated_warnings, resolve_weights, weights_problems
from planning.warnings import warnings
from settings.problems import Problem, Refused
from settings.schema import StackSettings
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
    site = Site(settings, catalog, pools, images, found)
    drafts = [server for name, model in settings.models.items() for server in draft_servers(site, name, model)]
    checkpoints = apart([server.checkpoint for server in drafts])
    drafts = [replace(server, checkpoint=checkpoints[server.checkpoint.source]) for server in drafts]
    check_room(site, drafts)
    pools = {name: furnished(pool, drafts) for name, pool in pools.items()}
    url = prometheus_url(settings)
    servers = tuple(complete_server(site, item, drafts, url) for item in drafts)
    gateway = resolve_gateway(settings, servers, images, catalog.networks, found)
    rules = alert_rules(settings, catalog, servers, found)
    adapter = adapter_rules(catalog, servers) if settings.autoscaling.driver == "hpa" else ()
    operators = resolve_releases(settings, catalog, list(pools.values()), servers, adapter, found)
    found += namespace_problems(settings, catalog)
    found += version_problems(settings, catalog)
    found += weights_problems(settings.weights, catalog.networks, settings.cluster.namespace)
    held = [server.checkpoint for server in servers]
    fetched = resolve_weights(settings.weights, held, images["vllm-cpu"], catalog.networks)
    used = {image.reference: image for image in _images(servers, gateway, fetched, pools)}
    if settings.images.require_digests:
        found += undigested(used.values())
    _refuse(problems, found)
    unpinned = sorted(image.reference for image in used.values() if not image.pinned)
    return Plan(
        context=settings.cluster.context,
        cluster_identifier=settings.cluster.identifier,
        kubernetes=settings.cluster.kubernetes,
        namespace=settings.cluster.namespace,
        pools=pools,
        weights=fetched,
        servers=servers,
        gateway=gateway,
        observability=ObservabilityPlan(
            release=settings.observability.release,
            namespace=settings.observability.namespace,
            prometheus_url=url,
            server_ports=gateway.server_ports,
            scrape_interval_s=SCRAPE_INTERVAL_S,
            runbook_url=settings.observability.runbook_url,
            alerts=rules,
            dashboard=draw_dashboard(catalog, settings.cluster.namespace, servers),
            adapter_rules=adapter,
        ),
        releases=operators,
        images=tuple(used.values()),
        unpinned=tuple(unpinned + _unpinned_weights(servers)),
        warnings=(
            *warnings(settings, catalog, pools, servers),
            *free_warnings(gateway.routes),
            *crowding(pools, drafts),
            *known_bad.warnings(used.values(), operators, catalog),
            *gated_warnings(fetched, has_token=has_hub_token),
        ),
    )


def _refuse(said: Sequence[Problem], found: Sequence[Problem]) -> None:
    """Raises `Refused` when something was found; `said`, which it begins with, was found before the plan was made."""
    if found:
        # what follows from a section that is broken is no fault of its own
        broken = broken_sections(said) - set(NAMED)
        raise Refused([*said, *(p for p in found[len(said) :] if p.path.partition(".")[0] not in broken)])


def _images(
    servers: Sequence[ServerPlan],
    gateway: GatewayPlan,
    fetched: WeightsPlan,
    pools: Mapping[str, PoolPlan],
) -> Iterator[ImagePlan]:
    """The images that are really pulled."""
    yield from (server.image for server in servers)
    yield gateway.image
    if fetched.hub is not None:
        yield fetched.hub.image
    if isinstance(gateway.redis, BundledRedis):
        yield gateway.redis.image
    yield from (pool.verification.image for pool in pools.values() if pool.verification)


def _unpinned_weights(servers: Sequence[ServerPlan]) -> list[str]:
    return sorted({f"{s.checkpoint.model}@{s.checkpoint.revision}" for s in servers if not s.checkpoint.pinned})
