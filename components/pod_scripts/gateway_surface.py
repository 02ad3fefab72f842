"""What the outside sees of LiteLLM: a guard in front of its app, in its own process, and the port of its metrics.

LiteLLM loads this file from beside its configuration (`litellm_settings.callbacks`) while it starts, before it takes
requests. LiteLLM 1.109.1 has no setting for any of this; `surface.json` beside this file says what is allowed.

- What is no inference answers 404 to everybody but the holder of the master key, and to them too without a database.
- A request without a key is answered before anything of LiteLLM runs: no body is read, nothing is parsed, counted or
  logged for it. Refusals are told in one line per period, however many there are.
- No header and no text of an error names an address inside the cluster.
- Metrics are served by a thread of this process: there is no second process that may start late, and no files.
- After `restart_after_requests` requests the process leaves the Service, lets all requests end, and ends itself.
- Before it ends it asks its clients to close: uvicorn alone closes connections on which a request may be under way.
"""

import asyncio
import hmac
import json
import os
import random
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from litellm.integrations.custom_logger import CustomLogger  # pyright: ignore[reportMissingImports] - of the image
from litellm.proxy.proxy_server import app  # pyright: ignore[reportMissingImports] - of the image
from prometheus_client import start_http_server  # pyright: ignore[reportMissingImports] - of the image

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

RULES: dict[str, Any] = json.loads(Path(__file__).with_name("surface.json").read_text(encoding="utf-8"))
HEALTH = ("/health/liveliness", "/health/liveness", "/health/readiness")
READINESS = "/health/readiness"
# Where LiteLLM looks for a key (litellm 1.109.1, proxy/auth/user_api_key_auth.py get_api_key).
KEY_HEADERS = (
    b"x-litellm-api-key", b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key", b"ocp-apim-subscription-key",
)  # fmt: skip
BEARER = "Bearer "
REFUSED = (401, 403, 404)
TOLD_EVERY_S = 10
LONGEST_TOLD = 80
# At most this much earlier or later than asked for, so that replicas do not leave together.
JITTER = 0.2
HIDDEN = "[internal]"


def _addresses() -> re.Pattern[str]:
    """Addresses inside the cluster: names of Services, IPv4 addresses, and where Redis and Postgres are."""
    hosts = [os.environ.get("REDIS_HOST", ""), urlsplit(os.environ.get("DATABASE_URL", "")).hostname or ""]
    named = [re.escape(host) for host in hosts if host]
    names = "|".join([*named, r"[a-z0-9-]+(?:\.[a-z0-9-]+)*\.svc(?:\.[a-z0-9-]+)*", r"\d{1,3}(?:\.\d{1,3}){3}"])
    return re.compile(
        rf"(?:\b[a-z][a-z0-9+.-]*://(?:[^\s/@\"'\\]*@)?)?(?<![\w.-])(?:{names})(?![\w-]|\.\w)(?::\d+)?(?:/[^\s\"'\\<>)\]]*)?",
        re.IGNORECASE,
    )


ADDRESSES = _addresses()


def hidden(text: str) -> str:
    """The text without addresses inside the cluster."""
    return ADDRESSES.sub(HIDDEN, text)


def _without_addresses(value: object) -> object:
    """The same for every text in decoded JSON."""
    match value:
        case str():
            return hidden(value)
        case dict():
            return {key: _without_addresses(item) for key, item in value.items()}
        case list():
            return [_without_addresses(item) for item in value]
        case _:
            return value


def _cleaned_event(line: bytes) -> bytes:
    """One line of a stream; only what is below a key `error` is touched, never what a model said."""
    if not line.startswith(b"data: ") or not ADDRESSES.search(line.decode("utf-8", "replace")):
        return line
    try:
        event = json.loads(line.removeprefix(b"data: "))
    except ValueError:
        return line
    for holder in (event, event.get("response") if isinstance(event, dict) else None):
        if isinstance(holder, dict) and holder.get("error"):
            holder["error"] = _without_addresses(holder["error"])
    return b"data: " + json.dumps(event, ensure_ascii=False).encode()


class Guard:
    """The ASGI app in front of LiteLLM's."""

    def __init__(self, inner: App) -> None:
        self.inner = inner
        self.exact: dict[str, list[str]] = RULES["exact"]
        self.below: dict[str, dict[str, Any]] = RULES["below"]
        limit = RULES["restart_after_requests"]
        self.left: int | None = limit and round(limit * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - no secret
        self.leaving = self.closing = False
        self.refused, self.told_at = 0, -float(TOLD_EVERY_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Every request of every kind."""
        if scope["type"] == "lifespan":
            await self.inner(scope, receive, send)
        elif scope["type"] != "http":
            # no inference needs a WebSocket; closed before it is accepted, it is a 403 for the client
            await send({"type": "websocket.close", "code": 1008})
        elif (status := self.status(scope)) != 200:
            self.tell(scope, status)
            await _answer(self.last(send), status, scope["method"] == "HEAD")
        else:
            await self.inner(scope, receive, self.watched(scope, self.last(send)))

    def last(self, send: Send) -> Send:
        """`send` that asks the client to close its connection once the process is to end."""

        async def closing(message: Message) -> None:
            if self.closing and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            await send(message)

        return closing

    def end_gently(self) -> None:
        """Makes SIGTERM leave the Service, and do what it does now `close_s` later; a second one does it at once."""
        end = signal.getsignal(signal.SIGTERM)
        if not callable(end):
            return

        def leave(number: int, frame: FrameType | None) -> None:
            if self.closing:
                end(number, frame)
                return
            self.leaving = self.closing = True
            loop = asyncio.get_running_loop()
            loop.call_soon_threadsafe(loop.call_later, RULES["close_s"], end, number, None)

        signal.signal(signal.SIGTERM, leave)

    def status(self, scope: Scope) -> int:
        """200 when LiteLLM may see the request."""
        method, path = scope["method"], scope["path"]
        if path in HEALTH and method in ("GET", "HEAD", "OPTIONS"):
            return 503 if self.leaving and path == READINESS else 200
        keys = [value for name, value in scope["headers"] if name in KEY_HEADERS and value.strip()]
        if self.infers(method, path):
            # a browser asks by OPTIONS, without a key, whether it may ask; LiteLLM answers from a constant
            return 200 if keys or method == "OPTIONS" else 401
        return 200 if RULES["admin"] and _is_master(scope) else 404

    def infers(self, method: str, path: str) -> bool:
        """Whether it is a call of the inference API."""
        methods = self.exact.get(path, [])
        for prefix, rule in self.below.items():
            segments = path.removeprefix(prefix).split("/")
            # what other programs would take for another path is no path of ours
            plain = not any(segment in ("", ".", "..") for segment in segments)
            if path.startswith(prefix) and plain and len(segments) <= rule["segments"]:
                methods = rule["methods"]
        return method in methods or (method == "OPTIONS" and bool(methods))

    def watched(self, scope: Scope, send: Send) -> Send:
        """`send` that lets no address out, and counts."""
        if scope["path"] not in HEALTH:
            self.count()
        held: list[Message] = []
        streams = False

        async def watch(message: Message) -> None:
            nonlocal streams
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, value)
                    for name, value in message.get("headers", [])
                    if name.lower() != b"x-litellm-model-api-base" and not ADDRESSES.search(value.decode("latin-1"))
                ]
                if message["status"] in REFUSED:
                    self.tell(scope, message["status"])
                if message["status"] >= 400:
                    held.append(message)
                    return
                streams = any(b"event-stream" in value for name, value in message["headers"] if name == b"content-type")
            elif held:
                held.append(message)
                if not message.get("more_body"):
                    await _send_cleaned(send, held)
                return
            elif streams and b'"error"' in message.get("body", b""):
                message["body"] = b"\n".join(_cleaned_event(line) for line in message["body"].split(b"\n"))
            await send(message)

        return watch

    def count(self) -> None:
        """One request more; the last one begins the end."""
        if self.left is None or self.leaving:
            return
        self.left -= 1
        if self.left <= 0:
            self.leaving = True
            _say({"message": "has served its requests: leaves, and starts anew", "leaves_after_s": RULES["leave_s"]})
            # LiteLLM's server stops listening, waits for what runs (GRACEFUL_SHUTDOWN_TIMEOUT), and ends
            asyncio.get_running_loop().call_later(RULES["leave_s"], os.kill, os.getpid(), signal.SIGTERM)

    def tell(self, scope: Scope, status: int) -> None:
        """One line about refusals per period: how many, and the last one."""
        self.refused += 1
        now = time.monotonic()
        if now - self.told_at < TOLD_EVERY_S:
            return
        self.told_at = now
        _say(
            {
                "message": "refused",
                "requests_since_last_line": self.refused,
                "status": status,
                "method": scope["method"][:LONGEST_TOLD],
                "path": scope["path"][:LONGEST_TOLD],
                "client": (scope.get("client") or ("",))[0],
            }
        )
        self.refused = 0


def _is_master(scope: Scope) -> bool:
    """Whether the request carries the master key. An empty or blank expected key is nobody's."""
    wanted = os.environ.get("LITELLM_MASTER_KEY", "")
    given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    return bool(wanted.strip()) and hmac.compare_digest(given, f"{BEARER}{wanted}".encode("utf-8", "surrogateescape"))


async def _answer(send: Send, status: int, head: bool) -> None:
    """A refusal in the shape of OpenAI's errors."""
    said = {
        401: ("Authentication Error: the API key is missing", "auth_error", "key"),
        404: ("Not Found", "not_found_error", None),
        503: ("restarting", "unavailable", None),
    }[status]
    error = dict(zip(("message", "type", "param"), said, strict=True)) | {"code": str(status)}
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})


async def _send_cleaned(send: Send, held: list[Message]) -> None:
    """An error that is complete, without addresses and with the length it has then."""
    start, body = held[0], b"".join(message.get("body", b"") for message in held[1:])
    body = hidden(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    kept = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
    start["headers"] = [*kept, (b"content-length", str(len(body)).encode())]
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _say(what: dict[str, object]) -> None:
    """A line of the log, as LiteLLM's own."""
    sys.stderr.write(json.dumps({"logger": "gateway_surface", "level": "WARNING", **what}) + "\n")
    sys.stderr.flush()


def _install() -> CustomLogger:
    """Puts the guard in front of the app once. LiteLLM wants a logger for what it loads as one; this one does nothing.

    While this runs the app has been built and serves nothing yet, so its outermost layer is replaced; before that it is
    added as any other.
    """
    if getattr(app.state, "guarded", False):
        return CustomLogger()
    app.state.guarded = True
    if app.middleware_stack is None:
        app.add_middleware(Guard)
    else:
        app.middleware_stack = Guard(app.middleware_stack)
        app.middleware_stack.end_gently()
    if port := os.environ.get("GATEWAY_METRICS_PORT"):
        try:
            start_http_server(int(port), os.environ.get("GATEWAY_METRICS_HOST", "127.0.0.1"))
        except OSError as error:
            # no reason not to serve; Prometheus finds the target down
            _say({"message": f"metrics are not served: {error}"})
    return CustomLogger()


guard = _install()
