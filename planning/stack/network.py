"""Targets that pods may connect to beyond their own stack: in the cluster, in a private network, on the internet.

NetworkPolicies see a connection after its Service has been replaced by a pod, with the pod's port, and some network
plugins (Cilium) never take a pod for an address. So what is inside the cluster is let through by namespace, and what is
not by address. Services that hand out credentials (`catalog/networks.yaml`) are left out of every block.
"""

import re
from collections.abc import Iterator
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, collapse_addresses, ip_address, ip_network
from itertools import islice
from socket import inet_aton
from typing import Protocol
from urllib.parse import urlsplit

from catalog.schema import Networks
from planning.plan.pods import AddressBlock, EgressRule, EveryNamespace
from settings.problems import Problem

Address = IPv4Address | IPv6Address

HTTPS_PORT = 443
# Ports distributions give the API server, which has no label to select it by.
API_SERVER_PORTS = (443, 6443, 8443, 16443)
EVERYWHERE = ("0.0.0.0/0", "::/0")
PRIVATE_SUFFIXES = (".local", ".internal", ".lan", ".corp", ".intra", ".home.arpa")
HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
# Prefixes whose last 32 bits are an IPv4 address: compatible and translated (RFC 4291, 2765), NAT64 (RFC 6052).
TRANSLATED = tuple(IPv6Network(prefix) for prefix in ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96"))
QUAD = re.compile(r"(?<!\d)(\d{1,3})[.-](\d{1,3})[.-](\d{1,3})[.-](\d{1,3})(?!\d)")


def blocks(networks: Networks, *, private: bool) -> tuple[AddressBlock, ...]:
    """Every address of both families but metadata services, link-local ones and, unless `private`, private networks."""
    services = [cidr for service in networks.metadata_services for cidr in service.cidrs]
    closed = [] if private else [network.cidr for network in networks.private_networks]
    return _all_but((*services, *closed), tuple(agent.cidr for agent in networks.never_hubs))


@cache
def _all_but(cidrs: tuple[str, ...], link_local_of: tuple[str, ...]) -> tuple[AddressBlock, ...]:
    """Every address of both families outside of `cidrs`, and of those in `link_local_of` that are link-local."""
    closed = [ip_network(cidr) for cidr in cidrs]
    closed += [net for cidr in link_local_of if (net := ip_network(cidr)).is_link_local]
    return tuple(
        AddressBlock(cidr, tuple(map(str, collapse_addresses([net for net in closed if net.version == version]))))  # pyright: ignore[reportArgumentType]
        for cidr, version in zip(EVERYWHERE, (4, 6), strict=True)
    )


def anywhere(networks: Networks, port: int, host: str | None = None) -> tuple[EgressRule, ...]:
    """Rules towards something of somebody else's, in the cluster or out of it, that listens on `port`.

    `host`: its name where it is known; behind a Service its pods may listen on another port than the Service.
    """
    rule = EgressRule(blocks(networks, private=True), EveryNamespace(), (port,))
    namespace = _service_namespace(host.rstrip(".").split(".")) if host else None
    return (EgressRule(namespaces=(namespace,)), rule) if namespace else (rule,)


class HasEndpoint(Protocol):
    """The fields of somebody else's server, be it a hub or a store, that rules are made of."""

    @property
    def endpoint(self) -> str | None:
        """Its URL; None: the well-known one on the internet."""

    @property
    def private(self) -> bool | None:
        """Whether it is in a private network; None: as its name says."""

    @property
    def pod_port(self) -> int | None:
        """Port of the pods behind a Service."""


def endpoint_problems(at: HasEndpoint, path: str, networks: Networks, namespace: str, kind: str) -> Iterator[Problem]:
    """The reason why no rule can lead to it, or none may. `namespace`: the stack's own; `kind`: hub or store."""
    if at.endpoint is not None:
        for fault in islice(_faults(at, host_of(at.endpoint), networks, namespace, kind), 1):
            yield Problem(f"{path}.endpoint", f'"{at.endpoint}" {fault}')


def endpoint_egress(hub: HasEndpoint, networks: Networks, *, forwards: bool = True) -> tuple[EgressRule, ...]:
    """Rules towards one that has no faults; `forwards`: whether it sends clients on to others, which hubs do."""
    if hub.endpoint is None and hub.private:
        return (EgressRule(blocks(networks, private=True), (), (HTTPS_PORT,)),)
    if hub.endpoint is None:
        return (EgressRule(blocks(networks, private=False), (), (HTTPS_PORT,)),)
    parts, host = urlsplit(hub.endpoint), host_of(hub.endpoint)
    ports = {parts.port or (HTTPS_PORT if parts.scheme == "https" else 80)} | ({HTTPS_PORT} if forwards else set())
    pods = {hub.pod_port} if hub.pod_port else set()
    service = _service_namespace(host.split("."))
    if service:
        inside = EgressRule(namespaces=(service,), ports=tuple(pods))
        return inside, EgressRule(blocks(networks, private=True), (), tuple(sorted(ports)))
    if is_private(hub, host):
        return (EgressRule(blocks(networks, private=True), EveryNamespace(), tuple(sorted(ports | pods))),)
    return (EgressRule(blocks(networks, private=False), (), tuple(sorted(ports))),)


def host_of(endpoint: str) -> str:
    """The host in a URL, without the dot at its end."""
    return (urlsplit(endpoint).hostname or "").rstrip(".")


def is_inside(hub: HasEndpoint) -> bool:
    """Whether it is in the cluster or in a private network, so that no proxy leads there."""
    if hub.endpoint is None:
        return bool(hub.private)
    host = host_of(hub.endpoint)
    return _service_namespace(host.split(".")) is not None or is_private(hub, host)


def is_private(hub: HasEndpoint, host: str) -> bool:
    """Whether a mirror is inside a private network: as it is said, or by its address or name."""
    if hub.private is not None:
        return hub.private
    address = _literal(host)
    return not address.is_global if address else host.endswith(PRIVATE_SUFFIXES)


def _faults(hub: HasEndpoint, host: str, networks: Networks, namespace: str, kind: str) -> Iterator[str]:
    """Reasons why nothing may or can go there, with what to write."""
    yield from _forbidden(host, networks, kind)
    literal, labels = _literal(host), host.split(".")
    if literal is None:
        yield from _misnamed(host, labels, namespace)
        if hub.private is None and len(labels) == 2 and not _is_public_end(labels[1], networks):
            yield (
                f"may be the Service {labels[0]} of the namespace {labels[1]}, or a host; write {host}.svc, or say "
                "private: true or false"
            )
    inside = _service_namespace(labels) if literal is None else not literal.is_global
    if hub.private is False and inside:
        yield "is inside a private network, which private: false keeps closed; leave private out"


def _forbidden(host: str, networks: Networks, kind: str) -> Iterator[str]:
    """Addresses that nothing in the stack may reach, or where no hub or store can be."""
    for address in _addresses(host):
        for service in networks.metadata_services:
            if any(address in ip_network(cidr) for cidr in service.cidrs):
                yield f"leads to {address}, the {service.of}; no {kind} is there, and nothing in the stack may reach it"
        for closed in networks.never_hubs:
            if address in ip_network(closed.cidr):
                yield f"leads to {address}, which is {closed.of}; name the host of the {kind}"
    for service in networks.metadata_services:
        if host in service.names:
            yield f"names the {service.of}; no {kind} is there, and nothing in the stack may reach it"
    if host == "localhost" or host.endswith(".localhost"):
        yield f"leads to the pod itself; name the host of the {kind}"


def _misnamed(host: str, labels: list[str], namespace: str) -> Iterator[str]:
    """Faults of what is no name of a host, or one that means something else elsewhere."""
    if address := _odd_literal(host):
        yield f"is {address} to some programs and a name to others; write that address"
    elif not HOST_NAME.fullmatch(host) or labels[-1].isdecimal():
        yield "names no host; write one as in https://hub.example.com, an international one as xn--…"
    elif "svc" in labels[:2]:
        yield "names no namespace; write http://NAME.NAMESPACE.svc"
    elif len(labels) == 1:
        yield (
            f"is a Service of {namespace}, where nothing but the stack may be, or needs a search domain; write the "
            f"whole name, such as {host}.NAMESPACE.svc"
        )


def _is_public_end(label: str, networks: Networks) -> bool:
    return len(label) == 2 or label in networks.public_ends.names or f".{label}" in PRIVATE_SUFFIXES


def _service_namespace(labels: list[str]) -> str | None:
    """Namespace in a Service's name, with or without the cluster's domain: name.NAMESPACE.svc[.cluster.local]."""
    for position in range(2, len(labels)):
        if labels[position] == "svc" and labels[position - 1] != "svc":
            return labels[position - 1]
    return None


def _literal(host: str) -> Address | None:
    """The address that a host is written as; one of IPv4 in IPv6's clothes is that of IPv4, as the kernel has it."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _odd_literal(host: str) -> IPv4Address | None:
    """The address that C libraries read from fewer than four numbers, or from octal and hexadecimal ones."""
    if not re.fullmatch(r"[0-9a-fx]+(\.[0-9a-fx]+){0,3}", host) or not host[:1].isdigit():
        return None
    try:
        return IPv4Address(inet_aton(host))
    except OSError:
        return None


def _addresses(host: str) -> Iterator[Address]:
    """Every address that a host is, hides or, for DNS that answers with what it is asked for, names."""
    addresses = [address for address in (_literal(host), _odd_literal(host)) if address]
    if not addresses:
        addresses += [address for quad in QUAD.findall(host) if (address := _literal(".".join(map(_plain, quad))))]
        labels = host.split(".")
        addresses += [IPv4Address(int(label, 16)) for label in labels if re.fullmatch(r"[0-9a-f]{8}", label)]
        addresses += [address for label in labels if "-" in label and (address := _literal(label.replace("-", ":")))]
    for address in addresses:
        yield address
        if isinstance(address, IPv6Address):
            yield from (hidden for hidden in (address.sixtofour, (address.teredo or (None, None))[1]) if hidden)
            if any(address in prefix for prefix in TRANSLATED) and address.packed[:15] != bytes(15):
                yield IPv4Address(address.packed[12:])


def _plain(number: str) -> str:
    """Without the leading zeros that make an address ambiguous."""
    return str(int(number))
