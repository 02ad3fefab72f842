"""An OpenAI client of a few lines: one answer, one stream, and a small load. Loopback only, standard library only."""

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from planning.tasks import CHAT, GENERATE, Question
from workshop.ports import LOOPBACK

TIMEOUT_S = 300
LOAD_PROMPT = "Write a short story about a lighthouse keeper."
LOAD_STREAMS, LOAD_TOKENS, OVERHEAD_PAIRS = 4, 32, 8


@dataclass(frozen=True)
class Endpoint:
    """A server on loopback, and the key it wants."""

    port: int
    key: str


@dataclass(frozen=True)
class Answer:
    """An answer. `text` of an error is its body."""

    status: int
    text: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Stream:
    """A streamed answer: seconds to its first token, seconds in all, tokens, how it ended."""

    status: int
    text: str
    first_token_s: float
    total_s: float
    tokens: int
    finish_reason: str | None


@dataclass(frozen=True)
class Load:
    """Figures of a small load: tokens/s of one stream and of several at once, medians of the rest."""

    alone_tokens_per_s: float
    together_tokens_per_s: float
    streams: int
    first_token_s: float
    slowest_first_token_s: float
    overhead_ms: float
    direct_ms: float


def chat(endpoint: Endpoint, model: str, prompt: str, **options: Any) -> Answer:
    """One request, one answer; temperature 0 unless told otherwise."""
    return _answer(endpoint, GENERATE.path, CHAT, _question(model, prompt, options))


def question(endpoint: Endpoint, model: str, path: str, query: Question) -> Answer:
    """The question of the model's task, and what is to be shown of the answer."""
    return _answer(endpoint, path, query, {"model": model, **query.body(query.text), **query.options})


def _answer(endpoint: Endpoint, path: str, query: Question, body: Mapping[str, Any]) -> Answer:
    status, text = request(endpoint, "POST", path, body)
    try:
        parsed = json.loads(text)
        return Answer(status, query.shown(parsed), parsed)
    except (ValueError, LookupError, TypeError):
        return Answer(status, text, {})


def request(endpoint: Endpoint, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, str]:
    """(status, text). Raises OSError where nobody answers."""
    with _asked(endpoint, method, path, body, "answer") as response:
        return response.status, response.read().decode(errors="replace")


def stream(endpoint: Endpoint, model: str, prompt: str, **options: Any) -> Stream:
    """A streamed answer, else as `chat`. Raises OSError when the stream breaks off."""
    body = _question(model, prompt, {"stream": True, "stream_options": {"include_usage": True}, **options})
    begun = time.monotonic()
    with _asked(endpoint, "POST", GENERATE.path, body, "stream") as response:
        if response.status != http.HTTPStatus.OK:
            return Stream(response.status, response.read().decode(errors="replace"), 0, 0, 0, None)
        return _read(response, begun)


def _question(model: str, prompt: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": model, **CHAT.body(prompt), "temperature": 0, **options}


@contextmanager
def _asked(
    endpoint: Endpoint, method: str, path: str, body: Mapping[str, Any] | None, kind: str
) -> Iterator[http.client.HTTPResponse]:
    """The response to a request; whatever breaks off is an OSError."""
    connection = http.client.HTTPConnection(LOOPBACK, endpoint.port, timeout=TIMEOUT_S)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {endpoint.key}"}
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        yield connection.getresponse()
    except http.client.HTTPException as error:
        raise ConnectionError(f"the {kind} broke off: {error!r}") from error
    finally:
        connection.close()


def _read(response: http.client.HTTPResponse, begun: float) -> Stream:
    parts: list[str] = []
    first = tokens = 0.0
    finish = None
    for event in _events(response):
        if usage := event.get("usage"):
            tokens = usage["completion_tokens"]
        for choice in event.get("choices", []):
            delta = choice.get("delta", {})
            if text := delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning"):
                first = first or time.monotonic() - begun
                parts.append(text)
            finish = choice.get("finish_reason") or finish
    return Stream(response.status, "".join(parts), first, time.monotonic() - begun, int(tokens), finish)


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """The JSON of every server-sent event, until `[DONE]`. Raises ConnectionError when that never comes."""
    for line in response:
        data = line.decode().strip().removeprefix("data:").strip()
        if data == "[DONE]":
            return
        if data.startswith("{") and line.endswith(b"\n"):
            yield json.loads(data)
    raise ConnectionError("the stream ended without [DONE]")


def load(gateway: Endpoint, server: Endpoint, model: str, inside: str) -> Load:
    """One stream, several at once, then single tokens with and without the gateway. Raises OSError when one fails."""
    options = {"max_tokens": LOAD_TOKENS, "ignore_eos": True}
    alone = stream(gateway, model, LOAD_PROMPT, **options)
    begun = time.monotonic()
    with ThreadPoolExecutor(LOAD_STREAMS) as pool:
        prompts = [f"{LOAD_PROMPT} His name begins with {letter}." for letter in "ABCDEFGH"[:LOAD_STREAMS]]
        together = list(pool.map(lambda prompt: stream(gateway, model, prompt, **options), prompts))
    took = time.monotonic() - begun
    for answer in (alone, *together):
        if answer.status != http.HTTPStatus.OK:
            raise ConnectionError(f"the answer was {answer.status}: {answer.text}")
    pairs = [(_one_token_ms(gateway, model), _one_token_ms(server, inside)) for _ in range(OVERHEAD_PAIRS)]
    return Load(
        alone_tokens_per_s=alone.tokens / alone.total_s,
        together_tokens_per_s=sum(answer.tokens for answer in together) / took,
        streams=LOAD_STREAMS,
        first_token_s=median(answer.first_token_s for answer in together),
        slowest_first_token_s=max(answer.first_token_s for answer in together),
        overhead_ms=median(through - direct for through, direct in pairs),
        direct_ms=median(direct for _, direct in pairs),
    )


def _one_token_ms(endpoint: Endpoint, model: str) -> float:
    begun = time.monotonic()
    chat(endpoint, model, "Hello", max_tokens=1)
    return (time.monotonic() - begun) * 1000
