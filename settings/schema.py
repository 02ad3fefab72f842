"""The stack configuration as typed models: every key a user may write, what it means, and what is well formed.

Owns the shape of `Pulumi.<stack>.yaml` and nothing else: whether a model fits a pool, or exists at all, is `planning`.
All models are frozen and closed (an unknown key is an error), camelCase in YAML, with a description on every field.
"""

import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from functools import cache, wraps
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyAddress,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticKnownError

from settings.paths import unfit_path
from settings.pod_fields import (
    MOST_BLOCKS,
    MOST_PEER_PORTS,
    MOST_RESOURCES,
    MOST_VOLUMES,
    MOST_WAYS,
    AddressRange,
    Amount,
    Annotations,
    CsiDriver,
    Labels,
    MountPath,
    PortRange,
)
from settings.problems import nearest
from settings.public_name import PublicName
from settings.scalars import (
    LONGEST_S,
    MOST_DIRECT_HOSTS,
    MOST_DOMAINS,
    MOST_GENERATIONS,
    MOST_MODELS,
    MOST_NODE_GIB,
    MOST_NODE_GPUS,
    MOST_NODES,
    MOST_POOLS,
    MOST_PROVIDERS,
    MOST_PULL_SECRETS,
    MOST_SENTINELS,
    MOST_TEAM_KEYS,
    MOST_TEAMS,
    MOST_TOLERATIONS,
    MOST_VARIABLES,
    Argument,
    BareHost,
    CacheGib,
    ChartSource,
    CommitSha,
    ContextName,
    Cron,
    DatabaseGib,
    DirectHost,
    DiskGib,
    DnsName,
    DownloadGib,
    EmailAddress,
    EntryName,
    GatewayGib,
    GatewayPods,
    HostName,
    ImageGib,
    ImageReference,
    LabelValue,
    MachineType,
    ManifestSha256,
    Milliseconds,
    Namespace,
    NodeCpus,
    NodeGib,
    NodeGpus,
    Nodes,
    NonNegativeInt,
    ObjectName,
    PageUrl,
    Percent,
    PinnedImage,
    Port,
    PositiveFloat,
    PositiveInt,
    PostgresInstances,
    ProviderModelId,
    ProviderModelName,
    ProxyUrl,
    QualifiedName,
    Rate,
    RedisName,
    RegistryPrefix,
    ReleaseName,
    Replicas,
    Repository,
    RequestRate,
    RequestsServed,
    Retries,
    RoleName,
    ScalingPeriod,
    ScalingWindow,
    Seconds,
    SentinelAddress,
    Sequences,
    Sha256,
    Share,
    StoreUrl,
    Tag,
    TagValue,
    TokenRate,
    Tokens,
    Url,
    UsdPerGibMonth,
    UsdPerHour,
    UsdPerMillionTokens,
    UsdPerMonth,
    VariableName,
    Word,
)


def _catalog_file(name: str) -> str:
    """Refuses what is not in every checkout, or no file of entries."""
    if wrong := unfit_path(name):
        raise ValueError(wrong)
    return name


# More files than anybody keeps entries in.
MOST_CATALOG_FILES = 100
# Beside Pulumi.yaml, below or above, so that every checkout and both sides of a comparison have it.
CatalogFile = Annotated[str, StringConstraints(max_length=500), AfterValidator(_catalog_file)]
# A name of the catalogue, which says the nearest to one that it does not know.
PlatformName = Annotated[str, StringConstraints(pattern=r"^\S{1,40}$")]
# A controller of the catalogue, the same; none has a point in its name.
ControllerName = Annotated[str, StringConstraints(pattern=r"^[^\s.]{1,40}$")]
# An Application Load Balancer has 25 beside the default one.
MOST_CERTIFICATES = 26
CertificateName = Annotated[str, StringConstraints(pattern=r"^[!-+\--~]{1,400}$")]
# A pod's /etc/resolv.conf has three (resolv.conf(5), MAXNS), of each family.
MOST_DNS_ADDRESSES = 6
# The first with `lifecycle.preStop.sleep` (KEP-3960, beta and on by default).
OLDEST_KUBERNETES_MINOR = 30
# Of one request of a claim (kubernetes/api resource/v1 types.go, DeviceSelectorsMaxSize), where the first is ours; each
# may be ten KiB (CELSelectorExpressionMaxLength).
MOST_SELECTORS = 31
CelExpression = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=10 * 1024)]
# An object of a stack, as Kind/name.
ObjectPath = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z]{1,60}/[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
# Adapters of one model: each has a Job of its own, and is looked at before each start.
MOST_ADAPTERS = 50
HubRepository = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=200)
]
# Six hundred files are opened to tell, so once.
available_timezones = cache(zoneinfo.available_timezones)


class RuleError(ValueError):
    """Fields that are well formed and contradict each other; `fields`: all that the rule looks at."""

    def __init__(self, message: str, fields: tuple[str, ...]) -> None:
        super().__init__(message)
        self.fields = fields


def rule(*fields: str) -> Callable[[Callable[[Any], None]], Any]:
    """A check of a section, which raises ValueError where these fields, all that it looks at, contradict each other."""

    def validator(check: Callable[[Any], None]) -> Any:
        @wraps(check)
        def checked(section: Any) -> Any:
            try:
                check(section)
            except ValueError as error:
                raise RuleError(str(error), fields) from None
            return section

        return model_validator(mode="after")(checked)

    return validator


class Section(BaseModel):
    """Base of every part of the configuration: frozen, closed, camelCase in YAML."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=False,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )


class ProxySettings(Section):
    """The HTTP proxy through which pods of the stack reach what is outside: hubs and object stores."""

    endpoint: ProxyUrl = Field(description="URL of the proxy, e.g. http://proxy.example.com:3128")
    existing_secret: DnsName | None = Field(
        default=None,
        description="existing Secret whose entry `url` is the same URL with user name and password in it",
    )
    no_proxy: list[DirectHost] = Field(
        default_factory=list,
        max_length=MOST_DIRECT_HOSTS,
        description="hosts and domains that are reached without it, e.g. hub.example.com or .amazonaws.com; what is in "
        "the cluster or a private network is anyhow",
    )
    private: bool = Field(default=True, description="whether the proxy is inside the private network")
    pod_port: Port | None = Field(
        default=None,
        description="port that the pods behind an endpoint inside the cluster listen on, where it is not that of the "
        "URL; default: any port of the namespace that the endpoint names",
    )


class CaBundleSettings(Section):
    """Certificates of the authorities that pods trust when they reach hubs and object stores: these, and no others."""

    kind: Literal["configMap", "secret"] = Field(description="what holds them")
    name: DnsName = Field(description="its name, in the namespace of the stack")
    key: EntryName = Field(default="ca.crt", description="entry with the certificates, PEM")


class ClusterSettings(Section):
    """Which cluster, and what kind of cluster it is."""

    context: ContextName = Field(description="kubeconfig context to deploy to; never the ambient one")
    identifier: Word = Field(description="stable identity of the cluster; only a change of it replaces the resources")
    platform: PlatformName = Field(
        default="generic",
        description="who runs the nodes: decides which parts the GPU Operator brings, and what else differs "
        "(docs/platforms.md)",
    )
    kubernetes: Annotated[str, StringConstraints(pattern=r"^1\.\d{2}$")] = Field(
        default="1.36", description='Kubernetes minor version, quoted, e.g. "1.36"; 1.30 or newer'
    )
    dns_addresses: list[IPvAnyAddress] = Field(
        default_factory=list,
        max_length=MOST_DNS_ADDRESSES,
        description="addresses at which pods ask for names, beside those of the platform, e.g. of the Service kube-dns "
        "where DNS runs on the nodes, or of a NodeLocal DNSCache of your own",
    )
    namespace: Namespace = Field(
        default="llm-serving", description="namespace of models, weights and gateway, theirs alone"
    )
    take_over: bool = Field(
        default=False,
        description="take over what another stack, or another state of this one, has in the namespace; for one `up`, "
        "as when a stack gets a new name, or when its state was lost",
    )
    proxy: ProxySettings | None = Field(
        default=None, description="HTTP proxy that leads out of the cluster; default: pods connect themselves"
    )
    ca_bundle: CaBundleSettings | None = Field(
        default=None,
        description="authorities that hubs, object stores and a proxy that reads along have their certificates from; "
        "default: those of the images",
    )

    @property
    def kubernetes_minor(self) -> int:
        """36 of 1.36."""
        return int(self.kubernetes.partition(".")[2])

    @field_validator("kubernetes")
    @classmethod
    def recent(cls, version: str) -> str:
        """Refuses versions whose API server does not know what every pod declares."""
        if int(version.removeprefix("1.")) < OLDEST_KUBERNETES_MINOR:
            raise ValueError(
                f'"{version}" is too old: pods that pause before they stop need 1.{OLDEST_KUBERNETES_MINOR}'
            )
        return version


class LabelledNodes(Section):
    """Nodes found by the label GPU feature discovery sets; nothing on them is changed."""

    kind: Literal["labelled"] = Field(description="nodes are found by label")
    labels: dict[QualifiedName, LabelValue] = Field(
        default_factory=dict, max_length=50, description="further node labels to require, e.g. a node group's name"
    )


class SharedNodes(Section):
    """Nodes of a pool that another stack has: found by its labels, never bought, changed or proved from here."""

    kind: Literal["shared"] = Field(description="another stack has the nodes")
    labels: dict[QualifiedName, LabelValue] = Field(
        min_length=1,
        max_length=50,
        description="labels by which that stack's pods find them, as its preview says, e.g. {llm-stack.io/pool: h200}",
    )


class ExistingNodes(Section):
    """Named nodes that get `node-role=gpu-inference`, `gpu-type` and, without tolerations, the GPU taint."""

    kind: Literal["existing"] = Field(description="named nodes are labelled and tainted")
    node_names: list[DnsName] = Field(
        min_length=1, max_length=MOST_NODES, description="names of the nodes, one entry per node"
    )

    @field_validator("node_names")
    @classmethod
    def unique(cls, names: list[str]) -> list[str]:
        """Refuses a node named twice."""
        if len(set(names)) != len(names):
            raise ValueError("names a node twice")
        return names


CapacityType = Literal["on-demand", "reserved", "spot"]
# The link between the GPUs of a node, and the network between nodes.
GpuLink = Literal["auto", "nvlink", "pcie"]
FabricName = Literal["tcp", "rdma", "efa", "roce", "gpudirect-tcpx"]
AnyTagValue = Annotated[str, StringConstraints(pattern=r"^(\*|[A-Za-z0-9_.:/=+@-][A-Za-z0-9 _.:/=+@-]{0,255})$")]
# A NodePool's weight is a number from 1 to 100 (karpenter.sh/v1).
MOST_CHOICES = 100


class CapacityReservation(Section):
    """Capacity reservations of EC2, or capacity blocks: those named, and those with all of the tags."""

    ids: list[Annotated[str, Field(pattern=r"^cr-[0-9a-z]+$", max_length=60)]] = Field(
        default_factory=list, max_length=29, description="their ids"
    )
    tags: dict[TagValue, AnyTagValue] = Field(
        default_factory=dict, max_length=20, description="their tags; * for any value of one"
    )

    @rule("ids", "tags")
    def names_some(self) -> None:
        """Karpenter refuses terms that select nothing."""
        if not self.ids and not self.tags:
            raise ValueError("ids or tags must say which")


def _unique(values: list[str]) -> list[str]:
    """The same list of preferences; ValueError where a word stands in it twice."""
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise ValueError(f'names "{twice}" twice')
    return values


class KarpenterNodes(Section):
    """Nodes Karpenter creates on AWS: one NodePool and, unless one is named, its EC2NodeClass."""

    kind: Literal["karpenter"] = Field(description="Karpenter creates the nodes")
    instance_types: list[MachineType] = Field(
        min_length=1, max_length=60, description="EC2 instance types, in order of preference"
    )
    capacity_types: list[CapacityType] = Field(
        default=["on-demand"],
        min_length=1,
        max_length=3,
        description="capacity types Karpenter may buy, in order of preference: the next where there is none",
    )
    order: Literal["written", "price"] = Field(
        default="written",
        description="written: an instance type where the one before is not to be had, each by a NodePool of less "
        "weight; price: the cheapest to be had of all of them",
    )
    reservation: CapacityReservation | None = Field(
        default=None, description="the capacity reservations of EC2 that capacity type reserved takes"
    )
    node_class: DnsName | None = Field(
        default=None, description="an existing EC2NodeClass to use; the keys below are then left out"
    )
    role: RoleName | None = Field(
        default=None, description="IAM role of the nodes; default KarpenterNodeRole-<identifier>"
    )
    discovery_tag: TagValue | None = Field(
        default=None, description="value of the karpenter.sh/discovery tag on subnets and security groups"
    )
    # Linux families that an alias may name (Karpenter, EC2NodeClass v1)
    ami_alias: str = Field(
        default="al2023@latest",
        pattern=r"^(al2023|al2|bottlerocket)@\S+$",
        max_length=60,
        description="AMI alias with version, e.g. al2023@v20261101 or bottlerocket@v1.52.0",
    )
    disk_gib: DiskGib = Field(default=300, description="size of the volume that images and caches live on")

    @field_validator("instance_types", "capacity_types")
    @classmethod
    def unique(cls, values: list[str]) -> list[str]:
        """Refuses what is preferred twice."""
        return _unique(values)

    @rule("instance_types", "capacity_types", "order")
    def few_choices(self) -> None:
        """Refuses more NodePools than there are weights to put them in order."""
        choices = len(self.instance_types) * len(self.capacity_types)
        if self.order == "written" and choices > MOST_CHOICES:
            raise ValueError(
                f"instanceTypes × capacityTypes are {choices} choices in order, of which there may be {MOST_CHOICES}; "
                "name fewer, or use order: price"
            )

    @rule("capacity_types", "reservation", "node_class")
    def reserved_is_selected(self) -> None:
        """Refuses reserved capacity that no EC2NodeClass selects, with which Karpenter would never buy a node."""
        reserved = "reserved" in self.capacity_types
        if self.reservation is not None and not reserved:
            raise ValueError("reservation is taken by capacityTypes: [reserved, on-demand] only")
        if reserved and self.reservation is None and self.node_class is None:
            raise ValueError("capacityTypes reserved needs reservation: {ids: [cr-...]}, or {tags: {...}}")

    @rule("node_class", "role", "discovery_tag", "ami_alias", "disk_gib", "reservation")
    def one_class(self) -> None:
        """Refuses settings of an EC2NodeClass of our own where another class is named: nothing would read them."""
        keys = [
            type(self).model_fields[field].alias or field
            for field in ("role", "discovery_tag", "ami_alias", "disk_gib", "reservation")
            if field in self.model_fields_set
        ]
        if self.node_class is not None and keys:
            raise ValueError(f'{" and ".join(keys)} must be left out: nodeClass "{self.node_class}" says it already')


class ComputeClassNodes(Section):
    """Nodes GKE creates through a custom ComputeClass."""

    kind: Literal["computeClass"] = Field(description="GKE creates the nodes")
    machine_types: list[MachineType] = Field(
        min_length=1, max_length=60, description="GCE machine types, in order of preference"
    )
    capacity_types: list[CapacityType] = Field(
        default=["on-demand"],
        min_length=1,
        max_length=3,
        description="capacity types GKE may buy, in order of preference: all machine types by the first, then the next",
    )
    reservation: MachineType | None = Field(
        default=None, description="name of the specific reservation that capacity type reserved takes"
    )

    @field_validator("machine_types", "capacity_types")
    @classmethod
    def unique(cls, values: list[str]) -> list[str]:
        """Refuses what is preferred twice."""
        return _unique(values)

    @rule("capacity_types", "reservation")
    def reserved_is_named(self) -> None:
        """Refuses reserved capacity without the name of a reservation, and a reservation that nothing takes."""
        if ("reserved" in self.capacity_types) != (self.reservation is not None):
            raise ValueError(
                "reservation: NAME and capacityTypes: [reserved, ...] go together: the one names what the other takes"
            )


class Toleration(Section):
    """One taint of a pool's nodes that its pods tolerate, as Kubernetes has it."""

    key: QualifiedName = Field(description="key of the taint, e.g. dedicated")
    operator: Literal["Equal", "Exists"] = Field(
        default="Equal", description="Equal: the taint has this value; Exists: whatever its value"
    )
    value: LabelValue | None = Field(default=None, description="value of the taint; default: it has none")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="effect of the taint; default: all of them"
    )

    @rule("operator", "value")
    def value_is_compared(self) -> None:
        """The API server refuses a value that nothing compares."""
        if self.operator == "Exists" and self.value:
            raise ValueError(
                f'value must be left out with operator Exists; leave operator out to ask for "{self.value}"'
            )


class GpuShareSettings(Section):
    """Cards that several servers share, each with a part of its memory; nothing keeps them apart."""

    slices: Annotated[int, Field(ge=2, le=100)] = Field(
        description="equal parts of a card that servers ask for; the device plugin offers as many (time slicing)"
    )


class MigSettings(Section):
    """Cards that are cut into parts by their hardware (NVIDIA's Multi-Instance GPU), each a smaller card of its own."""

    profile: Word = Field(
        description="size of the parts, one of the card's, e.g. 3g.40gb; python -m catalog gpus --json lists them"
    )
    strategy: Literal["mixed", "single"] = Field(
        default="mixed",
        description="name that the device plugin gives them: mixed, nvidia.com/mig-3g.40gb; single, nvidia.com/gpu",
    )


class ClaimsSettings(Section):
    """GPUs that pods claim (dynamic resource allocation), in place of asking the device plugin for a number of them."""

    device_class: DnsName | None = Field(
        default=None,
        description="DeviceClass of the GPUs; default: that of the maker's driver, e.g. gpu.nvidia.com, with mig "
        "mig.nvidia.com",
    )
    selectors: list[CelExpression] = Field(
        default_factory=list,
        max_length=MOST_SELECTORS,
        description="further conditions in CEL on a GPU, beside those that make it one of the pool's: "
        "`device.attributes['gpu.nvidia.com'].architecture == 'Hopper'`",
    )


class PoolSettings(Section):
    """One homogeneous group of nodes."""

    gpu: Word = Field(description="GPU id of the catalogue, e.g. nvidia-a10, or its node label; none for CPU nodes")
    nodes: Nodes = Field(description="how many nodes the pool has, or may grow to")
    gpus_per_node: NodeGpus | None = Field(default=None, description="GPUs on each node; required with a GPU")
    cpus_per_node: NodeCpus | None = Field(default=None, description="CPU cores of each node; required without GPU")
    memory_gib_per_node: NodeGib | None = Field(default=None, description="memory of each node; required without GPU")
    price_per_node_hour_usd: UsdPerHour | None = Field(
        default=None, description="price of one node; default: the instance type's on-demand price when known"
    )
    gpu_link: GpuLink = Field(
        default="auto", description="link between the GPUs of a node; auto: what the GPU type has"
    )
    interconnect: FabricName = Field(
        default="tcp",
        description="network between nodes that one replica spans: what its pods ask for and what NCCL is told; "
        "rdma is InfiniBand",
    )
    exclusive_topology: QualifiedName | None = Field(
        default=None,
        description="label of nodes, e.g. topology.kubernetes.io/zone: a replica over several nodes is on nodes of one "
        "value of it, and no other such replica of the stack is there",
    )
    gpu_share: GpuShareSettings | None = Field(
        default=None, description="whether small servers share its cards; its nodes then have one card each"
    )
    mig: MigSettings | None = Field(
        default=None,
        description="whether its cards are cut into parts, of which each server has one; gpusPerNode counts cards",
    )
    claims: ClaimsSettings | None = Field(
        default=None,
        description="whether its GPUs are claimed, from a driver for dynamic resource allocation (DRA) in place of the "
        "device plugin; {} for the usual class (docs/claims.md)",
    )
    tolerations: list[Toleration] = Field(
        default_factory=list,
        max_length=MOST_TOLERATIONS,
        description="taints of the nodes that the pool's pods, and the GPU Operator's, tolerate beside nvidia.com/gpu; "
        "named nodes (provisioning.kind existing) then keep their taints, and get none",
    )
    resources: dict[QualifiedName, Amount] = Field(
        default_factory=dict,
        max_length=MOST_RESOURCES,
        description="what each pod of its servers asks for beside GPUs, e.g. {vpc.amazonaws.com/efa: 4, "
        "hugepages-2Mi: 5120Mi}: as many as its nodes offer to one pod",
    )
    runtime_class_name: DnsName | None = Field(
        default=None, description="runtime class of pods that ask for its GPUs; default by platform"
    )
    provisioning: LabelledNodes | ExistingNodes | KarpenterNodes | ComputeClassNodes | SharedNodes = Field(
        default=LabelledNodes(kind="labelled"),
        discriminator="kind",
        description="where the nodes come from: labelled, existing, karpenter, computeClass or shared",
    )

    @field_validator("interconnect", mode="before")
    @classmethod
    def is_between_nodes(cls, value: object) -> object:
        """Refuses what this key said once, and the fix with it."""
        if value in get_args(GpuLink):
            fix = "leave it out" if value == "auto" else f"write gpuLink: {value}"
            raise ValueError(f"{value} is the link inside a node, and this is the network between nodes; {fix}")
        return value

    @rule("gpu", "interconnect")
    def connects_gpus(self) -> None:
        """No replica of a CPU pool spans nodes."""
        if self.gpu == "none" and self.interconnect != "tcp":
            raise ValueError("interconnect must be left out when gpu is none")

    @rule("gpu", "exclusive_topology")
    def places_gpus(self) -> None:
        """The same of their place."""
        if self.gpu == "none" and self.exclusive_topology is not None:
            raise ValueError("exclusiveTopology must be left out when gpu is none")

    @rule("gpu", "gpus_per_node")
    def counts_its_gpus(self) -> None:
        """A GPU pool says how many GPUs a node has, and no other does."""
        if self.gpu == "none" and self.gpus_per_node is not None:
            raise ValueError("gpusPerNode must be left out when gpu is none")
        if self.gpu != "none" and self.gpus_per_node is None:
            raise ValueError("a GPU pool needs gpusPerNode")

    @rule("gpu", "runtime_class_name")
    def runs_gpus_alone(self) -> None:
        """Pods without GPUs have the usual runtime."""
        if self.gpu == "none" and self.runtime_class_name is not None:
            raise ValueError("runtimeClassName must be left out when gpu is none")

    @rule("gpu", "cpus_per_node", "memory_gib_per_node")
    def sizes_its_nodes(self) -> None:
        """A CPU pool says how many cores and how much memory a node has."""
        sizes = (("cpusPerNode", self.cpus_per_node), ("memoryGibPerNode", self.memory_gib_per_node))
        missing = [key for key, value in sizes if value is None]
        if self.gpu == "none" and missing:
            raise ValueError(f"a CPU pool needs {' and '.join(missing)}")

    @rule("gpu_share", "gpus_per_node")
    def shares_one_card(self) -> None:
        """Slices are handed out of any card of a node."""
        if self.gpu_share is not None and self.gpus_per_node != 1:
            raise ValueError(
                "gpuShare needs nodes of one GPU (gpusPerNode: 1): of several, slices are handed out of any"
            )

    @rule("gpu_share", "provisioning")
    def shares_nodes_that_are_there(self) -> None:
        """Slices are no GPUs to who buys nodes."""
        if self.gpu_share is not None and self.provisioning.kind in ("karpenter", "computeClass"):
            raise ValueError("gpuShare needs nodes that are there: who buys nodes counts their GPUs, and not slices")

    @rule("gpu_share", "mig")
    def cuts_or_shares(self) -> None:
        """A card is cut by its hardware or shared by its driver."""
        if self.gpu_share is not None and self.mig is not None:
            raise ValueError("mig and gpuShare are two ways to divide a card; leave one of them out")

    @rule("gpu", "claims")
    def claims_gpus(self) -> None:
        """A CPU is no device."""
        if self.gpu == "none" and self.claims is not None:
            raise ValueError("claims must be left out when gpu is none")

    @rule("gpu_share", "claims")
    def claims_whole_devices(self) -> None:
        """Slices are the device plugin's."""
        if self.gpu_share is not None and self.claims is not None:
            raise ValueError(
                "claims and gpuShare do not go together: slices are offered by the device plugin, which claims stand "
                "in for; leave one of them out"
            )

    @rule("gpu", "mig")
    def cuts_cards(self) -> None:
        """A CPU has no cards."""
        if self.gpu == "none" and self.mig is not None:
            raise ValueError("mig must be left out when gpu is none")

    @rule("mig", "provisioning")
    def cuts_nodes_that_are_there(self) -> None:
        """Parts are no GPUs to who buys nodes, and a node that was just bought has whole ones."""
        if self.mig is not None and self.provisioning.kind in ("karpenter", "computeClass"):
            raise ValueError(
                "mig needs nodes that are there: who buys nodes counts their GPUs, and not parts of them; use "
                "provisioning.kind labelled, with nodes that are cut by whoever makes them"
            )

    @rule("nodes", "provisioning")
    def names_its_nodes(self) -> None:
        """Named nodes are as many as the pool has."""
        if isinstance(self.provisioning, ExistingNodes) and len(self.provisioning.node_names) != self.nodes:
            raise ValueError(
                f"provisioning.nodeNames names {len(self.provisioning.node_names)} nodes, nodes says {self.nodes}"
            )


class HubSettings(Section):
    """Where weights are downloaded from."""

    kind: Literal["huggingface", "modelscope"] = Field(default="huggingface", description="protocol of the hub")
    endpoint: Url | None = Field(default=None, description="mirror of the hub, e.g. https://hf-mirror.com")
    private: bool | None = Field(
        default=None,
        description="whether the mirror is inside the private network, which downloads may not reach otherwise; "
        "default: by its name, true for private addresses and names such as hub.corp",
    )
    token_secret: DnsName | None = Field(
        default=None, description="existing Secret with the key `token`, instead of the config secret huggingFaceToken"
    )
    pod_port: Port | None = Field(
        default=None,
        description="port that the pods behind an endpoint inside the cluster listen on, where it is not that of the "
        "URL; default: any port of the namespace that the endpoint names",
    )
    xet: bool | None = Field(
        default=None,
        description="whether large files come over Xet, Hugging Face's chunk storage, which has servers of its own; "
        "default: true for the hub itself, false with an endpoint, because mirrors do not serve it, and with "
        "cluster.caBundle, which its client may not read",
    )

    @rule("private", "pod_port", "endpoint")
    def describes_a_mirror(self) -> None:
        """The hub itself is on the internet."""
        details = [key for key, value in (("private", self.private), ("podPort", self.pod_port)) if value is not None]
        if details and self.endpoint is None:
            raise ValueError(f"{' and '.join(details)} needs endpoint: it describes that mirror")

    @rule("kind", "xet")
    def has_xet(self) -> None:
        """Only Hugging Face has Xet."""
        if self.kind != "huggingface" and "xet" in self.model_fields_set:
            raise ValueError(f"xet must be left out when kind is {self.kind}, which has none")


def _usual_weights(value: object) -> object:
    """A mapping without a kind is a shared claim."""
    return {"kind": "sharedClaim", **value} if isinstance(value, dict) else value


# How pods read weights that are on a claim, whoever filled it.
READ_RATE = Field(default=500, description="read rate of one pod from the claim, MiB/s")
PREWARM = Field(
    default=None,
    description="read the weights into the page cache before vLLM starts; default: where that pays, as from a claim",
)


# Of a volume that a user adds.
MOUNT_PATH = Field(description="folder of the container where it is, e.g. /data")
# Nothing but the preview's sums follows from it.
STORAGE_PRICE = Field(default=None, description="price of a GiB for a month there, USD, for the preview's sums")


class SharedClaimWeights(Section):
    """A claim per checkpoint, filled once by a Job and shared by all pods that serve it."""

    kind: Literal["sharedClaim"] = Field(default="sharedClaim", description="a claim per checkpoint, filled by a Job")
    storage_class: DnsName = Field(
        description="storage class that offers accessMode, e.g. nfs-storage; for weights that are on a claim "
        "already, use kind: existingClaim with claimName"
    )
    access_mode: Literal["ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod", "ReadOnlyMany"] = Field(
        default="ReadWriteMany",
        description="ReadWriteOnce: only where its servers are on one node; ReadWriteOncePod: only "
        "for a server that is one pod; ReadOnlyMany: filled as ReadWriteOnce, then cloned once for any number of nodes "
        "to read, where the class can do that, e.g. Hyperdisk ML",
    )
    hub: HubSettings = Field(default=HubSettings(), description="where to download from")
    download_mib_per_s: Rate = Field(default=100, description="download rate to plan with, MiB/s")
    download_memory_gib: DownloadGib = Field(
        default=8,
        description="memory limit of a download Job, GiB; from 64 on Xet downloads with its large buffers, which is "
        "faster on links of 10 Gbit/s and more",
    )
    env: dict[VariableName, Argument] = Field(
        default_factory=dict,
        max_length=MOST_VARIABLES,
        description="further environment variables of a download Job, e.g. HF_HUB_DOWNLOAD_TIMEOUT; never secrets",
    )
    read_mib_per_s: Rate = READ_RATE
    prewarm: bool | None = PREWARM
    usd_per_gib_month: UsdPerGibMonth | None = STORAGE_PRICE


class ExistingClaimWeights(Section):
    """One claim that holds all checkpoints already; pods mount it read-only, and nothing is downloaded."""

    kind: Literal["existingClaim"] = Field(description="a claim that exists and holds all checkpoints")
    claim_name: DnsName = Field(
        description="existing PersistentVolumeClaim with the published checkpoints; to have them downloaded, use "
        "kind: sharedClaim with storageClass"
    )
    read_mib_per_s: Rate = READ_RATE
    prewarm: bool | None = PREWARM


class StoreIdentity(Section):
    """Pods prove to the store who they are, as the platform lets them; no key is in the cluster."""

    kind: Literal["workloadIdentity"] = Field(description="the platform's own: IRSA, Workload Identity")
    identity: Word | None = Field(
        default=None,
        description="role, service account or client id, as the platform calls it, that may read; without it the pods' "
        "own ServiceAccount was given that right on the platform's side",
    )


class StoreSecret(Section):
    """A Secret with keys of the store."""

    kind: Literal["existingSecret"] = Field(description="keys in a Secret that exists")
    name: DnsName = Field(
        description="existing Secret; its entries are access-key-id and secret-access-key (s3), key.json (gs) or "
        "account-key (az)"
    )


class PublicStore(Section):
    """A store that everybody may read."""

    kind: Literal["none"] = Field(description="everybody may read; not with az")


def _usual_switch(value: object) -> object:
    """`true` is all that most need to say."""
    return {True: {}, False: None}.get(value, value) if isinstance(value, bool) else value


class FillSettings(Section):
    """A Job per checkpoint that brings it from a hub into the bucket, once, before its servers start."""

    hub: HubSettings = Field(default=HubSettings(), description="where to download from; Hugging Face or its mirrors")
    download_mib_per_s: Rate = Field(default=100, description="rate from the hub into the bucket to plan with, MiB/s")
    credentials: StoreIdentity | StoreSecret | None = Field(
        default=None,
        discriminator="kind",
        description="how the Job may write, so that servers need no such right; default: as pods read",
    )

    @rule("hub.kind")
    def over_https(self) -> None:
        """Files go through memory, as the hub itself delivers them."""
        if self.hub.kind != "huggingface":
            raise ValueError(
                f"hub.kind {self.hub.kind} cannot fill a bucket; publish with kind: sharedClaim and copy the folder"
            )

    @rule("hub.xet")
    def whole_files(self) -> None:
        """A Job that fills a bucket knows one way to read."""
        if "xet" in self.hub.model_fields_set:
            raise ValueError("hub.xet must be left out: a bucket is filled over plain HTTPS")


class ObjectStoreWeights(Section):
    """A bucket that holds the published checkpoints; servers stream them from there into GPU memory."""

    kind: Literal["objectStore"] = Field(description="a bucket, read as servers start; nothing is kept in the cluster")
    url: StoreUrl = Field(
        description="s3://, gs:// or az:// with the bucket and the folder that holds NAME/COMMIT of each checkpoint"
    )
    endpoint: Url | None = Field(
        default=None, description="an S3-compatible store, e.g. https://minio.storage.svc:9000; only with s3://"
    )
    region: Word | None = Field(default=None, description="region of the bucket; only with s3://")
    addressing: Literal["path", "virtualHost"] | None = Field(
        default=None,
        description="whether the bucket is in the path or in the host's name; only with s3://; default: path with an "
        "endpoint (OSS and OBS need virtualHost)",
    )
    account: Word | None = Field(default=None, description="storage account; required with az://, and only there")
    private: bool | None = Field(
        default=None,
        description="whether the store is inside the private network; default: by the endpoint's name, as with "
        "weights.hub.private",
    )
    pod_port: Port | None = Field(
        default=None,
        description="port that the pods behind an endpoint inside the cluster listen on, where it is not that of the "
        "URL; default: any port of the namespace that the endpoint names",
    )
    credentials: StoreIdentity | StoreSecret | PublicStore = Field(
        default=StoreIdentity(kind="workloadIdentity"), discriminator="kind", description="how pods may read it"
    )
    read_mib_per_s: Rate = Field(default=500, description="rate at which one pod reads from the store, MiB/s")
    layout: Literal["whole", "sharded"] = Field(
        default="whole",
        description="sharded: files of each rank, as vLLM saves them for one tensorParallel and pipelineParallel; only "
        "with s3://",
    )
    fill: Annotated[FillSettings | None, BeforeValidator(_usual_switch)] = Field(
        default=None, description="true: a Job per checkpoint fills the bucket from a hub once; default: it is full"
    )
    usd_per_gib_month: UsdPerGibMonth | None = STORAGE_PRICE

    @rule("url", "endpoint", "region", "addressing", "account")
    def one_store(self) -> None:
        """Keys of one kind of store are of no use with another."""
        scheme = self.url.partition(":")[0]
        details = {"endpoint": self.endpoint, "region": self.region, "addressing": self.addressing}
        odd = [key for key, value in details.items() if value is not None and scheme != "s3"]
        odd += ["account"] if self.account is not None and scheme != "az" else []
        if odd:
            raise ValueError(f"{' and '.join(odd)} must be left out with {scheme}://")
        if scheme == "az" and self.account is None:
            raise ValueError("az:// needs account, the storage account that has the container")

    @rule("url", "credentials")
    def asks_who_reads(self) -> None:
        """Azure's client reads nothing unsigned."""
        if self.url.startswith("az:") and self.credentials.kind == "none":
            raise ValueError("credentials.kind none is not there with az://; use existingSecret or workloadIdentity")

    @rule("pod_port", "endpoint")
    def describes_an_endpoint(self) -> None:
        """The stores of the clouds are on the internet."""
        if self.pod_port is not None and self.endpoint is None:
            raise ValueError("podPort needs endpoint: it describes what is behind that")

    @rule("layout", "credentials")
    def lists_its_shards(self) -> None:
        """Shards are listed by vLLM's own client, which asks nothing unsigned."""
        if self.layout == "sharded" and self.credentials.kind == "none":
            raise ValueError("layout sharded is listed with a signature; use credentials.kind existingSecret")

    @rule("layout", "fill")
    def holds_what_a_hub_has(self) -> None:
        """A hub has no shards."""
        if self.layout == "sharded" and self.fill:
            raise ValueError("layout sharded cannot be filled from a hub, which has whole files; leave out one of both")

    @rule("fill", "credentials")
    def may_be_filled(self) -> None:
        """Nobody writes unsigned."""
        if self.fill and self.fill.credentials is None and self.credentials.kind == "none":
            raise ValueError("credentials.kind none may read alone, and fill writes; give fill.credentials")


class ImageWeights(Section):
    """An OCI image that holds the published checkpoints, mounted as a volume; the kubelet pulls it as any image."""

    kind: Literal["image"] = Field(description="an OCI image or artifact with the checkpoints in it")
    reference: PinnedImage = Field(description="the image with its digest, e.g. registry.example.com/qwen3@sha256:…")
    size_gib: ImageGib | None = Field(
        default=None, description="what it takes on a node's disk; default: the checkpoints that are served from it"
    )
    read_mib_per_s: Rate = Field(default=1000, description="read rate of one pod from the node's disk, MiB/s")
    prewarm: bool | None = PREWARM


FilledWeights = SharedClaimWeights | ExistingClaimWeights | ImageWeights
CopiedWeights = FilledWeights | ObjectStoreWeights


def is_sharded(weights: "WeightsSettings") -> bool:
    """Whether each rank has files of its own."""
    return isinstance(weights, ObjectStoreWeights) and weights.layout == "sharded"


class NodeCacheWeights(Section):
    """A copy for each pod on its node's own disk, made before the server starts from what another kind holds."""

    kind: Literal["nodeCache"] = Field(description="a copy on the disk of the node, as a volume that goes with the pod")
    storage_class: DnsName = Field(
        description="storage class of local disks, e.g. local-path, openebs-hostpath, topolvm-provisioner"
    )
    copied_from: Annotated[CopiedWeights, BeforeValidator(_usual_weights)] = Field(
        alias="from",
        discriminator="kind",
        description="what it is copied from: sharedClaim, existingClaim, objectStore or image",
    )
    read_mib_per_s: Rate = Field(default=2000, description="read rate of one pod from the node's disk, MiB/s")
    usd_per_gib_month: UsdPerGibMonth | None = STORAGE_PRICE

    @rule("copied_from.prewarm")
    def read_once(self) -> None:
        """What is copied is read by that."""
        if not isinstance(self.copied_from, ObjectStoreWeights) and self.copied_from.prewarm is not None:
            raise ValueError("from.prewarm must be left out: pods read the copy, which is in the page cache when made")

    @rule("copied_from.layout")
    def whole(self) -> None:
        """A copy is loaded as it is published."""
        if is_sharded(self.copied_from):
            raise ValueError("from.layout must be left out: what is copied to a node is loaded as whole files")


WeightsSettings = FilledWeights | ObjectStoreWeights | NodeCacheWeights


class NoCompileCache(Section):
    """What a server compiles goes with its pod."""

    kind: Literal["none"] = Field(description="every pod compiles anew")


class ClaimedCompileCache(Section):
    """One claim of the stack; it goes with it, because what is on it is code, and can be made again."""

    kind: Literal["claim"] = Field(description="kept on a claim, per image, checkpoint, GPU and arguments")
    storage_class: DnsName = Field(description="storage class that offers accessMode")
    access_mode: Literal["ReadWriteMany", "ReadWriteOnce"] = Field(
        default="ReadWriteMany", description="ReadWriteOnce: only where all servers are on one node"
    )
    size_gib: CacheGib = Field(
        default=20, description="size of the claim, GiB; the oldest entries go when it is full; a claim cannot shrink"
    )
    usd_per_gib_month: UsdPerGibMonth | None = STORAGE_PRICE


class ReplicaSettings(Section):
    """How many copies of a server run."""

    min: Annotated[NonNegativeInt, Field(le=MOST_NODES)] = Field(
        default=1, description="fewest replicas in hours of use; 0: scale to zero when idle"
    )
    max: Replicas = Field(default=1, description="most replicas")

    @rule("min", "max")
    def ordered(self) -> None:
        """Refuses min > max."""
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) must not exceed max ({self.max})")


class OffPeakSettings(Section):
    """Hours in which a server may go down to zero replicas; outside of them `replicas.min` is the floor."""

    timezone: Word = Field(default="UTC", description="IANA time zone of the two schedules")
    start: Cron = Field(description="cron schedule at which off-peak begins, e.g. 0 20 * * 1-5")
    end: Cron = Field(description="cron schedule at which off-peak ends, e.g. 0 8 * * 1-5")

    @field_validator("timezone")
    @classmethod
    def known(cls, name: str) -> str:
        """Refuses a zone that is not in the IANA database (where this machine has one)."""
        zones = available_timezones()
        if zones and name not in zones:
            guess = nearest(name, zones)
            raise ValueError(f'"{name}" is not an IANA time zone{guess if guess.startswith("; did") else ""}')
        return name

    @rule("start", "end")
    def lasts(self) -> None:
        """Refuses hours that begin when they end; KEDA does too, but only in the cluster."""
        if self.start == self.end:
            raise ValueError(f'start and end are both "{self.start}"')


AtZero = Literal["fail", "fallback", "hold"]


class ScalingSettings(Section):
    """When replicas are added and removed; the defaults are tried values for GPU nodes."""

    target_waiting: PositiveInt = Field(default=10, description="waiting requests per replica that add a replica")
    scale_up_after_s: Annotated[ScalingWindow, Field(ge=0)] = Field(
        default=60, description="how long the queue must stand, seconds"
    )
    scale_up_period_s: ScalingPeriod = Field(default=120, description="at most one more replica in this time, seconds")
    scale_down_after_s: Annotated[ScalingWindow, Field(ge=1)] = Field(
        default=300, description="how long it must be quiet, seconds"
    )
    off_peak: OffPeakSettings | None = Field(default=None, description="hours in which zero replicas are allowed")
    at_zero: AtZero | None = Field(
        default=None,
        description="a request that finds no replica: `fail` at once, go to a `fallback`, or `hold` it until one is "
        "there; default: fallback, which without fallbacks is an error after a few tries",
    )
    hold_s: Seconds | None = Field(
        default=None,
        description="longest that atZero: hold makes a request wait, seconds; default: all that a start may take",
    )


class StartSettings(Section):
    """How long the parts of a start took; what is left out is planned with."""

    node_s: Seconds | None = Field(default=None, description="from the request for a node until it is ready, seconds")
    image_pull_s: Seconds | None = Field(default=None, description="pulling the image, seconds; an event of the pod")
    load_s: Seconds | None = Field(
        default=None, description="seconds after `Model loading took`, with the weights read by then as they will be"
    )
    compile_s: Seconds | None = Field(
        default=None, description="seconds after `torch.compile took`, of a start without a kept cache"
    )
    compile_again_s: Seconds | None = Field(
        default=None, description="the same of a start that found a kept cache; shown in the preview, no more"
    )
    engine_s: Seconds | None = Field(default=None, description="the rest until the server answers, seconds")


class MeasuredSettings(Section):
    """What vLLM logged when this model started on these GPUs; taken as it is, instead of computing it."""

    weights_gib_per_gpu: PositiveFloat = Field(
        description="GiB after `Model loading took`; of the fullest GPU where they differ"
    )
    kv_tokens: PositiveInt = Field(
        description="tokens after `GPU KV cache size`; the sum over data-parallel ranks, each of which logs its own"
    )
    gpus: Annotated[PositiveInt, Field(le=MOST_NODES * MOST_NODE_GPUS)] = Field(
        description="GPUs of the replica that was measured, over all its nodes"
    )
    tensor_parallel: PositiveInt | None = Field(
        default=None, description="its tensor-parallel size; default: all its GPUs, divided by the two sizes below"
    )
    pipeline_parallel: PositiveInt | None = Field(default=None, description="its pipeline-parallel size; default 1")
    data_parallel: PositiveInt | None = Field(default=None, description="its data-parallel size; default 1")
    context_tokens: Tokens | None = Field(
        default=None, description="the context length it served, beyond which nothing is known"
    )
    max_concurrency: PositiveFloat | None = Field(
        default=None,
        description="the number after `Maximum concurrency for`, for `contextTokens`; default: by division",
    )
    kv_gib_per_gpu: PositiveFloat | None = Field(
        default=None, description="GiB after `Available KV cache memory`; shown in the preview, no more"
    )
    gpu_memory_utilization: Share | None = Field(
        default=None, description="the utilisation it ran with; default: the model's"
    )
    vllm: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\S*$", max_length=60)] | None = Field(
        default=None, description='version of vLLM that wrote the log, quoted, e.g. "0.33.0"'
    )
    source: Annotated[str, StringConstraints(max_length=2048)] | None = Field(
        default=None, description="where the log is, for whoever asks later"
    )
    start: StartSettings = Field(default=StartSettings(), description="how long its parts took, for timeouts")

    @rule(
        "gpus",
        "tensor_parallel",
        "pipeline_parallel",
        "data_parallel",
        "kv_tokens",
        "context_tokens",
        "max_concurrency",
    )
    def consistent(self) -> None:
        """Refuses figures that cannot come from one start of one server."""
        copies = (self.pipeline_parallel or 1) * (self.data_parallel or 1)
        product = (self.tensor_parallel or max(1, self.gpus // copies)) * copies
        if product != self.gpus:
            raise ValueError(
                f"gpus is {self.gpus}, but tensorParallel × pipelineParallel × dataParallel is {product}; "
                "they must agree"
            )
        held = self.kv_tokens // (self.data_parallel or 1)
        if self.context_tokens is not None and self.context_tokens > held:
            rank = f" of one of {self.data_parallel} data-parallel ranks" if held < self.kv_tokens else ""
            raise ValueError(
                f"contextTokens ({self.context_tokens}) exceeds the KV cache{rank}, {held} tokens; "
                "vLLM does not start unless one sequence fits"
            )
        if self.max_concurrency is not None and self.context_tokens is None:
            raise ValueError("maxConcurrency needs contextTokens, the length it was logged for")


class CanarySettings(Section):
    """A second server behind the same public name with a share of its traffic."""

    weight: Percent = Field(description="percent of requests; 100 sends all of them")
    replicas: Replicas = Field(default=1, description="replicas of the second server; it is not autoscaled")
    model: Word | None = Field(default=None, description="another checkpoint, e.g. a quantised one")
    revision: CommitSha | None = Field(default=None, description="another revision of the weights")
    manifest_sha256: ManifestSha256 | None = Field(
        default=None, description="hash that their manifest must have; default: the model's, unless they are others"
    )
    image: ImageReference | None = Field(
        default=None, description="another vLLM image, repository:version or @sha256:…"
    )
    engine_version: Tag | None = Field(
        default=None, description='version of vLLM in `image`, where its tag does not say it, quoted, e.g. "0.33.0"'
    )
    context_tokens: Tokens | None = Field(default=None, description="another context length")
    max_num_seqs: Sequences | None = Field(default=None, description="another number of concurrent sequences")
    measured: MeasuredSettings | None = Field(
        default=None, description="figures of the second server; default: the model's, unless the checkpoint is another"
    )
    args: list[Argument] = Field(
        default_factory=list, max_length=200, description="further vLLM arguments of the second server only"
    )

    @rule("model", "revision", "image", "context_tokens", "max_num_seqs", "args")
    def different(self) -> None:
        """Refuses a canary that changes nothing."""
        changed = (self.model, self.revision, self.image, self.context_tokens, self.max_num_seqs, self.args or None)
        if all(value is None for value in changed):
            raise ValueError("changes nothing: give model, revision, image, contextTokens, maxNumSeqs or args")


class TokenPriceSettings(Section):
    """What a million tokens cost, USD."""

    input: UsdPerMillionTokens = Field(description="price of a million tokens of prompts")
    output: UsdPerMillionTokens = Field(description="price of a million generated tokens")


class ModelPriceSettings(Section):
    """What a million tokens of a model that is served here cost, USD."""

    input: UsdPerMillionTokens = Field(description="price of a million tokens of prompts")
    output: UsdPerMillionTokens | None = Field(
        default=None, description="price of a million generated tokens; for models that write, and needed there"
    )


class KeySignature(Section):
    """A signature over all files of a checkpoint, as OpenSSF's model signing makes it with a key."""

    kind: Literal["key"] = Field(description="a private key made it; its public key verifies it")
    config_map: DnsName = Field(
        description="existing ConfigMap with the entries model.sig, the signature, and key.pub, the public key as PEM"
    )
    image: ImageReference = Field(
        description="image with the program model_signing, e.g. ghcr.io/sigstore/model-transparency-cli@sha256:…"
    )


class AdapterSettings(Section):
    """A LoRA adapter that is served beside its model, under a public name of its own."""

    repo: HubRepository = Field(description="repository of the adapter on the hub, ORG/NAME")
    public_name: PublicName | None = Field(
        default=None, description="name that clients ask for it by, e.g. acme/legal-1.5; default: the key"
    )
    revision: CommitSha | None = Field(default=None, description="commit of the adapter; default: the newest, unpinned")
    rank: PositiveInt = Field(
        default=16, le=512, description="largest rank it may have; what adapter_config.json says must not exceed it"
    )
    base: Word | None = Field(
        default=None,
        description="what its adapter_config.json calls its base model, where that is not the model's repository, e.g. "
        "the one that was quantised; default: the model's",
    )
    manifest_sha256: ManifestSha256 | None = Field(
        default=None, description="hash that the manifest of its files must have; default: none is asked for"
    )
    signature: KeySignature | None = Field(
        default=None, description="signature that a Job verifies before servers start; default: none is asked for"
    )


class SpeculativeSettings(Section):
    """Guesses of the next tokens, which the model checks together: faster answers of the same tokens."""

    method: Literal["mtp", "ngram", "draft_model", "eagle", "eagle3", "dflash"] = Field(
        description="who guesses: the checkpoint's own MTP layer (`mtp`), what the prompt has already (`ngram`), a "
        "smaller model (`draft_model`), or a head that was trained for this one (`eagle`, `eagle3`, `dflash`)"
    )
    tokens: PositiveInt = Field(le=64, description="guesses for each step")
    model: Word | None = Field(
        default=None,
        description="repository of the draft, an entry of the catalogue; needed but for `mtp` and `ngram`",
    )
    revision: CommitSha | None = Field(default=None, description="commit of the draft; default: the catalogue's")

    @rule("method", "model", "revision")
    def drafted(self) -> None:
        """Only some methods have files of their own."""
        if self.method in ("mtp", "ngram"):
            if self.model or self.revision:
                raise ValueError(f"model and revision must be left out: {self.method} has no files of its own")
        elif self.model is None:
            raise ValueError(f"{self.method} needs model, the repository of the draft")


class KvOffloadSettings(Section):
    """KV cache beyond the GPU: blocks that it has no room for stay in the memory of the pod."""

    gib: Annotated[PositiveFloat, Field(le=MOST_NODE_GIB)] = Field(
        description="GiB for one replica, over all its tensor-parallel ranks; part of the memory of its pods"
    )


class SecretEntry(Section):
    """An entry of a Secret that exists."""

    name: DnsName = Field(description="existing Secret, in the namespace of the stack")
    key: EntryName = Field(description="entry of that Secret")


class ConfigMapVolume(Section):
    """Entries of a ConfigMap that exists, as files."""

    kind: Literal["configMap"] = Field(description="files from a ConfigMap")
    name: DnsName = Field(description="existing ConfigMap, in the namespace of the stack")
    mount_path: MountPath = MOUNT_PATH


class SecretVolume(Section):
    """Entries of a Secret that exists, as files."""

    kind: Literal["secret"] = Field(description="files from a Secret")
    name: DnsName = Field(description="existing Secret, in the namespace of the stack")
    mount_path: MountPath = MOUNT_PATH


class EmptyDirVolume(Section):
    """Space of a pod's own on its node's disk, which goes with it."""

    kind: Literal["emptyDir"] = Field(description="space on the node's disk")
    size_gib: CacheGib = Field(description="its limit, which the pod asks for, too, GiB; beyond it the pod is evicted")
    mount_path: MountPath = MOUNT_PATH


class PersistentClaimVolume(Section):
    """A claim that exists."""

    kind: Literal["persistentVolumeClaim"] = Field(description="a claim that exists")
    claim_name: DnsName = Field(description="existing PersistentVolumeClaim, in the namespace of the stack")
    read_only: bool = Field(
        default=True, description="whether pods only read it; with several replicas it must be one for many nodes"
    )
    mount_path: MountPath = MOUNT_PATH


class CsiVolume(Section):
    """What a driver of the cluster makes for each pod, e.g. secrets of a vault; always read-only."""

    kind: Literal["csi"] = Field(description="made by a CSI driver that takes volumes of pods")
    driver: CsiDriver = Field(description="name of the driver, e.g. secrets-store.csi.k8s.io")
    attributes: dict[Word, Argument] = Field(
        default_factory=dict, max_length=100, description="what the driver wants to know; never secrets"
    )
    secret: DnsName | None = Field(default=None, description="existing Secret that the driver is given")
    mount_path: MountPath = MOUNT_PATH


ExtraVolume = Annotated[
    ConfigMapVolume | SecretVolume | EmptyDirVolume | PersistentClaimVolume | CsiVolume, Field(discriminator="kind")
]
# The same words for every kind of pods.
POD_LABELS = Field(default_factory=dict, description="further labels of its pods, e.g. for what they cost")
POD_ANNOTATIONS = Field(default_factory=dict, description="further annotations of its pods")
ACCOUNT_ANNOTATIONS = Field(
    default_factory=dict, description="annotations of its ServiceAccount, e.g. a role of the cloud; pods get no token"
)
PRIORITY_CLASS = Field(default=None, description="existing PriorityClass of its pods; default: that of the cluster")
SECRET_ENV = Field(
    default_factory=dict,
    max_length=MOST_VARIABLES,
    description="further environment variables, each an entry of a Secret that exists: {name, key}",
)
EXTRA_VOLUMES = Field(
    default_factory=dict,
    max_length=MOST_VOLUMES,
    description="further volumes of its pods by names of your own, each of a kind: configMap, secret, emptyDir, "
    "persistentVolumeClaim, csi",
)


class WorkloadsSettings(Section):
    """Labels, annotations and priority of the pods of all models and of the gateway, unless these say otherwise."""

    pod_labels: Labels = Field(default_factory=dict, description="further labels of all of them")
    pod_annotations: Annotations = Field(default_factory=dict, description="further annotations of all of them")
    priority_class_name: DnsName | None = Field(default=None, description="existing PriorityClass of all of them")


class ModelSettings(Section):
    """One served model. Only `model` and `pool` are needed; the rest is derived and shown with its reason."""

    model: Annotated[Word, Field(min_length=3)] = Field(
        description="Hugging Face repository id of a catalogue entry, e.g. Qwen/Qwen3-14B, or a file: one entry, e.g. "
        "./my-model.yaml, or the checkpoint's own, ./ORG/NAME/config.json"
    )
    pool: Word = Field(description="name of the gpuPools entry it runs on")
    public_name: PublicName | None = Field(
        default=None,
        description="name that clients ask for it by, e.g. Qwen/Qwen3-8B or llama-3.1-8b; objects keep that of the "
        "key, and its server does not restart for another. Default: the key",
    )
    revision: CommitSha | None = Field(default=None, description="commit of the weights; default: the catalogue's")
    manifest_sha256: ManifestSha256 | None = Field(
        default=None,
        description="hash that the manifest of the weights must have, from a source that you trust more than the one "
        "they come from; `python -m preview manifest` prints it; default: the catalogue's, which has few",
    )
    signature: KeySignature | None = Field(
        default=None, description="signature that a Job verifies before servers start; default: none is asked for"
    )
    weights: Annotated[WeightsSettings | None, BeforeValidator(_usual_weights)] = Field(
        default=None, discriminator="kind", description="where its weights come from; default: those of the stack"
    )
    context_tokens: Tokens | None = Field(
        default=None, description="longest prompt plus answer in tokens; default: the longest that fits"
    )
    replicas: ReplicaSettings = Field(default=ReplicaSettings(), description="how many copies")
    scaling: ScalingSettings = Field(default=ScalingSettings(), description="when copies are added and removed")
    routing: Literal["service", "prefix"] = Field(
        default="service",
        description="which replica gets a request: any (`service`), or one that has the beginning of its prompt "
        "cached (`prefix`, by vllm-router)",
    )
    tensor_parallel: PositiveInt | None = Field(default=None, description="GPUs that share each layer")
    pipeline_parallel: PositiveInt | None = Field(default=None, description="groups of layers over GPUs or nodes")
    data_parallel: PositiveInt | None = Field(default=None, description="copies of the attention in one server")
    expert_parallel: bool | None = Field(default=None, description="spread whole experts instead of slicing them")
    max_num_seqs: Sequences | None = Field(default=None, description="sequences served at once by one replica")
    max_num_batched_tokens: Tokens | None = Field(default=None, description="tokens of one engine step")
    concurrency: Sequences = Field(
        default=1, description="sequences of the whole context that the KV cache of one replica must hold at once"
    )
    gpu_memory_utilization: Share | None = Field(
        default=None, description="share of GPU memory vLLM may use; default 0.92"
    )
    gpu_share: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="part of one card of a pool with gpuShare, e.g. 0.3; replaces gpuMemoryUtilization"
    )
    kv_cache_dtype: Word | None = Field(default=None, description="dtype of the KV cache, e.g. fp8")
    measured: MeasuredSettings | None = Field(
        default=None,
        description="figures from a start-up log, used instead of computing; needed for kvProfile: unknown",
    )
    image: ImageReference | None = Field(
        default=None, description="vLLM image of this model, repository:version or @sha256:…"
    )
    engine_version: Tag | None = Field(
        default=None, description='version of vLLM in `image`, where its tag does not say it, quoted, e.g. "0.33.0"'
    )
    adapters: dict[ObjectName, AdapterSettings] = Field(
        default_factory=dict,
        max_length=MOST_ADAPTERS,
        description="LoRA adapters by name, under which they are served beside the model, with its price and limits; "
        "they are loaded as its server starts, so another one restarts it",
    )
    speculative: SpeculativeSettings | None = Field(
        default=None, description="guesses of the next tokens; default: none"
    )
    kv_offload: KvOffloadSettings | None = Field(
        default=None, description="KV cache in the memory of the pod, beyond the GPU's; default: none"
    )
    args: list[Argument] = Field(
        default_factory=list,
        max_length=200,
        description="further vLLM arguments, checked against its parser and by what each does",
    )
    env: dict[VariableName, Argument] = Field(
        default_factory=dict, max_length=MOST_VARIABLES, description="further environment variables; never secrets"
    )
    secret_env: dict[VariableName, SecretEntry] = SECRET_ENV
    pod_labels: Labels = POD_LABELS
    pod_annotations: Annotations = POD_ANNOTATIONS
    service_account_annotations: Annotations = ACCOUNT_ANNOTATIONS
    priority_class_name: DnsName | None = PRIORITY_CLASS
    extra_volumes: dict[ObjectName, ExtraVolume] = EXTRA_VOLUMES
    chat_template: Argument | None = Field(
        default=None,
        description="template that makes a prompt of messages: a Jinja file beside Pulumi.yaml, e.g. ./chat.jinja, or "
        "its text; default: the checkpoint's",
    )
    cpus: NodeCpus | None = Field(default=None, description="CPU cores requested by one pod")
    memory_gib: NodeGib | None = Field(default=None, description="memory requested by one pod, GiB")
    max_output_tokens: Tokens | None = Field(default=None, description="longest answer to plan timeouts with")
    drain_timeout_s: Seconds | None = Field(default=None, description="time running requests get at shutdown")
    fallbacks: list[Word] = Field(
        default_factory=list,
        max_length=MOST_MODELS,
        description="models asked when this one fails, in order, by key or public name",
    )
    data_policy: Literal["stays", "mayLeave"] = Field(
        default="stays",
        description="whether its requests may leave for an external provider, as one of its fallbacks: `stays`, or "
        "`mayLeave`",
    )
    price_usd_per_million_tokens: ModelPriceSettings | None = Field(
        default=None,
        description="what the gateway charges for tokens and counts against budgets; default: estimated from the price "
        "of the pool's nodes and the speed of their memory",
    )
    price_usd_per_audio_hour: UsdPerHour | None = Field(
        default=None,
        description="the same of an hour of audio, which is what models that transcribe are charged by",
    )
    requests_per_minute: PositiveInt | None = Field(default=None, description="limit over all gateway replicas")
    tokens_per_minute: PositiveInt | None = Field(default=None, description="limit over all gateway replicas")
    canary: CanarySettings | None = Field(default=None, description="a second server with a share of the traffic")
    replaces: ObjectName | None = Field(
        default=None,
        description="the model whose GPUs this one takes, or its own former name: that server goes first",
    )

    @rule("scaling.off_peak", "replicas.min")
    def idle_needs_a_floor(self) -> None:
        """Off-peak hours make sense only with a floor to leave."""
        if self.scaling.off_peak is not None and self.replicas.min == 0:
            raise ValueError("scaling.offPeak needs replicas.min >= 1: the floor that holds outside off-peak hours")


class GatewayApiExposure(Section):
    """An HTTPRoute on an existing Gateway, and what its controller needs beside it."""

    kind: Literal["gatewayApi"] = Field(description="expose by an HTTPRoute")
    gateway_name: DnsName = Field(description="name of the Gateway")
    gateway_namespace: Namespace | None = Field(default=None, description="namespace of the Gateway, if another")
    section_name: DnsName | None = Field(default=None, description="listener of the Gateway to attach to")
    controller: ControllerName | None = Field(
        default=None,
        description="whose Gateway it is (docs/edges.md), which decides what is set beside the route; default: as the "
        "platform says, else nothing is set",
    )


class IssuerTls(Section):
    """Certificates that cert-manager gets, and keeps in a Secret of its own."""

    kind: Literal["issuer"] = Field(description="cert-manager gets the certificate")
    name: DnsName = Field(description="name of the issuer")
    scope: Literal["cluster", "namespace"] = Field(
        default="cluster", description="whether it is a ClusterIssuer, or an Issuer in the namespace of the stack"
    )


class CertificateTls(Section):
    """Certificates that the load balancer has already, by their names there."""

    kind: Literal["certificate"] = Field(description="the load balancer has the certificate")
    names: list[CertificateName] = Field(
        min_length=1, max_length=MOST_CERTIFICATES, description="its name or ARN there, or several, the default first"
    )


class ManagedTls(Section):
    """A certificate that the cloud finds or gets itself, by the host."""

    kind: Literal["managed"] = Field(description="the cloud has, or gets, a certificate for the host")


class IngressExposure(Section):
    """An Ingress, with what its controller needs for streams."""

    kind: Literal["ingress"] = Field(description="expose by an Ingress")
    class_name: DnsName = Field(description="IngressClass")
    controller: ControllerName | None = Field(
        default=None,
        description="whose class it is (docs/edges.md), which decides what the Ingress says for streams; default: as "
        "the name of the class says where that is well known, else nothing is set",
    )
    tls_secret: DnsName | None = Field(
        default=None, description="existing TLS Secret; without it and tls no TLS is declared"
    )
    tls: IssuerTls | CertificateTls | ManagedTls | None = Field(
        default=None,
        discriminator="kind",
        description="certificates from elsewhere: issuer, certificate, managed, as the controller offers; instead of "
        "tlsSecret",
    )
    annotations: Annotations = Field(
        default_factory=dict, max_length=200, description="further annotations for the controller; they win"
    )

    @rule("tls_secret", "tls")
    def one_certificate(self) -> None:
        """Refuses two places that the certificate is from."""
        if self.tls_secret is not None and self.tls is not None:
            raise ValueError(f"tlsSecret must be left out with tls.kind {self.tls.kind}, which says it already")


class RouteExposure(Section):
    """Routes of a platform that has them; the router ends TLS, with its own certificate."""

    kind: Literal["route"] = Field(description="expose by Routes, one for each path")
    annotations: Annotations = Field(
        default_factory=dict, max_length=200, description="further annotations for the router; they win"
    )


class ClusterOnly(Section):
    """Not exposed outside the cluster."""

    kind: Literal["none"] = Field(description="reachable inside the cluster only")


class BundledRedisSettings(Section):
    """A small Redis of our own: counters and limits only, nothing that must survive."""

    kind: Literal["bundled"] = Field(description="run one Redis pod beside the gateway")


class RedisTlsSettings(Section):
    """TLS towards a Redis; its certificate must name the host."""

    ca_bundle: CaBundleSettings | None = Field(
        default=None, description="authorities that the certificate is from; default: those of LiteLLM's image"
    )


# Of every Redis that exists.
PASSWORDLESS = "whether it asks for no password"
REDIS_SECRET = "existing Secret with `redis-password`; default: gateway.existingSecret, which has to be there otherwise"  # noqa: S105 - words
REDIS_TLS = "connect over TLS; `tls: true` trusts the authorities of LiteLLM's image"


class ExistingRedisSettings(Section):
    """A Redis somebody else runs, and its password in a Secret that exists: neither is made up."""

    kind: Literal["existing"] = Field(description="use a Redis that exists")
    host: BareHost = Field(description="host name of the Redis")
    port: Port = Field(default=6379, description="port of the Redis")
    username: RedisName | None = Field(default=None, description="user of its ACL; default: the one without a name")
    passwordless: bool = Field(default=False, description=PASSWORDLESS)
    password_secret: DnsName | None = Field(default=None, description=REDIS_SECRET)
    tls: Annotated[RedisTlsSettings | None, BeforeValidator(_usual_switch)] = Field(default=None, description=REDIS_TLS)

    @rule("passwordless", "username", "password_secret")
    def one_answer(self) -> None:
        """Who asks for no password has no user and no Secret."""
        _refuse_useless(self, self.username)


class SentinelRedisSettings(Section):
    """A Redis behind Sentinels, which say where its master is; both speak TLS, or neither."""

    kind: Literal["sentinel"] = Field(description="ask Sentinels for the Redis that is the master")
    sentinels: list[SentinelAddress] = Field(
        min_length=1, max_length=MOST_SENTINELS, description="the Sentinels as HOST or HOST:PORT; default port 26379"
    )
    master_name: RedisName = Field(description="name that the Sentinels have for the master, e.g. mymaster")
    port: Port = Field(default=6379, description="port of the Redis servers they may name")
    passwordless: bool = Field(default=False, description=PASSWORDLESS)
    password_secret: DnsName | None = Field(default=None, description=REDIS_SECRET)
    sentinels_ask_password: bool = Field(
        default=False,
        description="whether the Sentinels ask for a password themselves: `redis-sentinel-password` of the same Secret",
    )
    tls: Annotated[RedisTlsSettings | None, BeforeValidator(_usual_switch)] = Field(default=None, description=REDIS_TLS)

    @field_validator("sentinels")
    @classmethod
    def unique(cls, addresses: list[str]) -> list[str]:
        """Refuses a Sentinel named twice."""
        if len(set(addresses)) != len(addresses):
            raise ValueError("names a Sentinel twice")
        return addresses

    @rule("passwordless", "password_secret", "sentinels_ask_password")
    def one_answer(self) -> None:
        """As above; Sentinels may ask for a password where Redis does not."""
        if not self.sentinels_ask_password:
            _refuse_useless(self, None)


def _refuse_useless(redis: ExistingRedisSettings | SentinelRedisSettings, username: str | None) -> None:
    """Refuses what nothing would read."""
    useless = [key for key, value in (("username", username), ("passwordSecret", redis.password_secret)) if value]
    if redis.passwordless and useless:
        raise ValueError(f"{' and '.join(useless)} must be left out with passwordless: true")


class NoRedis(Section):
    """No Redis at all: the one replica of the gateway counts in its own memory."""

    kind: Literal["none"] = Field(description="count in the gateway's memory; only with `gateway.replicas: 1`")


# Of every kind of database.
WHEN_AWAY = (
    "while Postgres cannot be asked: `refuse` keys that are not known from before, or `admitEveryone` "
    "with any key, without budgets and limits of keys; the latter only where nothing is exposed"
)
WhenAway = Literal["refuse", "admitEveryone"]


class ExistingDatabaseSettings(Section):
    """A Postgres somebody else runs; its URL is the key `database-url` of an existing Secret."""

    kind: Literal["existing"] = Field(default="existing", description="use a Postgres that exists")
    existing_secret: DnsName = Field(description="existing Secret with the key `database-url`")
    migration_secret: DnsName | None = Field(
        default=None,
        description="existing Secret whose `database-url` names a role that may change the schema, for the migration "
        "Job alone; default: existingSecret",
    )
    port: Port = Field(default=5432, description="port the gateway may reach it on")
    when_away: WhenAway = Field(default="refuse", description=WHEN_AWAY)


class BundledDatabaseSettings(Section):
    """One Postgres pod of our own, for development and small teams: a claim that is kept, no standby, no backups."""

    kind: Literal["bundled"] = Field(description="run one Postgres pod beside the gateway")
    storage_class: DnsName | None = Field(
        default=None, description="storage class of its claim, on block storage; default: the cluster's default class"
    )
    gib: DatabaseGib = Field(default=20, description="size of its claim; it may grow where the class lets it")
    when_away: WhenAway = Field(default="refuse", description=WHEN_AWAY)


class CloudNativePgDatabaseSettings(Section):
    """A Postgres with standbys, run by CloudNativePG: a `Cluster` of its own, kept on destroy; no backups by itself."""

    kind: Literal["cloudNativePg"] = Field(description="run a Postgres with standbys by CloudNativePG")
    instances: PostgresInstances = Field(
        default=3, description="Postgres pods: one that takes writes, the others follow it and take over"
    )
    storage_class: DnsName | None = Field(
        default=None, description="storage class of its claims, on block storage; default: the cluster's default class"
    )
    gib: DatabaseGib = Field(default=20, description="size of the claim of each; it may grow where the class lets it")
    password_secret: DnsName | None = Field(
        default=None,
        description="existing Secret of type `kubernetes.io/basic-auth` for the role that serves: `username` is "
        "litellm; needed with gateway.existingSecret, derived from the master key otherwise",
    )
    when_away: WhenAway = Field(default="refuse", description=WHEN_AWAY)


def _usual_database(value: object) -> object:
    """A mapping without a kind is a Postgres that exists."""
    return {"kind": "existing", **value} if isinstance(value, dict) else value


DatabaseSettings = ExistingDatabaseSettings | BundledDatabaseSettings | CloudNativePgDatabaseSettings


def _fixed_pods(value: object) -> object:
    """A number is the fewest and the most."""
    if value is None or isinstance(value, dict):
        return value
    try:
        pods = TypeAdapter(GatewayPods).validate_python(value)
    except ValidationError as error:
        detail = error.errors()[0]
        context = detail.get("ctx", {})
        if "error" in context:
            raise ValueError(str(context["error"])) from None
        raise PydanticKnownError(detail["type"], context) from None  # pyright: ignore[reportArgumentType]
    return {"min": pods, "max": pods}


class GatewayReplicas(Section):
    """How many gateway pods there are; between two numbers, as many as their CPU asks for, read from metrics-server."""

    min: GatewayPods | None = Field(
        default=None,
        description="fewest; default: a quarter of the most, 2 at least, and 1 without Redis",
    )
    max: GatewayPods | None = Field(
        default=None, description="most; default: as many as capacity asks for, and 1 without Redis"
    )

    @rule("min", "max")
    def ordered(self) -> None:
        """Refuses min > max."""
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min}) must not exceed max ({self.max})")


class GatewayCpuSettings(Section):
    """Milliseconds of CPU that the gateway spends on your machines, as `make benchmark` prints them for one."""

    chat: Milliseconds = Field(description="on an answer given whole")
    stream: Milliseconds = Field(description="on a streamed answer without its chunks")
    chunk: Milliseconds = Field(description="on a chunk of a stream: one token, or as many as its server puts together")


class GatewayCapacitySettings(Section):
    """The load that the gateway is to carry at its busiest; where no rate is given, all that the servers can write."""

    chats_per_second: RequestRate | None = Field(
        default=None,
        description="answers given whole: chats, completions, embeddings; default: none, if another is given",
    )
    streams_per_second: RequestRate | None = Field(
        default=None,
        description="streamed answers that begin; default: streamedTokensPerSecond by the tokens of a usual answer",
    )
    streamed_tokens_per_second: TokenRate | None = Field(
        default=None, description="tokens of all streams; default: streamsPerSecond times the tokens of a usual answer"
    )
    cpu_ms: GatewayCpuSettings | None = Field(
        default=None, description="CPU of a request on your machines; default: as measured on another"
    )


class AuditSettings(Section):
    """A line of JSON on the gateway's standard output for each request of a known key."""

    prompts: bool = Field(default=False, description="with what was asked and answered, whatever is in it")


class LangfuseSettings(Section):
    """A Langfuse, by its OpenTelemetry endpoint."""

    endpoint: Url = Field(description="its URL, e.g. https://cloud.langfuse.com")
    existing_secret: DnsName = Field(description="existing Secret with the entries `public-key` and `secret-key`")
    private: bool | None = Field(
        default=None, description="whether it is inside a private network; default: as its address or name says"
    )
    pod_port: Port | None = Field(
        default=None, description="port that the pods behind an endpoint inside the cluster listen on"
    )


class OtelSettings(Section):
    """A collector of OpenTelemetry, by OTLP over HTTP."""

    endpoint: Url = Field(description="its URL, e.g. https://otel.example.com:4318")
    existing_secret: DnsName | None = Field(
        default=None, description="existing Secret whose entry `headers` is sent along, e.g. authorization=Bearer …"
    )
    private: bool | None = Field(
        default=None, description="whether it is inside a private network; default: as its address or name says"
    )
    pod_port: Port | None = Field(
        default=None, description="port that the pods behind an endpoint inside the cluster listen on"
    )


class CallbackSettings(Section):
    """Who hears of every request while it is served."""

    langfuse: LangfuseSettings | None = Field(default=None, description="a Langfuse")
    otel: OtelSettings | None = Field(default=None, description="a collector of OpenTelemetry")
    prompts: bool = Field(default=False, description="tell them what was asked and answered as well")


class ProviderModelSettings(Section):
    """One model of an external provider; its name in the map is what fallbacks and answers call it."""

    model: ProviderModelId = Field(description="what the provider calls it, e.g. gpt-5-mini")
    context_tokens: Tokens = Field(description="longest prompt plus answer in tokens")
    price_usd_per_million_tokens: TokenPriceSettings | None = Field(
        default=None, description="what the provider charges; needed where keys may have budgets"
    )
    direct: bool = Field(
        default=False,
        description="let clients ask it by its name, by which whatever they send leaves; otherwise it only answers as "
        "a fallback",
    )


class ProviderSettings(Section):
    """Somebody else's models on the internet, asked when ours fail."""

    kind: Literal["openAi", "anthropic", "openAiCompatible"] = Field(description="API that it speaks")
    existing_secret: DnsName = Field(description="existing Secret with its key")
    entry: EntryName = Field(default="api-key", description="entry of that Secret")
    endpoint: Url | None = Field(
        default=None,
        description="base URL; of openAiCompatible with the version of the API in it, e.g. "
        "https://llm.example.com/v1; default: where openAi or anthropic are",
    )
    private: bool | None = Field(
        default=None, description="whether it is inside a private network; default: as its address or name says"
    )
    pod_port: Port | None = Field(
        default=None, description="port that the pods behind an endpoint inside the cluster listen on"
    )
    models: dict[ProviderModelName, ProviderModelSettings] = Field(
        min_length=1, max_length=MOST_MODELS, description="its models by the names that fallbacks call them"
    )


class LimitSettings(Section):
    """Limits of one team on one model, over all of its keys and all replicas of the gateway."""

    requests_per_minute: PositiveInt | None = Field(default=None, description="requests of the team to this model")
    tokens_per_minute: PositiveInt | None = Field(default=None, description="tokens of the team with this model")

    @rule("requests_per_minute", "tokens_per_minute")
    def limits_something(self) -> None:
        """An entry without a limit is a slip."""
        if self.requests_per_minute is None and self.tokens_per_minute is None:
            raise ValueError("limits nothing; give requestsPerMinute or tokensPerMinute, or leave it out")


class KeySettings(Section):
    """One key of a team, in one or more generations: all that are named are valid at the same time."""

    generations: list[PositiveInt] = Field(
        default=[1],
        min_length=1,
        max_length=MOST_GENERATIONS,
        description="generations that are valid; to rotate, [1, 2], then [2] when nobody uses the first any more",
    )

    @field_validator("generations")
    @classmethod
    def rising(cls, generations: list[int]) -> list[int]:
        """Refuses what is named twice, and an order that says nothing."""
        if sorted(set(generations)) != generations:
            raise ValueError(f"{generations} must rise, each named once, e.g. {sorted(set(generations))}")
        return generations


def _spelled_out(value: object) -> object:
    """A list of names is a mapping of keys that have one generation."""
    if isinstance(value, str):
        raise ValueError("must be a list, e.g. [app, batch]")  # noqa: TRY004 - pydantic reports ValueError only
    if not isinstance(value, list):
        return value
    if twice := next((name for name in value if value.count(name) > 1), None):
        raise ValueError(f"{twice} is named twice")
    return {str(name) if isinstance(name, (list, dict)) else name: {} for name in value}


class TeamSettings(Section):
    """A group of clients of the gateway: its keys share models, limits and a budget."""

    models: list[Word] = Field(
        min_length=1,
        max_length=MOST_MODELS,
        description="models it may ask, by key or public name; those they fall back to are added",
    )
    requests_per_minute: PositiveInt | None = Field(
        default=None, description="limit of all its keys together, over all gateway replicas"
    )
    tokens_per_minute: PositiveInt | None = Field(
        default=None, description="limit of all its keys together, over all gateway replicas"
    )
    per_model: dict[Word, LimitSettings] = Field(
        default_factory=dict, max_length=MOST_MODELS, description="further limits on single models of the team"
    )
    monthly_budget_usd: UsdPerMonth | None = Field(
        default=None,
        description="what it may use up in a calendar month (UTC), at the prices of the models; then it gets 429",
    )
    keys: Annotated[dict[ObjectName, KeySettings], BeforeValidator(_spelled_out)] = Field(
        min_length=1,
        max_length=MOST_TEAM_KEYS,
        description="its keys: [app, batch], or with their generations {app: {generations: [1, 2]}, batch: {}}",
    )
    existing_secret: DnsName | None = Field(
        default=None,
        description="existing Secret with an entry KEY-GENERATION for each key, e.g. app-1; needed with "
        "gateway.existingSecret; default: the Secret llm-team-NAME with keys derived from gatewayMasterKey",
    )


class OidcSettings(Section):
    """An OpenID provider where people sign in: a client there, whose secret is an entry of a Secret."""

    endpoint: Url = Field(description="issuer, e.g. https://login.example.com/realms/staff")
    client_id: Word = Field(description="what it calls the client")
    allowed_domains: list[DnsName] = Field(
        min_length=1,
        max_length=MOST_DOMAINS,
        description="domains of the e-mail addresses that may sign in, e.g. [example.com]",
    )
    private: bool | None = Field(
        default=None, description="whether it is inside a private network; default: as its address or name says"
    )
    pod_port: Port | None = Field(
        default=None, description="port that the pods behind an endpoint inside the cluster listen on"
    )


class ChatUiSettings(Section):
    """A page to chat with the models of one team (Open WebUI), for people who sign in at an OpenID provider."""

    host: HostName = Field(description="public host name of the page, another than that of the gateway")
    team: ObjectName = Field(description="team of gateway.teams whose models it has and whose limits and budget hold")
    key: ObjectName = Field(description="key of that team that it asks with; the newest of its generations")
    oidc: OidcSettings = Field(description="where people sign in; there are no passwords, and no page to sign up")
    existing_secret: DnsName = Field(
        description="existing Secret with the entries `client-secret` (of the OpenID client), `session-key` and "
        "`admin-password`"
    )
    admin: EmailAddress | None = Field(
        default=None,
        description="e-mail address of its administrator, who signs in as everybody; only with a provider that proves "
        "addresses; taken at the first start; default: nobody",
    )
    tls_secret: DnsName | None = Field(
        default=None, description="existing TLS Secret for its host; needed with gateway.expose.kind ingress"
    )
    section_name: DnsName | None = Field(
        default=None,
        description="listener of the Gateway for its host, with gateway.expose.kind gatewayApi; default: that of the "
        "gateway's own",
    )
    storage_class: DnsName | None = Field(
        default=None, description="storage class of its claim, on block storage; default: the cluster's default class"
    )
    gib: DatabaseGib = Field(
        default=20, description="size of its claim with chats and uploaded files; it may grow where the class lets it"
    )


class GatewaySettings(Section):
    """The OpenAI-compatible endpoint in front of all models (LiteLLM)."""

    host: HostName | None = Field(default=None, description="public host name; required when exposed")
    expose: GatewayApiExposure | IngressExposure | RouteExposure | ClusterOnly = Field(
        default=ClusterOnly(kind="none"),
        discriminator="kind",
        description="how it is reached: gatewayApi, ingress, route, none",
    )
    replicas: Annotated[GatewayReplicas, BeforeValidator(_fixed_pods)] = Field(
        default=GatewayReplicas(),
        description="gateway pods: a number, or {min, max} for an autoscaler; default: between what capacity asks for",
    )
    capacity: GatewayCapacitySettings = Field(
        default=GatewayCapacitySettings(), description="what it is to carry; its replicas follow"
    )
    existing_secret: DnsName | None = Field(
        default=None, description="existing Secret with all keys, instead of the config secret gatewayMasterKey"
    )
    redis: BundledRedisSettings | ExistingRedisSettings | SentinelRedisSettings | NoRedis = Field(
        default=BundledRedisSettings(kind="bundled"),
        discriminator="kind",
        description="where limits are counted: bundled, existing, sentinel, none",
    )
    database: Annotated[DatabaseSettings | None, BeforeValidator(_usual_database)] = Field(
        default=None,
        discriminator="kind",
        description="Postgres, for virtual keys and budgets: bundled, cloudNativePg, existing; one that exists unless "
        "kind says otherwise",
    )
    teams: dict[ObjectName, TeamSettings] | None = Field(
        default=None,
        max_length=MOST_TEAMS,
        description="who may ask what, and how much, by name; {} ends all keys that the stack has made, without it "
        "they stay as they are; needs database",
    )
    request_timeout_s: Seconds | None = Field(
        default=None,
        description="longest a server may take for a whole answer; default 600, or more where a model's longest answer "
        "needs it",
    )
    first_token_timeout_s: Seconds | None = Field(
        default=None,
        description="longest silence of a stream, before its first token and after; then the next server or fallback "
        "is asked; default 120, or more where the longest prompt needs it",
    )
    retries: Retries = Field(
        default=2, description="how often a server is asked again after an error; never after a timeout"
    )
    audit: AuditSettings | None = Field(
        default=None,
        description="who asked which model when, with tokens and status, in the logs of its pods; `{}` is enough; "
        "default: no line about single requests",
    )
    callbacks: CallbackSettings | None = Field(default=None, description="where requests are traced; default: nowhere")
    providers: dict[ObjectName, ProviderSettings] = Field(
        default_factory=dict,
        max_length=MOST_PROVIDERS,
        description="external providers by name, whose models may be fallbacks of models with `dataPolicy: mayLeave`; "
        "default: nothing leaves",
    )
    chat_ui: ChatUiSettings | None = Field(
        default=None,
        description="a page to chat with (Open WebUI) behind the same edge, with the key of one team; default: none",
    )
    memory_gib: GatewayGib | None = Field(default=None, description="memory of one gateway pod, GiB; default 4")
    restart_after_requests: RequestsServed | None = Field(
        default=None,
        description="requests after which a gateway pod starts anew, a fifth earlier or later, drained; default: never",
    )
    settings: dict[Word, Annotated[dict[str, Any], Field(json_schema_extra={"word": "keys of LiteLLM"})]] = Field(
        default_factory=dict,
        max_length=MOST_VARIABLES,
        description="keys of LiteLLM's file that the stack does not set, by section: general_settings, "
        "router_settings, litellm_settings; secrets as os.environ/NAME of secretEnv (docs/yours.md)",
    )
    env: dict[VariableName, Argument] = Field(
        default_factory=dict, max_length=MOST_VARIABLES, description="further environment variables; never secrets"
    )
    secret_env: dict[VariableName, SecretEntry] = SECRET_ENV
    pod_labels: Labels = POD_LABELS
    pod_annotations: Annotations = POD_ANNOTATIONS
    service_account_annotations: Annotations = ACCOUNT_ANNOTATIONS
    priority_class_name: DnsName | None = PRIORITY_CLASS
    extra_volumes: dict[ObjectName, ExtraVolume] = EXTRA_VOLUMES

    @rule("expose", "host")
    def exposed_needs_a_host(self) -> None:
        """An endpoint without a host name would take every request that reaches its Gateway."""
        if not isinstance(self.expose, ClusterOnly) and self.host is None:
            raise ValueError(f"expose.kind {self.expose.kind} needs host")


class AddressPeers(Section):
    """Addresses outside of the cluster, by blocks of them."""

    kind: Literal["addresses"] = Field(description="blocks of addresses")
    cidrs: list[AddressRange] = Field(
        min_length=1, max_length=MOST_BLOCKS, description="blocks, e.g. 10.20.0.0/16 or fd00:20::/48"
    )


class PodPeers(Section):
    """Pods of another namespace of the cluster."""

    kind: Literal["pods"] = Field(description="pods of another namespace")
    namespace: Namespace = Field(description="their namespace")
    pod_labels: Labels = Field(default_factory=dict, description="labels that they have; default: all of them")


class HostPeers(Section):
    """Hosts by their names, which no NetworkPolicy knows: refused, with what to write in its place."""

    kind: Literal["hosts"] = Field(description="hosts by name, which are refused: NetworkPolicies know none")
    names: list[HostName] = Field(min_length=1, max_length=MOST_BLOCKS, description="their names")


Peers = AddressPeers | PodPeers | HostPeers
PEER_PORTS = Field(
    min_length=1,
    max_length=MOST_PEER_PORTS,
    description="ports that the far side listens on, behind a Service those of its pods; one, or a range as 5000-5010",
)
PeerProtocol = Annotated[Literal["TCP", "UDP"], Field(description="protocol of these ports")]
PEER_WORKLOADS = Field(
    min_length=1,
    max_length=MOST_MODELS,
    description="whose way it is: models, models.NAME, gateway, downloads, or all of them as all",
)


class ExtraEgress(Section):
    """One way out: peers that pods of the stack may connect to beyond what they need."""

    to: Peers = Field(discriminator="kind", description="where it leads")
    ports: list[PortRange] = PEER_PORTS
    protocol: PeerProtocol = "TCP"
    workloads: list[Word] = PEER_WORKLOADS


class ExtraIngress(Section):
    """One way in: peers that may connect to pods of the stack beyond its own clients."""

    comes_from: Peers = Field(alias="from", discriminator="kind", description="where it comes from")
    ports: list[PortRange] = Field(
        min_length=1,
        max_length=MOST_PEER_PORTS,
        description="ports that the pods of the stack listen on; one, or a range as 5000-5010",
    )
    protocol: PeerProtocol = "TCP"
    workloads: list[Word] = Field(
        min_length=1,
        max_length=MOST_MODELS,
        description="to whom it leads: models, models.NAME, gateway, or both as all",
    )


class NetworkSettings(Section):
    """Ways that network rules open beyond those that the stack needs, by names of your own."""

    extra_egress: dict[ObjectName, ExtraEgress] = Field(
        default_factory=dict, max_length=MOST_WAYS, description="ways out, by name"
    )
    extra_ingress: dict[ObjectName, ExtraIngress] = Field(
        default_factory=dict, max_length=MOST_WAYS, description="ways in, by name"
    )


class AutoscalingSettings(Section):
    """Which autoscaler reads the queue."""

    driver: Literal["keda", "hpa"] = Field(default="keda", description="KEDA, or HPA with prometheus-adapter")
    install: bool = Field(default=True, description="install its operator (KEDA or prometheus-adapter) by Helm")


class CloudNativePgSettings(Section):
    """The CloudNativePG operator, needed only for a database of its kind."""

    install: bool = Field(default=True, description="install it by Helm for gateway.database: {kind: cloudNativePg}")
    namespace: Namespace = Field(default="cnpg-system", description="namespace of the operator, of one that exists too")


class GpuOperatorSettings(Section):
    """The NVIDIA GPU Operator."""

    install: bool = Field(default=True, description="install it by Helm")
    driver: bool | None = Field(default=None, description="let it install the driver; default by platform")
    toolkit: bool | None = Field(default=None, description="let it install the container toolkit; default by platform")
    device_plugin: bool | None = Field(
        default=None,
        description="let it install the device plugin; default by platform, as a node may have one and no more",
    )
    verify_nodes: bool = Field(default=True, description="prove by a Job that the nodes offer the GPUs promised")


class AlertSettings(Section):
    """Thresholds of the alerts."""

    waiting_requests: PositiveInt = Field(default=20, description="requests waiting per model")
    time_to_first_token_s: Annotated[PositiveFloat, Field(le=LONGEST_S)] = Field(
        default=5,
        description="95th percentile, seconds; a histogram edge. Of models that only read, of the whole answer",
    )
    kv_cache_usage: Share = Field(default=0.85, description="share of the KV cache used")


class ObservabilitySettings(Section):
    """Prometheus, Grafana and alerts."""

    install: bool = Field(default=True, description="install kube-prometheus-stack by Helm")
    release: ReleaseName = Field(
        default="kube-prometheus-stack", description="release label its Prometheus selects monitors and rules by"
    )
    namespace: Namespace = Field(default="monitoring", description="namespace of Prometheus and Grafana")
    prometheus_url: Url | None = Field(default=None, description="Prometheus for autoscaling; default: the release's")
    runbook_url: PageUrl = Field(
        default="https://github.com/llm-stack/llm-stack/blob/main/docs/runbook.md",
        description="page the alerts link to; each alert has a section of its name",
    )
    alerts: AlertSettings = Field(default=AlertSettings(), description="thresholds of the alerts")


class LeaderWorkerSetSettings(Section):
    """The LeaderWorkerSet operator, needed only when one replica spans nodes."""

    install: bool = Field(default=True, description="install it by Helm when a model spans nodes")


class ImageOverride(Section):
    """Another version of one image."""

    repository: Repository | None = Field(default=None, description="repository without a tag")
    version: Tag | None = Field(default=None, description="exact version; never a floating tag")
    digest: Sha256 | None = Field(default=None, description="sha256 digest of the image")
    engine_version: Tag | None = Field(
        default=None, description='version of vLLM in it, where its tag does not say it, quoted, e.g. "0.33.0"'
    )


OverriddenImage = Literal[
    "vllm",
    "vllm-cpu",
    "vllm-rocm",
    "vllm-router",
    "litellm",
    "redis",
    "postgres",
    "cloudnative-pg-postgres",
    "open-webui",
    "python",
]


class ImagesSettings(Section):
    """Where images come from and how strictly they are pinned."""

    mirror: RegistryPrefix | None = Field(
        default=None, description="registry prefix that replaces docker.io, ghcr.io … in every image"
    )
    pull_secrets: list[DnsName] = Field(
        default_factory=list,
        max_length=MOST_PULL_SECRETS,
        description="existing Secrets that images are pulled with, in every namespace of the stack",
    )
    pre_pull: bool = Field(
        default=False,
        description="pull the images of servers, and those with weights, onto all GPU nodes that exist, before a "
        "pod needs them there; a node that is bought pulls for its first pod",
    )
    require_digests: bool = Field(default=False, description="refuse images and weights that are not pinned by hash")
    overrides: dict[OverriddenImage, ImageOverride] = Field(
        default_factory=dict, description="other versions of single images"
    )

    @field_validator("pull_secrets")
    @classmethod
    def unique(cls, names: list[str]) -> list[str]:
        """Refuses a Secret named twice."""
        if len(set(names)) != len(names):
            raise ValueError("names a Secret twice")
        return names


class ChartOverride(Section):
    """Another source or version of one chart."""

    chart: ChartSource | None = Field(default=None, description="chart name, oci:// reference or path")
    repository: ChartSource | None = Field(default=None, description="repository URL; empty with oci:// or a path")
    version: Word | None = Field(default=None, description="exact version")
    values: Annotated[dict[str, Any], Field(json_schema_extra={"word": "values of the chart"})] = Field(
        default_factory=dict,
        description="values of the chart, merged over those of the stack as Helm does: mappings merge, lists are "
        "replaced, null takes a value away; never secrets",
    )


class CatalogSettings(Section):
    """Models, GPUs, machine types and prices of your own, in the shape of the project's catalogue (`like` included)."""

    files: list[CatalogFile] = Field(
        default_factory=list,
        max_length=MOST_CATALOG_FILES,
        description="YAML files with `models`, `gpus`, `instances`, `prices`; their paths begin where Pulumi.yaml is",
    )
    models: dict[Word, dict[str, Any]] = Field(
        default_factory=dict, description="entries of models, by Hugging Face repository id"
    )
    gpus: dict[Word, dict[str, Any]] = Field(default_factory=dict, description="entries of GPUs, by their id")
    instances: dict[Word, dict[str, Any]] = Field(
        default_factory=dict, description="entries of machine types, by their name"
    )
    prices: dict[Word, UsdPerHour] = Field(
        default_factory=dict, description="what you pay, USD per hour: of a machine type, or of one GPU by its id"
    )


ChartName = Literal["gpu-operator", "keda", "kube-prometheus-stack", "prometheus-adapter", "lws", "cloudnative-pg"]


class StackSettings(Section):
    """The whole configuration of one stack."""

    cluster: ClusterSettings = Field(description="which cluster")
    gpu_pools: dict[ObjectName, PoolSettings] = Field(
        min_length=1, max_length=MOST_POOLS, description="groups of nodes, by name"
    )
    weights: Annotated[WeightsSettings, BeforeValidator(_usual_weights)] = Field(
        discriminator="kind", description="how model weights reach the pods; a sharedClaim unless kind says otherwise"
    )
    compile_cache: NoCompileCache | ClaimedCompileCache = Field(
        default=NoCompileCache(kind="none"),
        discriminator="kind",
        description="whether what servers compile outlives their pods, so that the next start is faster: none, claim",
    )
    models: dict[ObjectName, ModelSettings] = Field(
        min_length=1,
        max_length=MOST_MODELS,
        description="what is served, by the name of its objects, which clients ask for too where it has no publicName",
    )
    gateway: GatewaySettings = Field(default=GatewaySettings(), description="the OpenAI-compatible endpoint")
    workloads: WorkloadsSettings = Field(
        default=WorkloadsSettings(), description="labels, annotations and priority of all pods that serve"
    )
    network: NetworkSettings = Field(
        default=NetworkSettings(), description="ways that network rules open beyond those that the stack needs"
    )
    autoscaling: AutoscalingSettings = Field(default=AutoscalingSettings(), description="who scales servers")
    cloud_native_pg: CloudNativePgSettings = Field(
        default=CloudNativePgSettings(), description="operator of a Postgres with standbys"
    )
    gpu_operator: GpuOperatorSettings = Field(default=GpuOperatorSettings(), description="drivers and device plugin")
    leader_worker_set: LeaderWorkerSetSettings = Field(
        default=LeaderWorkerSetSettings(), description="operator for models that span nodes"
    )
    observability: ObservabilitySettings = Field(default=ObservabilitySettings(), description="metrics and alerts")
    images: ImagesSettings = Field(default=ImagesSettings(), description="image versions and mirror")
    charts: dict[ChartName, ChartOverride] = Field(default_factory=dict, description="chart versions and mirror")
    overrides: dict[ObjectPath, Annotated[dict[str, Any], Field(json_schema_extra={"word": "patch"})]] = Field(
        default_factory=dict,
        max_length=MOST_MODELS,
        description="last of all, patches over objects of the stack by Kind/name, merged as Kubernetes merges "
        "strategic ones; what the stack promises is refused (docs/yours.md)",
    )
    catalog: CatalogSettings = Field(
        default=CatalogSettings(), description="models, GPUs, machine types and prices of your own"
    )


def public_names(models: Mapping[str, ModelSettings]) -> dict[str, str]:
    """Each key of a model or adapter → the name that clients ask for it by."""
    names: dict[str, str] = {}
    for key, model in models.items():
        names[key] = model.public_name or key
        names |= {name: adapter.public_name or name for name, adapter in model.adapters.items()}
    return names


def all_weights(settings: StackSettings) -> Iterator[tuple[str, WeightsSettings]]:
    """(path, weights) wherever a stack says where weights come from: for itself, and for single models."""
    yield "weights", settings.weights
    for name, model in settings.models.items():
        if model.weights is not None:
            yield f"models.{name}.weights", model.weights


def hub_of(settings: WeightsSettings) -> HubSettings | None:
    """The hub that weights are downloaded from; None: they are there already."""
    match settings:
        case SharedClaimWeights(hub=hub):
            return hub
        case NodeCacheWeights(copied_from=origin):
            return hub_of(origin)
        case ObjectStoreWeights(fill=FillSettings(hub=hub)):
            return hub
        case ExistingClaimWeights() | ImageWeights() | ObjectStoreWeights():
            return None


def takes_token(hub: HubSettings, usual: HubSettings | None) -> bool:
    """A token is for one hub: that of the stack's own weights, or where these have none, Hugging Face itself."""
    if usual is None:
        return (hub.kind, hub.endpoint) == ("huggingface", None)
    return (hub.kind, hub.endpoint) == (usual.kind, usual.endpoint)
