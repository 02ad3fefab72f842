"""The guard in front of LiteLLM's app, with a stand-in for the app: what it lets through, refuses, hides and says.

That the real LiteLLM puts it in front of itself is proved in tests/gateway.
"""

import asyncio
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.components.pod_scripts.gateway_scripts import load

KEY = "sk-4f2a9c71d8e3b6a5"
DATABASE = {"database": {"existingSecret": "pg"}}
REST = {"content-type": "application/json"}
STREAM = {"content-type": "text/event-stream; charset=utf-8"}


class Inner:
    """LiteLLM's app: answers what it was told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.status, self.headers, self.chunks = 200, dict(REST), [b"{}"]

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        """One request."""
        self.asked.append(scope.get("path", scope["type"]))
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        for number, chunk in enumerate(self.chunks, 1):
            await send({"type": "http.response.body", "body": chunk, "more_body": number < len(self.chunks)})


class Guarded:
    """The guard in front of it, as a client sees it."""

    def __init__(self, module: Any, inner: Inner) -> None:
        self.module, self.inner = module, inner
        self.guard = module.Guard(inner)

    def ask(self, path: str, key: str | None = None, method: str | None = None, **headers: str) -> Any:
        """(status, headers, body)."""
        given = {**headers, **({} if key is None else {"authorization": f"Bearer {key}"})}
        method = method or ("GET" if path.startswith("/health") or "models" in path else "POST")
        sent = asyncio.run(
            self.scope({"type": "http", "method": method, "path": path, "client": ("10.1.2.3", 4)}, given)
        )
        head, *bodies = sent
        shown = {name.decode(): value.decode() for name, value in head["headers"]}
        return head["status"], shown, b"".join(message.get("body", b"") for message in bodies)

    async def scope(self, scope: dict[str, Any], headers: dict[str, str]) -> list[Any]:
        """Everything that is sent for one scope."""
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            raise AssertionError("nothing is read")

        encoded = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
        await self.guard({**scope, "headers": encoded}, receive, send)
        return sent


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A guard for settings of the gateway."""
    monkeypatch.setenv("LITELLM_MASTER_KEY", KEY)
    monkeypatch.setenv("REDIS_HOST", "redis.corp")
    monkeypatch.setenv("DATABASE_URL", "postgresql://llm:pw@pg.corp:5432/litellm")

    def made(**gateway: Any) -> Guarded:
        app = SimpleNamespace(state=SimpleNamespace(), middleware_stack=Inner())
        return Guarded(load(monkeypatch, tmp_path, "gateway_surface", app, **gateway), Inner())

    return made


@pytest.fixture
def guarded(make: Any) -> Guarded:
    """The usual one."""
    return make()


CALLS = [
    "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/rerank", "/v1/messages",
    "/v1/messages/count_tokens", "/v1/audio/transcriptions", "/v1/responses", "/v1/responses/resp_1/cancel",
    "/v1/models", "/v1/models/small", "/chat/completions", "/models/small",
]  # fmt: skip
OTHERS = [
    "/", "/v1", "/v1/", "/v1/files", "/v1/batches", "/v1/agents", "/v1/mcp/server", "/v1/model/info", "/model/info",
    "/key/generate", "/metrics", "/metrics/", "/routes", "/ui/", "/openapi.json", "/health",
    "/health/readiness/details",
    "/v1/chat/completions/", "//v1/chat/completions", "/v1//chat/completions", "/V1/chat/completions",
    "/v1/chat/completions/x", "/v1/chat/completions;x", "/v1/models/", "/v1/models/..", "/v1/models/../model/info",
    "/v1/models/a/b", "/v1/responses/./x", "/v1/responses/a/b/c", "/v1/modelsx", "/v1/chat\\completions",
    "/.well-known/oauth-authorization-server", "/sso/key/generate", "/engines/small/chat/completions", "",
]  # fmt: skip


@pytest.mark.parametrize("path", CALLS)
def test_inference_needs_a_key_and_passes_with_any(make: Any, path: str):
    """Which key is right is LiteLLM's to say; without one it is not asked, and no body is read."""
    guarded = make()
    assert guarded.ask(path)[0] == 401
    assert guarded.inner.asked == []
    assert guarded.ask(path, "sk-any")[0] == 200
    assert guarded.inner.asked == [path]


@pytest.mark.parametrize("path", OTHERS)
@pytest.mark.parametrize("key", [None, "sk-any", KEY])
def test_nothing_else_is_there_without_a_database(make: Any, path: str, key: str | None):
    """Not for strangers, not for keys, not for the master key, by no spelling."""
    guarded = make()
    assert [guarded.ask(path, key, method)[0] for method in ("GET", "POST")] == [404, 404]
    assert guarded.inner.asked == []


@pytest.mark.parametrize("path", OTHERS)
def test_with_a_database_all_else_is_the_master_keys(make: Any, path: str):
    """Keys and budgets are made with it, from inside the cluster."""
    guarded = make(**DATABASE)
    assert [guarded.ask(path, key)[0] for key in (None, "sk-any", f"{KEY}x", "", KEY)] == [404, 404, 404, 404, 200]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    path=st.lists(st.sampled_from([*"/.:;%?#\\ ", "v1", "models", "responses", "chat", "a", "\0", "é"])).map("".join),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
)
def test_whatever_a_client_writes_only_calls_of_the_list_pass(guarded: Guarded, path: str, method: str):
    """Of made-up paths those pass that are one model by its name, or an answer by its id, in plain segments."""
    first, *segments = path.removeprefix("/v1").split("/")
    most = {("models", "GET"): 2, **{("responses", verb): 3 for verb in ("GET", "POST", "DELETE")}}
    plain = first == "" and all(segment not in ("", ".", "..") for segment in segments)
    passes = plain and 2 <= len(segments) <= most.get((segments[0], method), 0)
    passes = passes or (first == "" and (segments, method) in ((["models"], "GET"), (["responses"], "POST")))
    assert guarded.ask(path, KEY, method)[0] == (200 if passes else 404)


@pytest.mark.parametrize("wanted", ["", " ", None])
def test_a_blank_master_key_opens_nothing(make: Any, monkeypatch: pytest.MonkeyPatch, wanted: str | None):
    """Neither the blank itself nor a header without a key is the master key then."""
    guarded = make(**DATABASE)
    if wanted is None:
        monkeypatch.delenv("LITELLM_MASTER_KEY")
    else:
        monkeypatch.setenv("LITELLM_MASTER_KEY", wanted)
    assert [guarded.ask("/key/generate", key)[0] for key in (None, "", " ", "None")] == [404] * 4


@pytest.mark.parametrize(
    "name",
    ["x_litellm_api_key", "authorization", "api_key", "x_api_key", "x_goog_api_key", "ocp_apim_subscription_key"],
)
def test_a_key_may_come_in_any_header_litellm_reads(make: Any, name: str):
    """A blank one is none."""
    guarded = make()
    found = [guarded.ask("/v1/messages", **{name: value})[0] for value in ("sk-any", "", "  ")]
    assert found == [200, 401, 401]


@pytest.mark.parametrize(("method", "status"), [("GET", 404), ("DELETE", 404), ("PUT", 404), ("OPTIONS", 200)])
def test_other_methods_of_a_call_are_not_there(make: Any, method: str, status: int):
    """But a browser may ask whether it may ask, which needs no key."""
    assert make().ask("/v1/chat/completions", KEY if method != "OPTIONS" else None, method)[0] == status


def test_health_needs_no_key_and_websockets_are_closed(make: Any):
    """Probes have none; no call of the list is a WebSocket."""
    guarded = make()
    assert [guarded.ask(f"/health/{path}")[0] for path in ("liveliness", "liveness", "readiness")] == [200] * 3
    sent = asyncio.run(
        guarded.scope({"type": "websocket", "path": "/v1/responses"}, {"authorization": f"Bearer {KEY}"})
    )
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_start_and_stop_of_the_app_are_passed_on(make: Any):
    """LiteLLM's own start-up is not the guard's."""
    guarded = make()
    asyncio.run(guarded.scope({"type": "lifespan"}, {}))
    assert guarded.inner.asked == ["lifespan"]


# --- addresses --------------------------------------------------------------------------------------------------------


def test_headers_that_name_an_address_are_taken_away(make: Any):
    """LiteLLM's own, and any other that names a Service, a pod, Redis or Postgres."""
    guarded = make()
    guarded.inner.headers |= {
        "x-litellm-model-api-base": "http://vllm-small.llm-serving.svc:8000/v1",
        "x-litellm-model-id": "vllm-small",
        "x-litellm-version": "1.109.1",
        "llm_provider-via": "1.1 10.2.3.4",
        "x-other": "pg.corp",
    }
    _, headers, _ = guarded.ask("/v1/embeddings", KEY)
    assert headers == {**REST, "x-litellm-model-id": "vllm-small", "x-litellm-version": "1.109.1"}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "Cannot connect to host vllm-m.llm-serving.svc:8000 ssl:default",
            "Cannot connect to host [internal] ssl:default",
        ),
        ("boom at http://vllm-m.llm-serving.svc.cluster.local:8000/v1/x?y=1, sorry", "boom at [internal] sorry"),
        ("[Connect call failed ('10.0.3.7', 8000)]", "[Connect call failed ('[internal]', 8000)]"),
        ("Can't reach database server at `pg.corp:5432`", "Can't reach database server at `[internal]`"),
        ("redis://:pw@redis.corp:6379/0 is down", "[internal] is down"),
        ("see https://docs.litellm.ai/docs, version 1.109.1", "see https://docs.litellm.ai/docs, version 1.109.1"),
        ("http://127.0.0.1:9/v1", "[internal]"),
        ("mysvc and a.svcx and my.redis.corporation", "mysvc and a.svcx and my.redis.corporation"),
    ],
)
def test_errors_name_no_address(make: Any, said: str, shown: str):
    """The message stays, and the length is right, however the body is cut into pieces."""
    guarded = make()
    body = json.dumps({"error": {"message": said}}).encode()
    guarded.inner.status, guarded.inner.chunks = 500, [body[:15], body[15:]]
    status, headers, found = guarded.ask("/v1/chat/completions", KEY)
    assert (status, json.loads(found)) == (500, {"error": {"message": shown}})
    assert headers["content-length"] == str(len(found))


def test_errors_within_a_stream_name_no_address_and_answers_stay_as_they_are(make: Any):
    """A model may say what it likes, also an address; an event with an error is cleaned in any API."""
    guarded = make()
    url = "http://vllm-m.llm-serving.svc:8000/v1"
    answer = f'data: {{"choices": [{{"delta": {{"content": "\\"error\\": {url}"}}}}]}}\n\n'
    created = f'data: {{"response": {{"instructions": "{url}", "error": null}}}}\n\n'
    failed = f'event: x\ndata: {{"response": {{"instructions": "{url}", "error": {{"m": ["{url}"]}}}}}}\n\n'
    broken = f'data: {{"error": {{"message": "at {url}", "code": "500"}}}}\n\ndata: [DONE]\n\n'
    guarded.inner.headers, chunks = STREAM, [answer, created, failed, broken]
    guarded.inner.chunks = [chunk.encode() for chunk in chunks]
    _, _, found = guarded.ask("/v1/responses", KEY)
    assert found.decode() == (
        answer
        + created
        + f'event: x\ndata: {{"response": {{"instructions": "{url}", "error": {{"m": ["[internal]"]}}}}}}\n\n'
        + 'data: {"error": {"message": "at [internal]", "code": "500"}}\n\ndata: [DONE]\n\n'
    )


# --- the log, and the end ---------------------------------------------------------------------------------------------


def test_refusals_are_told_in_one_line_per_period(
    make: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """How many, and one of them, cut; a thousand strangers make no thousand lines."""
    guarded = make()
    now = [100.0]
    monkeypatch.setattr(guarded.module.time, "monotonic", lambda: now[0])
    for _ in range(1000):
        guarded.ask("/v1/models/" + "x" * 500)
    now[0] += 10
    guarded.inner.status = 403
    guarded.ask("/v1/models", KEY)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["requests_since_last_line"], line["status"], line["client"]) for line in lines] == [
        (1, 401, "10.1.2.3"),
        (1000, 403, "10.1.2.3"),
    ]
    assert len(lines[0]["path"]) == 80


def test_a_process_that_has_served_its_requests_leaves_and_ends(make: Any, monkeypatch: pytest.MonkeyPatch):
    """It is not ready any more, still answers, is alive, and ends itself when the Service has forgotten it."""
    guarded = make(restartAfterRequests=1000)
    guarded.guard.left = 3
    later: list[Any] = []
    monkeypatch.setattr(
        guarded.module.asyncio, "get_running_loop", lambda: SimpleNamespace(call_later=lambda *what: later.append(what))
    )
    for _ in range(5):
        guarded.ask("/health/readiness")
    assert [guarded.ask("/v1/models", KEY)[0] for _ in range(2)] == [200, 200]
    assert (later, guarded.ask("/health/readiness")[0]) == ([], 200)
    assert [guarded.ask("/v1/models", KEY)[0] for _ in range(3)] == [200, 200, 200]
    assert [guarded.ask(f"/health/{path}")[0] for path in ("readiness", "liveliness")] == [503, 200]
    assert later == [(60, os.kill, os.getpid(), signal.SIGTERM)]


def test_replicas_do_not_leave_together(make: Any):
    """Each draws how much earlier or later it leaves: a fifth at most."""
    guarded = make(restartAfterRequests=1000)
    drawn = {guarded.module.Guard(guarded.inner).left for _ in range(200)}
    assert (min(drawn) >= 800, max(drawn) <= 1200, len(drawn) > 50) == (True, True, True)


def test_the_guard_is_put_in_front_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Also when LiteLLM reads its configuration again; and before the app is built it is added as any other."""
    inner = Inner()
    app = SimpleNamespace(state=SimpleNamespace(), middleware_stack=inner)
    load(monkeypatch, tmp_path, "gateway_surface", app)
    first: Any = app.middleware_stack
    load(monkeypatch, tmp_path, "gateway_surface", app)
    assert (first.inner, app.middleware_stack) == (inner, first)
    added: list[Any] = []
    app = SimpleNamespace(state=SimpleNamespace(), middleware_stack=None, add_middleware=added.append)
    module = load(monkeypatch, tmp_path, "gateway_surface", app)
    assert added == [module.Guard]


def test_a_port_of_the_metrics_that_is_taken_stops_nothing(
    make: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """It is said; Prometheus sees that the target is down."""
    guarded = make()

    def taken(*_: object) -> None:
        raise OSError(98, "Address already in use")

    monkeypatch.setenv("GATEWAY_METRICS_PORT", "4002")
    monkeypatch.setattr(guarded.module, "start_http_server", taken)
    guarded.module.app.state = SimpleNamespace()
    guarded.module._install()
    assert json.loads(capsys.readouterr().err)["message"] == "metrics are not served: [Errno 98] Address already in use"
