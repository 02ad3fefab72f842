"""The hook that decides about keys, with stand-ins for the three names it takes from LiteLLM.

That LiteLLM loads and calls it is proved where the real proxy runs (tests/local).
"""

import asyncio
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from components.pod_scripts import source

KEY = "sk-4f2a9c71d8e3b6a5"


class FakeProxyError(Exception):
    """What LiteLLM turns into a response: keeps what it was given."""

    def __init__(self, **given: Any) -> None:
        self.given = given


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The hook, loaded as LiteLLM loads it."""
    types = ModuleType("litellm.proxy._types")
    vars(types).update(
        LitellmUserRoles=SimpleNamespace(PROXY_ADMIN="proxy_admin"), ProxyException=FakeProxyError, UserAPIKeyAuth=dict
    )
    constants = ModuleType("litellm.constants")
    vars(constants).update(LITELLM_PROXY_MASTER_KEY_ALIAS="litellm_proxy_master_key")
    for name, module in {
        "litellm": ModuleType("litellm"),
        "litellm.constants": constants,
        "litellm.proxy": ModuleType("litellm.proxy"),
        "litellm.proxy._types": types,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("LITELLM_MASTER_KEY", KEY)
    names: dict[str, Any] = {}
    exec(compile(source("gateway_auth"), "gateway_auth.py", "exec"), names)
    return lambda key: asyncio.run(names["check"](None, key))


def test_the_master_key_is_let_in_under_another_name(check: Any):
    """What later becomes labels and logs never holds the key itself."""
    assert check(KEY) == {
        "api_key": "litellm_proxy_master_key",
        "user_role": "proxy_admin",
        "user_id": "default_user_id",
    }


@pytest.mark.parametrize("key", [None, "", "sk-wrong", KEY[:-1], f"{KEY}x", KEY.upper(), "schlüssel"])
def test_any_other_key_is_refused_with_401(check: Any, key: str | None):
    """Missing, wrong, cut off, too long, in capitals, no ASCII: the same answer, which names no key."""
    with pytest.raises(FakeProxyError) as refused:
        check(key)
    assert refused.value.given == {
        "message": "Authentication Error: the API key is missing or wrong",
        "type": "auth_error",
        "param": "key",
        "code": 401,
    }
