"""Who reaches whom on each platform, by the rendered NetworkPolicies: the whole table, in IPv4, IPv6 and both.

Of all pairs of the parties below: what a stack needs, and nothing else. Judged by `tests.network`; no packet is sent.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

from catalog import load_catalog
from tests.harness import Deployed, merged, minimal, pods, stack
from tests.network import Party, allowed

CATALOG = load_catalog()
# The way in that is usual on each platform.
EDGES: dict[str, dict[str, Any]] = {
    **{name: {"kind": "ingress", "className": "nginx", "tlsSecret": "tls"} for name in CATALOG.platforms},
    "gke": {"kind": "gatewayApi", "gatewayName": "public"},
    "eks": {"kind": "ingress", "className": "alb", "tls": {"kind": "managed"}},
    "openshift": {"kind": "route"},
    "k3s": {"kind": "ingress", "className": "traefik", "tlsSecret": "tls"},
}
MIRROR = {"hub": {"endpoint": "https://hub.corp:8443", "xet": False}}
CLUSTERS: dict[str, dict[str, Any]] = {
    **{name: {"platform": name} for name in CATALOG.platforms},
    # with weights of one model from a mirror inside, through a proxy, with an address of DNS of one's own
    "mirror": {"platform": "generic"},
    "proxy": {"platform": "generic", "proxy": {"endpoint": "http://proxy.corp:3128"}},
    "dns": {"platform": "eksAuto", "dnsAddresses": ["fd12::a"]},
}


def served(name: str) -> Deployed:
    """A stack with one of everything that asks or is asked."""
    cluster = CLUSTERS[name]
    platform = cluster["platform"]
    config = minimal(
        cluster=cluster,
        gpuPools={"l4": {"nodes": 4}},
        models={"small": {"replicas": {"max": 2}}},
        weights=MIRROR if name == "mirror" else {},
        gateway={"host": "llm.example.com", "expose": EDGES[platform], "database": {"kind": "bundled"}},
    )
    identity = CATALOG.workload_identity.get(platform)
    if identity and identity.bare:
        bucket = {"kind": "objectStore", "url": f"{identity.scheme}://models/published"}
        more = {"model": "Qwen/Qwen3-4B", "pool": "l4", "contextTokens": 8192, "weights": bucket}
        config = merged(config, {"models": {"streamed": more}})
    return stack(config)


# Pods of the stack by the beginning of their workload's name.
OWN = {
    "download": "Job weights-",
    "verifier": "Job verify-nodes",
    "migration": "Job litellm-migration",
    "server": "Deployment vllm-small",
    "streamed": "Deployment vllm-streamed",
    "gateway": "Deployment litellm",
    "redis": "Deployment litellm-redis",
    "postgres": "StatefulSet litellm-postgres",
}
NAMES = (53, 5353)
PORTS = {"server": [8000], "streamed": [8000], "gateway": [4000, 4002], "redis": [6379], "postgres": [5432]}
HERE, SOMEBODY = "llm-serving", {"app": "somebody"}
# Who else asks: a node's probes, Prometheus, KEDA, an edge that is pods or a load balancer, pods of others.
ASKING: dict[str, tuple[Party, ...]] = {
    "kubelet": (Party(address="10.0.0.9", near=True), Party(address="fd00:9::9", near=True)),
    "Prometheus": (Party("monitoring", SOMEBODY),),
    "KEDA": (Party("keda", SOMEBODY),),
    "edge": (Party("edge", SOMEBODY),),
    "balancer": (Party(address="35.191.0.1"), Party(address="2600:2d00::1")),
    "internet": (Party(address="203.0.114.7"), Party(address="2a00:1450::7")),
    "stranger": (Party("elsewhere", SOMEBODY),),
    "intruder": (Party(HERE, SOMEBODY),),
    "API server": (Party(address="10.0.0.1"), Party(address="fd00:9::1")),
}
# Who else is asked, on which ports: addresses of both families, where there are two.
ASKED: dict[str, tuple[tuple[Party, ...], list[int]]] = {
    "kube-system": ((Party("kube-system", SOMEBODY),), [53]),
    "ocpDns": ((Party("openshift-dns", SOMEBODY),), [53, 5353]),
    "dnsOnNode": ((Party(address="169.254.20.10"),), [53, 80]),
    "dnsService": ((Party(address="172.20.0.10"), Party(address="fd12::a")), [53, 80]),
    "dnsService2": ((Party(address="10.100.0.10"),), [53, 80]),
    "metadata": ((Party(address="169.254.169.254"), Party(address="fd00:ec2::254")), [53, 80, 443]),
    "eksAgent": ((Party(address="169.254.170.23"), Party(address="fd00:ec2::23")), [80, 443]),
    "gkeAgent": ((Party(address="169.254.169.252"), Party(address="fd20:ce::254")), [443, 988]),
    "azure": ((Party(address="168.63.129.16"),), [80, 443]),
    "alibaba": ((Party(address="100.100.100.200"),), [80, 443]),
    "internet": (ASKING["internet"], [80, 443, 8443]),
    "hub.corp": ((Party(address="10.1.2.3"), Party(address="fd00:1::3")), [443, 8443]),
    "proxy": ((Party(address="10.1.2.4"), Party(address="fd00:1::4")), [3128]),
    "API server": (ASKING["API server"], [443, 6443]),
    "elsewhere": (ASKING["stranger"], [443, 8443, 3128, 9090]),
    "Prometheus": (ASKING["Prometheus"], [9090]),
    "KEDA": (ASKING["KEDA"], [9443]),
}
# What others ask of others, and no rule of the stack may stand in the way of: queries, webhooks.
OTHERS = [("KEDA", "Prometheus", 9090), ("API server", "KEDA", 9443)]


def matrix(columns: Mapping[str, Deployed]) -> str:
    """A line for each pair and port that is open anywhere, with the families it is open in on each cluster."""
    tables = [_table(deployed) for deployed in columns.values()]
    lines = {f"{source} > {target}:{port}": None for source, target, port in _pairs()}
    cells = {line: [table.get(line, "") for table in tables] for line in lines}
    rows = [("", [name[:5] for name in columns]), *((line, row) for line, row in cells.items() if any(row))]
    return "\n".join(" ".join([f"{line:26}", *(f"{cell:5}" for cell in row)]).rstrip() for line, row in rows)


def _pairs() -> list[tuple[str, str, int]]:
    """Every party that asks, with every party that is asked and a port of it; of two that are none of the stack few."""
    own = [(name, port) for name, ports in PORTS.items() for port in ports]
    asked = [(name, port) for name, (_, ports) in ASKED.items() for port in ports]
    return [*OTHERS, *((source, *at) for source, at in [*product(ASKING, own), *product(OWN, [*own, *asked])])]


def _table(deployed: Deployed) -> dict[str, str]:
    policies, sources = deployed.objects("NetworkPolicy"), dict(ASKING)
    for name, start in OWN.items():
        if chosen := [pod for pod in pods(deployed) if pod.owner.startswith(start)]:
            pod = min(chosen, key=lambda pod: len(pod.owner))
            sources[name] = (Party(pod.namespace, pod.labels, ports=pod.ports),)
    targets = {**sources, **{name: parties for name, (parties, _) in ASKED.items()}}
    return {
        f"{source} > {target}:{port}": _families(policies, sources[source], targets[target], port)
        for source, target, port in _pairs()
        if source in sources and target in targets
    }


def _families(policies: list[Any], sources: tuple[Party, ...], targets: tuple[Party, ...], port: int) -> str:
    """`46`, one of them or nothing: where both ends have addresses, or are pods, and the connection is let through."""
    open_in = ""
    for place, family in enumerate("46"):
        source, target = sources[place % len(sources)], targets[place % len(targets)]
        here = all(not end.address or (":" in end.address) == (family == "6") for end in (source, target))
        protocols = ("TCP", "UDP") if port in NAMES else ("TCP",)
        if here and all(allowed(policies, source, target, port, protocol) for protocol in protocols):
            open_in += family
    return open_in


# The API server has no label, and where it is a node no address that every plugin takes for one: who verifies nodes may
# ask anybody on its ports, which no service that hands out credentials has.
MATRIX = """
                           gener eks   gke   aks   ack   opens rke2  k3s   kind  minik eksAu eksBo mirro proxy dns
KEDA > Prometheus:9090     46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
API server > KEDA:9443     46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
kubelet > server:8000      46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
kubelet > streamed:8000          46    46                                              46    46                46
kubelet > gateway:4000     46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
kubelet > gateway:4002     46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
kubelet > redis:6379       46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
kubelet > postgres:5432    46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
Prometheus > server:8000   46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
Prometheus > streamed:8000       46    46                                              46    46                46
Prometheus > gateway:4000  46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
Prometheus > gateway:4002  46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
KEDA > gateway:4000        46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
edge > gateway:4000        46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
balancer > gateway:4000    46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
internet > gateway:4000    46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
stranger > gateway:4000    46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
API server > gateway:4000  46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
download > kube-system:53  46    46    46    46    46          46    46    46    46          46    46    46
download > ocpDns:5353                                   46
download > dnsOnNode:53    4     4     4     4     4           4     4     4     4           4     4     4
download > dnsService:53                                                               4                       46
download > dnsService2:53                                                              4                       4
download > metadata:53                 4
download > internet:443    46    46    46    46    46    46    46    46    46    46    46    46    46          46
download > internet:8443                                                                           46
download > hub.corp:443                                                                            46
download > hub.corp:8443                                                                           46
download > proxy:3128                                                                                    46
download > API server:443                                                                          46
download > elsewhere:443                                                                           46
download > elsewhere:8443                                                                          46
download > elsewhere:3128                                                                                46
verifier > kube-system:53  46    46    46    46    46          46    46    46    46          46    46    46
verifier > ocpDns:5353                                   46
verifier > dnsOnNode:53    4     4     4     4     4           4     4     4     4           4     4     4
verifier > dnsService:53                                                               4                       46
verifier > dnsService2:53                                                              4                       4
verifier > metadata:53                 4
verifier > metadata:443    46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
verifier > eksAgent:443    46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
verifier > gkeAgent:443    46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
verifier > azure:443       4     4     4     4     4     4     4     4     4     4     4     4     4     4     4
verifier > alibaba:443     4     4     4     4     4     4     4     4     4     4     4     4     4     4     4
verifier > internet:443    46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
verifier > internet:8443   46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
verifier > hub.corp:443    46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
verifier > hub.corp:8443   46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
verifier > API server:443  46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
verifier > API server:6443 46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
verifier > elsewhere:443   46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
verifier > elsewhere:8443  46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
migration > postgres:5432  46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
migration > kube-system:53 46    46    46    46    46          46    46    46    46          46    46    46
migration > ocpDns:5353                                  46
migration > dnsOnNode:53   4     4     4     4     4           4     4     4     4           4     4     4
migration > dnsService:53                                                              4                       46
migration > dnsService2:53                                                             4                       4
migration > metadata:53                4
server > kube-system:53    46    46    46    46    46          46    46    46    46          46    46    46
server > ocpDns:5353                                     46
server > dnsOnNode:53      4     4     4     4     4           4     4     4     4           4     4     4
server > dnsService:53                                                                 4                       46
server > dnsService2:53                                                                4                       4
server > metadata:53                   4
streamed > kube-system:53        46    46                                                    46
streamed > dnsOnNode:53          4     4                                                     4
streamed > dnsService:53                                                               4                       46
streamed > dnsService2:53                                                              4                       4
streamed > metadata:53                 4
streamed > metadata:80                 4
streamed > eksAgent:80           46                                                    46    46                46
streamed > gkeAgent:988                4
streamed > internet:443          46    46                                              46    46                46
gateway > server:8000      46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
gateway > streamed:8000          46    46                                              46    46                46
gateway > redis:6379       46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
gateway > postgres:5432    46    46    46    46    46    46    46    46    46    46    46    46    46    46    46
gateway > kube-system:53   46    46    46    46    46          46    46    46    46          46    46    46
gateway > ocpDns:5353                                    46
gateway > dnsOnNode:53     4     4     4     4     4           4     4     4     4           4     4     4
gateway > dnsService:53                                                                4                       46
gateway > dnsService2:53                                                               4                       4
gateway > metadata:53                  4
redis > kube-system:53     46    46    46    46    46          46    46    46    46          46    46    46
redis > ocpDns:5353                                      46
redis > dnsOnNode:53       4     4     4     4     4           4     4     4     4           4     4     4
redis > dnsService:53                                                                  4                       46
redis > dnsService2:53                                                                 4                       4
redis > metadata:53                    4
postgres > kube-system:53  46    46    46    46    46          46    46    46    46          46    46    46
postgres > ocpDns:5353                                   46
postgres > dnsOnNode:53    4     4     4     4     4           4     4     4     4           4     4     4
postgres > dnsService:53                                                               4                       46
postgres > dnsService2:53                                                              4                       4
postgres > metadata:53                 4
"""


def test_everybody_reaches_what_they_need_and_nothing_else() -> None:
    """Pair by pair on every platform; what is in no line is closed on all of them, in both families."""
    assert matrix({name: served(name) for name in CLUSTERS}) == MATRIX.strip("\n")
