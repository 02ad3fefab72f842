"""The size of the gateway: exact for a given load, ordered for all, and at rest under a constant one.

What a request costs is measured by `make benchmark`; nothing here proves that.
"""

from dataclasses import replace
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.engine import CpuCost
from planning.gateway.capacity import MOST_DERIVED, SCALING, USUAL_ANSWER_TOKENS, plan_size
from planning.plan.gateway_size import GatewayLoad, GatewaySize
from planning.stack.gateway_cpu import costs, cpu_s
from settings.schema import GatewaySettings
from tests.unit.small_stack import CATALOG, H200, planned, properties, serving, stack

COSTS = costs(CATALOG)
ROUND = {"chat": 20, "stream": 40, "chunk": 1}
FAST = {"model": "Qwen/Qwen3-32B", "contextTokens": 32768}


def sized(servers=(), **gateway) -> GatewaySize:
    """The size of a gateway with these settings."""
    return plan_size(GatewaySettings.model_validate(gateway), servers, COSTS)


def test_the_sum_of_a_given_load_is_exact():
    """40 answers, 10 streams and 1,500 tokens a second at round costs, and pods that are 60 % busy."""
    capacity = {"chatsPerSecond": 40, "streamsPerSecond": 10, "streamedTokensPerSecond": 1500, "cpuMs": ROUND}
    found = sized(capacity=capacity)
    assert (found.load, found.cores) == (GatewayLoad(40, 10, 1500, 1500), 0.8 + 0.4 + 1.5)
    assert (found.fewest, found.most, found.scaling) == (2, 5, SCALING)
    assert found.reasons == {
        "replicas": "40 answers/s × 20 ms + 10 streams/s × 40 ms + 1,500 chunks/s × 1 ms = 2.7 cores (given); "
        "5 pods of 1 core at 60%",
        "capacity": "given",
    }


@pytest.mark.parametrize(
    ("capacity", "load", "reason"),
    [
        ({"chatsPerSecond": 3}, GatewayLoad(3, 0, 0, 0), "given"),
        (
            {"streamsPerSecond": 2},
            GatewayLoad(0, 2, 2 * USUAL_ANSWER_TOKENS, 2 * USUAL_ANSWER_TOKENS),
            "given; tokens by 211 tokens an answer",
        ),
        (
            {"streamedTokensPerSecond": 2 * USUAL_ANSWER_TOKENS},
            GatewayLoad(0, 2, 2 * USUAL_ANSWER_TOKENS, 2 * USUAL_ANSWER_TOKENS),
            "given; streams by 211 tokens an answer",
        ),
    ],
)
def test_streams_and_their_tokens_follow_from_each_other(capacity, load, reason):
    """Whichever of the two is given; answers given whole follow from nothing."""
    found = sized(capacity=capacity)
    assert (found.load, found.load_reason) == (load, reason)


def test_a_database_costs_more():
    """Keys are looked up, and spend is counted: its own figures are taken."""
    plain, keyed = sized(), sized(database={"existingSecret": "db"})
    assert (plain.cost, keyed.cost) == (COSTS.plain, COSTS.database)
    dearer = [getattr(keyed.cost, part) > getattr(plain.cost, part) for part in CpuCost.model_fields]
    assert dearer == [True, True, True]


def test_without_a_given_load_it_is_what_the_servers_write():
    """Busy, with their most replicas, every token in a stream; those whose pace nobody knows are named."""
    (server,) = planned(serving(replicas={"min": 1, "max": 3})).servers
    assert server.pace is not None
    tokens = server.pace.busy * 3
    found = sized([server])
    assert found.load == GatewayLoad(0, tokens / USUAL_ANSWER_TOKENS, tokens, tokens)
    blind = sized([server, replace(server, name="vllm-x", pace=None)])
    assert (blind.load, "nothing is known of vllm-x" in blind.load_reason) == (found.load, True)
    assert sized([replace(server, pace=None)]).load_reason.startswith("nothing: no server's pace is known")


def test_a_server_that_gets_no_traffic_is_not_counted():
    """A canary with all of it leaves its model's own server none."""
    plan = planned(serving(canary={"weight": 100, "maxNumSeqs": 8}))
    assert [server.weight for server in plan.servers] == [0, 100]
    assert plan.gateway.size.load == sized([plan.servers[1]]).load


def test_no_answer_is_planned_faster_than_they_are():
    """A roofline over eight H200s says 600 tokens a second for one answer, which nobody has seen."""
    raw = serving(H200, model="deepseek-ai/DeepSeek-R1-0528", contextTokens=32768)
    (server,) = planned(raw).servers
    assert server.pace is not None
    assert server.pace.alone > 500
    assert planned(raw).gateway.size.load.tokens == 32 * 150


# --- how many ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [
        (None, (3, 9, True)),
        (4, (4, 4, False)),
        ({"min": 3}, (3, 9, True)),
        ({"min": 12}, (12, 12, False)),
        ({"max": 6}, (2, 6, True)),
        ({"max": 1}, (1, 1, False)),
        ({"min": 1, "max": 20}, (1, 20, True)),
    ],
)
def test_what_is_given_is_taken_as_it_is(replicas, expected):
    """A number is fixed; of two that one is derived which is left out."""
    wanted = {} if replicas is None else {"replicas": replicas}
    found = sized(capacity={"chatsPerSecond": 250, "cpuMs": ROUND}, **wanted)
    assert (found.fewest, found.most, found.scaling is not None) == expected


def test_small_stacks_have_two_and_no_autoscaler():
    """Two, as they always had, which is the least that survives one of them."""
    found = planned(stack()).gateway.size
    assert (found.fewest, found.most, found.scaling, found.warnings) == (2, 2, None, ())


def test_without_redis_there_is_one():
    """It counts in its own memory; a load that one cannot carry is said."""
    found = sized(redis={"kind": "none"}, capacity={"chatsPerSecond": 100, "cpuMs": ROUND})
    assert (found.fewest, found.most, found.scaling) == (1, 1, None)
    assert found.warnings == (
        "gateway: the planned load takes 2.0 cores, more than the 1 pod of 1 core by gateway.redis have",
    )


def test_too_few_replicas_are_said_with_the_lever():
    """Only where they could not carry the load with nothing to spare; who sends token by token is named."""
    raw = serving(H200, **FAST, args=["--stream-interval=1"], replicas={"max": 8})
    raw["gateway"]["replicas"] = 2
    size = planned(raw).gateway.size
    (warning,) = size.warnings
    cores, spared = size.cores, size.load.tokens * 3 / 4 * COSTS.plain.chunk_ms / 1000
    assert warning == (
        f"gateway: the planned load takes {cores:.1f} cores, more than the 2 pods of 1 core by gateway.replicas have; "
        f"--stream-interval=4 in args of m would spare {spared:.1f} of them"
    )
    raw["gateway"]["replicas"] = ceil(size.cores)
    assert planned(raw).gateway.size.warnings == ()


def test_far_too_many_are_not_derived():
    """Beyond what a Redis has connections for, somebody has to ask for them."""
    found = sized(capacity={"chatsPerSecond": 100_000, "cpuMs": ROUND})
    (warning,) = found.warnings
    assert found.most == MOST_DERIVED
    assert warning == (
        "gateway: the planned load asks for 3334 replicas, and more than 50 are not derived; give gateway.replicas "
        "if they are wanted, or gateway.capacity"
    )
    asked = sized(capacity={"chatsPerSecond": 100}, replicas={"max": 500})
    assert (asked.most, asked.warnings) == (500, ())


RATES = st.floats(0, 3000)


@given(RATES, RATES, st.floats(0, 50_000), st.floats(1, 3))
@properties(200)
def test_more_load_never_has_fewer_cores_or_replicas(chats, streams, tokens, factor):
    """Whatever grows; and no size has its fewest above its most, or more than are derived."""
    rates = {"chatsPerSecond": chats, "streamsPerSecond": streams, "streamedTokensPerSecond": tokens}
    rates = {name: rate for name, rate in rates.items() if rate > 1e-6}
    for grown in rates:
        less, more = sized(capacity=rates), sized(capacity={**rates, grown: rates[grown] * factor})
        assert less.cores <= more.cores
        assert (less.fewest, less.most) <= (more.fewest, more.most)
        assert all(1 <= size.fewest <= size.most <= MOST_DERIVED for size in (less, more))
        assert all((size.scaling is None) == (size.fewest == size.most) for size in (less, more))


@given(st.floats(0, 60), st.integers(1, 60), st.floats(0, 0.05))
@properties(200)
def test_a_constant_load_ends_in_a_constant_number(cores, start, idle):
    """The HPA's own sum, with what a pod needs when it does nothing: from anywhere it comes to one number and stays."""
    size = sized(capacity={"chatsPerSecond": max(1e-3, cores * 50), "cpuMs": ROUND})
    share, seen = SCALING.cpu_percent / 100, [min(max(start, size.fewest), size.most)]
    for _ in range(200):
        now = seen[-1]
        ratio = (min(cores / now, 1) + idle) / share
        wanted = now if abs(ratio - 1) <= 0.1 else ceil(now * ratio - 1e-9)
        wanted = max(wanted, now - SCALING.down_replicas)
        seen.append(min(max(wanted, size.fewest), size.most))
    assert len(set(seen[-20:])) == 1


def test_the_sum_is_linear():
    """Each part costs what it costs, whatever else there is."""
    cost = CpuCost(chat_ms=20, stream_ms=40, chunk_ms=1)
    parts = [GatewayLoad(1, 0, 0, 0), GatewayLoad(0, 1, 0, 0), GatewayLoad(0, 0, 9, 1)]
    assert [cpu_s(part, cost) for part in parts] == [0.02, 0.04, 0.001]
    assert cpu_s(GatewayLoad(1, 1, 9, 1), cost) == pytest.approx(0.061)
