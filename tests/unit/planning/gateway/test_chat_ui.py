"""The page to chat with: what it is told, whose key it has, where it may go, and what is refused.

What Open WebUI does with these variables was tried with the real one (docs/operations.md, A page to chat with).
"""

from typing import Any

import pytest

from planning.gateway.chat_ui import NOBODY
from planning.plan.access import SecretVariable
from planning.plan.gateway import ChatUiPlan, HttpRoute, Ingress
from tests.harness import CHAT_UI, merged
from tests.unit.small_stack import planned, refusals, stack

INGRESS = {"expose": {"kind": "ingress", "gatewayName": None, "className": "nginx"}}


def raw(changes: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A stack with such a page; `changes` of the gateway."""
    page = merged(CHAT_UI, {"teams": {"staff": {"models": ["m"]}}})
    return stack(gateway={"existingSecret": "llm-keys", **merged(page, changes or {})}, **more)


def page(changes: dict[str, Any] | None = None, **more: Any) -> ChatUiPlan:
    """Its plan."""
    plan = planned(raw(changes, **more)).gateway.chat_ui
    assert plan is not None
    return plan


def test_there_is_none_unless_it_is_asked_for():
    """A switch: nothing of it is in a stack that does not name it."""
    plan = planned(raw({"chatUi": None}))
    assert plan.gateway.chat_ui is None
    assert [image.name for image in plan.images if image.name == "open-webui"] == []
    assert [entry for entry in plan.storage if entry.what.startswith("chats")] == []


@pytest.mark.parametrize(("generations", "newest"), [([1], 1), ([1, 2], 2), ([3, 12], 12)])
def test_it_asks_with_the_newest_generation_of_its_key(generations: list[int], newest: int):
    """So that a second generation is in use before the first ends."""
    found = page({"teams": {"staff": {"keys": {"chat": {"generations": generations}}}}})
    assert (found.key, found.asks_as, found.models) == (
        SecretVariable("OPENAI_API_KEY", "staff-keys", f"chat-{newest}"),
        f"staff-chat-{newest}",
        ("m",),
    )


def test_its_edge_is_that_of_the_gateway_with_a_host_and_a_certificate_of_its_own():
    """The same Gateway or class, and the user's annotations; a listener of its own where it has one."""
    assert page().exposure == HttpRoute("chat.example.com", "public", None, None)
    assert page({"chatUi": {"sectionName": "chat"}}).exposure == HttpRoute("chat.example.com", "public", None, "chat")
    shared = {"expose": {"gatewayNamespace": "edge", "sectionName": "https"}}
    assert page(shared).exposure == HttpRoute("chat.example.com", "public", "edge", "https")
    annotated = merged(INGRESS, {"expose": {"annotations": {"a/b": "c"}, "tlsSecret": "llm-tls"}})
    found = page(merged(annotated, {"chatUi": {"tlsSecret": "chat-tls"}})).exposure
    assert isinstance(found, Ingress)
    assert (found.host, found.class_name, found.tls_secret) == ("chat.example.com", "nginx", "chat-tls")
    assert found.edge.annotations["a/b"] == "c"


def test_the_provider_is_the_only_way_in():
    """No password, no form, no sign-up, and nobody is the administrator for coming first."""
    told = page().environment
    closed = (
        "ENABLE_API_KEYS",
        "ENABLE_LOGIN_FORM",
        "ENABLE_PASSWORD_AUTH",
        "ENABLE_PERSISTENT_CONFIG",
        "ENABLE_SIGNUP",
    )
    assert {told[name] for name in (*closed, "OAUTH_MERGE_ACCOUNTS_BY_EMAIL")} == {"false"}
    assert (told["WEBUI_ADMIN_EMAIL"], told["ENABLE_OAUTH_SIGNUP"], told["DEFAULT_USER_ROLE"]) == (
        NOBODY,
        "true",
        "user",
    )
    assert (told["OPENID_PROVIDER_URL"], told["OPENID_REDIRECT_URI"], told["OAUTH_ALLOWED_DOMAINS"]) == (
        "https://login.example.com/realms/staff/.well-known/openid-configuration",
        "https://chat.example.com/oauth/oidc/callback",
        "example.com",
    )
    named = page({"chatUi": {"admin": "root@example.com"}})
    assert named.environment == {
        **told,
        "WEBUI_ADMIN_EMAIL": "root@example.com",
        "OAUTH_MERGE_ACCOUNTS_BY_EMAIL": "true",
    }


def test_its_secrets_are_entries_of_one_that_exists():
    """None of them is in the plan."""
    assert page().secrets == (
        SecretVariable("OAUTH_CLIENT_SECRET", "chat-ui", "client-secret"),
        SecretVariable("WEBUI_ADMIN_PASSWORD", "chat-ui", "admin-password"),
        SecretVariable("WEBUI_SECRET_KEY", "chat-ui", "session-key"),
    )


def test_it_reaches_the_provider_through_the_proxy_and_the_gateway_without():
    """Services of the cluster are named where the proxy is not to be asked."""
    cluster = {"context": "test", "identifier": "test-1", "proxy": {"endpoint": "http://proxy.example.com:3128"}}
    found = page(cluster=cluster).way
    assert [rule.ports for rule in found.egress["provider"]] == [(3128,)]
    assert found.environment["HTTPS_PROXY"] == "http://proxy.example.com:3128"
    assert found.environment["NO_PROXY"].split(",")[-2:] == [".svc", ".cluster.local"]
    assert page({"chatUi": {"oidc": {"endpoint": "https://dex.auth.svc:5556"}}}).way.egress["provider"][
        0
    ].namespaces == ("auth",)


def test_its_claim_is_among_what_is_kept():
    """With its class, or that of the cluster."""
    (kept,) = [one for one in planned(raw()).storage if one.what == "chats and uploaded files"]
    assert (kept.medium, kept.place, kept.gib) == ("claim", "the default class", 20)


PATH = "gateway.chatUi"
NO_TLS = "is missing: who signs in may not be overheard; name a TLS Secret with a certificate for chat.example.com"
SHARED = "'staff-keys' is a Secret of the stack for something else; give it one of its own"
NO_EDGE = "is reached as the gateway is, which is inside the cluster only; add gateway.expose and gateway.host"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"expose": None}, f"{PATH}: {NO_EDGE}"),
        (
            {"chatUi": {"host": "llm.example.com"}},
            f"{PATH}.host: 'llm.example.com' is the host of the gateway; give the page one of its own, e.g. chat.…",
        ),
        (
            {"chatUi": {"oidc": {"endpoint": "https://chat.example.com/auth"}}},
            f"{PATH}.oidc.endpoint: 'chat.example.com' is the page itself; write where people sign in",
        ),
        (
            {"chatUi": {"oidc": {"endpoint": "https://llm.example.com"}}},
            f"{PATH}.oidc.endpoint: 'llm.example.com' is the gateway; write where people sign in",
        ),
        (
            {"chatUi": {"replicas": 2}},
            f"{PATH}.replicas: unknown key: it is one pod, because its chats are in a database of files on one claim",
        ),
        ({"teams": None}, f"{PATH}.team: 'staff' is no team, there are none; add gateway.teams.staff"),
        ({"chatUi": {"team": "stuff"}}, f"{PATH}.team: 'stuff' is no team of gateway.teams; did you mean 'staff'?"),
        ({"chatUi": {"key": "chart"}}, f"{PATH}.key: 'chart' is no key of the team staff; did you mean 'chat'?"),
        (
            INGRESS,
            f"{PATH}.tlsSecret: {NO_TLS}",
        ),
        (
            merged(INGRESS, {"chatUi": {"tlsSecret": "chat-tls", "sectionName": "chat"}}),
            f"{PATH}.sectionName: only a Gateway has listeners; leave it out",
        ),
        ({"chatUi": {"tlsSecret": "t"}}, f"{PATH}.tlsSecret: the listener of the Gateway ends TLS; leave it out"),
        (
            {"chatUi": {"oidc": {"endpoint": "http://login.example.com"}}},
            f'{PATH}.oidc.endpoint: "http://login.example.com" would send in clear; write https://',
        ),
        (
            {"chatUi": {"oidc": {"endpoint": "https://login.example.com/.well-known/openid-configuration"}}},
            f"{PATH}.oidc.endpoint: is its document of discovery; write the issuer, https://login.example.com",
        ),
        (
            {"chatUi": {"oidc": {"endpoint": "https://a.bc.de/?t=a"}}},
            f'{PATH}.oidc.endpoint: "https://a.bc.de/?t=a" is no issuer, which has neither ? nor #; write it without',
        ),
        (
            {"chatUi": {"admin": "root@other.org"}},
            f"{PATH}.admin: 'root@other.org' could not sign in: oidc.allowedDomains are example.com",
        ),
        (
            {"chatUi": {"existingSecret": "staff-keys"}},
            f"gateway.teams.staff.existingSecret: {SHARED}",
        ),
        (
            {"chatUi": {"oidc": None}},
            f"{PATH}.oidc: is missing: where people sign in; there are no passwords, and no page to sign up",
        ),
        (
            {"chatUi": {"oidc": {"clientSecret": "abcdef0123456789abcdef"}}},
            f"{PATH}.oidc.clientSecret: unknown key: it is the entry client-secret of gateway.chatUi.existingSecret",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_write(changes: dict[str, Any], expected: str):
    """A page that nobody reaches, that has no key, that sends in clear, or that lets in whoever comes."""
    assert refusals(raw(changes)) == [expected]
