"""What the components take, and what they say when it is not that.

What an argument means to an object is proved beside each component.
"""

from collections.abc import Mapping
from typing import Any

import pulumi
import pytest

import components
from components import MasterKey
from planning.plan import Plan
from tests.harness import deploy, minimal, stack

NAMES = ("GpuNodePool", "ModelWeights", "VllmServer", "LlmGateway", "Observability")


def refused(name: str, args: Mapping[str, Any]) -> list[str]:
    """What a component says of its arguments, line by line."""
    with pytest.raises(pulumi.RunError) as caught:
        deploy(lambda: getattr(components, name)("mine", args))
    return str(caught.value).splitlines()


def a_plan() -> Plan:
    """That of the minimal stack."""
    return stack(minimal()).plan


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("GpuNodePool", ["namespace", "pool, a PoolPlan"]),
        ("ModelWeights", ["namespace", "weights, a WeightsPlan"]),
        (
            "VllmServer",
            ["namespace", "server, a ServerPlan", "pool, a PoolPlan", "keys, a MasterKey or ExistingSecret"],
        ),
        (
            "LlmGateway",
            ["namespace", "gateway, a GatewayPlan", "servers", "server_pods", "keys, a MasterKey or ExistingSecret"],
        ),
        ("Observability", ["namespace", "observability, an ObservabilityPlan", "servers", "gateway"]),
    ],
)
def test_what_is_missing_is_named(name: str, needs: list[str]):
    """Used with nothing at all, a component lists what it needs, and of which kind; nothing is declared."""
    assert refused(name, {}) == [f"{name} 'mine': needs {need}" for need in needs]


def test_what_is_wrong_is_named_together():
    """A misspelt key, one of another thing, and a mapping in place of a part of the plan, all at once."""
    plan = a_plan()
    args = {"namespace": "n", "pool": {"gpu": "nvidia-l4"}, "aftr": [], "servers": plan.servers}
    assert refused("GpuNodePool", args) == [
        "GpuNodePool 'mine': pool must be a PoolPlan, not a dict",
        "GpuNodePool 'mine': has no argument aftr; did you mean after?",
        "GpuNodePool 'mine': has no argument servers; there are namespace, pool, after",
    ]


@pytest.mark.parametrize("wrong", [None, [1], "cluster: {}", pulumi.Output.from_input({"cluster": {}})], ids=type)
def test_what_is_no_mapping_is_refused_by_name(wrong: Any):
    """As the arguments of a component, and as the settings of a stack: a sentence, never a traceback."""
    kind = type(wrong).__name__
    assert refused("GpuNodePool", wrong) == [f"GpuNodePool 'mine': its arguments must be a mapping, not a {kind}"]
    assert refused("LlmStack", {"settings": wrong}) == [
        f"LlmStack 'mine': settings must be the sections of a stack file as plain values, not a {kind}"
    ]


def test_a_key_in_clear_becomes_a_secret():
    """A master key may be handed over as it is; what follows from it is secret all the same."""
    plan = a_plan()
    (server,) = plan.servers
    args: Any = {"namespace": "n", "server": server, "pool": plan.pools["l4"]}

    def program(*, secret: bool) -> None:
        key = "sk-0123456789abcdefghij"
        args["keys"] = MasterKey(pulumi.Output.secret(key) if secret else key)
        components.VllmServer("mine", args)

    clear, secret = (
        [record.inputs for record in deploy(lambda how=how: program(secret=how)).records] for how in (False, True)
    )
    assert clear == secret
    assert "sk-0123456789abcdefghij" not in str(clear)


def test_keys_are_one_of_two_kinds():
    """The master key alone is no answer to where keys are: it could be one, or the name of a Secret."""
    plan = a_plan()
    (server,) = plan.servers
    args = {"namespace": "n", "server": server, "pool": plan.pools["l4"]}
    assert refused("VllmServer", {**args, "keys": "sk-0123456789abcdefghij"}) == [
        "VllmServer 'mine': keys must be a MasterKey or ExistingSecret, not a str"
    ]


def test_a_server_without_clients_admits_none():
    """Who names no client gets a server that nobody may ask, not one that everybody may."""
    plan = a_plan()
    (server,) = plan.servers
    args: Any = {"namespace": "n", "server": server, "pool": plan.pools["l4"]}

    def program() -> None:
        args["keys"] = MasterKey(pulumi.Output.secret("sk-0123456789abcdefghij"))
        components.VllmServer("mine", args)

    deployed = deploy(program)
    spec = deployed.object("NetworkPolicy", server.name)["spec"]
    # without types a policy is one of ingress, and without rules it lets nothing in
    assert spec == {"podSelector": {"matchLabels": deployed.registered("mine")["metrics_selector"]}, "policyTypes": []}
    assert deployed.depends_on("Deployment", "mine") >= {"NetworkPolicy/mine", "Service/mine"}


@pytest.mark.parametrize("name", NAMES)
def test_a_contract_is_a_handful_of_keys(name: str):
    """Parts of the plan by reference: no component takes copies of their fields."""
    assert len(getattr(components, f"{name}Args").__annotations__) <= 8
