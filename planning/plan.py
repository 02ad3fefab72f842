"""What follows from a configuration: one frozen `Plan`, complete enough that components only declare it.

Owns the types. Units are in the names; every derived value that a reader may wonder about has its sentence in
`reasons` of the part it belongs to (key: the name of the setting that would override it).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from planning.capacity.budget import MemoryBudget, Parallelism
from planning.tasks import Task

# Names of the gateway's and of its Redis' objects, which rules and policies name too.
GATEWAY = "litellm"
GATEWAY_REDIS = "litellm-redis"
# The claim with what servers compiled.
COMPILE_CACHE = "compile-cache"
# How nodes are told apart: what GPUs are called on them, what keeps other pods off, and whose they are.
GPU_RESOURCE = "nvidia.com/gpu"
GPU_TAINT = {"key": GPU_RESOURCE, "value": "present", "effect": "NoSchedule"}
POOL_LABEL = "llm-stack.io/pool"
# In place of a version where a digest alone names the image.
BY_DIGEST = "by digest"


@dataclass(frozen=True)
class ImagePlan:
    """One container image. `reference` is complete; `pinned` says whether it carries a digest.

    `upstream` is the reference before a mirror took its host's place, `pull_secrets` existing Secrets to pull it with.
    """

    name: str
    reference: str
    version: str
    uid: int
    gid: int
    pinned: bool
    upstream: str
    pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeOffer:
    """What one node gives to pods, beside GPUs: what the kubelet keeps for the system is taken off."""

    cpus: int = 0
    memory_mib: int = 0
    disk_mib: int = 0


@dataclass(frozen=True)
class Labelled:
    """Nodes that are found by label, and left as they are; `labels` are those beside what the GPU's kind says."""

    kind: ClassVar = "labelled"
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Existing:
    """Named nodes that get labels and, unless they have taints of their own, the GPU taint."""

    kind: ClassVar = "existing"
    node_names: tuple[str, ...]


@dataclass(frozen=True)
class Disk:
    """One volume of a node; without figures, as fast as its kind is by itself."""

    device: str
    gib: int
    throughput_mib_per_s: int | None = None
    iops: int | None = None


@dataclass(frozen=True)
class NodeClass:
    """An EC2NodeClass of our own. `system_disk`: a volume for the system alone, where the AMI has one."""

    role: str
    discovery_tag: str
    ami_alias: str
    system_disk: Disk | None
    data_disk: Disk


@dataclass(frozen=True)
class Karpenter:
    """Nodes that Karpenter buys; `node_class` is the name of one that exists, or ours."""

    kind: ClassVar = "karpenter"
    instance_types: tuple[str, ...]
    capacity_types: tuple[str, ...]
    node_class: str | NodeClass
    limits: Mapping[str, str]
    """The most Karpenter may buy, by resource."""
    empty_for_minutes: int = 10
    """How long a node may stand empty before it goes."""


@dataclass(frozen=True)
class ComputeClass:
    """Nodes that GKE creates; `boot_disk_gb` is None where the disk GKE gives by itself is enough."""

    kind: ClassVar = "computeClass"
    machine_types: tuple[str, ...]
    spot: bool
    reservation: str | None
    boot_disk_gb: int | None = None


Provisioning = Labelled | Existing | Karpenter | ComputeClass


@dataclass(frozen=True)
class JobLimits:
    """How often a Job tries again, when it gives up, and how much longer the engine waits to hear why."""

    retries: int
    deadline_s: int
    await_timeout_s: int


@dataclass(frozen=True)
class Verification:
    """The Job that proves what nodes offer: its image, and how long one try looks for them."""

    image: ImagePlan
    timeout_s: int
    job: JobLimits


@dataclass(frozen=True)
class PoolPlan:
    """One node pool: how pods find its nodes and what must be declared for it."""

    name: str
    gpu: str
    gpu_name: str
    discovered: Mapping[str, str]
    """Labels that GPU feature discovery writes on its nodes."""
    nodes: int
    gpus_per_node: int
    cpus_per_node: int | None
    memory_gib_per_node: int | None
    resource_name: str | None
    node_selector: Mapping[str, str]
    node_affinity: tuple[tuple[str, str, tuple[str, ...]], ...]
    tolerations: tuple[Mapping[str, str], ...]
    taints: tuple[Mapping[str, str], ...]
    """Taints that named nodes get."""
    node_labels: Mapping[str, str]
    provisioning: Provisioning
    expected_gpu_memory_mib: int | None
    verification: Verification | None
    """None: nothing is proved before pods are put there."""
    usd_per_node_hour: float | None
    needed: NodeOffer = NodeOffer()
    """What every node has to give: what was promised of it, and no less than the largest pod asks for."""
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def gpus(self) -> int:
        """GPUs of the whole pool."""
        return self.nodes * self.gpus_per_node


@dataclass(frozen=True)
class Probe:
    """How often the kubelet looks, how long an answer may take, and how many may fail; None: Kubernetes' default."""

    period_s: int
    failures: int | None = None
    timeout_s: int | None = None


@dataclass(frozen=True)
class Probes:
    """All that is asked of one container. Until `startup` has succeeded once, nothing else looks at it."""

    ready: Probe
    live: Probe
    startup: Probe | None = None


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
    """How an update replaces pods, from the GPUs that are really spare; `gap_s` > 0: users will notice."""

    max_surge: int | str
    max_unavailable: int | str
    gap_s: int
    reason: str


@dataclass(frozen=True)
class CronFloor:
    """Hours in which at least `replicas` run; outside of them zero is allowed."""

    timezone: str
    start: str
    end: str
    replicas: int


@dataclass(frozen=True)
class Signal:
    """One thing an autoscaler looks at: `query` divided by `threshold` is how many replicas it asks for.

    `quantity` is the threshold as Kubernetes writes it. With the HPA driver it is compared with the average over pods
    of `pod_metric`, which prometheus-adapter gets by `pod_query`; None: by a rule that all servers share.
    """

    name: str
    query: str
    threshold: str
    quantity: str
    pod_metric: str
    pod_query: str | None


@dataclass(frozen=True)
class Scaling:
    """When replicas are added and removed. Queries are PromQL, built from the metric catalogue."""

    driver: str
    min_replicas: int
    max_replicas: int
    poll_s: int
    """How often KEDA looks."""
    blind_polls: int
    """How many of its looks in a row may find no Prometheus."""
    blind_replicas: int
    """What then runs at least: 0 would let a server that scales to zero go."""
    target_waiting: int
    signals: tuple[Signal, ...]
    wake_query: str | None
    floor: CronFloor | None
    scale_up_after_s: int
    scale_up_period_s: int
    scale_down_after_s: int
    cooldown_s: int
    prometheus_url: str
    reason: str


def pod_names(server: str, nodes_per_replica: int) -> str:
    """A regular expression that finds the pods of a server by their names, and none of `vllm-a-cpu` for `vllm-a`.

    Names of a Deployment's pods end in a hash and five characters, without a dash between where the name is long; those
    of a group in its number, and that of the pod unless it leads.
    """
    return f"{server}-[0-9a-z]{{1,15}}(-[0-9a-z]{{5}})?" if nodes_per_replica == 1 else f"{server}-[0-9]+(-[0-9]+)?"


@dataclass(frozen=True)
class Watched:
    """One workload. `nodes_per_replica` above 1: a LeaderWorkerSet, whose replicas are counted by their leaders.

    `sequences` is what one replica serves at once: `--max-num-seqs` holds for each data-parallel engine of it.
    `silent_roles`: of metrics that say nothing of it.
    """

    name: str
    namespace: str
    nodes_per_replica: int = 1
    sequences: int = 1
    silent_roles: frozenset[str] = frozenset()

    @property
    def pods(self) -> str:
        """A regular expression for the names of its pods, as a label value."""
        return f"~{pod_names(self.name, self.nodes_per_replica)}"


@dataclass(frozen=True)
class PodResources:
    """What one pod asks for."""

    cpus: int
    memory_gib: int
    memory_limit_gib: int
    gpus: int
    shm_gib: int
    cache_gib: int


@dataclass(frozen=True)
class Scratch:
    """What one pod may write, MiB: size limits of its emptyDirs on disk and in memory, by name.

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
    gib: int


@dataclass(frozen=True)
class KeptCache:
    """How one server finds again what an earlier start of it compiled.

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
    """What one container of a server's pod requests: CPU in thousandths of a core, memory and disk in MiB."""

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
class AddressBlock:
    """Addresses that a connection may lead to: a CIDR block, less others inside of it."""

    cidr: str
    excluded: tuple[str, ...]


@dataclass(frozen=True)
class EgressRule:
    """Where pods may connect to: addresses outside of the cluster, pods of namespaces ("": of every one).

    `ports` are those that the far side listens on, which behind a Service are its pods'; empty: all.
    """

    blocks: tuple[AddressBlock, ...] = ()
    namespaces: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()


@dataclass(frozen=True)
class Hub:
    """What downloads weights, and from where.

    `egress`: where the Jobs may connect to; `environment`: what the hub's client is told beside its token, which it
    finds in `token_variable`; `token_secret`: an existing Secret with it.
    """

    kind: str
    endpoint: str | None
    egress: tuple[EgressRule, ...]
    token_variable: str
    token_secret: str | None
    image: ImagePlan
    environment: Mapping[str, str]
    memory_gib: int
    memory_limit_gib: int
    takes_token: bool = True
    """Whether the stack's own token is for it, where no Secret is named."""


@dataclass(frozen=True)
class Fetch:
    """How one checkpoint comes from a hub to where it is kept.

    `least_bytes`: what a complete download surely has; `download_s`: what it is expected to take.
    """

    hub: Hub
    least_bytes: int
    download_s: int
    job: JobLimits
    gated: bool = False
    """Whether the hub gives it only to accounts that accepted its licence."""


@dataclass(frozen=True)
class OwnClaim:
    """A claim of ours with one checkpoint, and how that comes there."""

    kind: ClassVar = "claim"
    name: str
    storage_class: str
    access_mode: str
    gib: int
    fetch: Fetch
    on: PoolPlan | None = None
    """Where it is filled: a claim of one node there, any other wherever a pod may run."""

    @property
    def where(self) -> str:
        """As it is said of all that are kept so."""
        hub = self.fetch.hub
        return (
            f"a claim per checkpoint on {self.storage_class}, filled from {hub.endpoint or hub.kind}, kept on destroy"
        )


@dataclass(frozen=True)
class ExistingClaim:
    """Somebody's claim, which holds every checkpoint already: nothing is sized or fetched there."""

    kind: ClassVar = "claim"
    fetch: ClassVar = None
    name: str

    @property
    def where(self) -> str:
        """As it is said of all that are there."""
        return f"on the existing claim {self.name}, mounted read-only; it is neither filled nor changed"


@dataclass(frozen=True)
class ObjectStore:
    """A folder of a bucket that holds one checkpoint; `name` is its URL, `bucket` that of all folders."""

    kind: ClassVar = "store"
    fetch: ClassVar = None
    name: str
    bucket: str

    @property
    def where(self) -> str:
        """As it is said of all that are there."""
        return f"in {self.bucket}, streamed as servers start; nothing of them is kept in the cluster"


@dataclass(frozen=True)
class OciImage:
    """An image that holds checkpoints; `gib` is what it takes on a node's disk, or this checkpoint's part of that."""

    kind: ClassVar = "image"
    fetch: ClassVar = None
    name: str
    gib: int
    whole: bool

    @property
    def where(self) -> str:
        """As it is said of all that are there."""
        return f"in the image {self.name}, mounted as a volume"


Place = OwnClaim | ExistingClaim | ObjectStore | OciImage


@dataclass(frozen=True)
class ClaimVolume:
    """A claim as pods see it, read-only at `mount_path`."""

    claim_name: str
    mount_path: str


@dataclass(frozen=True)
class ImageVolume:
    """An image as pods see it, read-only at `mount_path`."""

    reference: str
    mount_path: str


Volume = ClaimVolume | ImageVolume


@dataclass(frozen=True)
class LocalCopy:
    """A volume of the pod's own on its node's disk, filled before the server starts."""

    storage_class: str
    gib: int
    mount_path: str
    directory: str
    """Where the checkpoint is in it."""


@dataclass(frozen=True)
class SecretVariable:
    """An entry of a Secret that exists, as a variable of the container."""

    name: str
    secret: str
    entry: str


@dataclass(frozen=True)
class SecretFile:
    """An entry of a Secret that exists, as a file whose path is in `variable`."""

    variable: str
    secret: str
    entry: str


@dataclass(frozen=True)
class Identity:
    """What makes the platform tell a store who a pod is: annotations of its ServiceAccount, labels of the pod."""

    annotations: Mapping[str, str]
    pod_labels: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Source:
    """All that a server needs of its weights, wherever they are.

    `argument`: what the engine is asked to load, as `load_format` and with `options`; `directory`: where the check
    before it looks; `read_mib_per_s`: how fast one pod reads them, `copy_mib_per_s`: how fast it makes its `copy`.
    """

    argument: str
    directory: str
    script: str = "prewarm_weights"
    """What runs before the engine."""
    load_format: str = "safetensors"
    options: tuple[str, ...] = ()
    volume: Volume | None = None
    """None: they are streamed."""
    copy: LocalCopy | None = None
    copy_mib_per_s: int = 0
    read_mib_per_s: int
    prewarm: bool
    """Whether they are read into the page cache before the engine starts."""
    buffer_gib_per_gpu: int = 0
    """Memory that streaming takes."""
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[SecretVariable, ...] = ()
    secret_file: SecretFile | None = None
    identity: Identity | None = None
    egress: tuple[EgressRule, ...] = ()
    """Where servers may connect to for them."""


@dataclass(frozen=True)
class CheckpointPlan:
    """One checkpoint; servers that share it share the files. `disk_bytes` is what to plan with, estimated or `counted`.

    `place`: where it is kept, `source`: how a server finds it there; `key` is the same for those that share it.
    """

    name: str
    model: str
    revision: str
    pinned: bool
    disk_bytes: int
    counted: bool
    place: Place
    source: Source
    key: tuple[str, ...]

    @property
    def fetch(self) -> Fetch | None:
        """How it comes to its place; None where it is there already."""
        return self.place.fetch


@dataclass(frozen=True)
class WeightsPlan:
    """Every checkpoint that is served, each once."""

    checkpoints: tuple[CheckpointPlan, ...]
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def hubs(self) -> tuple[Hub, ...]:
        """Where they are fetched from, each once."""
        hubs = [one.fetch.hub for one in self.checkpoints if one.fetch]
        return tuple({(hub.kind, hub.endpoint, hub.token_secret): hub for hub in hubs}.values())


@dataclass(frozen=True)
class Endpoint:
    """How a server is reached and asked, by the engine's own words.

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
    nodes_per_replica: int
    parallelism: Parallelism
    memory: MemoryBudget
    max_num_seqs: int
    checkpoints: tuple[CheckpointPlan, ...]
    """Its own, then what is loaded beside it."""
    serves: tuple[str, ...]
    """Public names it answers to, that of its model first."""
    args: tuple[str, ...]
    env: Mapping[str, str]
    resources: PodResources
    scratch: Scratch
    timing: Timing
    probes: Probes
    cost: Cost | None
    replaces: str | None
    """The server that goes before this one starts."""
    kept_cache: KeptCache | None
    """None: every pod compiles anew."""
    watched: Watched
    """How Prometheus sees it."""
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def checkpoint(self) -> CheckpointPlan:
        """Its own."""
        return self.checkpoints[0]


@dataclass(frozen=True, kw_only=True)
class ServerPlan(Server):
    """The same, with what depends on the others: how it is replaced, and how many replicas there are."""

    rollout: Rollout
    replicas: int
    max_replicas: int
    scaling: Scaling | None


@dataclass(frozen=True)
class BundledRedis:
    """Our own Redis, where limits are counted."""

    host: str
    port: int
    image: ImagePlan
    probes: Probes


@dataclass(frozen=True)
class ExistingRedis:
    """Somebody else's Redis, and where it may be."""

    host: str
    port: int
    egress: tuple[EgressRule, ...]


@dataclass(frozen=True)
class Route:
    """One LiteLLM deployment: a public model name served by one server; limits are its part of the model's."""

    model_name: str
    model: str
    """How LiteLLM calls what it asks the server for."""
    id: str
    """What LiteLLM's metrics call it: the server, and the name where that is not its model's."""
    server: str
    weight: int | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    input_cost_per_token: float
    output_cost_per_token: float
    task: Task


@dataclass(frozen=True)
class HttpRoute:
    """A route of the Gateway API."""

    host: str
    gateway_name: str
    gateway_namespace: str | None
    section_name: str | None

    @property
    def url(self) -> str:
        """Where clients find the gateway; its listener ends TLS."""
        return f"https://{self.host}"


@dataclass(frozen=True)
class Ingress:
    """An Ingress; `tls_secret` None: it ends no TLS. `annotations`: those of the user."""

    host: str
    class_name: str
    tls_secret: str | None
    annotations: Mapping[str, str]

    @property
    def url(self) -> str:
        """Where clients find the gateway."""
        return f"{'https' if self.tls_secret else 'http'}://{self.host}"


@dataclass(frozen=True)
class DatabasePlan:
    """Postgres of the gateway. `migration_secret`: of the role that may change the schema, which may be the same.

    `admits_everyone`: without checking keys, while it is away.
    """

    secret: str
    port: int
    migration_secret: str
    migration_memory_gib: int
    migration: JobLimits
    schema_check_s: int
    """How long LiteLLM may compare its schema before it serves."""
    admits_everyone: bool
    egress: tuple[EgressRule, ...] = ()
    """Where Postgres may be."""


@dataclass(frozen=True)
class GatewayPlan:
    """The OpenAI-compatible endpoint. `route_timeout_s` > all tries together: the gateway, not the route, gives up.

    `request_timeout_s`: one try of a whole answer; `first_token_timeout_s`: silence of a stream. `larger_fallbacks`:
    those of `fallbacks` that are asked when a prompt is too long, since they have more context.

    `redis` is None where the one replica counts in its own memory.
    """

    name: str
    image: ImagePlan
    replicas: int
    server_ports: tuple[int, ...]
    routes: tuple[Route, ...]
    fallbacks: tuple[tuple[str, tuple[str, ...]], ...]
    larger_fallbacks: tuple[tuple[str, tuple[str, ...]], ...]
    request_timeout_s: int
    first_token_timeout_s: int
    route_timeout_s: int
    retries: int
    redis: BundledRedis | ExistingRedis | None
    database: DatabasePlan | None
    existing_secret: str | None
    exposure: HttpRoute | Ingress | None
    """None: reachable inside the cluster only."""
    cpus: int
    memory_gib: int
    restart_after_requests: int | None
    pre_stop_s: int
    drain_s: int
    termination_grace_s: int
    probe_grace_s: int
    probes: Probes
    await_timeout_s: int
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """One alert; its runbook is the section of the same name in docs/runbook.md."""

    alert: str
    expr: str
    for_s: int
    labels: Mapping[str, str]
    summary: str
    description: str


@dataclass(frozen=True)
class ObservabilityPlan:
    """Monitors, alerts and dashboards."""

    release: str
    namespace: str
    prometheus_url: str
    server_ports: tuple[int, ...]
    scrape_interval_s: int
    runbook_url: str
    alerts: tuple[Rule, ...]
    dashboard: Mapping[str, object]
    adapter_rules: tuple[Mapping[str, object], ...]


@dataclass(frozen=True)
class ReleasePlan:
    """One Helm release of an operator.

    `images`: those it pulls, as far as they are known; `not_known`: what it pulls beside them, `unread`: what of that
    who renders its chart would know.
    """

    name: str
    chart: str
    repository: str | None
    version: str
    namespace: str
    values: Mapping[str, object]
    privileged: bool
    timeout_s: int
    images: tuple[str, ...] = ()
    not_known: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Everything a stack declares, and what its reader should know."""

    context: str
    cluster_identifier: str
    kubernetes: str
    namespace: str
    pools: Mapping[str, PoolPlan]
    weights: WeightsPlan
    compile_cache: CompileCacheClaim | None
    """None: what servers compile goes with their pods."""
    servers: tuple[ServerPlan, ...]
    gateway: GatewayPlan
    observability: ObservabilityPlan
    releases: Mapping[str, ReleasePlan]
    images: tuple[ImagePlan, ...]
    unpinned: tuple[str, ...]
    warnings: tuple[str, ...]
