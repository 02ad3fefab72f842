"""The timing chain: one load budget drives every wait, so that no probe, deadline or timeout can undercut another.

Pure arithmetic in seconds. The inequalities are stated on `planning.plan.servers.Timing` and tested as an invariant.
"""

from dataclasses import dataclass
from math import ceil

from planning.plan.pods import ImagePlan, JobLimits, Probe, Probes
from planning.plan.pools import Verification
from planning.plan.servers import Phase, Timing
from planning.plan.weights import Fetch, Hub
from settings.schema import StartSettings

MIB = 2**20


@dataclass(frozen=True)
class StoreTimes:
    """Waits of a pod that keeps something: its probes, its end, and how long the engine waits for it."""

    probes: Probes
    grace_s: int
    await_timeout_s: int


# Pulling the 10 GB vLLM image took 101 s, compiling 195 s, on the cold start published in kaito-project/kaito#2325.
IMAGE_PULL_S = 600
# The same cold start: 10 GB in 101 s.
PULL_MIB_PER_S = 95
# SHA-256 on eight threads with four cores to spare (0.4 GB/s each without the processor's own instructions).
HASH_MIB_PER_S = 1500
COMPILE_S = 240
ENGINE_START_S = 60
# "around 5-20 seconds, depending on the model" where it was compiled before (Baseten, "Torch compile caching").
COMPILE_AGAIN_S = 20
# The longest a start waits for what is kept: well below what compiling takes.
RESTORE_S = 120
# A node bought on demand was there after 284 s in the same report; large GPU types take longer.
NODE_START_S = 900
# Copying weights from the page cache to the GPU; far below PCIe 4 ×16, because one reader thread does it.
CACHED_READ_MIB_PER_S = 2048
# The budget is what is expected, times this: storage and hubs have bad days, and a killed load starts from zero.
SAFETY = 2
# Measured figures are of one good day; without them the budget is never so small.
LEAST_BUDGET_S = 300
PROBE_PERIOD_S = 10
# Endpoints are gone from kube-proxy and gateways well within this; a request after SIGTERM would get HTTP 500.
PRE_STOP_S = 15
# Connections to the gateway are kept, and outlive its endpoint: who keeps one is asked to close it before it is closed
# under a request.
GATEWAY_CLOSE_S = 10
# vLLM needs up to 5 s to end its workers (VLLM_WORKER_SHUTDOWN_TIMEOUT_SECONDS) after the drain.
SHUTDOWN_MARGIN_S = 15
# Who fails a liveness or startup probe has nothing left to drain. It gets preStop and as much again to write its last
# words; the hook counts to it (pkg/kubelet/kuberuntime, killContainer, 1.36), so it must be longer than that.
PROBE_GRACE_S = 2 * PRE_STOP_S
# Once it has answered, a server is asked often whether it takes requests, and seldom whether it lives.
SERVER_READY, SERVER_LIVE = Probe(period_s=5, failures=3, timeout_s=5), Probe(period_s=30, failures=4, timeout_s=10)
# The proxy was ready after 78 s on a busy machine; upstream's chart allows 300 s.
GATEWAY_PROBES = Probes(
    startup=Probe(period_s=10, failures=30, timeout_s=10),
    ready=Probe(period_s=10, failures=3, timeout_s=10),
    live=Probe(period_s=15, failures=4, timeout_s=10),
)
REDIS_PROBES = Probes(ready=Probe(period_s=5), live=Probe(period_s=20))
# After a crash Postgres goes through its log before it answers; 10 min are beyond any of this size. Half a minute is
# enough to write down what it holds when it is stopped, and one that hangs is missed no longer.
POSTGRES = StoreTimes(
    Probes(startup=Probe(period_s=5, failures=120), ready=Probe(period_s=5), live=Probe(period_s=20, failures=6)),
    grace_s=30,
    await_timeout_s=900,
)
# An instance after the other: a claim, an image, a copy of what the first one has. The clients of Postgres are pools,
# which go when it ends and not before.
CLUSTER_START_S, CLUSTER_INSTANCE_S, CLUSTER_SHUTDOWN_S = 600, 300, 5
# Open WebUI brings its tables up to date first; after that nothing but a hung process keeps it silent.
CHAT_UI = StoreTimes(
    Probes(
        startup=Probe(period_s=10, failures=60, timeout_s=5),
        ready=Probe(period_s=10, failures=3, timeout_s=5),
        live=Probe(period_s=20, failures=6, timeout_s=5),
    ),
    grace_s=30,
    await_timeout_s=900,
)
# The gateway's rollout, and its migration before it, which gives up, and says why, before the engine does.
GATEWAY_AWAIT_TIMEOUT_S = 900
MIGRATION = JobLimits(retries=4, deadline_s=780, await_timeout_s=GATEWAY_AWAIT_TIMEOUT_S)
# With a database LiteLLM compares its schema before it serves, by a Node program, and only logs what it finds; the
# migration Job has seen to it, so a slow or unreachable database may not hold the start up for LiteLLM's own 60 s.
SCHEMA_CHECK_S = 10
# A Job says itself why it gave up; the engine waits this much longer for that.
LAST_WORDS_S = 120
DOWNLOAD_RETRIES, VERIFICATION_RETRIES = 4, 2
# Slowest decode a person still accepts, tokens/s; turns the longest answer into the longest request.
SLOWEST_TOKENS_PER_S = 20
DEFAULT_LONGEST_ANSWER_TOKENS = 8192
DEFAULT_REQUEST_TIMEOUT_S = 600
# A server whose stream is silent for so long is taken for hung: 24 times what alerts call slow (5 s), or the time the
# longest prompt needs at the slowest accepted speed, if that is more.
LEAST_FIRST_TOKEN_TIMEOUT_S = 120
SLOWEST_PREFILL_TOKENS_PER_S = 500
# Clients that fill an index send texts by the hundred.
LEAST_READING_S = 60
# Longest pause between two tries of one server (LiteLLM 1.109.1, litellm/utils.py, _calculate_retry_after: 0.5 s,
# doubled, at most 8 s; vLLM sends no Retry-After).
LONGEST_BACK_OFF_S = 8
# A gateway that stops waits for what runs. Who replaces its node waits too, and may not be held for longer by a request
# that goes from one failing server to the next.
LONGEST_GATEWAY_DRAIN_S = 3600


# Where a figure is from that somebody read in a log.
MEASURED = "measured.start"
# Where that of an image is from that nodes have pulled before.
PULLED_BEFORE = "images.prePull"


@dataclass(frozen=True)
class Load:
    """Work of a pod before it serves. Rates in MiB/s; `starts_nodes`: its node may have to be bought first.

    `keeps_compiled`: what it compiles is there for the next start; `measured`: what parts of it took before.
    """

    weight_bytes: int
    read_mib_per_s: int
    prewarm: bool
    starts_nodes: bool
    keeps_compiled: bool = False
    measured: StartSettings | None = None
    pull_gib: int = 0
    """What an image with the weights holds."""
    copy_mib_per_s: int | None = None
    """Where they are copied before the server starts."""
    pulled_before: bool = False
    """Whether its node has pulled the images of its containers by then, which no deadline counts on."""
    proves_bytes: bool = False
    """Whether every byte is hashed before the server starts."""


def longest_request_s(context_tokens: int, max_output_tokens: int | None, *, writes: bool = True) -> int:
    """Seconds the longest answer takes at the slowest accepted speed; who does not write reads a whole context.

    Or many short texts, which one request may have as well.
    """
    if not writes:
        return max(LEAST_READING_S, ceil(context_tokens / SLOWEST_PREFILL_TOKENS_PER_S))
    answer = max_output_tokens or min(context_tokens, DEFAULT_LONGEST_ANSWER_TOKENS)
    return ceil(answer / SLOWEST_TOKENS_PER_S)


def first_token_timeout_s(context_tokens: int, timeout_s: int) -> int:
    """Seconds of silence after which a stream is given up; `timeout_s`, for a whole answer, is the most."""
    return min(timeout_s, max(LEAST_FIRST_TOKEN_TIMEOUT_S, ceil(context_tokens / SLOWEST_PREFILL_TOKENS_PER_S)))


def plan_timing(load: Load, *, longest_request: int, drain_timeout_s: int | None, scale_down_after_s: int) -> Timing:
    """The whole chain for one server. `longest_request` in seconds; `drain_timeout_s` None: drain the longest one."""
    measured = load.measured or StartSettings()
    before, weights, start = _before(load, measured), _weights(load), _start(load, measured)
    prewarm_s, expected = sum(phase.seconds for phase in weights), sum(phase.seconds for phase in start)
    failures = ceil(max(SAFETY * expected, LEAST_BUDGET_S) / PROBE_PERIOD_S)
    startup_budget = failures * PROBE_PERIOD_S
    # ours are generous already
    pull_s = SAFETY * measured.image_pull_s if measured.image_pull_s else IMAGE_PULL_S
    bought_s = SAFETY * measured.node_s if measured.node_s else NODE_START_S
    node_s = bought_s if load.starts_nodes else 0
    restore_s = RESTORE_S if load.keeps_compiled else 0
    progress = node_s + pull_s + SAFETY * prewarm_s + restore_s + startup_budget + 60
    drain = drain_timeout_s or longest_request
    phases = (*before, *weights, *start)
    cold_start = sum(phase.seconds for phase in phases)
    return Timing(
        prewarm_s=prewarm_s,
        expected_start_s=expected,
        startup_budget_s=startup_budget,
        startup_period_s=PROBE_PERIOD_S,
        startup_failures=failures,
        progress_deadline_s=progress,
        await_timeout_s=progress + drain + PRE_STOP_S + SHUTDOWN_MARGIN_S + 120,
        cold_start_s=cold_start,
        scale_to_zero_cooldown_s=max(scale_down_after_s, cold_start),
        longest_request_s=longest_request,
        pre_stop_s=PRE_STOP_S,
        drain_s=drain,
        termination_grace_s=PRE_STOP_S + drain + SHUTDOWN_MARGIN_S,
        probe_grace_s=PROBE_GRACE_S,
        phases=phases,
        compile_again=_compile_again(load, measured),
    )


def _phase(name: str, planned_s: int, source: str, measured_s: int | None) -> Phase:
    """A part of a start, by its measured figure where there is one."""
    return Phase(name, planned_s, source) if measured_s is None else Phase(name, measured_s, MEASURED)


def _before(load: Load, measured: StartSettings) -> tuple[Phase, ...]:
    """Phases that a node has been through; one that is there has pulled the image with its first pod."""
    if not load.starts_nodes:
        return (Phase("image", 0, PULLED_BEFORE),) if load.pulled_before else ()
    return (
        _phase("node", NODE_START_S, "planned; 284 s published", measured.node_s),
        _phase("image", IMAGE_PULL_S, "planned; 101 s published", measured.image_pull_s),
    )


def _weights(load: Load) -> tuple[Phase, ...]:
    """Pulling an image with the weights, copying them to the node, reading them into the page cache: what is done."""
    pulled = ()
    if load.pull_gib:
        pulled = (Phase("pull", ceil(load.pull_gib * 1024 / PULL_MIB_PER_S), "100 MB/s, published of another image"),)
    return pulled + _brought(load) + _proven(load)


def _proven(load: Load) -> tuple[Phase, ...]:
    """Hashing all files; those that are in the page cache by then are as fast as the processor."""
    if not load.proves_bytes:
        return ()
    rate = HASH_MIB_PER_S if load.prewarm else min(HASH_MIB_PER_S, load.read_mib_per_s)
    return (Phase("prove", ceil(load.weight_bytes / MIB / rate), f"{rate} MiB/s hashed, planned"),)


def _brought(load: Load) -> tuple[Phase, ...]:
    if load.copy_mib_per_s is not None:
        copy_s = ceil(load.weight_bytes / MIB / load.copy_mib_per_s)
        return (Phase("copy", copy_s, f"{load.copy_mib_per_s} MiB/s, readMibPerS of what is copied"),)
    read_s = ceil(load.weight_bytes / MIB / load.read_mib_per_s)
    return (Phase("weights", read_s, f"{load.read_mib_per_s} MiB/s, readMibPerS"),) if load.prewarm else ()


def _start(load: Load, measured: StartSettings) -> tuple[Phase, ...]:
    """Phases of the engine itself; its weights come from the page cache where they were read into it."""
    rate = CACHED_READ_MIB_PER_S if load.prewarm else load.read_mib_per_s
    where = " from the page cache" if load.prewarm else ", readMibPerS"
    return (
        _phase("load", ceil(load.weight_bytes / MIB / rate), f"{rate} MiB/s{where}", measured.load_s),
        _phase("compile", COMPILE_S, "planned; 195 s published", measured.compile_s),
        _phase("engine", ENGINE_START_S, "planned", measured.engine_s),
    )


def _compile_again(load: Load, measured: StartSettings) -> Phase | None:
    if not load.keeps_compiled:
        return None
    return _phase("compile", COMPILE_AGAIN_S, "5 to 20 s published", measured.compile_again_s)


def server_probes(timing: Timing) -> Probes:
    """Probes of a server, whose whole load budget is in the first."""
    startup = Probe(timing.startup_period_s, timing.startup_failures, SERVER_READY.timeout_s)
    return Probes(SERVER_READY, SERVER_LIVE, startup)


def all_tries_s(servers: int, retries: int, *, timeout_s: int, first_token_timeout_s: int) -> int:
    """Longest time until a request has its whole answer or its error, whatever its servers do.

    `servers`: how many are asked one after the other, each `retries` times more after an error; a whole answer may take
    `timeout_s` per try, a stream may be silent for `first_token_timeout_s` per try and then lasts `timeout_s` at most.
    """
    tries = servers * (retries + 1)
    longest = max(tries * timeout_s, tries * first_token_timeout_s + timeout_s)
    return longest + servers * retries * LONGEST_BACK_OFF_S


def gateway_drain_s(longest_s: int, timeout_s: int) -> int:
    """Seconds a gateway that stops lets its requests run: all tries of one, at most an hour, never less than one try.

    `longest_s`: of `all_tries_s` and what is held before them; `timeout_s`: a whole answer of one try, and what is held
    before it. A pod without requests ends at once.
    """
    return min(longest_s, max(timeout_s, LONGEST_GATEWAY_DRAIN_S))


def download_s(disk_bytes: int, download_mib_per_s: int) -> int:
    """Expected seconds to fetch a checkpoint and hash it."""
    return ceil(disk_bytes / MIB / download_mib_per_s * 1.2)


def fetch(hub: Hub, *, least_bytes: int, download_s: int, gated: bool) -> Fetch:
    """A download with its deadline, which holds the image, the download with its safety, and retries."""
    deadline_s = IMAGE_PULL_S + SAFETY * download_s + 300
    limits = JobLimits(DOWNLOAD_RETRIES, deadline_s, deadline_s + LAST_WORDS_S)
    return Fetch(hub, least_bytes, download_s, limits, gated)


def verification(image: ImagePlan, timeout_s: int) -> Verification:
    """A verification Job that looks for its nodes for `timeout_s` in each of its tries."""
    deadline_s = (VERIFICATION_RETRIES + 1) * timeout_s
    limits = JobLimits(VERIFICATION_RETRIES, deadline_s, deadline_s + LAST_WORDS_S)
    return Verification(image, timeout_s, limits)


def gep_2257(seconds: int) -> str:
    """A duration as the Gateway API writes it, which takes five digits at most of every unit (GEP-2257)."""
    return f"{seconds}s" if seconds < 100_000 else f"{seconds // 3600}h{seconds % 3600}s"
