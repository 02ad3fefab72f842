"""Requests that find no replica: what is planned for each model, how long everybody waits then, and what is refused.

That the real LiteLLM obeys it is proved in tests/gateway/test_at_zero.py.
"""

import pytest

from planning.gateway.at_zero import MOST_HELD, at_zero_file
from planning.plan.at_zero import AtZero
from tests.unit.small_stack import A10, planned, refusals, server, stack

SMALL = {"model": "Qwen/Qwen3-8B", "pool": "a10", "contextTokens": 8192}
ZERO = {"replicas": {"min": 0, "max": 1}}
HOURS = {"start": "0 22 * * *", "end": "0 8 * * *"}


def models(**given):
    """The small stack with models of these further settings."""
    return stack(
        models={name: {**SMALL, **more} for name, more in given.items()}, gpuPools={"a10": {**A10, "nodes": 20}}
    )


def test_only_models_that_fail_or_wait_need_the_gateway_to_know():
    """The load budget is how long a request waits, unless less is asked for; without a word it falls back."""
    plan = planned(
        models(
            always={},
            told={**ZERO, "scaling": {"atZero": "fail"}},
            fails=ZERO,
            falls={**ZERO, "fallbacks": ["always"]},
            asked={**ZERO, "fallbacks": ["always"], "scaling": {"atZero": "fail"}},
            held={**ZERO, "scaling": {"atZero": "hold"}},
            briefly={"scaling": {"offPeak": HOURS, "atZero": "hold", "holdS": 600}},
        )
    )
    timing = next(item for item in plan.servers if item.name == "vllm-held").timing

    def expected(name, hold_s):
        return AtZero(name, {f"vllm-{name}": f"vllm-{name}"}, "/health", hold_s, timing.cold_start_s)

    assert plan.gateway.at_zero == (
        expected("asked", None),
        expected("briefly", 600),
        expected("held", timing.progress_deadline_s),
        expected("told", None),
    )


def test_a_canary_answers_for_a_model_that_is_away():
    """Both servers of the name are looked at, with the budget of the model's own."""
    plan = planned(models(m={**ZERO, "scaling": {"atZero": "hold"}, "canary": {"weight": 10, "maxNumSeqs": 8}})).gateway
    (found,) = plan.at_zero
    assert found.routes == {"vllm-m": "vllm-m", "vllm-m-canary": "vllm-m-canary"}


def test_everybody_waits_for_as_long_as_a_request_is_held():
    """The route and a gateway pod that stops; along a chain of fallbacks the waits add up."""
    before = planned(models(a={**ZERO, "fallbacks": ["b"]}, b=ZERO)).gateway
    hold = {**ZERO, "scaling": {"atZero": "hold", "holdS": 1000}}
    after = planned(models(a={**hold, "fallbacks": ["b"]}, b=hold)).gateway
    assert after.route_timeout_s - before.route_timeout_s == 2000
    assert after.drain_s >= 2000 + after.request_timeout_s
    assert after.termination_grace_s > after.drain_s
    assert after.reasons["routeTimeoutS"].endswith("; before them 2000 s for a server to start")


def test_the_gateway_gets_addresses_of_what_it_looks_at():
    """Where each server says how it is."""
    plan = planned(models(m={**ZERO, "scaling": {"atZero": "fail"}}))
    start = plan.servers[0].timing.cold_start_s
    known = {"vllm-m": "http://vllm-m.llm-serving.svc:8000"}
    assert at_zero_file(plan.gateway, known) == {
        "most_held": MOST_HELD,
        "models": {"m": {"hold_s": None, "start_s": start, "servers": {"vllm-m": f"{known['vllm-m']}/health"}}},
    }


@pytest.mark.parametrize(
    ("model", "problems"),
    [
        (
            {"scaling": {"atZero": "hold"}},
            ["models.m.scaling.atZero: hold, but it always has 1 or more; leave it out, or use replicas.min: 0"],
        ),
        (
            {**ZERO, "scaling": {"atZero": "fallback"}},
            ["models.m.scaling.atZero: fallback needs models.m.fallbacks; give one, or use hold or fail"],
        ),
        (
            {**ZERO, "scaling": {"holdS": 600}},
            ["models.m.scaling.holdS: nothing is held; leave it out, or use atZero: hold"],
        ),
        (
            {**ZERO, "scaling": {"atZero": "hold", "holdS": 60}},
            [
                (
                    "models.m.scaling.holdS: 60 s are over before the 342 s that a start takes, and nobody would be "
                    "answered; use at least 342, or leave it out"
                )
            ],
        ),
    ],
)
def test_what_cannot_happen_is_refused(model, problems):
    """With the path, and what to write instead."""
    assert server(models(m=ZERO)).timing.cold_start_s == 342
    assert refusals(models(m=model)) == problems


@pytest.mark.parametrize("word", ["wait", "Hold", True, None])
def test_only_three_words_are_known(word):
    """Anything else is refused by its path; nothing at all is the default."""
    said = [line for line in refusals(models(m={**ZERO, "scaling": {"atZero": word}})) if "atZero" in line]
    assert bool(said) == (word is not None)
