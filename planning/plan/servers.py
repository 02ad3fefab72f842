"""vLLM servers: memory, times, files and cost of one replica, and how many there are."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from planning.capacity.budget import MemoryBudget, Parallelism
from planning.plan.additions import Additions
from planning.plan.fabrics import FabricPlan
from planning.plan.pods import ImagePlan, Probes
from planning.plan.router import RouterPlan
from planning.plan.scaling import Scaling, Watched
from planning.plan.weights import CheckpointPlan
from planning.tasks import Task

# The claim with what servers compiled.
COMPILE_CACHE = "compile-cache"


@dataclass(frozen=True)
class Phase:
    """One part of a cold start; `source`: where its figure is from, or goes."""

    name: str
    seconds: int
    source: str


@dataclass(frozen=True)
class Timing:
    """The timing chain of one server, seconds; the inequalities between its members are tested.

    startup_budget_s < progress_deadline_s < await_timeout_s, and
    pre_stop_s + drain_s < termination_grace_s, and pre_stop_s < probe_grace_s < termination_grace_s, and
    longest_request_s <= the gateway's request timeout.
    """

    prewarm_s: int
    expected_start_s: int
    startup_budget_s: int
    startup_period_s: int
    startup_failures: int
    progress_deadline_s: int
    await_timeout_s: int
    cold_start_s: int
    scale_to_zero_cooldown_s: int
    longest_request_s: int
    pre_stop_s: int
    drain_s: int
    termination_grace_s: int
    probe_grace_s: int
    """From a failed liveness or startup probe to SIGKILL."""
    phases: tuple[Phase, ...]
    """What a cold start is made of, in order; their sum is `cold_start_s`."""
    compile_again: Phase | None
    """Compiling where a kept cache is found, which no deadline counts on; None: nothing is kept."""


@dataclass(frozen=True)
class Rollout:
    """Replacement of pods by an update, from the GPUs that are really spare; `gap_s` > 0: users will notice."""

    max_surge: int | str
    max_unavailable: int | str
    gap_s: int
    reason: str


@dataclass(frozen=True)
class GpuClaim:
    """The devices that a pod claims, all of one class; `mark`: what stands for all the rest in a name."""

    device_class: str
    count: int
    selectors: tuple[str, ...]
    mark: str


@dataclass(frozen=True)
class PodResources:
    """Requests of one pod."""

    cpus: int
    memory_gib: int
    memory_limit_gib: int
    gpus: int
    """GPUs, or slices of one."""
    shm_gib: int
    cache_gib: int
    gpu_share: float | None = None
    """Part of its one GPU, on which others may be, too."""
    claim: GpuClaim | None = None
    """None: it asks for its GPUs by the name of the resource, or for none."""


@dataclass(frozen=True)
class Scratch:
    """Space that one pod may write, MiB: size limits of its emptyDirs on disk and in memory, by name.

    `disk_mib` is what the pod requests of its node's disk, by its first container alone unless there is a sidecar;
    `logs_mib` what every other container does.
    """

    volumes_mib: Mapping[str, int]
    memory_mib: Mapping[str, int]
    disk_mib: int
    logs_mib: int


@dataclass(frozen=True)
class CompileCacheClaim:
    """The one claim on which a stack keeps what its servers compile."""

    name: str
    storage_class: str
    access_mode: str
    gib: int
    usd_per_gib_month: float | None = None


@dataclass(frozen=True)
class KeptCache:
    """The cache in which one server finds again what an earlier start of it compiled.

    `key` stands for all that the compiled code depends on but the CPU, which the pod finds out. `image` runs the
    script: not the server's, which may be anybody's, with a claim in its hands that other servers run code from.
    """

    claim: CompileCacheClaim
    key: str
    image: ImagePlan
    restore_s: int
    """When a pod gives up to read it."""


@dataclass(frozen=True)
class Requests:
    """Requests of one container of a server's pod: CPU in thousandths of a core, memory and disk in MiB."""

    cpu_millis: int
    memory_mib: int
    disk_mib: int


@dataclass(frozen=True)
class Cost:
    """Cost of one replica. Token prices follow from the roofline of its GPUs, not from a measurement.

    `usd_per_million_tokens` is (busy, alone) for generated tokens; the two per-token prices are what the gateway
    charges, 0 where no throughput can be estimated.
    """

    usd_per_hour: float
    usd_per_million_tokens: tuple[float, float] | None
    usd_per_input_token: float
    usd_per_output_token: float


@dataclass(frozen=True)
class Pace:
    """Tokens per second of one replica by the roofline of its hardware, which nobody measured.

    `alone`: written for one sequence; `busy`: for as many `sequences` as decode together; `reads`: of prompts.
    """

    alone: float
    busy: float
    reads: float
    sequences: float


@dataclass(frozen=True)
class StreamInterval:
    """Tokens in each chunk of a streamed answer but the first, which has one.

    `chosen`: by the plan, which has to write it. `smooth`: the most that no reader sees and no parser stumbles over.
    """

    tokens: int = 1
    chosen: bool = False
    smooth: int = 1
    reason: str | None = None

    @property
    def reasons(self) -> dict[str, str]:
        """The reason as a part of a server's."""
        return {"streamInterval": self.reason} if self.reason else {}


@dataclass(frozen=True)
class Endpoint:
    """Address and key of a server, by the engine's own words.

    `address_variable`: of the pod's address, where one replica spans nodes. `provider`: how LiteLLM calls such servers.
    """

    port: int
    health_path: str
    key_variable: str
    address_variable: str
    provider: str


@dataclass(frozen=True, kw_only=True)
class Server:
    """One vLLM server, a model or its canary twin: what is known of it without the others."""

    name: str
    model_name: str
    model: str
    task: Task
    pool: str
    canary: bool
    weight: int
    image: ImagePlan
    endpoint: Endpoint
    cpu: bool
    gpu_metrics: bool
    """Whether the operator of its GPUs exports what they do."""
    nodes_per_replica: int
    parallelism: Parallelism
    memory: MemoryBudget
    max_num_seqs: int
    checkpoints: tuple[CheckpointPlan, ...]
    """Its own, then what is loaded beside it."""
    serves: Mapping[str, str]
    """Public name → what vLLM calls it, that of its model first."""
    args: tuple[str, ...]
    env: Mapping[str, str]
    resources: PodResources
    scratch: Scratch
    timing: Timing
    probes: Probes
    cost: Cost | None
    pace: Pace | None
    """None where too little is known of the hardware."""
    stream_interval: StreamInterval
    replaces: str | None
    """The server that goes before this one starts."""
    kept_cache: KeptCache | None
    """None: every pod compiles anew."""
    watched: Watched
    """How Prometheus sees it."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    additions: Additions = field(default_factory=Additions)
    fabric: FabricPlan | None = None
    """The network between the nodes of a replica; None: it is on one."""

    @property
    def checkpoint(self) -> CheckpointPlan:
        """Its own."""
        return self.checkpoints[0]

    @property
    def adapters(self) -> Mapping[str, CheckpointPlan]:
        """Public name → LoRA adapter."""
        adapters = (checkpoint for checkpoint in self.checkpoints if checkpoint.adapter)
        return dict(zip([*self.serves][1:], adapters, strict=True))

    @property
    def public_name(self) -> str:
        """The name that clients ask for its model by."""
        return next(iter(self.serves))


@dataclass(frozen=True, kw_only=True)
class ServerPlan(Server):
    """A server with what depends on the others: how it is replaced, and how many replicas there are."""

    rollout: Rollout
    replicas: int
    max_replicas: int
    scaling: Scaling | None
    router: RouterPlan | None = None
    """None: its Service chooses a replica."""

    @property
    def fewest_replicas(self) -> int:
        """Fewest replicas that can run; 0 where scaling to zero is allowed."""
        return self.scaling.min_replicas if self.scaling else self.replicas
