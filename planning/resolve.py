"""`resolve(settings, catalog) -> Plan`: all that follows from a configuration, or every reason why nothing does."""

from collections.abc import Sequence

from catalog.load import Catalog
from planning.gateway.metrics import restrict_metrics
from planning.gateway.routing import gateway_warnings, resolve_gateway
from planning.observe.observability import resolve_observability
from planning.overrides import override_problems, override_warnings
from planning.own_catalog import own_problems
from planning.plan import Plan
from planning.plan.gateway import GatewayPlan
from planning.plan.pods import ImagePlan
from planning.plan.servers import ServerPlan
from planning.plan.weights import WeightsPlan
from planning.server.between_nodes import fabric_warnings, spanning_problems
from planning.server.claim_modes import mode_problems, reader_warnings
from planning.server.complete import complete_servers
from planning.server.drafts import draft_servers
from planning.server.effects import option_warnings
from planning.server.fit import Site
from planning.server.kept_cache import claim_of
from planning.server.pre_pull import plan_pre_pulls
from planning.server.room import add_node_needs, crowding, room_problems
from planning.server.scaling import adapter_rules
from planning.server.servers import Draft
from planning.stack import known_bad
from planning.stack.chart_values import chart_warnings
from planning.stack.cluster import cluster_problems, dns_plan
from planning.stack.flows import flow_warnings
from planning.stack.images import digest_problems, resolve_images, used_images
from planning.stack.mig import with_parts
from planning.stack.pools import resolve_pools
from planning.stack.releases import prometheus_url, resolve_releases
from planning.stack.storage import stored
from planning.stack.weights import gated_warnings, resolve_weights, weights_problems
from planning.warnings import stack_warnings
from settings.doubt import judge, judged
from settings.problems import Problem, Refused
from settings.schema import StackSettings


def resolve_stack(
    settings: StackSettings | None, catalog: Catalog, problems: Sequence[Problem] = (), *, has_hub_token: bool = False
) -> Plan:
    """Plans a whole stack.

    `has_hub_token`: whether the stack's secrets have a token of the hub; what it is, no plan knows.
    `problems` are those already found in the settings; they are reported together with what planning finds. Raises
    `settings.Refused` with all of them, so the plan that is returned can be deployed.
    """
    if settings is None:
        raise Refused([*problems, *own_problems(catalog)])
    catalog, cluster = restrict_metrics(catalog), settings.cluster
    images, of_images = judged(resolve_images, settings.images, cluster.platform, catalog)
    pools, of_pools = judged(resolve_pools, settings, catalog, images)
    site = Site(settings, catalog := with_parts(catalog, pools), pools, images)
    drafts, of_drafts = judged(draft_servers, site)
    pools = {name: add_node_needs(pool, drafts, catalog) for name, pool in pools.items()}
    url = prometheus_url(settings)
    servers, of_servers = judged(complete_servers, site, drafts, url)
    gateway, of_gateway = judged(resolve_gateway, settings, servers, images, catalog)
    adapter = adapter_rules(catalog, servers) if settings.autoscaling.driver == "hpa" else ()
    watched, of_watched = judged(resolve_observability, settings, catalog, servers, gateway.server_ports, adapter, url)
    releases, of_releases = judged(resolve_releases, settings, catalog, list(pools.values()), servers, adapter)
    weights = resolve_weights(settings, [file for server in servers for file in server.checkpoints], catalog.networks)
    cache = claim_of(settings.compile_cache)
    pulls, of_pulls = judged(plan_pre_pulls, settings.images, pools, servers)
    used = used_images(servers, gateway, weights, pools)
    new_problems = of_images + of_pools + of_drafts + _room_problems(site, drafts) + of_servers + of_gateway
    new_problems += of_watched + of_releases + _stack_problems(site) + of_pulls
    _refuse([*problems, *own_problems(catalog), *new_problems, *_late_problems(settings, servers, gateway, used)])
    return Plan(
        context=cluster.context,
        cluster_identifier=cluster.identifier,
        kubernetes=cluster.kubernetes,
        namespace=cluster.namespace,
        takes_over=cluster.take_over,
        dns=dns_plan(cluster, catalog),
        pools=pools,
        weights=weights,
        compile_cache=cache,
        pre_pulls=pulls,
        storage=stored(weights, servers, pools, cache, gateway),
        servers=servers,
        gateway=gateway,
        observability=watched,
        releases=releases,
        images=used,
        unpinned=_unpinned(used, servers),
        warnings=(
            *stack_warnings(settings, catalog, pools, servers),
            *[*option_warnings(servers, catalog), *gateway_warnings(settings, gateway, catalog)],
            *[*crowding(pools, drafts), *fabric_warnings(catalog, pools, servers)],
            *known_bad.version_warnings(used, releases, catalog),
            *chart_warnings(settings, releases, weights.hubs, catalog),
            *reader_warnings(site, drafts),
            *_yours(settings, servers, weights),
            *gated_warnings(weights, has_token=has_hub_token),
        ),
        overrides=settings.overrides,
    )


def _late_problems(
    settings: StackSettings, servers: Sequence[ServerPlan], gateway: GatewayPlan, used: Sequence[ImagePlan]
) -> list[Problem]:
    """Problems of what is looked at once all is planned: patches, and images without a digest."""
    patched = judge(override_problems, settings, servers, gateway)
    return patched + judge(digest_problems, used, settings.images)


def _yours(settings: StackSettings, servers: Sequence[ServerPlan], weights: WeightsPlan) -> list[str]:
    """Warnings of what a user opened or changed beside all settings."""
    return [*flow_warnings(settings, servers, weights), *override_warnings(settings)]


def _room_problems(site: Site, drafts: Sequence[Draft]) -> list[Problem]:
    """Servers that find no place, on nodes or on claims."""
    of_nodes = judge(spanning_problems, site, drafts)
    return judge(room_problems, site, drafts) + judge(mode_problems, site, drafts) + of_nodes


def _stack_problems(site: Site) -> list[Problem]:
    """Problems of the cluster and of the weights, whoever is served."""
    settings = site.settings
    return judge(cluster_problems, settings, site.catalog) + judge(weights_problems, settings, site.keeping)


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise Refused(problems)


def _unpinned(images: Sequence[ImagePlan], servers: Sequence[ServerPlan]) -> tuple[str, ...]:
    """Images that no digest pins, and checkpoints that no commit does."""
    checkpoints = [checkpoint for server in servers for checkpoint in server.checkpoints]
    moving = {f"{checkpoint.model}@{checkpoint.revision}" for checkpoint in checkpoints if not checkpoint.pinned}
    return *sorted(image.reference for image in images if not image.pinned), *sorted(moving)
