"""Holds requests to the models they may reach, and writes what leaves as the provider takes it.

LiteLLM loads this file from beside its configuration (`litellm_settings.callbacks`); `providers.json` beside it says
which models clients may ask, and which of them lead to which deployment of a provider. LiteLLM by itself serves every
name, every id and every provider's own word for a model to every key that is not held to a list, and sends the messages
of /v1/messages/count_tokens to the provider as well (1.109.1, proxy/route_llm_request.py, proxy/proxy_server.py).

- A name that is no model for clients is answered as one that nobody serves, and is in no list of models.
- A provider's deployment is chosen for no other request. What was asked is remembered where clients cannot write.
- Parameters that were set aside for vLLM go back to where LiteLLM translates them, and those that only vLLM knows are
  left out: another API would refuse the request for them.
"""

import json
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from litellm.constants import DEFAULT_CHAT_COMPLETION_PARAM_VALUES  # pyright: ignore[reportMissingImports] - of the image
from litellm.integrations.custom_logger import CustomLogger  # pyright: ignore[reportMissingImports] - of the image
from litellm.proxy._types import ProxyException  # pyright: ignore[reportMissingImports] - of the image

RULES: dict[str, Any] = json.loads(Path(__file__).with_name("providers.json").read_text(encoding="utf-8"))
# Models that clients may ask.
PUBLIC = frozenset(RULES["public"])
# Id of a provider's deployment, which is its name → models whose requests may reach it, itself where it may be asked.
REACHED_FROM: dict[str, frozenset[str]] = {id_: frozenset(names) for id_, names in RULES["reached_from"].items()}
HIDDEN = frozenset(RULES["hidden"])
# Of a request for an answer in another form than that of a chat: nothing but OpenAI's is there to begin with.
TRANSLATED = ("acompletion", "completion")

asked: ContextVar[str | None] = ContextVar("asked", default=None)


def _may_reach(deployment_id: object) -> bool:
    """Whether what this request asked for leads to the deployment; servers of the stack are always reached."""
    return deployment_id not in REACHED_FROM or asked.get() in REACHED_FROM[str(deployment_id)]


def _id(holder: Any) -> object:
    return ((holder or {}).get("model_info") or {}).get("id")


class Providers(CustomLogger):
    """Called by LiteLLM around every request."""

    async def async_pre_call_hook(self, *, data: Any, **_: object) -> Any:
        """Remembers the model that a client asks for; raises ProxyException 400 for what is no model of clients."""
        model = data.get("model")
        asked.set(model if isinstance(model, str) else None)
        if model is not None and model not in PUBLIC:
            raise ProxyException(
                message=f"Invalid model name passed in model={model}. Call `/v1/models` for those of your key.",
                type="invalid_request_error",
                param="model",
                code=400,
            )
        return data

    async def async_filter_listed_models(self, user_api_key_dict: object, model_names: Sequence[str]) -> Sequence[str]:  # noqa: ARG002
        """The models that clients may ask."""
        return [name for name in model_names if name not in HIDDEN]

    async def async_filter_deployments(self, *, healthy_deployments: list[Any], **_: object) -> list[Any]:
        """Called before one of them is chosen, also by what no other hook sees."""
        return [deployment for deployment in healthy_deployments if _may_reach(_id(deployment))]

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> dict[str, Any] | None:
        """Called before every call; raises ProxyException 403 for one that was led to a provider in another way."""
        deployment_id = _id(kwargs) or _id(kwargs.get("metadata") or {}) or _id(kwargs.get("litellm_metadata") or {})
        if deployment_id not in REACHED_FROM:
            return None
        if not _may_reach(deployment_id):
            raise ProxyException(
                message="this model answers as a fallback only", type="permission_error", param="model", code=403
            )
        if getattr(call_type, "value", call_type) not in TRANSLATED:
            return {**kwargs, "extra_body": None} if kwargs.get("extra_body") else None
        extra = kwargs.get("extra_body") or {}
        known = {key: value for key, value in extra.items() if key in DEFAULT_CHAT_COMPLETION_PARAM_VALUES}
        return {**{key: value for key, value in kwargs.items() if key != "extra_body"}, **known}


providers = Providers()
