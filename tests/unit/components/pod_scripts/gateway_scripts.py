"""The scripts that LiteLLM loads from beside its configuration, loaded as it does, with stand-ins for what they import.

That the real LiteLLM loads and obeys them is proved in tests/gateway.
"""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from components.pod_scripts import source
from planning.gateway.surface import surface_file
from tests.unit.small_stack import planned, stack


class FakeProxyError(Exception):
    """What LiteLLM turns into a response: keeps what it was given."""

    def __init__(self, **given: Any) -> None:
        self.given = given


def gateway_plan(**gateway: Any) -> Any:
    """A small gateway."""
    return planned(stack(gateway={"existingSecret": "k", **gateway})).gateway


def load(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, app: Any = None, **gateway: Any) -> Any:
    """The module; `app` stands for LiteLLM's, the rest are settings of the gateway."""
    fakes = {
        "litellm.constants": {"LITELLM_PROXY_MASTER_KEY_ALIAS": "litellm_proxy_master_key"},
        "litellm.exceptions": {"ServiceUnavailableError": FakeProxyError},
        "litellm.integrations.custom_logger": {"CustomLogger": type("CustomLogger", (), {})},
        "litellm.proxy._types": {
            "LitellmUserRoles": SimpleNamespace(INTERNAL_USER_VIEW_ONLY="internal_user_viewer"),
            "ProxyException": FakeProxyError,
            "UserAPIKeyAuth": dict,
        },
        "litellm.proxy.proxy_server": {"app": app},
        "prometheus_client": {
            "start_http_server": lambda *_: None,
            "Counter": lambda *_: None,
            "Gauge": lambda *_: None,
        },
    }
    for module in ("litellm", "litellm.integrations", "litellm.proxy", *fakes):
        made = ModuleType(module)
        vars(made).update(fakes.get(module, {}))
        monkeypatch.setitem(sys.modules, module, made)
    script = folder / f"{name}.py"
    script.write_text(source(name), encoding="utf-8")
    (folder / "surface.json").write_text(json.dumps(surface_file(gateway_plan(**gateway))), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, script)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found
