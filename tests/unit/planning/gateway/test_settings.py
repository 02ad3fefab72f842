"""Keys of LiteLLM's file that are the user's: what is merged, refused and said.

That LiteLLM does with a key what its name says is not proved here.
"""

from typing import Any

import pytest

from catalog import load_catalog
from planning.gateway.litellm import litellm_config
from planning.gateway.settings import DECIDED, known_keys
from tests.harness import gateway_config, rendered
from tests.unit.small_stack import planned, refusals, stack

ENGINE = load_catalog().litellm
GENERAL, ROUTER, LITELLM = "general_settings", "router_settings", "litellm_settings"


def gateway(settings: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The small stack with these keys."""
    return stack(gateway={"existingSecret": "llm-keys", "settings": settings, **fields})


def test_keys_are_merged_into_their_sections():
    """Beside the stack's own, which stay; the page says them as the user's."""
    settings = {
        LITELLM: {"drop_params": True},
        ROUTER: {"enable_pre_call_checks": True},
        GENERAL: {"max_batch_file_size_mb": 32},
    }
    urls = {"vllm-m": "http://vllm-m.llm-serving.svc:8000"}
    plain, plan = (planned(gateway(yours)).gateway for yours in ({}, settings))
    before, after = litellm_config(plain, urls), litellm_config(plan, urls)
    merged = {key: {**before[key], **values} for key, values in settings.items()}  # pyright: ignore[reportGeneralTypeIssues]
    assert after == {**before, **merged}
    assert [*plan.additions] == [
        "general_settings.max_batch_file_size_mb: 32",
        "litellm_settings.drop_params: True",
        "router_settings.enable_pre_call_checks: True",
    ]


@pytest.mark.parametrize("name", ["dev", "prod", "variant:redis-sentinels", "variant:bundled-database-keys"])
def test_every_key_of_the_stack_is_decided(name: str):
    """No key that a stack sets can be taken from it."""
    config = gateway_config(rendered(name))
    assert {
        f"{section}.{key}" for section in known_keys(ENGINE) for key in config[section] if key not in DECIDED[section]
    } == set()


def test_what_is_decided_is_known():
    """A table of keys that there are not would refuse nothing."""
    known = known_keys(ENGINE)
    assert {section: sorted(set(table) - set(known[section])) for section, table in DECIDED.items()} == {
        GENERAL: [],
        ROUTER: [],
        LITELLM: [],
    }


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a field of ours": (
        {ROUTER: {"num_retries": 5}},
        "router_settings.num_retries: is decided by gateway.retries; set that",
    ),
    "a misspelt key": (
        {LITELLM: {"drop_param": True}},
        "litellm_settings.drop_param: LiteLLM 1.109.1 has no such key in litellm_settings; did you mean 'drop_params'?",
    ),
    "a key of another section": (
        {GENERAL: {"drop_params": True}},
        (
            "general_settings.drop_params: LiteLLM 1.109.1 has no such key in general_settings; it is a key of "
            "litellm_settings"
        ),
    ),
    "a section of ours": (
        {"model_list": {}},
        "model_list: is decided by models and gateway.providers; set those",
    ),
    "no section": (
        {"litellm_setting": {}},
        "litellm_setting: is no section of LiteLLM's file; did you mean 'litellm_settings'?",
    ),
    "another type": (
        {GENERAL: {"max_batch_file_size_mb": "32"}},
        "general_settings.max_batch_file_size_mb: must be a whole number",
    ),
    "true for a number": ({LITELLM: {"max_budget": True}}, "litellm_settings.max_budget: must be a number"),
    "another word": (
        {GENERAL: {"ui_access_mode": "admin"}},
        "general_settings.ui_access_mode: must be one of admin_only, all; did you mean 'admin_only'?",
    ),
    "a door": (
        {GENERAL: {"allow_user_auth": True}},
        "general_settings.allow_user_auth: keys are in Secrets, and who has none is refused",
    ),
    "prompts": (
        {GENERAL: {"store_prompts_in_spend_logs": True}},
        (
            "general_settings.store_prompts_in_spend_logs: what people ask would be kept or logged; "
            "gateway.audit.prompts says so where it is meant to"
        ),
    ),
    "headers": (
        {GENERAL: {"forward_client_headers_to_llm_api": True}},
        (
            "general_settings.forward_client_headers_to_llm_api: headers of a client would reach a server, or say who "
            "the client is"
        ),
    ),
    "a path beside the API": (
        {GENERAL: {"pass_through_endpoints": []}},
        (
            "general_settings.pass_through_endpoints: a path beside the API would be asked without limits, and outside "
            "is closed"
        ),
    ),
    "a secret": (
        {ROUTER: {"alerting_config": {"webhook_token": "x"}}},
        (
            "router_settings.alerting_config.webhook_token: looks like a secret; write os.environ/NAME, and give "
            "gateway.secretEnv.NAME"
        ),
    ),
    "a variable that is not there": (
        {ROUTER: {"alerting_config": {"webhook_token": "os.environ/HOOK"}}},
        "router_settings.alerting_config: no variable HOOK is there; give gateway.secretEnv.HOOK",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_key_that_cannot_be_is_refused(case: str):
    """By its path, with the field, the key or the type that was meant."""
    settings, message = REFUSED[case]
    assert refusals(gateway(settings)) == [f"gateway.settings.{message}"]


def test_a_secret_is_named():
    """A value from a Secret is fine wherever it stands; what costs something is said."""
    settings = {GENERAL: {"alerting": ["slack"]}, ROUTER: {"alerting_config": {"webhook_token": "os.environ/HOOK"}}}
    plan = planned(gateway(settings, secretEnv={"HOOK": {"name": "hooks", "key": "slack"}}))
    assert [line for line in plan.warnings if line.startswith("gateway.settings")] == [
        "gateway.settings.general_settings.alerting needs a way out of the gateway, in network.extraEgress"
    ]
