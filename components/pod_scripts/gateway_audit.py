"""An audit of the gateway: one line of JSON on standard output for every request of a key that is known.

LiteLLM loads this file from beside its configuration (`litellm_settings.callbacks`); `audit.json` beside it says
whether lines hold what was asked and answered. LiteLLM's own loggers are called once for each try, before or after the
client has its answer, or never (1.109.1, tried); so the line is written where a request ends, by a layer around
LiteLLM's app, and its callbacks only add what they know: tokens, and why a try failed.

- Requests without a key, and with one that nobody knows, leave no line: they are counted by the guard.
- A line is written when the request has ended and its tokens are known, `WAIT_S` after its end at the latest.
- Nothing of a line is a key: keys and teams are named by their aliases.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from litellm.constants import LITELLM_PROXY_MASTER_KEY_ALIAS  # pyright: ignore[reportMissingImports] - of the image
from litellm.integrations.custom_logger import CustomLogger  # pyright: ignore[reportMissingImports] - of the image
from litellm.proxy.proxy_server import app  # pyright: ignore[reportMissingImports] - of the image

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Line = dict[str, Any]

PROMPTS: bool = json.loads(Path(__file__).with_name("audit.json").read_text(encoding="utf-8"))["prompts"]
# What a request asks, whatever its endpoint calls it.
ASKS = ("messages", "system", "prompt", "input", "instructions", "query", "documents", "tools")
# How long after an answer LiteLLM may take to count its tokens.
WAIT_S = 5
# The status of a request whose client went before there was one, as nginx has it.
CLIENT_LEFT = 499
UNKNOWN_KEY = 401
LONGEST_TOLD = 200


class Request:
    """What is known of one request. `ended_at`: on the clock of `time.monotonic`; `counted`: its tokens are known."""

    def __init__(self, scope: Scope) -> None:
        self.began_at, self.ended_at = time.monotonic(), 0.0
        self.line: Line = {
            "logger": "audit",
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request_id": None,
            "team": None,
            "key": None,
            "method": scope["method"],
            "path": scope["path"][:LONGEST_TOLD],
            "model": None,
            "server": None,
            "status": CLIENT_LEFT,
            "complete": False,
            "prompt_tokens": None,
            "completion_tokens": None,
        }
        self.failure: str | None = None
        self.known = self.counted = self.infers = self.written = False

    def identify(self, key: Any) -> None:
        """Who asks, once LiteLLM knows. The key without a database, and the master key, have LiteLLM's name for it."""
        alias = getattr(key, "key_alias", None)
        team = getattr(key, "team_alias", None) or getattr(key, "team_id", None)
        master = LITELLM_PROXY_MASTER_KEY_ALIAS in (getattr(key, "api_key", None), getattr(key, "user_id", None))
        if alias or team or master or getattr(key, "key_name", None):
            self.known = True
            self.line |= {"team": team, "key": alias or ("master" if master else None)}

    def write(self) -> None:
        """The line, on standard output."""
        self.line["duration_s"] = round(self.ended_at - self.began_at, 3)
        if self.failure and not self.counted:
            self.line["error"] = self.failure
        sys.stdout.write(json.dumps(self.line, ensure_ascii=False, default=str) + "\n")
        sys.stdout.flush()


current: ContextVar[Request | None] = ContextVar("audited", default=None)
# LiteLLM's id of a call → the request, until its line is written.
calls: dict[str, Request] = {}


class Layer:
    """The ASGI app around LiteLLM's, inside of the guard."""

    def __init__(self, inner: App) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Every request of every kind."""
        if scope["type"] != "http" or scope["path"].startswith("/health"):
            await self.inner(scope, receive, send)
            return
        request = Request(scope)
        token = current.set(request)

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = {name.lower(): value.decode("latin-1") for name, value in message.get("headers", [])}
                request.line["status"] = message["status"]
                request.line["server"] = headers.get(b"x-litellm-model-id")
                self.name(request, headers.get(b"x-litellm-call-id"))
            elif message["type"] == "http.response.body" and not message.get("more_body"):
                # LiteLLM itself answers whom it has seen leave, with the same status
                request.line["complete"] = request.line["status"] != CLIENT_LEFT
            await send(message)

        try:
            await self.inner(scope, receive, watch)
        finally:
            current.reset(token)
            self.end(request, scope)

    @staticmethod
    def name(request: Request, call: str | None) -> None:
        """LiteLLM's id of the call, by which its callbacks find the request."""
        if call and request.line["request_id"] is None:
            request.line["request_id"] = call
            calls[call] = request

    @staticmethod
    def end(request: Request, scope: Scope) -> None:
        """Writes its line, now or when its tokens are known."""
        request.ended_at = time.monotonic()
        principal = (scope.get("state") or {}).get("principal")
        if principal is not None:
            request.identify(getattr(principal, "source_key", None))
        if not request.known or request.line["status"] == UNKNOWN_KEY:
            calls.pop(request.line["request_id"], None)
        elif request.counted or not request.infers or request.line["status"] >= 400:
            finish(request)
        else:
            asyncio.get_running_loop().call_later(WAIT_S, finish, request)


def finish(request: Request) -> None:
    """Writes the line unless it is written."""
    if request.ended_at and not request.written:
        request.written = True
        calls.pop(request.line["request_id"], None)
        request.write()


class Audit(CustomLogger):
    """Called by LiteLLM around every request."""

    async def async_pre_call_hook(self, *, user_api_key_dict: Any, data: Any, **_: object) -> Any:
        """Who asks for what."""
        request = current.get()
        if request is not None:
            request.identify(user_api_key_dict)
            request.infers = True
            request.line["model"] = str(data.get("model"))[:LONGEST_TOLD] if data.get("model") is not None else None
            Layer.name(request, data.get("litellm_call_id"))
            if PROMPTS:
                request.line["asked"] = {name: data[name] for name in ASKS if data.get(name) is not None}
        return data

    async def async_log_success_event(self, kwargs: Any, *_: object, **__: object) -> None:
        """The tokens of an answer, or of what a client heard of it."""
        request = calls.get(str(kwargs.get("litellm_call_id")))
        counts = kwargs.get("standard_logging_object") or {}
        if request is None:
            return
        request.counted = True
        request.line |= {
            "prompt_tokens": counts.get("prompt_tokens"),
            "completion_tokens": counts.get("completion_tokens"),
            "server": counts.get("model_id") or request.line["server"],
        }
        if PROMPTS:
            request.line["answered"] = counts.get("response")
        if request.ended_at:
            finish(request)

    async def async_log_failure_event(self, kwargs: Any, *_: object, **__: object) -> None:
        """The kind of error of a try, which the line has if no other try answers."""
        request = calls.get(str(kwargs.get("litellm_call_id")))
        if request is not None:
            request.failure = type(kwargs.get("exception")).__name__

    async def async_post_call_failure_hook(
        self, *, user_api_key_dict: Any, request_data: Any, original_exception: Exception, **_: object
    ) -> None:
        """Who is refused, also before anything is called."""
        request = current.get()
        if request is not None:
            request.identify(user_api_key_dict)
            request.failure = type(original_exception).__name__
            if request.line["model"] is None and isinstance(model := request_data.get("model"), str):
                request.line["model"] = model[:LONGEST_TOLD]


def _install() -> Audit:
    """Puts the layer around the app once, as gateway_surface does with its guard, which is loaded after it."""
    if not getattr(app.state, "audited", False):
        app.state.audited = True
        if app.middleware_stack is None:
            app.add_middleware(Layer)
        else:
            app.middleware_stack = Layer(app.middleware_stack)
    return Audit()


audit = _install()
