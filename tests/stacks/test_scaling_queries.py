"""What the rendered scaling queries are worth, by promtool: in every state of a server, and when something is unseen.

The same values are played in `tests/unit/planning/server/test_scaling_rests.py`. Does not prove that the exporters
write these series.
"""

import json
import re
import shutil
import subprocess
from math import isclose
from pathlib import Path
from typing import Any

import pytest

from tests.autoscaling import ADAPTER, KEDA, Pod, Seen
from tests.harness import minimal, stack

PROMTOOL = shutil.which("promtool")
pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not on PATH: no query was evaluated")
MODEL = {"replicas": {"min": 1, "max": 4}, "maxNumSeqs": 64}
POOL = {"l4": {"nodes": 4}}
NAMES = [f"vllm-small-5d9c7b6f4-abcd{letter}" for letter in "efgh"]
MATCHERS = 'namespace="llm-serving",pod=~"vllm-small-.*"'
Samples = list[dict[str, str]]


def triggers(**model: Any) -> dict[str, str]:
    """Trigger → rendered query."""
    spec = stack(minimal(models={"small": {**MODEL, **model}}, gpuPools=POOL)).object("ScaledObject", "vllm-small")
    return {item["name"]: item["metadata"]["query"] for item in spec["spec"]["triggers"] if "query" in item["metadata"]}


def adapter() -> dict[str, str]:
    """Signal → query of prometheus-adapter, as it asks for the pods of this server."""
    deployed = stack(minimal(models={"small": MODEL}, gpuPools=POOL, autoscaling={"driver": "hpa"}))
    rules = deployed.plan.observability.adapter_rules
    return {
        str(rule["name"]["as"]).rpartition("_")[2]: str(rule["metricsQuery"])  # pyright: ignore[reportIndexIssue]
        .replace("<<.LabelMatchers>>", MATCHERS)
        .replace("<<.Series>>", "vllm:num_requests_waiting")
        .replace("<<.GroupBy>>", "pod")
        for rule in rules
    }


def values(folder: Path, samples: Samples, queries: dict[str, str], second: int = 3600) -> dict[str, dict[str, float]]:
    """Query name → pod ("" where no label is left) → value, at a second of made-up series."""
    wanted = [{"expr": query, "eval_time": f"{second}s", "exp_samples": []} for query in queries.values()]
    case = {"interval": "15s", "input_series": samples, "promql_expr_test": wanted}
    (folder / "test.yaml").write_text(json.dumps({"evaluation_interval": "15s", "rule_files": [], "tests": [case]}))
    assert PROMTOOL
    done = subprocess.run(
        [PROMTOOL, "test", "rules", "test.yaml"], cwd=folder, capture_output=True, text=True, check=False
    )
    found: dict[str, dict[str, float]] = {name: {} for name in queries}
    text = (done.stdout + done.stderr).replace("\n", " ")
    for failure in text.split("expr: ")[1:]:
        query, _, got = failure.partition(", time: ")
        name = next(name for name, wanted in queries.items() if json.dumps(wanted) == query.strip())
        for pod, value in re.findall(r'\{(?:pod="([^"]*)")?\} ([-+.\dEeNaInf]+)', got.partition("got:")[2]):
            found[name][pod] = float(value)
    assert done.returncode == 0 or any(found.values()), text
    return found


def cluster(wanted: int, available: int) -> Samples:
    """What kube-state-metrics says of the server."""
    which = '{namespace="llm-serving",deployment="vllm-small"}'
    return [
        {"series": f"kube_deployment_spec_replicas{which}", "values": f"{wanted}x300"},
        {"series": f"kube_deployment_status_replicas_available{which}", "values": f"{available}x300"},
    ]


def pods(*load: tuple[float, float, float, float]) -> Samples:
    """(running, waiting, share of the cache, tokens per second) of each pod that is scraped, for an hour and more."""
    found: Samples = []
    for name, (running, waiting, cache, tokens) in zip(NAMES, load, strict=False):
        which = f'{{namespace="llm-serving",model_name="small",engine="0",pod="{name}"}}'
        found += [
            {"series": f"vllm:num_requests_running{which}", "values": f"{running}x300"},
            {"series": f"vllm:num_requests_waiting{which}", "values": f"{waiting}x300"},
            {"series": f"vllm:kv_cache_usage_perc{which}", "values": f"{cache}x300"},
            {"series": f"vllm:iteration_tokens_total_sum{which}", "values": f"0+{tokens * 15}x300"},
        ]
    return found


# another server's pods, which no query of this one may count
FOREIGN = [
    {
        "series": f'vllm:num_requests_{state}{{namespace="llm-serving",pod="vllm-small-canary-abc-defgh"}}',
        "values": "50x300",
    }
    for state in ("running", "waiting")
]
UP = 'up{job="litellm",namespace="llm-serving",pod="%s"}'
ASKED = 'litellm_proxy_total_requests_metric_total{namespace="llm-serving",requested_model="small",status_code="%s"}'


HELD = 'gateway_requests_held{namespace="llm-serving",requested_model="small",pod="%s"}'
CAME = 'gateway_requests_at_zero_total{namespace="llm-serving",requested_model="small"}'


@pytest.mark.parametrize(
    ("wanted", "available", "load"),
    [
        (1, 1, [(0, 0, 0, 0)]),
        (1, 1, [(32, 0, 0.1, 900)]),
        (2, 2, [(64, 12, 0.7, 1000), (10, 0, 0.9, 500)]),
        (3, 2, [(40, 0, 0.2, 800), (30, 0, 0.3, 700)]),
        (2, 3, [(10, 0, 0.1, 100), (10, 0, 0.1, 100), (64, 0, 0.9, 1200)]),
        (3, 3, [(10, 0, 0.1, 100), (8, 0, 0.1, 90)]),
        (4, 4, [(1, 0, 0.0, 4), (1, 0, 0.0, 4), (1, 0, 0.0, 4), (1, 0, 0.0, 4)]),
    ],
)
def test_queries_are_worth_what_is_played(wanted: int, available: int, load: Any, tmp_path: Path):
    """Idle, busy, full, starting, ending, one not scraped, a trickle: both drivers see what the played ones see."""
    best = max([20.0, *(tokens for *_, tokens in load)])
    seen = tuple(
        Pod(waiting, max((running + waiting) / 64, cache), tokens / best) for running, waiting, cache, tokens in load
    )
    state = Seen(wanted, available, seen, (False,) * len(seen), 0, 0)
    samples = [*cluster(wanted, available), *pods(*load), *FOREIGN]
    found = {name: result[""] for name, result in values(tmp_path, samples, triggers()).items()}
    played = {name: worth(state) for name, worth in KEDA.items()}
    assert {name: round(value, 3) for name, value in found.items()} == {
        name: round(value, 3) for name, value in played.items() if value is not None
    }
    per_pod = values(tmp_path, [*pods(*load)], adapter())
    for name, worth in ADAPTER.items():
        expected = {pod: worth(one) for pod, one in zip(NAMES, seen, strict=False)}
        assert set(per_pod[name]) == set(expected)
        assert all(isclose(per_pod[name][pod], expected[pod], rel_tol=1e-3, abs_tol=1e-9) for pod in expected)


ZERO = {"replicas": {"min": 0, "max": 4}}
IDLE_GATEWAY = [{"series": UP % "g", "values": "1x300"}]
GOOD = {"waiting", "full", "rest", "proven", "wake"}


@pytest.mark.parametrize(
    ("case", "samples", "expected"),
    [
        (
            "scraped and idle",
            [*cluster(1, 1), *pods((0, 0, 0, 0)), *IDLE_GATEWAY],
            {"waiting": 0, "full": 0, "rest": 0, "proven": 0, "wake": 0},
        ),
        (
            "not scraped while two pods run",
            [*cluster(2, 2), *IDLE_GATEWAY],
            {"rest": 2, "proven": 2, "wake": 0},
        ),
        (
            "one of two not scraped",
            [*cluster(2, 2), *pods((0, 0, 0, 0)), *IDLE_GATEWAY],
            {"waiting": 0, "full": 0, "rest": 1, "proven": 1, "wake": 0},
        ),
        (
            "at zero because it was wanted",
            [*cluster(0, 0), *IDLE_GATEWAY],
            {"waiting": 0, "full": 0, "rest": 0, "proven": 0, "wake": 0},
        ),
        ("Prometheus has just restarted", [], {}),
        ("only the gateway is scraped", IDLE_GATEWAY, {"wake": 0}),
        (
            "the cluster's metrics are away",
            [*pods((3, 0, 0.1, 10)), *IDLE_GATEWAY],
            {"waiting": 0, "full": 0.1, "wake": 0},
        ),
        (
            "at zero, and no gateway is scraped",
            [*cluster(0, 0), {"series": UP % "g", "values": "0x300"}],
            {"waiting": 0, "full": 0, "rest": 0, "proven": 0},
        ),
        (
            "at zero, and the gateway is not even a target",
            cluster(0, 0),
            {"waiting": 0, "full": 0, "rest": 0, "proven": 0},
        ),
        (
            "at zero, one gateway of two scraped, and asked",
            [
                *cluster(0, 0), *IDLE_GATEWAY, {"series": UP % "h", "values": "0x300"},
                {"series": ASKED % 200, "values": "0+30x300"},
            ],
            {"waiting": 0, "full": 0, "rest": 0, "proven": 0, "wake": 2},
        ),
        (
            "at zero, asked for the first time a moment ago",
            [*cluster(0, 0), *IDLE_GATEWAY, {"series": ASKED % 500, "values": "_x238 1x62"}],
            {"waiting": 0, "full": 0, "rest": 0, "proven": 0, "wake": 1},
        ),
        (
            "at zero, asked by strangers only",
            [*cluster(0, 0), *IDLE_GATEWAY, {"series": ASKED % 401, "values": "0+30x300"}],
            {"waiting": 0, "full": 0, "rest": 0, "proven": 0, "wake": 0},
        ),
        (
            "woken, and starting",
            [*cluster(1, 0), *IDLE_GATEWAY],
            {"rest": 0, "proven": 0, "wake": 0},
        ),
    ],
)  # fmt: skip
def test_what_is_not_scraped_is_not_zero(case: str, samples: Samples, expected: dict[str, float], tmp_path: Path):
    """A zero is said only by who counts: a pod that reports, or the cluster that wants none; else nothing is."""
    found = values(tmp_path, samples, triggers(**ZERO))
    assert set(found) == GOOD
    assert {name: round(value[""], 3) for name, value in found.items() if value} == expected, case


@pytest.mark.parametrize(
    ("case", "samples", "expected"),
    [
        ("nobody has ever waited", [], 0),
        ("nobody waits any more", [{"series": HELD % "g", "values": "3x200 0x100"}], 0),
        (
            "one waits for half an hour, another in another pod",
            [{"series": HELD % pod, "values": "_x120 1x180"} for pod in "gh"],
            2,
        ),
        ("one came for the first time and left", [{"series": CAME, "values": "_x238 1x62"}], 1),
        ("one came again and left", [{"series": CAME, "values": "1x237 2x63"}], 0.008),
    ],
)
def test_requests_that_wait_wake_their_server(case: str, samples: Samples, expected: float, tmp_path: Path):
    """While they wait, and when they come: more than zero is one replica."""
    model = {**ZERO, "scaling": {"atZero": "hold"}}
    found = values(tmp_path, [*cluster(0, 0), *IDLE_GATEWAY, *samples], {"wake": triggers(**model)["wake"]})
    assert round(found["wake"][""], 3) == pytest.approx(expected, abs=0.001), case


def test_a_server_that_is_never_at_zero_has_no_zero_of_its_own(tmp_path: Path):
    """Without pods its queue is unknown, whatever the cluster wants."""
    found = values(tmp_path, cluster(0, 0), triggers())
    assert {name: value for name, value in found.items() if value} == {"rest": {"": 0}, "proven": {"": 0}}
