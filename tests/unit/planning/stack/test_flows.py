"""Ways of a user through network rules: whose they are, what stays closed, what is refused, what they open for options.

That a cluster's network plugin obeys the rules is not proved.
"""

from typing import Any

import pytest

from planning.plan.flows import Flow
from planning.plan.pods import AddressBlock
from tests.unit.small_stack import planned, refusals, serving, stack

MAIL = {"to": {"kind": "addresses", "cidrs": ["10.0.0.0/8"]}, "ports": [4317], "workloads": ["models.m"]}
PODS = {**MAIL, "to": {"kind": "pods", "namespace": "obs", "podLabels": {"app": "otel"}}}
CLOSED = {
    "0.0.0.0/0": ("100.100.100.200/32", "168.63.129.16/32", "169.254.0.0/16", "192.0.0.192/32"),
    "fc00::/7": (
        "fd00:42::42/128",
        "fd00:c1::a9fe:a9fe/128",
        "fd00:ec2::23/128",
        "fd00:ec2::254/128",
        "fd20:ce::254/128",
    ),
    "10.0.0.0/8": (),
}


def ways(egress: Any = None, ingress: Any = None, **sections: Any) -> dict[str, Any]:
    """The small stack with these ways."""
    network = {"extraEgress": egress or {}, "extraIngress": ingress or {}}
    return {**stack(), **sections, "network": network}


def test_each_workload_has_its_own_ways_and_no_other():
    """By name, all models, the gateway and downloads; everybody where it says so, in the order of their names."""
    named = {
        name: {**MAIL, "workloads": [name.replace("-", ".")]}
        for name in ("models-m", "models", "gateway", "downloads", "all")
    }
    plan = planned(ways(named))
    (server,) = plan.servers
    assert [
        [flow.name for flow in flows]
        for flows in (server.additions.flows, plan.gateway.additions.flows, plan.weights.flows)
    ] == [["all", "models", "models-m"], ["all", "gateway"], ["all", "downloads"]]


def test_a_way_leads_to_pods_or_addresses_on_its_ports():
    """Ports are ranges, labels are sorted, and a line of the page says all of it."""
    raw = ways({"a": {**MAIL, "ports": ["5000-5010", 443]}}, {"b": {**PODS, "from": PODS["to"], "protocol": "UDP"}})
    del raw["network"]["extraIngress"]["b"]["to"]
    (server,) = planned(raw).servers
    assert server.additions.flows == (
        Flow("a", True, ((5000, 5010), (443, 443)), "TCP", (AddressBlock("10.0.0.0/8", ()),)),
        Flow("b", False, ((4317, 4317),), "UDP", (), "obs", {"app": "otel"}),
    )
    assert [*server.additions] == [
        "way out a: 10.0.0.0/8, TCP 5000-5010, 443",
        "way in b: pods app=otel of obs, UDP 4317",
    ]


@pytest.mark.parametrize("cidr", CLOSED)
def test_services_with_credentials_stay_closed_in_every_block(cidr: str):
    """However wide it is; a block without any of them has no exceptions."""
    raw = ways({"x": {**MAIL, "to": {"kind": "addresses", "cidrs": [cidr]}}})
    (server,) = planned(raw).servers
    assert server.additions.flows[0].blocks == (AddressBlock(cidr, CLOSED[cidr]),)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "host bits": (
        {"to": ["10.0.0.5/8"]},
        'to.cidrs[0]: "10.0.0.5/8" is not how the block is written; write 10.0.0.0/8',
    ),
    "one address": ({"to": ["fd00::1"]}, 'to.cidrs[0]: "fd00::1" is not how the block is written; write fd00::1/128'),
    "a name": (
        {"to": ["otel.example.com"]},
        (
            'to.cidrs[0]: "otel.example.com" is no block of addresses, such as 10.20.0.0/16 or fd00:20::/48; a host '
            "has addresses, and kind: pods leads into the cluster"
        ),
    ),
    "metadata": (
        {"to": ["100.100.100.200/32"]},
        (
            "to.cidrs[0]: 100.100.100.200/32 leads to the metadata of Alibaba Cloud, and "
            "nothing in the stack may reach "
            "it; leave it out"
        ),
    ),
    "metadata, translated": (
        {"to": ["64:ff9b::6464:64c8/128"]},
        (
            "to.cidrs[0]: 64:ff9b::6464:64c8/128 leads to the metadata of Alibaba Cloud, and nothing in the stack may "
            "reach it; leave it out"
        ),
    ),
    "link-local": (
        {"to": ["169.254.20.0/24"]},
        (
            "to.cidrs[0]: 169.254.20.0/24 is link-local, where clouds have services with credentials; nothing in the "
            "stack may reach it"
        ),
    ),
    "mapped": (
        {"to": ["::ffff:a00:0/104"]},
        "to.cidrs[0]: ::ffff:a00:0/104 is of addresses of IPv4; write 10.0.0.0/8",
    ),
    "the pod itself": (
        {"to": ["127.0.0.0/8"]},
        "to.cidrs[0]: 127.0.0.0/8 is the pod itself; write the addresses of the other side",
    ),
    "no port": (
        {"ports": [0]},
        'ports[0]: "0" is no port, and no range of them: they are 1 to 65535, the lower one first',
    ),
    "a range that is none": (
        {"ports": ["70-60"]},
        'ports[0]: "70-60" is no port, and no range of them: they are 1 to 65535, the lower one first',
    ),
    "a model without its word": (
        {"workloads": ["m"]},
        "workloads[0]: 'm' is no workload of the stack; did you mean 'models.m'?",
    ),
    "hosts": (
        {"to": {"kind": "hosts", "names": ["a.example.com"]}},
        (
            "to.names[0]: a.example.com is a name, and a NetworkPolicy knows addresses and pods only; write its "
            "addresses with kind: addresses, or let it go through cluster.proxy, which knows names"
        ),
    ),
    "the stack itself": (
        {"to": {"kind": "pods", "namespace": "llm-serving"}},
        (
            "to.namespace: llm-serving is the stack's own, and its pods reach each other as they need to; name another "
            "namespace"
        ),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_way_that_cannot_be_is_refused(case: str):
    """Each by its path, with the rule and what to write."""
    fields, message = REFUSED[case]
    if isinstance(fields.get("to"), list):
        fields = {**fields, "to": {"kind": "addresses", "cidrs": fields["to"]}}
    assert refusals(ways({"x": {**MAIL, **fields}})) == [f"network.extraEgress.x.{message}"]


def test_nobody_asks_a_download():
    """A way in leads to servers and the gateway."""
    way = {"from": MAIL["to"], "ports": [80], "workloads": ["downloads"]}
    assert refusals(ways({}, {"x": way})) == [
        "network.extraIngress.x.workloads[0]: downloads are Jobs that nobody asks; leave it out"
    ]


def test_a_way_that_opens_much_is_said():
    """Half the internet, also in two blocks; the port of servers beside the gateway; downloads where there are none."""
    raw = ways(
        {
            "out": {**MAIL, "to": {"kind": "addresses", "cidrs": ["0.0.0.0/1", "128.0.0.0/1", "fc00::/7"]}},
            "never": {**MAIL, "workloads": ["downloads"]},
        },
        {"in": {"from": PODS["to"], "ports": ["7000-8000"], "workloads": ["models"]}},
        weights={"kind": "existingClaim", "claimName": "disk"},
    )
    assert [line for line in planned(raw).warnings if line.startswith("network.")] == [
        "network.extraEgress.never: the stack downloads nothing, so it opens nothing",
        (
            "network.extraEgress.out: 0.0.0.0/0 is a large part of all addresses: pods may "
            "send what they have to anybody "
            "there; name those of the other side"
        ),
        (
            "network.extraIngress.in: leads to port 8000 of vllm-m beside the gateway: "
            "whoever has the server's own key is "
            "held to no limit and counted nowhere, and its metrics ask for no key"
        ),
    ]


TRACES = "--otlp-traces-endpoint="
OPENED: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "a Service by its namespace": ([f"{TRACES}http://otel.obs.svc:4317"], PODS, ""),
    "an address in a block": ([f"{TRACES}http://10.1.2.3:4317"], MAIL, ""),
    "a name, by the port": ([f"{TRACES}grpc://otel.example.com:4317"], MAIL, ""),
    "events that others fetch": (["--kv-events-config", '{"endpoint": "tcp://*:5557"}'], PODS, ""),
    "the way of another workload": (
        [f"{TRACES}http://10.1.2.3:4317"],
        {**MAIL, "workloads": ["gateway"]},
        (
            f"{TRACES[:-1]} http://10.1.2.3:4317 needs the network, and no way of network.extraEgress is of models.m: "
            "traces go to a collector; open the way there, or leave it out"
        ),
    ),
    "another port": (
        [f"{TRACES}http://10.1.2.3:4318"],
        MAIL,
        (
            f"{TRACES[:-1]} http://10.1.2.3:4318 needs the network, and no way of "
            f"network.extraEgress that is of models.m "
            "leads to 10.1.2.3 port 4318: traces go to a collector; open the way there, or leave it out"
        ),
    ),
    "another namespace": (
        [f"{TRACES}http://otel.tracing.svc:4317"],
        PODS,
        (
            f"{TRACES[:-1]} http://otel.tracing.svc:4317 needs the network, and no way of "
            f"network.extraEgress that is of "
            "models.m leads to otel.tracing.svc port 4317: traces go to a collector; open "
            "the way there, or leave it out"
        ),
    ),
    "memory that nobody counts": (
        ["--load-format=tensorizer"],
        MAIL,
        (
            "--load-format tensorizer takes memory of the pod that is not counted: they pass "
            "through buffers in it; give "
            "models.m.memoryGib with room for it, or leave it out"
        ),
    ),
}


@pytest.mark.parametrize("case", OPENED)
def test_an_option_that_needs_the_network_has_it_by_a_way_that_leads_there(case: str):
    """One of the model's own, to the host and the port that the option names; memory is still counted."""
    args, way, message = OPENED[case]
    raw = {**serving(args=args), "network": {"extraEgress": {"x": way}}}
    assert refusals(raw) == ([f"models.m.args[0]: {message}"] if message else [])
