"""`LlmStack`: what it takes, from this program and from others, and what it refuses.

Pulumi's host for other languages constructs it here, in this process and without an engine that asks it to. What it
does to a stack that is up is proved with the engine: tests/engine/test_one_component.py.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest
from pulumi.provider.experimental.analyzer import Analyzer
from pulumi.provider.experimental.component import ComponentProvider
from pulumi.provider.experimental.util import camel_case

import components
from components import GpuNodePool, LlmGateway, LlmStack, ModelWeights, Observability, VllmServer
from settings.load import ConfigError
from tests.harness import HUB_TOKEN, MASTER_KEY, VARIANTS, Config, Deployed, deploy, merged, minimal, stack

SECRETS = {"gatewayMasterKey": "gateway_master_key", "huggingFaceToken": "hugging_face_token"}


def handed_over(config: Config) -> dict[str, Any]:
    """The arguments a host passes on: numbers as doubles, secrets as outputs."""
    settings = {key: as_doubles(value) for key, value in config.items() if key not in SECRETS}
    return {
        "settings": settings,
        **{name: pulumi.Output.secret(config[key]) for key, name in SECRETS.items() if key in config},
    }


def as_doubles(value: Any) -> Any:
    """Plain data as it comes out of protobuf."""
    if isinstance(value, Mapping):
        return {key: as_doubles(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_doubles(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def alone(args: Callable[[], Any]) -> Deployed:
    """A program that is this component and nothing else."""
    return deploy(lambda: LlmStack("llm-stack", args()))


def hosted(config: Config) -> Deployed:
    """The component as Pulumi's own host for other languages constructs it, from arguments under their names there."""
    provider = ComponentProvider([LlmStack], "llm-stack")

    def program() -> None:
        inputs = {camel_case(name): value for name, value in handed_over(config).items()}
        found = provider.construct("llm-stack", "llm-stack:index:LlmStack", inputs, pulumi.ResourceOptions())
        for name, value in found.state.items():
            pulumi.export(name, value)

    return deploy(program)


def test_pulumis_analyzer_accepts_it():
    """Programs in other languages give the sections of a stack file, and two secrets, and get five outputs."""
    found = Analyzer("llm-stack").analyze([LlmStack])["component_definitions"]["LlmStack"]
    assert {name: given.optional for name, given in found.inputs.items()} == {
        "settings": False,
        "gatewayMasterKey": True,
        "huggingFaceToken": True,
    }
    assert found.outputs.keys() == {"endpoint", "adminUrl", "models", "dashboards", "alerts"}
    described = [*found.inputs.values(), *found.outputs.values()]
    assert [given for given in described if not given.description] == []


@pytest.mark.parametrize("inner", [GpuNodePool, LlmGateway, ModelWeights, Observability, VllmServer])
def test_the_inner_ones_are_for_python_alone(inner: type[pulumi.ComponentResource]):
    """They take parts of the plan, which no other language has; nobody may say that they can be hosted."""
    with pytest.raises(Exception, match=r"Unsupported type|Union types are not supported"):
        Analyzer("llm-stack").analyze([inner])
    assert inner.__name__ in components.__all__


@pytest.mark.parametrize("name", ["minimal", "own-keys", "to-zero"])
def test_a_host_gets_what_the_program_gets(name: str):
    """Numbers as doubles and secrets as outputs give the very same resources, secret where they were."""
    config = VARIANTS[name]
    ours, hosts = stack(config), hosted(config)

    def essence(deployed: Deployed) -> list[Any]:
        # the name of the stack is part of URNs and of the owner's name
        return [(record.type, record.name, record.secret_paths) for record in deployed.records]

    assert essence(hosts) == essence(ours)
    assert [(item.kind, item.body.get("spec")) for item in hosts.manifests] == [
        (item.kind, item.body.get("spec")) for item in ours.manifests
    ]
    assert hosts.secrets == ours.secrets
    assert hosts.exports == ours.exports


def test_a_secret_in_clear_becomes_one():
    """A program that passes its key as plain text does not put it into the state as such."""
    clear = {"gateway_master_key": MASTER_KEY, "hugging_face_token": HUB_TOKEN}
    assert {MASTER_KEY, HUB_TOKEN} <= alone(lambda: handed_over(VARIANTS["own-keys"]) | clear).secrets


def test_the_callers_provider_is_used():
    """Who has a provider for the cluster passes it; none is made beside it."""

    def program() -> None:
        mine = k8s.Provider("mine", context="elsewhere")
        LlmStack("llm-stack", {"settings": minimal()}, pulumi.ResourceOptions(provider=mine))

    deployed = deploy(program)
    used = {item.options.provider.rpartition("::")[2] for item in deployed.manifests}
    assert (used, [record.name for record in deployed.records if "providers" in record.type]) == ({"mine"}, ["mine"])


def test_everything_that_is_wrong_is_said_before_anything_is_declared():
    """Settings, and secrets that are missing, are refused at once and together."""
    config = merged(minimal(), {"gateway": {"existingSecret": None}, "gpuPools": {"l4": {"gpu": "nvidia-l5"}}})
    with pytest.raises(ConfigError) as caught:
        alone(lambda: handed_over(config))
    assert [problem.path for problem in caught.value.problems] == ["gatewayMasterKey", "gpuPools.l4.gpu"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({}, "LlmStack 'llm-stack': needs settings"),
        ({"settings": {}, "setings": 1}, "LlmStack 'llm-stack': has no argument setings; did you mean settings?"),
    ],
)
def test_used_alone_it_says_what_is_missing(args: dict[str, Any], said: str):
    """A misspelt or missing argument is named."""
    with pytest.raises(pulumi.RunError) as caught:
        alone(lambda: args)
    assert str(caught.value) == said
