"""What clients and strangers reach of the real LiteLLM: inference, at no cost for those without a key."""

import http.client
import json
import random
import re
import signal
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from planning.gateway.metrics import ALWAYS, KEPT
from tests.gateway import stacks
from tests.gateway.client import chat, request
from tests.gateway.edge import READINGS, lets_through
from tests.gateway.fake_vllm import Behaviour, Fakes, wait_for
from tests.gateway.proxies import Proxy, proxy, rendered, start
from tests.gateway.routes import routes
from tests.harness import minimal, stack

pytestmark = pytest.mark.gateway
EXPOSURES = {
    "HTTPRoute": {"kind": "gatewayApi", "gatewayName": "public"},
    "Ingress": {"kind": "ingress", "className": "nginx"},
}
INFERENCE = re.compile(
    r"/v1/(chat/completions|completions|embeddings|rerank|messages(/count_tokens)?|audio/transcriptions|models(/[^/]+)?"
    r"|responses(/[^/]+){0,2})"
)
ADDRESS = re.compile(r"\.svc\b|\b\d+\.\d+\.\d+\.\d+\b|api-base", re.IGNORECASE)
NOT_FOUND = {"error": {"message": "Not Found", "type": "not_found_error", "param": None, "code": "404"}}
BODIES: dict[str, Any] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "x"}]},
    "/v1/completions": {"prompt": "x"},
    "/v1/messages": {"messages": [{"role": "user", "content": "x"}], "max_tokens": 5},
    "/v1/responses": {"input": "x"},
}


def alone(fakes: Fakes, **surface: Any) -> Proxy:
    """One replica without Redis and database; `surface` changes what lies beside its configuration."""
    config = stacks.serving({"m": {}}, replicas=1, redis={"kind": "none"}, retries=0)
    addresses = stacks.addresses(config, fakes, None)
    found = rendered(config)
    rules = {**json.loads(found.files["surface.json"]), **surface}
    files = {**found.files, "surface.json": json.dumps(rules)}
    return proxy(type(found)(found.pod, files, found.namespace), stacks.KEYS, addresses)


@pytest.fixture(scope="module")
def gateway(all_fakes: Fakes) -> Iterator[Proxy]:
    """The usual one."""
    found = alone(all_fakes)
    try:
        start(found)
        yield found
    finally:
        found.stop()


def raw(url: str, method: str, path: str, key: str | None = None, headers: Any = None) -> tuple[int, Any, Any]:
    """(status, headers, body) of a request whose path is sent as it stands."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    connection.putrequest(method, path, skip_accept_encoding=True)
    sent = {**({"authorization": f"Bearer {key}"} if key else {}), **(headers or {}), "content-length": "2"}
    for name, value in {"content-type": "application/json", **sent}.items():
        connection.putheader(name, value)
    connection.endheaders(b"{}")
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    found = {name.lower(): value for name, value in answer.getheaders()}
    return answer.status, found, json.loads(body) if body[:1] in (b"{", b"[", b'"') else body


def many(works: Sequence[Any], ask: Any) -> list[Any]:
    """Asks a few at a time."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(ask, works))


# --- routes -----------------------------------------------------------------------------------------------------------


def test_of_all_routes_only_inference_answers_the_right_key(gateway: Proxy):
    """Six hundred routes, those it builds later included: keys, files, agents, MCP, metrics, pages are not there."""
    others = [(method, path) for method, path in routes() if not INFERENCE.fullmatch(f"/v1{path.removeprefix('/v1')}")]
    others = [(method, path) for method, path in others if path not in ("/health/liveliness", "/health/liveness")]
    others = [(method, path) for method, path in others if path != "/health/readiness"]
    assert len(others) > 900
    answers = many(others, lambda what: raw(gateway.url, what[0], what[1], stacks.MASTER))
    assert {
        what: (a[0], a[2]) for what, a in zip(others, answers, strict=True) if (a[0], a[2]) != (404, NOT_FOUND)
    } == {}


def test_of_all_routes_none_answers_without_a_key(gateway: Proxy):
    """Pages for signing in, lists of routes, MCP's OAuth: a stranger learns that it is alive, and nothing else."""
    answers = many(routes(), lambda what: (what, raw(gateway.url, what[0], what[1])[0]))
    assert {what for what, status in answers if status not in (401, 404)} == {
        ("GET", "/health/liveliness"),
        ("GET", "/health/liveness"),
        ("GET", "/health/readiness"),
    }


def test_the_role_of_clients_infers_and_nothing_else_by_itself(all_fakes: Fakes):
    """Also where the guard does not stand before it: what needs a key is refused the right one, but inference."""
    found = alone(all_fakes)
    file = found.folder / "config.yaml"
    text = file.read_text(encoding="utf-8")
    assert "- gateway_surface.guard\n" in text
    file.write_text(re.sub(r" *- gateway_surface.guard\n", "", text), encoding="utf-8")
    try:
        start(found)
        assert chat(found.url, "m", stacks.MASTER).status == 200
        others = [what for what in routes() if not INFERENCE.fullmatch(f"/v1{what[1].removeprefix('/v1')}")]
        keyless = dict(zip(others, many(others, lambda what: raw(found.url, what[0], what[1])[0]), strict=True))
        guarded = [what for what, status in keyless.items() if status in (401, 403)]
        assert len(guarded) > 300
        answers = many(guarded, lambda what: raw(found.url, what[0], what[1], stacks.MASTER)[0])
        assert {what: status for what, status in zip(guarded, answers, strict=True) if status not in (401, 403)} == {}
    finally:
        found.stop()


@pytest.mark.parametrize("kind", EXPOSURES)
def test_only_inference_is_routed(gateway: Proxy, kind: str):
    """Of all routes of LiteLLM the edge lets through those of the list, and whether LiteLLM is alive."""
    exposed = {"host": "llm.example.com", "expose": EXPOSURES[kind]}
    manifest = stack(minimal(gateway=exposed)).object(kind, "litellm")
    through = {path for _, path in routes() if lets_through(manifest, path)}
    assert {path for path in through if not INFERENCE.fullmatch(path)} == {"/health/liveliness"}
    for path, body in BODIES.items():
        assert lets_through(manifest, path)
        assert request(gateway.url, path, {"model": "m", **body}, stacks.MASTER).json != NOT_FOUND
    assert lets_through(manifest, "/v1/models/m")
    assert [model["id"] for model in request(gateway.url, "/v1/models", None, stacks.MASTER).json["data"]] == ["m"]
    assert request(gateway.url, "/v1/models/m", None, stacks.MASTER).json["id"] == "m"


TRICKS = [
    "/v1/models/../model/info", "/v1/models/..%2fmodel/info", "/v1/models/%2e%2e/model/info", "/v1//model/info",
    "//v1/model/info", "/v1/models/..;/model/info", "/v1/models/%252e%252e/model/info",
    "/v1/models%2f..%2fmodel%2finfo",
    "/v1/responses/../files", "/v1/responses/..%5cfiles", "/v1/responses/x/../../key/list",
    "/V1/Models/x/../../Key/list",
    "/v1/chat/completions/../../../key/generate", "/v1/chat/completions/", "/v1/chat/completions//", "/v1/models/",
    "/v1/models/./x", "/v1/models/x/", "/v1/models/x/y", "/v1/responses/a/b/c", "/v1/chat/completions;/../../files",
    "/v1/models/x:generateContent", "/health/liveliness/../../metrics", "/health/liveliness/", "/health/../metrics",
    "/v1/chat/completions%00", "/v1/models/x%0d%0aHost:y", "/v1/mcp/server", "/.well-known/oauth-protected-resource",
]  # fmt: skip


@pytest.mark.parametrize("kind", EXPOSURES)
def test_no_spelling_of_a_path_gets_anything_else(gateway: Proxy, kind: str):
    """However an edge reads a path, and whichever reading it hands on, what answers is inference, or nothing."""
    manifest = stack(minimal(gateway={"host": "llm.example.com", "expose": EXPOSURES[kind]})).object(kind, "litellm")
    wrong = []
    for path in TRICKS:
        for read, reading in READINGS.items():
            if not lets_through(manifest, reading(path)):
                continue
            for handed in {path, reading(path)}:
                if not handed.isascii() or any(ord(char) < 33 for char in handed):
                    continue
                for method in ("GET", "POST"):
                    status, _, body = raw(gateway.url, method, handed, stacks.MASTER)
                    plain = INFERENCE.fullmatch(handed) or handed == "/health/liveliness"
                    if body != NOT_FOUND and not plain:
                        wrong.append((path, read, handed, method, status, body))
    assert wrong == []


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(),
        Behaviour(status=500, message="boom at http://vllm-m.llm-serving.svc.cluster.local:8000/v1 (10.1.2.3:8000)"),
        Behaviour(status=400, message="bad: vllm-m.llm-serving.svc:8000 says no"),
        Behaviour(status=404, message="http://127.0.0.1:8000/v1 has no such model"),
        Behaviour(status=429, message="too many at 10.0.0.1"),
        Behaviour(resets=True),
        Behaviour(cut_after=2),
    ],
    ids=lambda found: f"{found.status} {'reset' if found.resets else ''}{'cut' if found.cut_after else ''}".strip(),
)
@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("stream", [False, True])
def test_no_answer_names_an_address(gateway: Proxy, fakes: Fakes, path: str, behaviour: Behaviour, stream: bool):
    """Neither headers nor errors, whole or within a stream, whatever the server does."""
    fakes.server("vllm-m").behaviour = behaviour
    answer = request(gateway.url, path, {"model": "m", "stream": stream, **BODIES[path]}, stacks.MASTER)
    assert [item for item in answer.headers.items() if ADDRESS.search(" ".join(item))] == []
    assert ADDRESS.findall(answer.text) == []


def test_no_answer_names_a_server_that_is_not_there(gateway: Proxy, fakes: Fakes):
    """A refused connection is told by LiteLLM with host and port."""
    server = fakes.server("vllm-m")
    fakes.do(server.stop())
    try:
        answer = chat(gateway.url, "m", stacks.MASTER)
    finally:
        fakes.do(server.listen())
    assert (answer.status, ADDRESS.findall(answer.text)) == (500, [])
    assert "Cannot connect to host" in answer.error


# --- strangers --------------------------------------------------------------------------------------------------------


def samples(found: Proxy) -> dict[str, float]:
    """Every sample of the metrics port."""
    with urllib.request.urlopen(found.metrics_url, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def strange(seed: int) -> tuple[str, str, dict[str, str]]:
    """Method, path and headers that nobody has sent before."""
    draw = random.Random(seed)
    word = draw.randbytes(8).hex()
    path = draw.choice(["/v1/chat/completions", f"/v1/{word}", f"/{word}", f"/v1/models/{word}", f"/key/{word}", "/"])
    address = ".".join(str(draw.randrange(256)) for _ in range(4))
    headers = {"user-agent": word * 200, "x-forwarded-for": address, "x-litellm-tags": word, f"x-{word}": word}
    return draw.choice(["GET", "POST", "PUT"]), path, headers


def test_strangers_leave_neither_series_nor_memory_nor_files(gateway: Proxy, fakes: Fakes):
    """Thousands of requests without a key, or with made-up ones, with random headers, paths and models."""
    chat(gateway.url, "m", stacks.MASTER)
    files = sorted(path.relative_to(gateway.folder) for path in gateway.folder.rglob("*"))

    def wave(seeds: range) -> set[int]:
        found = many(seeds, lambda seed: raw(gateway.url, *strange(seed)[:2], None, strange(seed)[2])[0])
        found += many(
            seeds[:150], lambda seed: chat(gateway.url, f"m{seed}", f"sk-{seed}", headers=strange(seed)[2]).status
        )
        return set(found)

    assert wave(range(1000)) == {401, 404}
    before, log = samples(gateway), len(gateway.log)
    assert wave(range(1000, 5000)) == {401, 404}
    after = samples(gateway)
    assert set(after) == set(before)
    grown_mib = (after["process_resident_memory_bytes"] - before["process_resident_memory_bytes"]) / 2**20
    assert grown_mib < 20
    assert sorted(path.relative_to(gateway.folder) for path in gateway.folder.rglob("*")) == files
    assert len(gateway.log) - log < 10_000
    assert fakes.server("vllm-m").asked[1:] == []


def test_a_key_does_not_make_series_either(gateway: Proxy):
    """Models that are not served, users, programs and addresses of a client that has a key are no labels."""

    def ask(seed: int) -> int:
        return chat(gateway.url, f"m{seed}", stacks.MASTER, user=f"user{seed}", headers=strange(seed)[2]).status

    assert set(many(range(20), ask)) == {400}
    before = samples(gateway)
    assert set(many(range(20, 220), ask)) == {400}
    assert set(samples(gateway)) == set(before)


def test_a_body_without_a_key_is_not_read(gateway: Proxy):
    """The refusal comes while eight megabytes are still to be sent."""
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=20)
    connection.putrequest("POST", "/v1/chat/completions")
    connection.putheader("content-length", str(8 * 2**20))
    connection.endheaders()
    assert connection.getresponse().status == 401
    connection.close()


def test_refusals_leave_a_line(gateway: Proxy):
    """Not one each: at most one per ten seconds, with their number."""
    request(gateway.url, "/v1/models")
    lines = [json.loads(line) for line in gateway.log.splitlines() if '"gateway_surface"' in line]
    assert lines
    assert {line["message"] for line in lines} == {"refused"}


# --- metrics, and the end ---------------------------------------------------------------------------------------------


def test_histograms_have_samples_after_a_request(gateway: Proxy):
    """On the port the monitor scrapes: latency of requests, of the server, and to the first token."""
    chat(gateway.url, "m", stacks.MASTER)
    chat(gateway.url, "m", stacks.MASTER, stream=True)
    wanted = [
        f'{name}_count{{model_id="vllm-m",requested_model="m"}}'
        for name in (
            "litellm_request_total_latency_metric",
            "litellm_llm_api_latency_metric",
            "litellm_llm_api_time_to_first_token_metric",
            "litellm_request_queue_time_seconds",
        )
    ]
    wait_for(lambda: all(samples(gateway).get(name, 0) > 0 for name in wanted), 20, f"samples of {wanted}")


def test_only_kept_metrics_and_labels_are_exported(gateway: Proxy, fakes: Fakes):
    """What the proxy really exports is what queries may ask for."""
    fakes.server("vllm-m").behaviour = Behaviour(status=500)
    chat(gateway.url, "m", stacks.MASTER)
    fakes.forget()
    chat(gateway.url, "m", stacks.MASTER)
    wrong, seen = [], set()
    for sample in samples(gateway):
        name, _, labels = sample.partition("{")
        if not name.startswith("litellm"):
            continue
        base = re.sub("_(total|bucket|count|sum|created)$", "", name)
        named = set(re.findall(r'(\w+)="', labels)) - {"le"}
        if name not in ALWAYS and named != set(KEPT.get(base, ["?"])):
            wrong.append(sample)
        seen.add(base)
    assert wrong == []
    assert {"litellm_proxy_failed_requests_metric", "litellm_deployment_failure_responses"} <= seen


def test_a_pod_starts_anew_without_losing_a_request(all_fakes: Fakes, fakes: Fakes):
    """After its requests it is not ready, answers what still comes, lets a stream end, and ends."""
    found = alone(all_fakes, restart_after_requests=10, leave_s=5)
    fakes.server("vllm-m").behaviour = Behaviour(chunks=tuple(f"w{n} " for n in range(50)), between_s=0.2)
    try:
        start(found)
        with ThreadPoolExecutor(1) as pool:
            stream = pool.submit(chat, found.url, "m", stacks.MASTER, stream=True)
            wait_for(lambda: bool(fakes.server("vllm-m").asked), 20, "the stream runs")
            fakes.server("vllm-m").behaviour = Behaviour()
            statuses = [request(found.url, "/v1/models", None, stacks.MASTER).status for _ in range(15)]
            assert statuses == [200] * 15
            assert request(found.url, "/health/readiness").status == 503
            assert request(found.url, "/health/liveliness").status == 200
            assert chat(found.url, "m", stacks.MASTER).status == 200
            answer = stream.result()
        assert answer.streamed == "".join(f"w{n} " for n in range(50))
        assert answer.events[-1] == "[DONE]"
        assert found.processes[0].wait(30) in (0, -signal.SIGTERM)
    finally:
        found.stop()
