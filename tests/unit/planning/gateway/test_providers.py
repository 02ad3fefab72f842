"""External providers: what is refused, what is opened, and what the gateway is told.

Does not prove that LiteLLM does it; tests/gateway/test_providers.py asks the real one.
"""

from typing import Any

import pytest

from planning.gateway.litellm import litellm_config
from planning.gateway.providers import providers_file
from tests.unit.small_stack import MODEL, planned, refusals, stack

PRICE = {"input": 0.1, "output": 8}
MINI = {"model": "gpt-5-mini", "contextTokens": 400_000, "priceUsdPerMillionTokens": PRICE}
OPENAI = {"kind": "openAi", "existingSecret": "llm-openai", "models": {"gpt-x": MINI}}
LEAVING = {**MODEL, "fallbacks": ["gpt-x"], "dataPolicy": "mayLeave"}
PUBLIC = "every public address"


def raw(models: Any = None, providers: Any = None, cluster: Any = None, **gateway: Any) -> dict[str, Any]:
    """A stack with one model that may leave for one provider, unless told otherwise."""
    given = {"existingSecret": "llm-keys", "providers": providers or {"openai": OPENAI}, **gateway}
    found = stack(models=models or {"m": LEAVING}, gateway=given)
    found["cluster"] |= cluster or {}
    return found


def compatible(**more: Any) -> dict[str, Any]:
    """A provider that only speaks like OpenAI."""
    return {"openai": {**OPENAI, "kind": "openAiCompatible", **more}}


def test_a_provider_is_a_deployment_with_a_key_from_its_secret():
    """Its URL written out, its price as given, and parameters that it does not take are dropped."""
    plan = planned(raw()).gateway
    found: Any = litellm_config(plan, {"vllm-m": "http://vllm-m"})
    assert found["model_list"][1] == {
        "model_name": "gpt-x",
        "litellm_params": {
            "model": "openai/gpt-5-mini",
            "api_base": "https://api.openai.com/v1",
            "api_key": "os.environ/PROVIDER_KEY_OPENAI",
            "timeout": plan.request_timeout_s,
            "stream_timeout": plan.first_token_timeout_s,
            "drop_params": True,
        },
        "model_info": {"id": "gpt-x", "input_cost_per_token": 1e-7, "output_cost_per_token": 8e-6},
    }
    assert found["router_settings"]["fallbacks"] == [{"m": ["gpt-x"]}]
    assert found["router_settings"]["context_window_fallbacks"] == [{"m": ["gpt-x"]}]
    assert found["litellm_settings"]["callbacks"][-1] == "gateway_providers.providers"


def test_only_models_that_lead_there_reach_a_provider():
    """Through their own fallbacks and those of their fallbacks; its own name only where it may be asked."""
    models = {
        "m": {**MODEL, "fallbacks": ["n"], "dataPolicy": "mayLeave"},
        "n": LEAVING,
        "o": {**MODEL, "fallbacks": ["p"]},
        "p": MODEL,
    }
    providers = {"openai": {**OPENAI, "models": {"gpt-x": MINI, "gpt-y": {**MINI, "direct": True}}}}
    plan = planned({**raw(models, providers), "gpuPools": {"a10": {"gpu": "nvidia-a10", "nodes": 9, "gpusPerNode": 2}}})
    assert providers_file(plan.gateway) == {
        "public": ["gpt-y", "m", "n", "o", "p"],
        "hidden": ["gpt-x"],
        "reached_from": {"gpt-x": ["m", "n"], "gpt-y": ["gpt-y"]},
    }


def test_a_stack_without_providers_has_nothing_of_them():
    """Neither a file, nor a callback, nor a way out."""
    plan = planned(stack()).gateway
    found: Any = litellm_config(plan, {"vllm-m": "http://vllm-m"})
    assert (plan.providers, plan.outside.egress, len(found["model_list"])) == ((), {}, 1)
    assert found["litellm_settings"]["callbacks"] == ["prometheus", "gateway_surface.guard", "gateway_hooks.hooks"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            raw({"m": {**LEAVING, "dataPolicy": "stays"}}),
            ("models.m.fallbacks[0]: 'gpt-x' is a model of openai, outside, and requests for 'm' stay; write "
            "models.m.dataPolicy: mayLeave, or leave 'gpt-x' out"),
        ),
        (
            raw({"m": {**MODEL, "fallbacks": ["n"]}, "n": LEAVING}),
            ("models.m.fallbacks[0]: 'n' leads to 'gpt-x', which is a model of openai, outside, and requests for 'm' "
            "stay; write models.m.dataPolicy: mayLeave, or leave 'n' out"),
        ),
        (
            raw({"m": {**LEAVING, "fallbacks": ["gpt-z"]}}),
            "models.m.fallbacks[0]: no model 'gpt-z' is served; did you mean 'gpt-x'?",
        ),
        (
            raw({"gpt-x": {**MODEL, "dataPolicy": "mayLeave"}}),
            ("gateway.providers.openai.models.gpt-x: 'gpt-x' is a model or server of this stack; call it otherwise, "
            "such as openai-gpt-x"),
        ),
        (
            raw(providers={"openai": OPENAI, "zeta": OPENAI}),
            ("gateway.providers.zeta.models.gpt-x: 'gpt-x' is a model of openai already; call it otherwise, such as "
            "zeta-gpt-x"),
        ),
        (
            raw(providers=compatible()),
            "gateway.providers.openai.endpoint: is needed with kind openAiCompatible, e.g. https://llm.example.com/v1",
        ),
        (
            raw(providers=compatible(endpoint="http://llm.example.com/v1")),
            ('gateway.providers.openai.endpoint: "http://llm.example.com/v1" would send keys and prompts in clear; '
            "write https://"),
        ),
        (
            raw(providers=compatible(endpoint="https://169.254.169.254/v1")),
            ('gateway.providers.openai.endpoint: "https://169.254.169.254/v1" leads to 169.254.169.254, the '
            "instance metadata of AWS, Azure, Google Cloud, Oracle Cloud, OpenStack and others; no provider is "
            "there, and nothing in the stack may reach it"),
        ),
        (
            raw(
                providers={"openai": {**OPENAI, "models": {"gpt-x": {"model": "g", "contextTokens": 9}}}},
                database={"existingSecret": "pg"},
            ),
            ("gateway.providers.openai.models.gpt-x.priceUsdPerMillionTokens: is needed: keys of gateway.database may "
            "have budgets; write what the provider charges, e.g. {input: 2, output: 8}"),
        ),
        (
            raw(providers={"openai": {**OPENAI, "kind": "mistral"}}),
            'gateway.providers.openai.kind: "mistral" is not one of openAi, anthropic, openAiCompatible',
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_what_to_write(given: dict[str, Any], expected: str):
    """Path, value, rule and fix."""
    assert expected in refusals(given)


@pytest.mark.parametrize(
    ("cluster", "more", "way", "variables"),
    [
        ({}, {}, PUBLIC, {}),
        (
            {"proxy": {"endpoint": "http://proxy.example.com:3128"}},
            {},
            "through cluster.proxy alone",
            {
                "HTTPS_PROXY": "http://proxy.example.com:3128",
                "NO_PROXY": "localhost,127.0.0.1,::1,.svc,.cluster.local",
            },
        ),
        (
            {"proxy": {"endpoint": "http://proxy.example.com:3128"}},
            {"endpoint": "https://llm.corp.internal/v1"},
            "inside the private network",
            {},
        ),
        ({"caBundle": {"kind": "configMap", "name": "ca"}}, {}, PUBLIC, {"SSL_CERT_FILE": "/ca/ca.crt"}),
    ],
)
def test_the_way_out_is_no_wider_than_it_has_to_be(cluster: Any, more: Any, way: str, variables: dict[str, str]):
    """To the proxy alone where there is one, and what is opened is said."""
    plan = planned(raw(providers={"openai": {**OPENAI, **more}}, cluster=cluster)).gateway
    assert way in plan.reasons["providers"]
    assert {name: plan.outside.environment.get(name) for name in variables} == variables
    ports = {port for rule in plan.outside.egress["provider-openai"] for port in rule.ports}
    assert ports == ({3128} if "through" in way else {443})


def test_what_leaves_is_told():
    """To whoever reads a preview: for where, and what is declared for nothing."""
    models = {"m": LEAVING, "n": {**MODEL, "dataPolicy": "mayLeave"}}
    free = {"model": "g", "contextTokens": 9}
    providers = {"openai": {**OPENAI, "models": {"gpt-x": MINI, "idle": MINI, "open": {**free, "direct": True}}}}
    told = [line for line in planned(raw(models, providers)).warnings if "gateway: " in line or "leave" in line.lower()]
    assert told == [
        "m: its requests leave for api.openai.com (gpt-x) when no server answers them",
        "gateway: nothing asks idle of openai; make it a fallback, write direct: true, or leave it out",
        "gateway: whoever may ask open sends what they ask to api.openai.com",
        "gateway: open of openai is charged at zero; give its priceUsdPerMillionTokens",
        "n: dataPolicy mayLeave changes nothing, since none of its fallbacks is a provider's",
    ]


def test_times_count_providers_among_those_that_are_asked():
    """One chain of two: each has its tries."""
    alone, both = planned(stack()).gateway, planned(raw()).gateway
    assert (both.route_timeout_s - 30) == 2 * (alone.route_timeout_s - 30)
