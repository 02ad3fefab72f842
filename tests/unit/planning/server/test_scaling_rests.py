"""Scaling rests: the rendered autoscaler of both drivers, played on vLLM replicas under constant and changing loads.

`tests/autoscaling.py` says how the HPA decides and what a replica is here; that the rendered PromQL has the values used
is `tests/stacks/test_scaling_queries.py`. Does not prove that Kubernetes, KEDA and vLLM behave as they are played.
"""

from collections.abc import Callable
from functools import cache
from math import pi, sin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.autoscaling import Autoscaler, Cluster, Engine, Run, settled
from tests.harness import minimal, stack
from tests.unit.small_stack import properties

MOST = 5
HOURS = 3600
KINDS = {"keda": "ScaledObject", "hpa": "HorizontalPodAutoscaler"}
# A model bound by its sequences, one that slows down as they fill, one bound by its compute, one by its KV cache, one
# with few sequences on CPUs, one whose replicas need half an hour.
ENGINES = {
    "sequences": Engine(256, 20, 1e9, 1e9, 1 / 1000),
    "slows": Engine(256, 10, 100, 1e9, 1 / 1000),
    "compute": Engine(256, 8, 1e9, 3, 1 / 1000),
    "cache": Engine(256, 20, 200, 1e9, 1 / 40),
    "few": Engine(8, 5, 10, 1e9, 1 / 100, tokens=300),
    "late": Engine(1024, 60, 600, 1e9, 1 / 700, cold_start_s=1860, init_s=600),
}


@cache
def autoscaler(driver: str) -> Autoscaler:
    """What is rendered for one model with up to five replicas."""
    raw = minimal(
        models={"small": {"replicas": {"min": 1, "max": MOST}}},
        gpuPools={"l4": {"nodes": MOST}},
        autoscaling={"driver": driver},
    )
    return Autoscaler.read(stack(raw).object(KINDS[driver], "vllm-small"))


def most(engine: Engine) -> float:
    """Requests per second that all replicas carry at three quarters of what they are meant to be filled to."""
    return engine.carries(0.8) * MOST * 0.75


def constantly(rate: float) -> Callable[[float], float]:
    """A load that is the same at every second."""
    return lambda _: rate


def constant(engine: Engine, scaler: Autoscaler, level: float, hours: float = 8) -> Run:
    """A load from the first second on that never changes; `level` in shares of the most."""
    return Cluster(engine, scaler).play(constantly(most(engine) * level), hours * HOURS)


@pytest.mark.parametrize("driver", KINDS)
@given(st.sampled_from(sorted(ENGINES)), st.floats(0.01, 1))
@properties(16)
def test_a_constant_load_comes_to_rest(driver, engine, level):
    """After one cold start, and the periods the autoscaler takes, the number never changes and nothing waits."""
    scaler = autoscaler(driver)
    run = constant(ENGINES[engine], scaler, level)
    assert settled(run, scaler, ENGINES[engine]) == []


@given(
    st.sampled_from(sorted(KINDS)),
    st.floats(0.01, 1),
    st.integers(1, MOST),
    st.builds(
        Engine,
        sequences=st.sampled_from([4, 16, 64, 256, 1024]),
        alone_s=st.floats(4, 60),
        slows_at=st.floats(10, 1000),
        most_per_s=st.floats(1, 50),
        cache_share=st.floats(0.001, 0.2),
        cold_start_s=st.integers(12, 360).map(lambda steps: steps * 5),
    ),
)
@properties(24)
def test_any_model_comes_to_rest_from_any_number_of_replicas(driver, level, replicas, engine):
    """However slow it starts, whatever it is bound by, and however many there are at first."""
    scaler = autoscaler(driver)
    run = Cluster(engine, scaler, replicas).play(constantly(most(engine) * level), 10 * HOURS)
    assert settled(run, scaler, engine) == []


@pytest.mark.parametrize("driver", KINDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_day_is_followed(driver: str, engine: str):
    """By noon as many run as noon needs, at night one; on the way nothing waits for longer than a few cold starts."""
    model = ENGINES[engine]
    run = Cluster(model, autoscaler(driver)).play(
        lambda now: most(model) * (0.05 + 0.95 * max(0.0, sin(now / 86400 * 2 * pi))), 86400
    )
    noon = [number for at, number in run.changes if at < 6 * HOURS][-1]
    assert (run.replicas, noon * model.carries(0.9) > most(model)) == (1, True)
    assert sum(waiting > 1e-6 for waiting in run.waiting) * 15 < 4 * model.cold_start_s


@pytest.mark.parametrize("driver", KINDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_ramp_ends_in_rest(driver: str, engine: str):
    """A load that rises for two hours and then stays."""
    model, scaler = ENGINES[engine], autoscaler(driver)
    run = Cluster(model, scaler).play(lambda now: most(model) * min(now / 7200, 1.0), 12 * HOURS)
    late = 7200 + 2 * model.cold_start_s + 300 + 300 + 2 * MOST * 120
    assert (run.last_change_s < late, run.waiting[-1] < 1e-6) == (True, True)


@pytest.mark.parametrize("driver", KINDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_burst_passes(driver: str, engine: str):
    """Ten minutes of load bring replicas; an hour after it the one that was there is left, and stays alone."""
    model = ENGINES[engine]
    run = Cluster(model, autoscaler(driver)).play(
        lambda now: most(model) * (1.0 if 600 <= now < 1200 else 0.02), 8 * HOURS
    )
    assert (run.replicas, max(number for _, number in run.changes) > 1) == (1, True)
    assert run.last_change_s < 1200 + 2 * model.cold_start_s + HOURS


@pytest.mark.parametrize("driver", KINDS)
@pytest.mark.parametrize("hidden", ["one", "all"])
def test_what_is_not_scraped_takes_no_replica_away(driver: str, hidden: str):
    """An hour without the metrics of one replica, or of all, under a steady load changes nothing."""
    model = ENGINES["slows"]
    rate = 3 * model.carries(0.6)
    run = Cluster(model, autoscaler(driver)).play(
        constantly(rate), 6 * HOURS, lambda now: hidden if 3 * HOURS <= now < 4 * HOURS else ""
    )
    assert (run.replicas > 2, [change for change in run.changes if change[0] > 2 * HOURS]) == (True, [])


@pytest.mark.parametrize(
    ("gone", "engine"),
    [
        (("full", "rest", "proven"), "sequences"),
        (("full", "rest", "proven"), "cache"),
        (("rest", "proven"), "slows"),
        (("proven",), "compute"),
    ],
)
@pytest.mark.parametrize("driver", KINDS)
def test_no_signal_can_be_left_out(driver: str, gone: tuple[str, ...], engine: str):
    """With the queue alone replicas come and go all day; so they do without knowing what the rest carries."""
    scaler = autoscaler(driver).without(*gone)
    runs = [constant(ENGINES[engine], scaler, level / 10) for level in (3, 5, 6, 7, 9)]
    assert max(len(run.changes) for run in runs) > 20
