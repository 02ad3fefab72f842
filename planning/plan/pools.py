"""Node pools: how pods find their nodes, and what is declared for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from planning.plan.fabrics import FabricPlan
from planning.plan.pods import ImagePlan, JobLimits

# The label of nodes that says whose they are.
POOL_LABEL = "llm-stack.io/pool"
# of the nodes that GKE makes for a ComputeClass, whose name it says
COMPUTE_CLASS_LABEL = "cloud.google.com/compute-class"
# The end of the name of slices of a GPU, as the device plugin calls them (renameByDefault).
SHARED = ".shared"


def gpu_taint(resource: str) -> Mapping[str, str]:
    """The taint of nodes with GPUs of this name."""
    return {"key": resource, "value": "present", "effect": "NoSchedule"}


@dataclass(frozen=True)
class NodeOffer:
    """Capacity of one node for pods, beside GPUs: what the kubelet keeps for the system is taken off."""

    cpus: int = 0
    memory_mib: int = 0
    disk_mib: int = 0
    resources: Mapping[str, str] = field(default_factory=dict)
    """Amounts beside GPUs that one pod asks for, as Kubernetes writes them."""


@dataclass(frozen=True)
class DriverNeed:
    """Drivers that a pool's servers run on, by the first number of their version: from `oldest` on, and the `older`.

    `labels` of nodes, any of which says theirs.
    """

    labels: tuple[str, ...]
    oldest: int
    older: tuple[int, ...] = ()


@dataclass(frozen=True)
class Labelled:
    """Nodes that are found by label, and left as they are; `labels` are those beside what the GPU's kind says."""

    kind: ClassVar = "labelled"
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Shared:
    """Nodes that another stack has, and may buy as they are needed: nothing is declared for them."""

    kind: ClassVar = "shared"
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
class Choice:
    """One choice of those that buy nodes, in order: any of these machine types, in any of these ways.

    Ways are `on-demand`, `reserved` and `spot`. `name`: of what is declared for it, where that is an object of its own;
    of several, that of the greatest `weight` is tried first.
    """

    machine_types: tuple[str, ...]
    capacity_types: tuple[str, ...]
    name: str = ""
    weight: int | None = None


@dataclass(frozen=True)
class NodeClass:
    """An EC2NodeClass of our own. `system_disk`: a volume for the system alone, where the AMI has one.

    `reservations`: terms that select capacity reservations.
    """

    role: str
    discovery_tag: str
    ami_alias: str
    system_disk: Disk | None
    data_disk: Disk
    reservations: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Karpenter:
    """Nodes that Karpenter buys; `node_class` is the name of one that exists, or ours."""

    kind: ClassVar = "karpenter"
    choices: tuple[Choice, ...]
    node_class: str | NodeClass
    limits: Mapping[str, str]
    """The most Karpenter may buy, by resource."""
    empty_for_minutes: int = 10
    """How long a node may stand empty before it goes."""


@dataclass(frozen=True)
class ComputeClass:
    """Nodes that GKE creates; `boot_disk_gb` is None where the disk GKE gives by itself is enough."""

    kind: ClassVar = "computeClass"
    choices: tuple[Choice, ...]
    """Of one machine type and one way each."""
    reservation: str | None
    boot_disk_gb: int | None = None


# Where nodes are made for the pods of the stack.
BOUGHT = (Karpenter, ComputeClass)
# Where a pod may have to wait for a node, and nobody can say beforehand what is on it.
AWAITED = (*BOUGHT, Shared)
Provisioning = Labelled | Existing | Karpenter | ComputeClass | Shared


@dataclass(frozen=True)
class Verification:
    """The Job that proves what nodes offer: its image, and how long one try looks for them."""

    image: ImagePlan
    timeout_s: int
    job: JobLimits


@dataclass(frozen=True)
class MigPlan:
    """Parts that every card of a pool is cut into: by which profile, and how its nodes say so."""

    card: str
    """The id of the card in the catalogue."""
    card_resource: str
    """The name of whole cards, after which their taint is called."""
    profile: str
    strategy: str
    per_card: int
    config: tuple[str, str]
    """Label, and its value, by which nodes are told to cut their cards."""
    cut_by_us: bool
    """Whether the stack gives its nodes that label."""
    labels: Mapping[str, tuple[str, ...]]
    """Label → values, one of which nodes must have: what they are cut into, where the resource does not tell."""
    memory_label: str
    """The label that says the memory of a part, in MiB."""


@dataclass(frozen=True)
class ClaimedDevices:
    """GPUs that each pod of a pool claims: by which class, and what makes a device one of the pool's.

    `attributes` of a device, as its driver publishes it → values, one of which it has, with dashes for spaces.
    """

    device_class: str
    ours: bool
    """Whether the class is the one that the driver brings along."""
    driver: str
    attributes: Mapping[str, tuple[str, ...]]
    driver_version: str
    """The attribute with the version of the kernel's driver."""
    selectors: tuple[str, ...]
    """Conditions in CEL, all of which a device meets: that of the attributes, then the user's."""


@dataclass(frozen=True)
class PoolPlan:
    """One node pool: how pods find its nodes and what must be declared for it."""

    name: str
    on_cluster: str
    """What its nodes are labelled with, and what buys them is called: another for each stack of a cluster."""
    gpu: str
    gpu_name: str
    discovered: Mapping[str, str]
    """Labels that GPU feature discovery writes on its nodes."""
    nodes: int
    gpus_per_node: int
    cpus_per_node: int | None
    memory_gib_per_node: int | None
    resource_name: str | None
    """The name of its GPUs on a node; None: it has none."""
    operator: str | None
    """The chart that brings what offers and labels its GPUs; None: the cluster has that."""
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
    runtime_class: str | None = None
    """That of pods which ask for its GPUs; None: that of the nodes."""
    slices: int = 0
    """Slices of the one card of a node, which pods ask for in place of cards; 0: of whole cards."""
    mig: MigPlan | None = None
    """Parts of cards that pods ask for in place of cards, each as a smaller card; None: of whole cards."""
    claims: ClaimedDevices | None = None
    """Devices that pods claim; None: they ask for so many of `resource_name`."""
    whole_cards: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Label → its values on nodes whose cards, or parts of them, nobody shares; without any, these do not have it."""
    driver: DriverNeed | None = None
    """None: any will do, as far as anybody knows."""
    pod_resources: Mapping[str, str] = field(default_factory=dict)
    """What each pod of a server asks for beside: resource → amount, as Kubernetes writes it."""
    fabric: FabricPlan | None = None
    """The network between its nodes; None: it has no GPUs."""
    needed: NodeOffer = NodeOffer()
    """What every node has to give: what was promised of it, and no less than the largest pod asks for."""
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def gpu_taint(self) -> Mapping[str, str] | None:
        """The taint that keeps other pods off its nodes, where they have GPUs."""
        if self.resource_name is None:
            return None
        return gpu_taint(self.mig.card_resource if self.mig else self.resource_name.removesuffix(SHARED))

    @property
    def gpus(self) -> int:
        """GPUs of the whole pool, or slices of them, as pods ask for."""
        return self.nodes * self.gpus_per_node

    @property
    def cards_per_node(self) -> int:
        """GPUs of a node that servers are placed on: cards, or the parts they are cut into."""
        return 1 if self.slices else self.gpus_per_node

    @property
    def cards(self) -> int:
        """Cards of a node, whole or cut into parts."""
        return self.cards_per_node // (self.mig.per_card if self.mig else 1)

    @property
    def bought(self) -> bool:
        """Whether its nodes are bought when pods wait for them."""
        return isinstance(self.provisioning, BOUGHT)

    @property
    def awaited(self) -> bool:
        """Whether a pod may have to wait for one of its nodes."""
        return isinstance(self.provisioning, AWAITED)

    @property
    def spot(self) -> bool:
        """Whether its nodes may be taken back at any time."""
        match self.provisioning:
            case Karpenter(choices=choices) | ComputeClass(choices=choices):
                return any("spot" in choice.capacity_types for choice in choices)
            case _:
                return False

    @property
    def unit(self) -> str:
        """The word for one of those that pods ask for."""
        return "slice" if self.slices or self.mig else "GPU" if self.gpus else "CPU core"


@dataclass(frozen=True)
class PrePull:
    """Images that all nodes of a pool have before a pod needs them: of `containers`, and as `volumes` with weights."""

    pool: PoolPlan
    containers: tuple[ImagePlan, ...]
    volumes: tuple[str, ...]
