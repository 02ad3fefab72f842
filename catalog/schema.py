"""The shape of a catalogue entry: what is known about models, GPUs, instances, images and charts.

Owns the types only. The facts are data in the YAML files beside this module, each with its source; reading them is
`catalog.load`; deciding anything from them is `planning`.
"""

from enum import StrEnum
from functools import cache
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from catalog.architecture import Architecture, ModelPart
from catalog.entry import Count, Entry
from catalog.mig import Mig


@cache
def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


class TaskName(StrEnum):
    """Purpose of a model; what follows from it is a row of `planning.tasks`."""

    GENERATE = "generate"
    EMBED = "embed"
    RERANK = "rerank"
    TRANSCRIBE = "transcribe"


class KvProfile(StrEnum):
    """Growth of a model's KV cache; `unknown`: never computed, only measured; `none`: the model has no cache.

    The last is that of encoders, which compute all tokens of a request in one step.
    """

    GQA = "gqa"
    MLA = "mla"
    HYBRID = "hybrid"
    NONE = "none"
    UNKNOWN = "unknown"


class WeightFormat(StrEnum):
    """Storage of a checkpoint's linear weights; embeddings, norms and routers stay bf16 in all of them."""

    BF16 = "bf16"
    FP8_BLOCK128 = "fp8-block128"
    FP8_CHANNEL = "fp8-channel"
    AWQ_INT4 = "awq-int4"
    GPTQ_INT4 = "gptq-int4"
    NVFP4 = "nvfp4"
    MXFP4 = "mxfp4"
    MIXED = "mixed"


class Context(Entry):
    """Context lengths in tokens. `config_tokens` is what vLLM derives and refuses to exceed without an override."""

    native_tokens: Count
    config_tokens: Count
    yarn_tokens: Count | None = None


class Checkpoint(Entry):
    """The files. `loaded_bytes` is what vLLM puts on the GPUs in all (no MTP layers); None: counted from the shape.

    `parts`: those whose format is another one than that of the rest. `method`: `quant_method` of its `config.json`,
    where vLLM loads the same format by other rules than those of its usual one. `group_size`: of int4; 0: a scale is
    for all of an input (-1 in files).
    """

    format: WeightFormat
    method: Literal["compressed-tensors"] | None = None
    parts: dict[ModelPart, WeightFormat] = Field(default_factory=dict)
    group_size: Annotated[int, Field(ge=0)] | None = None
    loaded_bytes: Count | None = None
    disk_bytes: Count | None = None


class Serving(Entry):
    """Names vLLM's own registries know; checked against the engine file.

    `overrides`: of the checkpoint's `config.json`, without which it is not what it is for. `pair_template`: Jinja, of a
    reranker's question and document, where the checkpoint brings none.
    """

    reasoning_parser: str | None = None
    tool_call_parser: str | None = None
    tokenizer_mode: str | None = None
    kv_cache_dtype: str | None = None
    language_model_only: bool = False
    overrides: dict[str, object] = Field(default_factory=dict)
    pair_template: str | None = None


class Model(Entry):
    """One Hugging Face checkpoint; the key in `models.yaml` is its repository id.

    `conversion`: the hub's own conversion to safetensors, of a repository that has pickles only beside it.
    """

    family: str
    license: str
    task: TaskName = TaskName.GENERATE
    kv_profile: KvProfile
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    manifest_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    conversion: Annotated[str, Field(pattern=r"^refs/pr/[0-9]+$")] | None = None
    gated: bool = False
    parameters: Count | None = None
    active_parameters: Count | None = None
    architecture: Architecture | None = None
    context: Context
    checkpoint: Checkpoint
    serving: Serving = Serving()
    min_vllm: str | None = None
    note: str | None = None
    sources: Annotated[list[str], Field(min_length=1)]


class VendorName(StrEnum):
    """Maker of an accelerator; what follows from it is a row of `vendors` in `gpus.yaml`."""

    NVIDIA = "nvidia"
    AMD = "amd"


class Gpu(Entry):
    """One accelerator type; the key in `gpus.yaml` is its id, e.g. `nvidia-a10`.

    `memory_mib` is the total of the vendor's tool (with NVIDIA, the label GPU feature discovery sets); `cuda_gib` is
    what vLLM sees and multiplies by its utilisation; None: not measured anywhere we know of, and then derived with the
    margin seen on its kin. `compute_capability` is NVIDIA's, `gfx_target` AMD's name for the same.
    `unified_memory`: it is the memory of the CPU as well, and `memory_mib` is all of both.
    `gpus_per_node` is given where a node never has eight, because the GPU is soldered to a board with its CPU.
    `usd_per_hour` is what its owner says one costs; without it the cheapest machine type that has it says so.
    `mig`: what it can be cut into; None: into nothing, as far as anybody knows.
    """

    name: str
    vendor: VendorName = VendorName.NVIDIA
    product_labels: Annotated[list[str], Field(min_length=1)]
    memory_mib: Count
    cuda_gib: float | None = None
    compute_capability: Annotated[str, Field(pattern=r"^\d+\.\d$")] | None = None
    gfx_target: Annotated[str, Field(pattern=r"^gfx[0-9a-f]{3,4}$")] | None = None
    unified_memory: bool = False
    memory_gb_per_s: Count | None = None
    bf16_tflops: float | None = None
    nvlink_gb_per_s: Annotated[int, Field(ge=0)] = 0
    priced_like: str | None = None
    usd_per_hour: Annotated[float, Field(gt=0)] | None = None
    gpus_per_node: Count | None = None
    mig: Mig | None = None
    sources: Annotated[list[str], Field(min_length=1)]

    @model_validator(mode="after")
    def has_target(self) -> Self:
        """Kernels are built for a target, which every vendor calls by another name."""
        targets = {VendorName.NVIDIA: self.compute_capability, VendorName.AMD: self.gfx_target}
        if targets.pop(self.vendor) is None or any(targets.values()):
            key = "computeCapability" if self.vendor is VendorName.NVIDIA else "gfxTarget"
            raise ValueError(f"a GPU of {self.vendor} has {key}, and no other vendor's name for it")
        return self

    @property
    def capability(self) -> tuple[int, int]:
        """NVIDIA's compute capability, by which vLLM chooses kernels; (0, 0) where there is none."""
        return _version(self.compute_capability or "0.0")

    def is_below(self, floor: float) -> bool:
        """Whether it is NVIDIA's and of a lower compute capability, 8.9 for example; other vendors' have none."""
        major, minor = self.capability
        return self.compute_capability is not None and major + minor / 10 < floor

    @property
    def target(self) -> str:
        """The name of what kernels are built for, as a sentence has it."""
        return self.gfx_target or f"compute capability {self.compute_capability}"


class CpuCore(Entry):
    """One core of a CPU node as Kubernetes counts them: list price of it and of a GiB, and its share of the speed."""

    usd_per_hour: Annotated[float, Field(gt=0)]
    usd_per_gib_hour: Annotated[float, Field(gt=0)]
    memory_gb_per_s: Annotated[float, Field(gt=0)]
    tflops: Annotated[float, Field(gt=0)]
    sources: Annotated[list[str], Field(min_length=1)]


class Instance(Entry):
    """One cloud machine type; `usd_per_hour` is on demand, in the region its source names.

    `efa_cards`: network cards with AWS's Elastic Fabric Adapter; None: there are none.
    """

    gpu: str
    gpus: Count
    vcpus: Count | None = None
    memory_gib: Count | None = None
    efa_cards: Count | None = None
    usd_per_hour: float | None = None
    sources: Annotated[list[str], Field(min_length=1)]


class Image(Entry):
    """One container image: repository without a tag, exact version, digest when somebody has read it."""

    repository: str
    version: str
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    uid: Annotated[int, Field(ge=1)]
    gid: Annotated[int, Field(ge=0)]
    sources: Annotated[list[str], Field(min_length=1)]


class KnownBad(Entry):
    """Versions of images or charts that are refused or warned of; the head of `known-bad.yaml` explains the fields."""

    of: Annotated[list[str], Field(min_length=1)]
    versions: list[Annotated[str, Field(pattern=r"^\d+(\.\d+)*(\.\*)?$")]] = Field(default_factory=list)
    below: list[Annotated[str, Field(pattern=r"^\d+(\.\d+)+$")]] = Field(default_factory=list)
    severity: Literal["refuse", "warn"] = "refuse"
    reason: str
    use: str | None = None
    sources: Annotated[list[str], Field(min_length=1)]

    @model_validator(mode="after")
    def says_which(self) -> Self:
        """A row that names no version would never be seen, and one without a floor offers nothing by itself."""
        if not self.versions and not self.below:
            raise ValueError("needs versions or below")
        if self.versions and not self.use:
            raise ValueError("versions need use, the version to take instead")
        return self


class TakenNamespace(Entry):
    """A namespace, or all whose names begin with `prefix`, that belongs to somebody: `owner` completes "is …"."""

    name: str | None = None
    prefix: str | None = None
    owner: str
    sources: Annotated[list[str], Field(min_length=1)]

    def has(self, namespace: str) -> bool:
        """Whether this namespace is the one, or one of those, that is meant."""
        return namespace == self.name or (self.prefix is not None and namespace.startswith(self.prefix))


class MetadataService(Entry):
    """Addresses and names of a service that hands out credentials to whoever reaches it."""

    cidrs: Annotated[list[str], Field(min_length=1)]
    names: list[str] = Field(default_factory=list)
    of: str
    sources: Annotated[list[str], Field(min_length=1)]


class Network(Entry):
    """A block of addresses, and what it is for."""

    cidr: str
    of: str
    sources: Annotated[list[str], Field(min_length=1)]


class PublicEnds(Entry):
    """Last parts of names that are on the internet."""

    names: list[str]
    sources: Annotated[list[str], Field(min_length=1)]


class Networks(Entry):
    """Networks that a rule for everywhere leaves out, and names on the internet; see `networks.yaml`."""

    metadata_services: Annotated[list[MetadataService], Field(min_length=1)]
    never_hubs: Annotated[list[Network], Field(min_length=1)]
    private_networks: Annotated[list[Network], Field(min_length=1)]
    public_ends: PublicEnds


class Metric(Entry):
    """One exported time series family: `name` as scraped (histograms without their suffix), its labels and edges."""

    name: str
    type: str
    labels: list[str]
    buckets: list[float] | str | None = None
