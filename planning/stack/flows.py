"""Ways that a user opens through the network rules: to and from whom, for which pods, and what stays closed.

A rule of Kubernetes names addresses and pods, never a host. Services that hand out credentials are closed to all pods,
however wide a block is written.
"""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network

from catalog.schema import Networks
from planning.plan.flows import Flow
from planning.plan.pods import AddressBlock
from planning.plan.servers import ServerPlan
from planning.plan.weights import WeightsPlan
from planning.stack.network import TRANSLATED
from settings.problems import Problem, nearest
from settings.schema import AddressPeers, ExtraEgress, ExtraIngress, HostPeers, Peers, PodPeers, StackSettings

Network = IPv4Network | IPv6Network
Way = ExtraEgress | ExtraIngress
GATEWAY, DOWNLOADS, EVERY_MODEL, ALL = "gateway", "downloads", "models", "all"
# The shortest prefix of a block that is no large part of the internet, by family: one of 256 parts of it.
WIDE_BELOW = {4: 8, 6: 8}
MAPPED = IPv6Network("::ffff:0:0/96")


def flows_of(settings: StackSettings, workload: str, networks: Networks) -> tuple[Flow, ...]:
    """The ways of one workload: of `gateway`, of `downloads` or of models.NAME."""
    names = {workload, ALL, *([EVERY_MODEL] if workload.startswith(f"{EVERY_MODEL}.") else [])}
    return tuple(_flow(name, way, networks) for _, name, way in _ways(settings) if names.intersection(way.workloads))


def model_flows(settings: StackSettings, model: str, networks: Networks) -> tuple[Flow, ...]:
    """The ways of the servers of one model, its canary among them."""
    return flows_of(settings, f"{EVERY_MODEL}.{model}", networks)


def _ways(settings: StackSettings) -> Iterator[tuple[str, str, Way]]:
    """(path, name, way) of all of them, by name, so that their order in a file changes nothing."""
    for name, way in sorted(settings.network.extra_egress.items()):
        yield f"network.extraEgress.{name}", name, way
    for name, way in sorted(settings.network.extra_ingress.items()):
        yield f"network.extraIngress.{name}", name, way


def _peers(way: Way) -> tuple[str, Peers]:
    match way:
        case ExtraEgress(to=peers):
            return "to", peers
        case ExtraIngress(comes_from=peers):
            return "from", peers


def _flow(name: str, way: Way, networks: Networks) -> Flow:
    ports = tuple((int(port.partition("-")[0]), int(port.rpartition("-")[2])) for port in way.ports)
    outward = isinstance(way, ExtraEgress)
    match _peers(way)[1]:
        case AddressPeers(cidrs=cidrs):
            blocks = tuple(AddressBlock(cidr, _closed_in(cidr, networks) if outward else ()) for cidr in cidrs)
            return Flow(name, outward, ports, way.protocol, blocks)
        case PodPeers(namespace=namespace, pod_labels=labels):
            return Flow(name, outward, ports, way.protocol, (), namespace, dict(sorted(labels.items())))
        case HostPeers():
            return Flow(name, outward, ports, way.protocol)


def _closed_in(cidr: str, networks: Networks) -> tuple[str, ...]:
    """Blocks inside of one that no pod may reach: services with credentials, and addresses where others of them are."""
    block = ip_network(cidr)
    closed = [ip_network(address) for service in networks.metadata_services for address in service.cidrs]
    closed += [net for agent in networks.never_hubs if (net := ip_network(agent.cidr)).is_link_local]
    inside = [net for net in closed if net.version == block.version and net != block and _within(net, block)]
    return tuple(map(str, collapse_addresses(inside)))  # pyright: ignore[reportArgumentType] - of one family


def _within(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # pyright: ignore[reportArgumentType] - the same


def flow_problems(settings: StackSettings, networks: Networks) -> Iterator[Problem]:
    """Ways to or from nobody, to whom nobody may go, and for pods that are none."""
    for path, _, way in _ways(settings):
        end, peers = _peers(way)
        match peers:
            case AddressPeers(cidrs=cidrs):
                for position, cidr in enumerate(cidrs):
                    if why := _unreachable(ip_network(cidr), networks, outward=end == "to"):
                        yield Problem(f"{path}.{end}.cidrs[{position}]", f"{cidr} {why}")
            case PodPeers(namespace=namespace) if namespace == settings.cluster.namespace:
                why = f"{namespace} is the stack's own, and its pods reach each other as they need to"
                yield Problem(f"{path}.{end}.namespace", f"{why}; name another namespace")
            case PodPeers():
                pass
            case HostPeers(names=hosts):
                write = "its addresses with kind: addresses, or let it go through cluster.proxy, which knows names"
                for position, host in enumerate(hosts):
                    why = f"{host} is a name, and a NetworkPolicy knows addresses and pods only; write {write}"
                    yield Problem(f"{path}.{end}.names[{position}]", why)
        yield from _workload_problems(settings, path, way)


def _workload_problems(settings: StackSettings, path: str, way: Way) -> Iterator[Problem]:
    outward = isinstance(way, ExtraEgress)
    known = [ALL, EVERY_MODEL, GATEWAY, *([DOWNLOADS] if outward else [])]
    known += [f"{EVERY_MODEL}.{name}" for name in settings.models]
    for position, workload in enumerate(way.workloads):
        where = f"{path}.workloads[{position}]"
        if workload == DOWNLOADS and not outward:
            yield Problem(where, "downloads are Jobs that nobody asks; leave it out")
        elif workload not in known:
            meant = f"{EVERY_MODEL}.{workload}"
            hint = f"; did you mean '{meant}'?" if meant in known else nearest(workload, known)
            yield Problem(where, f"'{workload}' is no workload of the stack{hint}")


def _unreachable(block: Network, networks: Networks, *, outward: bool) -> str | None:
    """The reason why a block leads nowhere, or where no pod may go."""
    hidden = _as_ipv4(block)
    if hidden and _within(block, MAPPED):
        return f"is of addresses of IPv4; write {hidden}"
    for agent in networks.never_hubs:
        if not ip_network(agent.cidr).is_link_local and _within(block, ip_network(agent.cidr)):
            return f"is {agent.of}; write the addresses of the other side"
    if not outward:
        return None
    for candidate in (block, *([hidden] if hidden else [])):
        for service in networks.metadata_services:
            if any(_within(candidate, ip_network(cidr)) for cidr in service.cidrs):
                return f"leads to the {service.of}, and nothing in the stack may reach it; leave it out"
        if candidate.is_link_local:
            return "is link-local, where clouds have services with credentials; nothing in the stack may reach it"
    return None


def _as_ipv4(block: Network) -> IPv4Network | None:
    """The addresses of IPv4 that a block of translated ones stands for."""
    for prefix in (*TRANSLATED, MAPPED):
        if _within(block, prefix) and block.prefixlen > prefix.prefixlen:
            return IPv4Network((int(block.network_address) & (2**32 - 1), block.prefixlen - prefix.prefixlen))
    return None


def flow_warnings(settings: StackSettings, servers: Sequence[ServerPlan], weights: WeightsPlan) -> Iterator[str]:
    """Ways that open much, that pass by the gateway, and those of nobody."""
    for path, _, way in _ways(settings):
        end, peers = _peers(way)
        if isinstance(peers, AddressPeers) and (wide := _wide(peers.cidrs)):
            whom = "pods may send what they have to anybody there" if end == "to" else "anybody there may ask"
            yield f"{path}: {', '.join(wide)} is a large part of all addresses: {whom}; name those of the other side"
        if isinstance(way, ExtraIngress):
            yield from _passing_by(path, way, servers)
        elif set(way.workloads) == {DOWNLOADS} and not weights.hubs:
            yield f"{path}: the stack downloads nothing, so it opens nothing"


def _wide(cidrs: Sequence[str]) -> list[str]:
    """Blocks that are, put together, a large part of the internet."""
    networks = [ip_network(cidr) for cidr in cidrs]
    every = [
        joined
        for version in (4, 6)
        for joined in collapse_addresses([net for net in networks if net.version == version])  # pyright: ignore[reportArgumentType] - of one family
    ]
    return [str(net) for net in every if net.prefixlen < WIDE_BELOW[net.version] and not net.is_private]


def _passing_by(path: str, way: ExtraIngress, servers: Sequence[ServerPlan]) -> Iterator[str]:
    """Ways to the port that servers answer at, beside the gateway."""
    ranges = [(int(port.partition("-")[0]), int(port.rpartition("-")[2])) for port in way.ports]
    for server in servers:
        names = {ALL, EVERY_MODEL, f"{EVERY_MODEL}.{server.model_name}"}
        port = server.endpoint.port
        if names.intersection(way.workloads) and any(first <= port <= last for first, last in ranges):
            yield (
                f"{path}: leads to port {port} of {server.name} beside the gateway: whoever has the server's own key "
                "is held to no limit and counted nowhere, and its metrics ask for no key"
            )


def leads_to(flows: Sequence[Flow], host: str, port: int | None) -> bool:
    """Whether one of these ways out may lead to a host; of a name alone it cannot be known more of."""
    return any(_leads(flow, host, port) for flow in flows if flow.outward and flow.protocol == "TCP")


def _leads(flow: Flow, host: str, port: int | None) -> bool:
    labels, fits = host.rstrip(".").split("."), port is None or flow.has_port(port)
    if flow.namespace:
        # behind a Service its pods may listen on another port than the Service
        return flow.namespace in labels[1:2]
    try:
        address = ip_address(host)
    except ValueError:
        return fits and "svc" not in labels[2:3]
    return fits and any(
        address in ip_network(block.cidr) and not any(address in ip_network(net) for net in block.excluded)
        for block in flow.blocks
    )
