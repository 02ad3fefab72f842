"""The judge of NetworkPolicies of the tests, by small policies as Kubernetes' documentation has them.

Does not prove what a network plugin does with them.
"""

from typing import Any

import pytest

from tests.network import Party, allowed

SERVER = Party("here", {"app": "server"}, ports={"http": 8000})
CLIENT, STRANGER = Party("here", {"app": "client"}), Party("there", {"app": "client"})
OUTSIDE, OUTSIDE_6 = Party(address="10.1.2.3"), Party(address="fd00::1")


def policy(app: str = "server", **spec: Any) -> dict[str, Any]:
    """A policy of the namespace `here` for pods of one app."""
    return {"metadata": {"namespace": "here"}, "spec": {"podSelector": {"matchLabels": {"app": app}}, **spec}}


def block(cidr: str, *without: str) -> dict[str, Any]:
    """A peer by address."""
    return {"ipBlock": {"cidr": cidr, "except": list(without)}}


THERE = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "there"}}}
# Rules for the server's ingress → who reaches port 8000: client, stranger, outside by IPv4, by IPv6.
RULES: list[tuple[list[Any], str]] = [
    ([], "----"),
    ([{}], "CSO6"),
    ([{"ports": [{"port": 8000}]}], "CSO6"),
    ([{"ports": [{"port": "http"}]}], "CSO6"),
    ([{"ports": [{"port": "metrics"}]}], "----"),
    ([{"ports": [{"port": 8000, "protocol": "UDP"}]}], "----"),
    ([{"ports": [{"port": 7000, "endPort": 9000}]}], "CSO6"),
    ([{"from": [{"podSelector": {}}]}], "C---"),
    ([{"from": [{"namespaceSelector": {}}]}], "CS--"),
    ([{"from": [THERE]}], "-S--"),
    ([{"from": [{**THERE, "podSelector": {"matchLabels": {"app": "other"}}}]}], "----"),
    ([{"from": [{"podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}]}], "C---"),
    (
        [
            {
                "from": [
                    {"podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["client"]}]}}
                ]
            }
        ],
        "----",
    ),
    ([{"from": [block("0.0.0.0/0")]}], "--O-"),
    ([{"from": [block("0.0.0.0/0", "10.0.0.0/8"), block("::/0")]}], "---6"),
    ([{"from": [block("::/0", "fc00::/7")]}, {"from": [THERE]}], "-S--"),
]


@pytest.mark.parametrize(("rules", "expected"), RULES)
def test_a_rule_lets_in_whom_it_is_about(rules: list[Any], expected: str) -> None:
    """Any one rule is enough, by port and by peer; no pod is ever matched by an address."""
    policies = [policy(ingress=rules)]
    found = [allowed(policies, source, SERVER, 8000) for source in (CLIENT, STRANGER, OUTSIDE, OUTSIDE_6)]
    assert "".join(letter if there else "-" for letter, there in zip("CSO6", found, strict=True)) == expected


def test_both_ends_must_let_a_connection_through() -> None:
    """Egress of the one and ingress of the other, each only where a policy of that direction chooses the pod."""
    closed = policy(app="client", policyTypes=["Egress"])
    opened = policy(app="client", policyTypes=["Egress"], egress=[{"to": [{"podSelector": {}}]}])
    inwards = policy(policyTypes=["Ingress"])
    assert allowed([], CLIENT, SERVER, 8000)
    assert not allowed([closed], CLIENT, SERVER, 8000)
    assert allowed([closed, opened], CLIENT, SERVER, 8000)
    assert not allowed([opened, inwards], CLIENT, SERVER, 8000)
    # answers of a connection are part of it, and the server itself may ask whom it likes
    assert allowed([inwards], SERVER, CLIENT, 8000)
    assert allowed([closed, inwards], STRANGER, CLIENT, 8000)


def test_the_node_of_a_pod_always_reaches_it() -> None:
    """Probes of a kubelet need no rule."""
    assert allowed([policy(ingress=[])], Party(address="10.0.0.1", near=True), SERVER, 8000)
