"""What the rendered NetworkPolicies let through: hubs of every kind, and no service that hands out credentials.

Judged by the semantics of the API (`tests.kubernetes_rules.connects`), as the strictest network plugin has them. Does
not prove what a plugin does, nor which address a name has.
"""

from itertools import product
from typing import Any

import pytest

from catalog import load_catalog
from tests.harness import minimal, pods, refusals, stack
from tests.kubernetes_rules import Inside, connects
from tests.stacks.test_invariants import EVERY, rendered

NETWORKS = load_catalog().networks
METADATA = [cidr.partition("/")[0] for service in NETWORKS.metadata_services for cidr in service.cidrs]
PUBLIC, PUBLIC_6 = "203.0.114.7", "2a00:1450::7"
PRIVATE, SHARED, PRIVATE_6 = "10.1.2.3", "100.64.1.2", "fd00::1"
HUB, OTHER = Inside("hub"), Inside("elsewhere")
WHERE = {"public": PUBLIC, "public6": PUBLIC_6, "private": PRIVATE, "shared": SHARED, "private6": PRIVATE_6}
WHERE |= {"hub": HUB, "other": OTHER, "own": Inside("llm-serving")}
PORTS = (53, 80, 443, 8080, 8443)
INTERNET, EVERYWHERE = ("public", "public6"), tuple(WHERE)
OUTSIDE = ("public", "public6", "private", "shared", "private6")


def through(names: tuple[str, ...], *ports: int) -> set[tuple[str, int]]:
    """These destinations on these ports."""
    return set(product(names, ports))


HUBS: list[tuple[dict[str, Any], set[tuple[str, int]]]] = [
    ({}, through(INTERNET, 443)),
    ({"kind": "modelscope"}, through(INTERNET, 443)),
    ({"endpoint": "https://hf-mirror.com"}, through(INTERNET, 443)),
    ({"endpoint": "http://hf-mirror.com"}, through(INTERNET, 80, 443)),
    ({"endpoint": "https://203.0.114.7:8443/hf"}, through(INTERNET, 443, 8443)),
    ({"endpoint": "https://[2a00:1450::7]:8443"}, through(INTERNET, 443, 8443)),
    ({"endpoint": "https://hub.example.com", "private": True}, through(EVERYWHERE, 443)),
    ({"endpoint": "https://10.1.2.3"}, through(EVERYWHERE, 443)),
    ({"endpoint": "http://10.1.2.3:8080", "podPort": 8443}, through(EVERYWHERE, 443, 8080, 8443)),
    ({"endpoint": "http://100.64.1.2"}, through(EVERYWHERE, 80, 443)),
    ({"endpoint": "https://[fd00::1]:8443"}, through(EVERYWHERE, 443, 8443)),
    ({"endpoint": "https://[::ffff:10.1.2.3]:8443"}, through(EVERYWHERE, 443, 8443)),
    ({"endpoint": "http://hub.corp:8080"}, through(EVERYWHERE, 443, 8080)),
    ({"endpoint": "http://hub.models", "private": True}, through(EVERYWHERE, 80, 443)),
    ({"endpoint": "http://mirror.hub.svc"}, through(("hub",), *PORTS) | through(OUTSIDE, 80, 443)),
    ({"endpoint": "http://mirror.hub.svc", "private": True}, through(("hub",), *PORTS) | through(OUTSIDE, 80, 443)),
    ({"endpoint": "http://mirror.hub.svc.:8080"}, through(("hub",), *PORTS) | through(OUTSIDE, 443, 8080)),
    ({"endpoint": "http://mirror.hub.svc.cluster.local/x"}, through(("hub",), *PORTS) | through(OUTSIDE, 80, 443)),
    ({"endpoint": "https://a.mirror.hub.svc.corp.example"}, through(("hub",), *PORTS) | through(OUTSIDE, 443)),
    ({"endpoint": "http://mirror.hub.svc", "podPort": 8080}, through(("hub",), 8080) | through(OUTSIDE, 80, 443)),
]


@pytest.mark.parametrize(("hub", "expected"), HUBS, ids=lambda value: str(value) if isinstance(value, dict) else "")
def test_downloads_reach_their_hub_wherever_it_is_and_no_more(hub: dict[str, Any], expected: set) -> None:
    """By namespace inside the cluster, on the pod's port; by address outside, in both families; DNS beside it."""
    deployed = stack(minimal(weights={"hub": hub}))
    policies = deployed.objects("NetworkPolicy")
    job = next(pod for pod in pods(deployed) if pod.labels["app.kubernetes.io/name"] == "model-weights")
    found = {(name, port) for name, where in WHERE.items() for port in PORTS if connects(policies, job, where, port)}
    assert found == expected
    assert connects(policies, job, Inside("kube-system"), 53)
    assert [
        where for where in METADATA if any(connects(policies, job, where, port) for port in range(1, 65536, 1))
    ] == []


@EVERY
def test_nothing_reaches_a_service_that_hands_out_credentials(name: str) -> None:
    """No pod on the ports they have, but a server that shows its store who it is asks the one that says so.

    The verification Job asks the API server at any address, on ports of its own.
    """
    deployed = rendered(name)
    policies = deployed.objects("NetworkPolicy")
    ports = {80, 5432, 6379, 987, 988, 4000, 8000, 32526}
    found = [
        (pod.owner, where, port)
        for pod in pods(deployed)
        for where in METADATA
        for port in ports
        if connects(policies, pod, where, port)
    ]
    asked = {
        (server.name, block.cidr.partition("/")[0], port)
        for server in deployed.plan.servers
        for rule in server.checkpoint.source.egress
        for block in rule.blocks
        for port in rule.ports
        if server.checkpoint.source.identity and not block.excluded
    }
    assert {(owner.partition(" ")[2], where, port) for owner, where, port in found} <= asked
    assert bool(asked) == (name == "variant:store-of-google")


@pytest.mark.parametrize(("host", "own"), [("redis.corp", False), ("10.1.2.3", False), ("redis.hub.svc", True)])
def test_the_gateway_reaches_a_redis_and_a_postgres_of_others(host: str, own: bool) -> None:
    """On their ports, outside and inside of the cluster; behind a Service whose name is known on any port of it."""
    gateway = {"redis": {"kind": "existing", "host": host, "port": 6380}, "database": {"existingSecret": "pg"}}
    deployed = stack(minimal(gateway=gateway))
    policies = deployed.objects("NetworkPolicy")
    pod = next(pod for pod in pods(deployed) if pod.owner == "Deployment litellm")
    everywhere = [PUBLIC, PUBLIC_6, PRIVATE, PRIVATE_6, HUB, OTHER]
    assert [connects(policies, pod, where, port) for where in everywhere for port in (5432, 6380)] == [True] * 12
    assert [connects(policies, pod, where, 6379) for where in everywhere] == [False] * 4 + [own, False]
    assert [where for where in METADATA for port in (5432, 6380) if connects(policies, pod, where, port)] == []


METADATA_URLS = [
    *(f"http://{f'[{where}]' if ':' in where else where}" for where in METADATA),
    "http://169.254.169.254.",
    "http://169.254.169.254:8080/hf",
    "http://2852039166",
    "http://0xA9FEA9FE",
    "http://0xa9.0xfe.0xa9.0xfe",
    "http://0251.0376.0251.0376",
    "http://169.16689662",
    "http://[::ffff:169.254.169.254]",
    "http://[::ffff:a9fe:a9fe]",
    "http://[::169.254.169.254]",
    "http://[64:ff9b::a9fe:a9fe]",
    "http://[2002:a9fe:a9fe::1]",
    "http://[fd00:0ec2:0:0::254]",
    "http://metadata.google.internal",
    "http://METADATA.GOOGLE.INTERNAL.",
    "http://metadata",
    "http://instance-data.ec2.internal",
    "http://169.254.169.254.nip.io",
    "http://hub-169-254-169-254.sslip.io",
    "http://a9fea9fe.nip.io",
    "http://fd00-ec2--254.sslip.io",
    "http://100.100.100.200",
    "http://1684301000.:80",
]


@pytest.mark.parametrize("private", [None, True, False])
@pytest.mark.parametrize("url", METADATA_URLS)
def test_no_hub_is_where_credentials_are_handed_out(url: str, private: bool | None) -> None:
    """However the address is written, and whatever is said of the mirror: refused, with what is there."""
    hub = {"endpoint": url} | ({} if private is None else {"private": private})
    (said,) = refusals(minimal(weights={"hub": hub}))
    assert said.startswith(f'weights.hub.endpoint: "{url}" ')
    assert said.endswith("; no hub is there, and nothing in the stack may reach it")


MISSING_NAMESPACE = (
    "is a Service of llm-serving, where nothing but the stack may be, or needs a search domain; write the whole name, "
    "such as mirror.NAMESPACE.svc"
)
AMBIGUOUS = (
    "may be the Service mirror of the namespace models, or a host; write mirror.models.svc, or say private: true or "
    "false"
)
NO_HOST = "names no host; write one as in https://hub.example.com, an international one as xn--…"
CLOSED = "is inside a private network, which private: false keeps closed; leave private out"
REFUSED = [
    ("http://169.254.7.7", {}, "leads to 169.254.7.7, which is a link-local address; name the host of the hub"),
    ("http://[fe80::1]", {}, "leads to fe80::1, which is a link-local address; name the host of the hub"),
    ("http://127.0.0.1:8080", {}, "leads to 127.0.0.1, which is the pod itself; name the host of the hub"),
    ("http://0.0.0.0", {}, "leads to 0.0.0.0, which is the pod itself; name the host of the hub"),
    ("http://[::1]:8080", {}, "leads to ::1, which is the pod itself; name the host of the hub"),
    ("http://localhost:8080", {}, "leads to the pod itself; name the host of the hub"),
    ("http://0x0a010203", {}, "is 10.1.2.3 to some programs and a name to others; write that address"),
    ("http://10.1", {}, "is 10.0.0.1 to some programs and a name to others; write that address"),
    (
        "http://1.2.3.4.5",
        {},
        NO_HOST,
    ),
    (
        "http://hüb.example.com",
        {},
        NO_HOST,
    ),
    (
        "http://%31%36%39.254.169.254",
        {},
        NO_HOST,
    ),
    (
        "http://mirror:8080",
        {},
        MISSING_NAMESPACE,
    ),
    ("http://mirror.svc", {}, "names no namespace; write http://NAME.NAMESPACE.svc"),
    ("http://mirror.svc.cluster.local", {}, "names no namespace; write http://NAME.NAMESPACE.svc"),
    (
        "http://mirror.models",
        {},
        AMBIGUOUS,
    ),
    (
        "https://10.1.2.3",
        {"private": False},
        CLOSED,
    ),
    (
        "https://[fd00::1]",
        {"private": False},
        CLOSED,
    ),
    (
        "http://mirror.hub.svc",
        {"private": False},
        CLOSED,
    ),
]


@pytest.mark.parametrize(("url", "more", "fault"), REFUSED, ids=[f"{url} {more}" for url, more, _ in REFUSED])
def test_a_hub_that_no_download_could_reach_is_refused_with_the_fix(url: str, more: dict, fault: str) -> None:
    """One reason each, and what to write instead."""
    assert refusals(minimal(weights={"hub": {"endpoint": url, **more}})) == [f'weights.hub.endpoint: "{url}" {fault}']


NODE_CACHE = "169.254.20.10"


def test_addresses_of_dns_of_ones_own_are_asked_too() -> None:
    """Of both families, each once: a Service range of one's own has DNS elsewhere."""
    own = ["10.96.0.10", "fd00::a", NODE_CACHE]
    deployed = stack(minimal(cluster={"platform": "generic", "dnsAddresses": own}))
    (rule,) = deployed.object("NetworkPolicy", "llm-stack-allow-dns")["spec"]["egress"]
    assert [peer["ipBlock"]["cidr"] for peer in rule["to"] if "ipBlock" in peer] == [
        "169.254.20.10/32",
        "10.96.0.10/32",
        "fd00::a/128",
    ]


def test_dns_on_the_node_stays_reachable() -> None:
    """NodeLocal DNSCache has a link-local address, which is closed to everything but DNS."""
    deployed = stack(minimal())
    policies = deployed.objects("NetworkPolicy")
    job = next(pod for pod in pods(deployed) if pod.labels["app.kubernetes.io/name"] == "model-weights")
    assert [connects(policies, job, "169.254.20.10", port) for port in (53, 80, 443)] == [True, False, False]
