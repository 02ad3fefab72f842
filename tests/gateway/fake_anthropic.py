"""Forms of Anthropic's Messages API, as far as LiteLLM reads them (platform.claude.com, API reference, 2026-11)."""

from collections.abc import Iterator, Sequence
from typing import Any

PATH = "/v1/messages"


def message(model: str, texts: Sequence[str], read: int, wrote: int) -> dict[str, Any]:
    """A whole answer."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": "".join(texts)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": read, "output_tokens": wrote},
    }


def events(model: str, texts: Sequence[str], read: int, wrote: int) -> Iterator[dict[str, Any]]:
    """The events of its stream; what each is, it says itself."""
    begun = {**message(model, (), read, 1), "content": [], "stop_reason": None}
    yield {"type": "message_start", "message": begun}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    for text in texts:
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    yield {"type": "content_block_stop", "index": 0}
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    yield {"type": "message_delta", "delta": end, "usage": {"output_tokens": wrote}}
    yield {"type": "message_stop"}


def error(status: int, text: str) -> dict[str, Any]:
    """A refusal."""
    kind = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error"}.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": text}}
