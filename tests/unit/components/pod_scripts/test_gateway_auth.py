"""The hook that decides about keys, with stand-ins for the names it takes from LiteLLM.

That LiteLLM loads and calls it, and what its role may do, is proved where the real proxy runs (tests/gateway).
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.unit.components.pod_scripts.gateway_scripts import FakeProxyError, load

KEY = "sk-4f2a9c71d8e3b6a5"
REFUSED = {
    "message": "Authentication Error: the API key is missing or wrong",
    "type": "auth_error",
    "param": "key",
    "code": 401,
}


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The hook, loaded as LiteLLM loads it."""
    monkeypatch.setenv("LITELLM_MASTER_KEY", KEY)
    hook = load(monkeypatch, tmp_path, "gateway_auth")
    return lambda key: asyncio.run(hook.check(None, key))


def test_the_master_key_infers_and_nothing_else_under_another_name(check: Any):
    """What later becomes labels and logs never holds the key itself; the role is no administrator's."""
    found = check(KEY)
    assert {key: found[key] for key in found if key != "allowed_routes"} == {
        "api_key": "litellm_proxy_master_key",
        "user_role": "internal_user_viewer",
    }
    assert [path for path in found["allowed_routes"] if path.startswith("/v1/")] == [
        "/v1/audio/transcriptions",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/models",
        "/v1/rerank",
        "/v1/responses",
    ]


STRANGE = ["sk-" + "x" * 1_000_000, "\0", f"{KEY}\0", f" {KEY}", f"{KEY}\n", "schlüssel", "\ud800", "钥匙", "\xff\xfe"]


@pytest.mark.parametrize("key", [None, "", " ", "sk-wrong", KEY[:-1], f"{KEY}x", KEY.upper(), *STRANGE])
def test_any_other_key_is_refused_with_401(check: Any, key: str | None):
    """Missing, wrong, cut off, too long, in capitals, no ASCII, no text: the same answer, which names no key."""
    with pytest.raises(FakeProxyError) as refused:
        check(key)
    assert refused.value.given == REFUSED


@pytest.mark.parametrize("wanted", ["", " ", "\t\n", None])
@pytest.mark.parametrize("key", [None, "", " ", "\t\n", "sk-wrong"])
def test_a_blank_expected_key_lets_nobody_in(
    check: Any, monkeypatch: pytest.MonkeyPatch, wanted: str | None, key: str | None
):
    """An empty entry of the Secret, or none: not even the same blank is a key."""
    if wanted is None:
        monkeypatch.delenv("LITELLM_MASTER_KEY")
    else:
        monkeypatch.setenv("LITELLM_MASTER_KEY", wanted)
    with pytest.raises(FakeProxyError) as refused:
        check(key)
    assert refused.value.given == REFUSED
