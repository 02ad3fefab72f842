"""Checkpoints: where each is kept, how it gets there, and how a server reads it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from planning.plan.access import CaBundle, Identity, SecretFile, SecretVariable
from planning.plan.flows import Flow
from planning.plan.pods import EgressRule, ImagePlan, JobLimits
from planning.plan.pools import PoolPlan
from planning.plan.proofs import Proof, Signature


@dataclass(frozen=True)
class Hub:
    """The hub's client that downloads weights, and where from.

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
    secrets: tuple[SecretVariable, ...] = ()
    """Variables with the proxy's password."""
    ca_bundle: CaBundle | None = None
    """None: the image's own authorities."""
    takes_token: bool = True
    """Whether the stack's own token is for it, where no Secret is named."""


def distinct(hubs: Iterable[Hub]) -> tuple[Hub, ...]:
    """Each once."""
    return tuple({(hub.kind, hub.endpoint, hub.token_secret): hub for hub in hubs}.values())


@dataclass(frozen=True)
class Fetch:
    """Download of one checkpoint from a hub to its place.

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
    """Where it is filled: what only some nodes can mount, on those of its servers; any other wherever a pod may run."""
    cloned: bool = False
    """Whether servers mount a clone of it, for reading alone, that is made when it is filled."""
    usd_per_gib_month: float | None = None

    @property
    def mounted(self) -> str:
        """The claim that servers mount; the name of a clone says what is in it as that of its origin does."""
        return f"{self.name}-read" if self.cloned else self.name

    @property
    def where(self) -> str:
        """The sentence on the place of such checkpoints."""
        hub, cloned = self.fetch.hub, ", and a clone of it that servers read" if self.cloned else ""
        filled = f"filled from {hub.endpoint or hub.kind}{cloned}"
        return f"a claim per checkpoint on {self.storage_class}, {filled}, kept on destroy"


@dataclass(frozen=True)
class ExistingClaim:
    """Somebody's claim, which holds every checkpoint already: nothing is sized or fetched there."""

    kind: ClassVar = "claim"
    fetch: ClassVar = None
    name: str

    @property
    def where(self) -> str:
        """The sentence on the place of such checkpoints."""
        return f"on the existing claim {self.name}, mounted read-only; it is neither filled nor changed"


@dataclass(frozen=True)
class ObjectStore:
    """A folder of a bucket that holds one checkpoint; `name` is its URL, `bucket` that of all folders.

    `fetch`: how it comes there, None where it is there already; `writer`: the folder as the Job that brings it has it.
    """

    kind: ClassVar = "store"
    name: str
    bucket: str
    fetch: Fetch | None = None
    writer: "Source | None" = None
    usd_per_gib_month: float | None = None
    copied: bool = False
    """Whether pods copy it to a disk of their own, and do not stream it."""

    @property
    def where(self) -> str:
        """The sentence on the place of such checkpoints."""
        hub = self.fetch.hub if self.fetch else None
        filled = f"filled once from {hub.endpoint or hub.kind}, " if hub else ""
        read = "copied" if self.copied else "streamed"
        return f"in {self.bucket}, {filled}{read} as servers start; nothing of them is kept in the cluster"


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
        """The sentence on the place of such checkpoints."""
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
    """A volume of the pod's own on its node's disk, filled before the server starts, as fast as the origin is read."""

    storage_class: str
    gib: int
    mount_path: str
    directory: str
    """Where the checkpoint is in it."""
    mib_per_s: int
    usd_per_gib_month: float | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """All that a server needs of its weights, wherever they are.

    `argument`: what the engine is asked to load, as `load_format` and with `options`; `directory`: where the check
    before it looks; `read_mib_per_s`: how fast one pod reads them, or its `copy` of them.
    """

    argument: str
    directory: str
    script: str = "prewarm_weights"
    """What runs before the engine."""
    load_format: str
    options: tuple[str, ...] = ()
    volume: Volume | None = None
    """None: they are streamed."""
    copy: LocalCopy | None = None
    read_mib_per_s: int
    prewarm: bool
    """Whether they are read into the page cache before the engine starts."""
    buffer_gib_per_gpu: int = 0
    """Memory that streaming takes."""
    shards: tuple[str, ...] = ()
    """Patterns of file names, one a rank, where each has files of its own."""
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[SecretVariable, ...] = ()
    secret_file: SecretFile | None = None
    ca_bundle: CaBundle | None = None
    """None: the image's own authorities."""
    identity: Identity | None = None
    egress: tuple[EgressRule, ...] = ()
    """Where servers may connect to for them."""

    @property
    def engine_environment(self) -> Mapping[str, str]:
        """Variables of the engine: those of the store that it streams from; who copies beforehand has them alone."""
        return self.environment if self.streamed else {}

    @property
    def streamed(self) -> bool:
        """Whether the engine itself reads them from a store, so that they are no files of the pod."""
        return self.volume is None and self.copy is None


@dataclass(frozen=True)
class Adapter:
    """Demands on the files of a LoRA adapter: the base that it names is `base`, and its rank at most `rank`.

    `field`: where a stack says so.
    """

    base: str
    rank: int
    field: str


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
    manifest_sha256: str | None = None
    """The hash of its manifest, where somebody vouched for one."""
    signature: Signature | None = None
    adapter: Adapter | None = None
    """None: weights of a model."""

    @property
    def proof(self) -> Proof | None:
        """The proof that pods of servers need; None where nobody vouched, and where the Job of a claim had it."""
        if self.manifest_sha256 is None or (isinstance(self.place, OwnClaim) and self.source.copy is None):
            return None
        # copies are hashed as they are made, and what is streamed is not there to be hashed
        return Proof(self.manifest_sha256, every_byte=self.source.copy is None and not self.source.streamed)

    @property
    def fetch(self) -> Fetch | None:
        """The download that brings it to its place; None where it is there already."""
        return self.place.fetch


@dataclass(frozen=True)
class WeightsPlan:
    """Every checkpoint that is served, each once."""

    checkpoints: tuple[CheckpointPlan, ...]
    reasons: Mapping[str, str] = field(default_factory=dict)
    flows: tuple[Flow, ...] = ()
    """Ways of the user's for the pods that fetch them."""

    @property
    def hubs(self) -> tuple[Hub, ...]:
        """Hubs that checkpoints are downloaded from, each once."""
        return distinct(checkpoint.fetch.hub for checkpoint in self.checkpoints if checkpoint.fetch)
