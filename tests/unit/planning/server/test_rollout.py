"""How updates replace pods: exact strategies, and a simulation of what Kubernetes makes of them.

The simulation rounds as `ResolveFenceposts` of Kubernetes does; it does not prove how fast a scheduler is.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.plan.servers import Rollout
from planning.server.rollout import plan_rollout
from tests.unit.small_stack import A10, H200, properties, server, serving, stack

IN_PLACE = "no GPUs are spare: pods are replaced in place, one at a time"


def surging(first: int) -> str:
    """The reason of a server that surges while few replicas run."""
    full = "with more the pool is full and one is replaced in place"
    return f"a new pod starts first while at most {first} replicas run; {full}"


@pytest.mark.parametrize(
    ("gpus", "most", "free", "expected"),
    [
        (2, 1, 4, Rollout(1, 0, 0, "room for 2 replicas, at most 1 run: a new pod starts first")),
        (2, 3, 9, Rollout(1, 0, 0, "room for 4 replicas, at most 3 run: a new pod starts first")),
        (2, 4, 8, Rollout(1, "25%", 0, surging(3))),
        (2, 2, 4, Rollout(1, "50%", 0, surging(1))),
        (1, 16, 16, Rollout(1, "7%", 0, surging(14))),
        (8, 1, 8, Rollout(0, 1, 90, IN_PLACE)),
        (8, 1, 15, Rollout(0, 1, 90, IN_PLACE)),
        (8, 1, 0, Rollout(0, 1, 90, IN_PLACE)),
    ],
)  # fmt: skip
def test_the_strategy_follows_from_what_is_spare(gpus, most, free, expected):
    """Room for one more than ever run: surge; none: in place, with a gap; full only at the most: surge until then."""
    assert plan_rollout(gpus_per_replica=gpus, max_replicas=most, gpus_free=free, load_s=90) == expected


@pytest.mark.parametrize(
    ("slots", "expected"),
    [
        (2, Rollout(1, 0, 0, "room for 2 replicas, at most 1 run: a new pod starts first")),
        (1, Rollout(0, 1, 90, "no node is spare: pods are replaced in place, one at a time")),
    ],
)
def test_cpu_servers_are_counted_in_pods(slots, expected):
    """Where there are no GPUs, the pods that fit on the nodes count."""
    assert plan_rollout(gpus_per_replica=0, max_replicas=1, gpus_free=0, load_s=90, cpu_slots=slots) == expected


def allowed(plan: Rollout, replicas: int) -> tuple[int, int]:
    """(surge, unavailable) Kubernetes allows here: surge is rounded up, unavailable down, and they are never both 0."""
    share = plan.max_unavailable
    unavailable = share if isinstance(share, int) else int(share.removesuffix("%")) * replicas // 100
    assert isinstance(plan.max_surge, int)
    return plan.max_surge, unavailable if plan.max_surge or unavailable else 1


@given(st.integers(1, 16), st.integers(1, 60), st.integers(0, 400))
@properties(300)
def test_every_update_progresses_and_none_has_a_gap_when_a_pod_fits(gpus, most, free):
    """At every number of replicas that may run: a surge pod fits or one may go, and where it fits one always serves."""
    plan = plan_rollout(gpus_per_replica=gpus, max_replicas=most, gpus_free=free, load_s=90)
    for replicas in range(1, most + 1):
        surge, unavailable = allowed(plan, replicas)
        fits = surge >= 1 and (replicas + 1) * gpus <= free
        assert fits or unavailable >= 1, replicas
        if fits:
            assert replicas - unavailable >= 1, replicas
            # below ten replicas nothing is missing at all; from there Kubernetes' whole percentages may cost one pod
            assert unavailable == 0 or replicas >= 10, replicas
    # a gap is said exactly where the only replica goes before its successor comes
    assert (plan.gap_s > 0) == (plan.max_surge == 0)


@given(st.integers(1, 60), st.integers(0, 400))
@properties(200)
def test_the_sentence_is_true(most, free):
    """While as many replicas run as the reason says, Kubernetes takes none away; with one more, it may."""
    plan = plan_rollout(gpus_per_replica=1, max_replicas=most, gpus_free=free, load_s=90)
    words = plan.reason.split()
    if "while" in words:
        first = int(words[words.index("most") + 1])
        assert [allowed(plan, replicas)[1] for replicas in (first, first + 1)] == [0, 1]
        assert first < free


# --- in a stack: what is spare is what nobody else can claim ----------------------------------------------------------

SMALL = {"model": "Qwen/Qwen3-8B", "pool": "a10", "contextTokens": 8192}


def strategies(raw) -> dict[str, tuple[int | str, int | str]]:
    """(surge, unavailable) of every server."""
    return {name: (plan.max_surge, plan.max_unavailable) for name, plan in rollouts(raw).items()}


def rollouts(raw) -> dict[str, Rollout]:
    """The rollout of every server."""
    names = [f"vllm-{name}" for name in raw["models"]]
    return {name: server(raw, name).rollout for name in names}


def test_a_server_alone_may_use_the_whole_pool():
    """Two replicas of one GPU on eight: a new pod starts first."""
    assert strategies(serving(**{**SMALL, "replicas": {"min": 1, "max": 2}})) == {"vllm-m": (1, 0)}


def test_what_others_may_claim_is_not_spare():
    """Eight GPUs, one server of up to four and one of up to eight: neither counts on what the other may take."""
    models = {name: {**SMALL, "replicas": {"min": 1, "max": most}} for name, most in (("a", 4), ("b", 8))}
    found = rollouts(stack(models=models))
    assert (found["vllm-a"].max_surge, found["vllm-a"].max_unavailable, found["vllm-a"].reason) == (0, 1, IN_PLACE)
    assert found["vllm-a"].gap_s > 0
    # four GPUs are its own for sure: three replicas and a surge pod
    assert (found["vllm-b"].max_surge, found["vllm-b"].max_unavailable) == (1, "25%")


def test_gpus_on_different_nodes_do_not_make_room():
    """Three GPUs per node and servers of two: four nodes hold four, however many GPUs are left over."""
    pool = {**A10, "gpusPerNode": 3}
    raw = serving(pool, tensorParallel=2, replicas={"min": 1, "max": 4})
    assert strategies(raw) == {"vllm-m": (1, "25%")}


def test_a_full_node_is_updated_in_place():
    """DeepSeek-R1 on its one node has a gap, which the plan says."""
    raw = serving(H200, model="deepseek-ai/DeepSeek-R1-0528", contextTokens=32_768)
    found = server(raw)
    assert (found.rollout.max_surge, found.rollout.max_unavailable) == (0, 1)
    assert found.rollout.gap_s == found.timing.prewarm_s + found.timing.expected_start_s


@pytest.mark.parametrize(
    ("nodes", "most", "expected"),
    [
        (2, 1, (0, 1, True, IN_PLACE)),
        (4, 1, (1, 0, False, "room for 2 replicas, at most 1 run: a new pod starts first")),
        (4, 2, (0, 1, True, "a group of nodes is replaced in place, one at a time")),
    ],
)
def test_groups_of_nodes_surge_only_where_there_is_always_room(nodes, most, expected):
    """A LeaderWorkerSet has no percentage that is right for both a full and a roomy pool."""
    pool = {"gpu": "nvidia-h100", "nodes": nodes, "gpusPerNode": 8}
    raw = serving(pool, model="deepseek-ai/DeepSeek-R1-0528", contextTokens=32_768, replicas={"min": 1, "max": most})
    found = server(raw).rollout
    assert (found.max_surge, found.max_unavailable, found.gap_s > 0, found.reason) == expected
