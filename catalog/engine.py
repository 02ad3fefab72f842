"""The shape of a file of `engines/`: what exactly one version of a program accepts and exports."""

from collections.abc import Mapping
from datetime import date

from pydantic import BaseModel, ConfigDict, Field, field_validator

from catalog.schema import Metric


class ExportedMetric(Metric):
    """A metric of an engine file, which may say more: when it appears, its unit, the values its labels take.

    `multiprocess_labels`: those it has besides when its processes keep their metrics in files (LiteLLM).
    """

    model_config = ConfigDict(extra="allow")

    multiprocess_labels: list[str] = Field(default_factory=list)


class Health(BaseModel):
    """Address and key of a server of this program; further keys are for readers.

    `api_key_env` and `address_env`: variables of its key, and of the pod's address where one replica spans nodes.
    `litellm_provider`: how LiteLLM calls such a server.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    path: str = ""
    port: int = 0
    api_key_env: str = ""
    address_env: str = ""
    litellm_provider: str = ""
    metrics_path: str = ""


class Uncompiled(BaseModel):
    """Options and variables that change nothing of what an engine compiles."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    options: frozenset[str] = frozenset()
    variables: frozenset[str] = frozenset()


class Loading(BaseModel):
    """Load formats of a server: of `files` in a folder, and of what is `streamed` from a bucket.

    `memory_limit` and `distributed`: what its streamer calls the bytes that it may buffer, and that the workers of a
    replica share the reading; `variables`: how the names of those begin that the streamer reads. `sharded`: the format
    of files of each rank, in buckets with `sharded_schemes`, whose loader has `memory_variable` for the limit;
    `shards`: names of a rank's files, and `stage_shards` where there are pipeline stages.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: str = ""
    streamed: str = ""
    memory_limit: str = ""
    distributed: str = ""
    variables: str = ""
    sharded: str = ""
    sharded_schemes: frozenset[str] = frozenset()
    memory_variable: str = ""
    shards: str = ""
    stage_shards: str = ""


class AnyDelta(BaseModel):
    """Parsers of a server that are right however many tokens of a stream come to them at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tool_call_parsers: frozenset[str] = frozenset()
    reasoning_parsers: frozenset[str] = frozenset()


class CpuCost(BaseModel):
    """Milliseconds of CPU of a gateway for an answer given whole, for a streamed one, and for each chunk of that."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chat_ms: float = Field(gt=0)
    stream_ms: float = Field(gt=0)
    chunk_ms: float = Field(gt=0)


class CpuCosts(BaseModel):
    """The cost of a gateway whose one key is in a file, and of one with a `database` of virtual keys.

    `measured`: the day; `loop_s`: CPU seconds that `benchmarks.gateway.loop_s` took on that machine, to compare others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    measured: date
    loop_s: float = Field(gt=0)
    plain: CpuCost
    database: CpuCost


class Engine(BaseModel):
    """One file of `engines/`: what exactly one version of a program accepts and exports. Its head says where from.

    Files have what their program has, so every field but the first two may be empty, and further keys are kept as
    attributes. `options`: long name → kind, type, choices, aliases. `removed_options`: name → what to use instead.
    `metrics`: by scraped name; `roles`: what is asked for → the metric that says it;
    `variables`: what is said → the variable. `tasks`: what a model is for →
    options it is started with.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    engine: str
    version: str
    source: Mapping[str, object] = {}
    options: Mapping[str, Mapping[str, object]] = {}
    removed_options: Mapping[str, str] = {}
    reasoning_parsers: list[str] = []
    tool_call_parsers: list[str] = []
    load_formats: list[str] = []
    kv_cache_dtypes: list[str] = []
    tokenizer_modes: list[str] = []
    metrics: Mapping[str, ExportedMetric] = {}
    roles: Mapping[str, str] = {}
    loading: Loading = Loading()
    variables: Mapping[str, str] = {}
    uncompiled: Uncompiled = Uncompiled()
    any_delta: AnyDelta = AnyDelta()
    cpu: CpuCosts | None = None
    tasks: Mapping[str, list[str]] = {}
    router_settings: list[str] = []
    general_settings: list[str] = []
    litellm_settings: list[str] = []
    litellm_params: list[str] = []
    defaults: Mapping[str, object] = {}
    health: Health = Health()
    newest_minor: int = 0
    environment: Mapping[str, object] = {}

    @field_validator("metrics", mode="before")
    @classmethod
    def _metrics_by_name(cls, value: object) -> object:
        return _by_name(value)

    @field_validator("removed_options", mode="before")
    @classmethod
    def _successor_by_name(cls, value: object) -> object:
        named = _by_name(value)
        if not isinstance(value, list) or not isinstance(named, dict):
            return named
        return {name: change.get("use") for name, change in named.items()}


def _by_name(value: object) -> object:
    """Turn a list of mappings with `name`, as the engine files have them, into a mapping by that name."""
    if not isinstance(value, list):
        return value
    named = {entry["name"]: entry for entry in value if isinstance(entry, dict) and "name" in entry}
    if len(named) != len(value):
        raise ValueError("every item needs a name, and each name once")
    return named
