"""What LiteLLM keeps to itself and belongs to the other side: parameters of a request, one header of an error.

LiteLLM loads this file from beside its configuration (`litellm_settings.callbacks`). See docs/adr/0020.

- vLLM reads more parameters than OpenAI has. LiteLLM hands most of them on, but takes `priority` for a queue of its
  own, forgets a `tool_choice` without `tools`, which vLLM refuses, turns `thinking` into `reasoning_effort` or into
  nothing, and knows only OpenAI's for `/v1/responses` and `/v1/completions` (1.109.1, tried). `extra_body` is handed on
  untouched.
- LiteLLM reads parameters of its own calls from the same body (`deployment_id`, `azure`, `allowed_openai_params` …).
  Where requests are only handed on, it is shown what it needs, and all else goes to the server as it came.
- A `stream` that is no truth value is none to LiteLLM and one to vLLM, whose stream LiteLLM then cannot read: an error
  of the server, after which nobody is sent there any more. Whoever sends it is told so (1.109.1, tried).
- The 429 of a model's own limit has `retry-after`, but is answered with `llm_provider-retry-after`, which no client
  reads (1.109.1, proxy/common_request_processing.py, handle_llm_api_exception).
- Tokens of a limit are counted under the server's model, which LiteLLM leaves out of what it logs of a stream, so that
  streams were not counted at all (1.109.1, router_utils/pre_call_checks/model_rate_limit_check.py, tried).
- Tries, times and fallbacks are the stack's: what a request says of them, in its body or in `x-litellm-…` headers that
  LiteLLM has moved there, would outlast the route and hold servers for longer than anybody planned.
- Failures of servers are counted by a client of Redis that blocks all other requests (1.109.1,
  router_utils/cooldown_handlers.py), and that redis-py 8.1 has try eleven times: with a Redis that does not answer, one
  refused request stopped a replica for 29 s (tried).
"""

from typing import Any

from litellm.integrations.custom_logger import CustomLogger  # pyright: ignore[reportMissingImports] - of the image
from litellm.proxy import proxy_server  # pyright: ignore[reportMissingImports] - of the image
from litellm.proxy._types import ProxyException  # pyright: ignore[reportMissingImports] - of the image
from redis.backoff import NoBackoff  # pyright: ignore[reportMissingImports] - of the image
from redis.retry import Retry  # pyright: ignore[reportMissingImports] - of the image

ALWAYS = ("priority",)
# What LiteLLM is shown of requests that it only hands on: what it counts, limits, caches or adds to.
SHOWN = {
    "acompletion": frozenset(
        {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "tools", "user"}
    ),
    "atext_completion": frozenset({"model", "prompt", "stream", "stream_options", "max_tokens", "n", "user"}),
    "aembedding": frozenset({"model", "input", "dimensions", "encoding_format", "user"}),
}
# What LiteLLM itself has put there before hooks are called (1.109.1, proxy/litellm_pre_call_utils.py).
LITELLMS = ("metadata", "proxy_server_request", "secret_fields")
# Of vLLM 0.32 and 0.33, entrypoints/openai/responses/protocol.py and completion/protocol.py: what OpenAI does not have.
OF_ENDPOINT = {
    "aresponses": (
        *("cache_salt", "chat_template_kwargs", "ec_transfer_params", "enable_response_messages", "frequency_penalty"),
        *("ignore_eos", "include_reasoning", "include_stop_str_in_output", "kv_transfer_params", "logit_bias"),
        *("media_io_kwargs", "min_p", "mm_payload", "mm_processor_kwargs", "presence_penalty"),
        *("previous_input_messages", "repetition_penalty", "request_id", "return_mm_kwargs", "seed", "session_id"),
        *("skip_special_tokens", "stop", "stop_token_ids", "structured_outputs", "top_k", "vllm_xargs", "watermarking"),
    ),
    "atext_completion": ("response_format",),
}

# What the router and its calls read of a request (1.109.1, router_python_core.py, types/router.py). `drop_params`,
# which LiteLLM sets itself for clients of other providers, changes nothing for these servers.
NOT_A_CLIENTS = (
    *("num_retries", "max_retries", "retry_policy", "retry_strategy", "model_group_retry_policy", "retry_after"),
    *("timeout", "stream_timeout", "request_timeout", "ttft_timeout", "stream_chunk_timeout", "cooldown_time"),
    *("fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "default_fallbacks", "max_fallbacks"),
    *("context_window_fallback_dict", "fallback_depth", "include_fallback_errors"),
    *("mock_response", "mock_tool_calls", "mock_delay", "mock_timeout", "mock_testing_rate_limit_error"),
    *("mock_testing_fallbacks", "mock_testing_context_fallbacks", "mock_testing_content_policy_fallbacks"),
    *("specific_deployment", "rpm", "tpm", "weight", "max_parallel_requests", "custom_llm_provider"),
    *("deployment_id", "azure", "api_version", "allowed_openai_params", "additional_drop_params", "drop_params"),
    *("original_function", "self", "client", "use_litellm_proxy", "force_timeout", "model_info", "extra_headers"),
    "router_settings_override",
)


def _check(data: dict[str, Any]) -> None:
    """Raises ProxyException for what is not of the type that everybody takes it for."""
    stream, extra, messages = data.get("stream"), data.get("extra_body"), data.get("messages")
    if stream is not None and not isinstance(stream, bool):
        raise _refusal("stream", "must be true or false")
    if messages is not None and not (isinstance(messages, list) and all(isinstance(item, dict) for item in messages)):
        raise _refusal("messages", "must be a list of objects")
    if extra is not None and not isinstance(extra, dict):
        raise _refusal("extra_body", "must be an object")
    both = sorted(set().union(*SHOWN.values()) & set(extra or {}))
    if both:
        raise _refusal("extra_body", f"must not hold {', '.join(both)}: say that beside it")


def _refusal(name: str, message: str) -> ProxyException:
    return ProxyException(message=f"{name} {message}", type="invalid_request_error", param=name, code=400)


def _try_redis_once() -> None:
    """What is counted so is not worth a second time: without Redis this process counts for itself."""
    router = proxy_server.llm_router
    for cache in (proxy_server.redis_usage_cache, router and router.cache.redis_cache):
        if cache is not None:
            cache.redis_client.set_retry(Retry(NoBackoff(), 0))


class Hooks(CustomLogger):
    """Called by LiteLLM around every request."""

    _redis_is_set = False

    async def async_pre_call_hook(self, *, data: Any, call_type: str, **_: object) -> Any:
        """Moves what the server shall have to where LiteLLM hands everything on; returns the request.

        Raises ProxyException 400 for what LiteLLM and vLLM would read differently.
        """
        if not self._redis_is_set:
            # made after this file is loaded, and before the first request
            _try_redis_once()
            self._redis_is_set = True
        for name in NOT_A_CLIENTS:
            data.pop(name, None)
        _check(data)
        moved = (*ALWAYS, *OF_ENDPOINT.get(call_type, ()), *(() if data.get("tools") else ("tool_choice",)))
        if call_type in SHOWN:
            sent = (data.get("proxy_server_request") or {}).get("body") or {}
            unseen = {name for name in sent if not name.startswith("litellm_")}
            moved = (*moved, *sorted(unseen - SHOWN[call_type] - {*LITELLMS, "extra_body", *moved}))
        passed = {name: data.pop(name) for name in moved if data.get(name) is not None}
        if data.get("thinking") is not None:
            passed["thinking"] = data["thinking"]
        if passed:
            data["extra_body"] = {**passed, **(data.get("extra_body") or {})}
        return data

    async def async_logging_hook(self, kwargs: Any, result: Any, call_type: str) -> tuple[Any, Any]:  # noqa: ARG002
        """Called before an answer is logged and its tokens are counted; returns what is logged."""
        hidden = (kwargs.get("standard_logging_object") or {}).get("hidden_params")
        said = kwargs.get("litellm_params") or {}
        metadata = {**(said.get("litellm_metadata") or {}), **(said.get("metadata") or {})}
        if hidden is not None and not hidden.get("litellm_model_name"):
            hidden["litellm_model_name"] = metadata.get("deployment")
        return kwargs, result

    async def async_post_call_failure_hook(self, *, original_exception: Exception, **_: object) -> None:
        """Called with every error before it is answered; the error itself stays what it is."""
        headers = getattr(getattr(original_exception, "response", None), "headers", None) or {}
        wait = headers.get("retry-after")
        if wait and not getattr(original_exception, "headers", None):
            original_exception.headers = {"retry-after": wait}  # pyright: ignore[reportAttributeAccessIssue] - read there


hooks = Hooks()
