"""The timing chain: exact figures for one load, and the inequalities for every load.

Does not prove that a pod loads as fast as its storage class is declared to be.
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.plan.pods import ImagePlan, JobLimits, Probe, Probes
from planning.plan.servers import Phase, Timing
from planning.plan.weights import Fetch, Hub
from planning.stack.timing import (
    MIB,
    Load,
    download_s,
    fetch,
    gateway_drain_s,
    longest_request_s,
    plan_timing,
    server_probes,
)
from settings.schema import StartSettings
from tests.unit.small_stack import properties

GIB = 2**30
QWEN = Load(weight_bytes=int(27.5 * GIB), read_mib_per_s=500, prewarm=True, starts_nodes=False)


def test_the_chain_of_qwen3_14b_is_exact():
    """28,160 MiB read at 500 MiB/s and again from the page cache, compiled and started; twice that is the budget."""
    found = plan_timing(QWEN, longest_request=410, drain_timeout_s=None, scale_down_after_s=300)
    assert found == Timing(
        prewarm_s=57,
        expected_start_s=14 + 240 + 60,
        startup_budget_s=630,
        startup_period_s=10,
        startup_failures=63,
        progress_deadline_s=600 + 2 * 57 + 630 + 60,
        await_timeout_s=1404 + 410 + 15 + 15 + 120,
        cold_start_s=57 + 314,
        scale_to_zero_cooldown_s=371,
        longest_request_s=410,
        pre_stop_s=15,
        drain_s=410,
        termination_grace_s=15 + 410 + 15,
        probe_grace_s=30,
        phases=(
            Phase("weights", 57, "500 MiB/s, readMibPerS"),
            Phase("load", 14, "2048 MiB/s from the page cache"),
            Phase("compile", 240, "planned; 195 s published"),
            Phase("engine", 60, "planned"),
        ),
        compile_again=None,
    )


def test_measured_figures_stand_above_what_is_planned_with():
    """Each by itself, with where it is from; those before the engine count twice in the deadline, as those after do."""
    said = StartSettings.model_validate(
        {"nodeS": 200, "imagePullS": 90, "loadS": 11, "compileS": 190, "compileAgainS": 9, "engineS": 33}
    )
    load = replace(QWEN, starts_nodes=True, keeps_compiled=True, measured=said)
    found = plan_timing(load, longest_request=410, drain_timeout_s=None, scale_down_after_s=300)
    given = "measured.start"
    assert found.phases == (
        Phase("node", 200, given),
        Phase("image", 90, given),
        Phase("weights", 57, "500 MiB/s, readMibPerS"),
        Phase("load", 11, given),
        Phase("compile", 190, given),
        Phase("engine", 33, given),
    )
    assert found.compile_again == Phase("compile", 9, given)
    assert (found.expected_start_s, found.startup_budget_s, found.cold_start_s) == (234, 470, 581)
    assert found.progress_deadline_s == 2 * 200 + 2 * 90 + 2 * 57 + 120 + 470 + 60
    quick = replace(QWEN, measured=StartSettings.model_validate({"loadS": 1, "compileS": 1, "engineS": 1}))
    least = plan_timing(quick, longest_request=410, drain_timeout_s=None, scale_down_after_s=300)
    assert (least.expected_start_s, least.startup_budget_s) == (3, 300)


def test_a_kept_cache_is_waited_for_and_never_counted_on():
    """The first start, which finds nothing, has all the time it would have without, and two minutes to look."""
    without, kept = (
        plan_timing(load, longest_request=410, drain_timeout_s=None, scale_down_after_s=300)
        for load in (QWEN, replace(QWEN, keeps_compiled=True))
    )
    assert kept == replace(
        without,
        progress_deadline_s=without.progress_deadline_s + 120,
        await_timeout_s=without.await_timeout_s + 120,
        compile_again=Phase("compile", 20, "5 to 20 s published"),
    )


def test_the_load_budget_is_in_the_first_probe():
    """While it loads, a server is asked for its whole budget; then every 5 s for readiness, every 30 s for life."""
    found = plan_timing(QWEN, longest_request=410, drain_timeout_s=None, scale_down_after_s=300)
    assert server_probes(found) == Probes(Probe(5, 3, 5), Probe(30, 4, 10), Probe(10, 63, 5))


def test_a_node_that_is_bought_first_is_waited_for():
    """The node and its image come on top, for the deployment and for a cold start; probes begin after them."""
    bought = Load(QWEN.weight_bytes, 500, prewarm=True, starts_nodes=True)
    here, there = (
        plan_timing(load, longest_request=410, drain_timeout_s=None, scale_down_after_s=300) for load in (QWEN, bought)
    )
    assert there.progress_deadline_s - here.progress_deadline_s == 900
    assert there.cold_start_s - here.cold_start_s == 900 + 600
    assert there.startup_budget_s == here.startup_budget_s


def test_without_prewarming_vllm_reads_at_the_rate_of_the_storage():
    """All of the reading is then part of the start that probes wait for."""
    cold = Load(QWEN.weight_bytes, 500, prewarm=False, starts_nodes=False)
    found = plan_timing(cold, longest_request=410, drain_timeout_s=None, scale_down_after_s=300)
    assert (found.prewarm_s, found.expected_start_s) == (0, 57 + 240 + 60)


@pytest.mark.parametrize(("given_s", "drain_s"), [(None, 410), (60, 60), (4000, 4000)])
def test_the_drain_is_the_longest_request_unless_it_is_given(given_s, drain_s):
    """A user may cut or lengthen the drain, and the grace period follows."""
    found = plan_timing(QWEN, longest_request=410, drain_timeout_s=given_s, scale_down_after_s=300)
    assert (found.drain_s, found.termination_grace_s) == (drain_s, drain_s + 30)


@pytest.mark.parametrize(("quiet_s", "cooldown_s"), [(300, 371), (3600, 3600)])
def test_a_server_does_not_go_to_zero_faster_than_it_comes_back(quiet_s, cooldown_s):
    """The cooldown is a cold start at least."""
    found = plan_timing(QWEN, longest_request=410, drain_timeout_s=None, scale_down_after_s=quiet_s)
    assert found.scale_to_zero_cooldown_s == cooldown_s


@pytest.mark.parametrize(
    ("context", "answer", "seconds"),
    [(32_768, None, 410), (4096, None, 205), (1, None, 1), (163_840, 12_000, 600), (8192, 1, 1), (21, None, 2)],
)
def test_the_longest_request_is_the_longest_answer_at_the_slowest_speed(context, answer, seconds):
    """20 tokens a second, 8,192 tokens unless more or fewer are said or fit."""
    assert longest_request_s(context, answer) == seconds


HUB = Hub(
    "huggingface",
    None,
    (),
    "HF_TOKEN",
    None,
    ImagePlan("i", "r/i:1", "1", 1, 1, pinned=False, upstream="r/i:1"),
    {},
    4,
    8,
)


def test_a_download_is_waited_for_twice_as_long_as_expected():
    """1,000 MiB at 100 MiB/s with a fifth for hashing; the image, twice the download, and five minutes."""
    found = fetch(HUB, least_bytes=1, download_s=download_s(1000 * MIB, 100), gated=False)
    assert found == Fetch(HUB, 1, 12, JobLimits(4, 600 + 24 + 300, 600 + 24 + 300 + 120))


LOADS = st.builds(
    Load,
    weight_bytes=st.integers(1, 3 * 10**12),
    read_mib_per_s=st.integers(1, 20_000),
    prewarm=st.booleans(),
    starts_nodes=st.booleans(),
    keeps_compiled=st.booleans(),
)


@given(LOADS, st.integers(1, 50_000), st.none() | st.integers(1, 50_000), st.integers(1, 50_000))
@properties(300)
def test_no_wait_undercuts_another(load, longest, drain, quiet):
    """Whatever is loaded, however fast: each wait is longer than what it waits for."""
    found = plan_timing(load, longest_request=longest, drain_timeout_s=drain, scale_down_after_s=quiet)
    node_s = 900 if load.starts_nodes else 0
    # probes: twice what is expected, in whole periods
    assert found.startup_budget_s == found.startup_failures * found.startup_period_s
    assert 2 * found.expected_start_s <= found.startup_budget_s < 2 * found.expected_start_s + found.startup_period_s
    # a pod that only just starts in time is not given up: node, image, prewarming and the probes fit into the deadline
    assert node_s + 600 + found.prewarm_s + found.startup_budget_s < found.progress_deadline_s
    # the engine waits until the deployment has failed, and until the old pod is gone
    assert found.progress_deadline_s + found.termination_grace_s < found.await_timeout_s
    # a running request ends before its pod does, and the pod before it is killed
    assert found.pre_stop_s + found.drain_s < found.termination_grace_s
    assert drain is not None or found.longest_request_s <= found.drain_s
    # who hangs has its hook and as long again, and less than who drains
    assert found.pre_stop_s < found.probe_grace_s == 30 < found.termination_grace_s
    # what went to zero was quiet for longer than it needs to come back
    assert found.prewarm_s + found.expected_start_s <= found.cold_start_s <= found.scale_to_zero_cooldown_s
    assert quiet <= found.scale_to_zero_cooldown_s
    assert min(seconds(found).values()) >= 0
    # the parts of a start are all there is of it
    assert sum(phase.seconds for phase in found.phases) == found.cold_start_s


def seconds(timing: Timing) -> dict[str, int]:
    """Every wait of a chain."""
    return {name: value for name, value in vars(timing).items() if isinstance(value, int)}


@given(LOADS, st.integers(1, 10**11))
@properties(150)
def test_more_bytes_never_shorten_a_wait(load, more):
    """A larger checkpoint has a longer chain, link by link."""
    larger = replace(load, weight_bytes=load.weight_bytes + more)
    before, after = (
        seconds(plan_timing(item, longest_request=60, drain_timeout_s=None, scale_down_after_s=300))
        for item in (load, larger)
    )
    assert [name for name in before if after[name] < before[name]] == []


@pytest.mark.parametrize(
    ("longest", "timeout", "drain"), [(1816, 600, 1816), (5448, 600, 3600), (15_000, 5000, 5000), (600, 600, 600)]
)
def test_a_gateway_drains_for_all_tries_of_a_request(longest, timeout, drain):
    """At most an hour, unless one answer may take longer."""
    assert gateway_drain_s(longest, timeout) == drain
