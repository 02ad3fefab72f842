"""Audit and callbacks: what is declared, what is opened for it, and what is refused.

Does not prove that LiteLLM does it; tests/gateway/test_audit.py and test_callbacks.py ask the real one.
"""

from typing import Any

import pytest

from planning.gateway.beside import callbacks, data_files, modules
from planning.gateway.litellm import litellm_config
from planning.plan.access import SecretVariable
from tests.unit.small_stack import planned, refusals, stack

LANGFUSE = {"endpoint": "https://langfuse.example.com/", "existingSecret": "llm-langfuse"}
OTEL = {"endpoint": "http://collector.monitoring.svc:4318"}


def raw(**gateway: Any) -> dict[str, Any]:
    """A stack with such a gateway."""
    return stack(gateway={"existingSecret": "llm-keys", **gateway})


def test_an_audit_is_a_module_and_whether_it_has_prompts():
    """Loaded before the guard, which then stands around it; off by default."""
    plain, audited = planned(raw()).gateway, planned(raw(audit={})).gateway
    assert ("gateway_audit" in modules(plain), "audit.json" in data_files(plain)) == (False, False)
    assert callbacks(audited)[1:3] == ["gateway_audit.audit", "gateway_surface.guard"]
    assert (modules(audited)[0], data_files(audited)["audit.json"]) == ("gateway_audit", {"prompts": False})
    assert data_files(planned(raw(audit={"prompts": True})).gateway)["audit.json"] == {"prompts": True}


@pytest.mark.parametrize("prompts", [False, True])
def test_callbacks_have_their_keys_from_secrets(prompts: bool):
    """Their places as variables, their keys as entries of Secrets, and contents kept back unless they are wanted."""
    plan = planned(raw(callbacks={"langfuse": LANGFUSE, "otel": OTEL, "prompts": prompts})).gateway
    found: Any = litellm_config(plan, {"vllm-m": "http://vllm-m"})["litellm_settings"]
    assert found["callbacks"][-2:] == ["langfuse_otel", "otel"]
    assert found.get("turn_off_message_logging") == (None if prompts else True)
    assert plan.callbacks is not None
    assert plan.callbacks.environment == {
        "LANGFUSE_OTEL_HOST": "https://langfuse.example.com",
        "OTEL_EXPORTER": "otlp_http",
        "OTEL_ENDPOINT": "http://collector.monitoring.svc:4318",
    }
    assert plan.callbacks.secrets == (
        SecretVariable("LANGFUSE_PUBLIC_KEY", "llm-langfuse", "public-key"),
        SecretVariable("LANGFUSE_SECRET_KEY", "llm-langfuse", "secret-key"),
    )


def test_egress_opens_to_each_place_alone():
    """A port of the internet for one outside, a namespace for one inside."""
    egress = planned(raw(callbacks={"langfuse": LANGFUSE, "otel": OTEL})).gateway.outside.egress
    assert {name: [(rule.namespaces, rule.ports) for rule in rules] for name, rules in egress.items()} == {
        "langfuse": [((), (443,))],
        "otel": [(("monitoring",), ()), ((), (4318,))],
    }


@pytest.mark.parametrize(
    ("gateway", "expected"),
    [
        ({"callbacks": {}}, "gateway.callbacks: names none; write langfuse or otel, or leave callbacks out"),
        ({"callbacks": {"datadog": {}}}, "gateway.callbacks.datadog: unknown key; known: langfuse, otel, prompts"),
        (
            {"callbacks": {"otel": {"endpoint": "http://otel.example.com:4318"}}},
            'gateway.callbacks.otel.endpoint: "http://otel.example.com:4318" would send in clear; write https://',
        ),
        (
            {"callbacks": {"otel": {"endpoint": "http://localhost:4318"}}},
            (
                'gateway.callbacks.otel.endpoint: "http://localhost:4318" leads to the pod itself; name the host of '
                "the collector"
            ),
        ),
        (
            {"callbacks": {"otel": OTEL}, "audit": {"prompts": True}},
            (
                "gateway.audit.prompts: LiteLLM shows contents to all of its callbacks or to none; write "
                "gateway.callbacks.prompts: true as well, or leave it out"
            ),
        ),
        (
            {"jwt": {"issuer": "https://id.example.com"}},
            (
                "gateway.jwt: unknown key: authentication by JWT is of LiteLLM's Enterprise licence, without which it "
                "answers 403; use keys, or let what is in front of the gateway ask for it (an Envoy Gateway "
                "SecurityPolicy, oauth2-proxy)"
            ),
        ),
        (
            {"adminUi": {"host": "admin.example.com"}},
            (
                "gateway.adminUi: unknown key: LiteLLM signs five people in without its Enterprise licence, and its "
                "administration is not served; let what is in front of the gateway ask for it (an Envoy Gateway "
                "SecurityPolicy, oauth2-proxy) and use gateway.database with virtual keys"
            ),
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_meant_is_refused_with_what_to_write(gateway: dict[str, Any], expected: str):
    """Path, value, rule and fix; also for what only LiteLLM's Enterprise licence has."""
    assert expected in refusals(raw(**gateway))
