"""The shape of a file of `engines/`: what exactly one version of a program accepts and exports."""

import re
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from catalog.content import Content
from catalog.devices import Devices
from catalog.schema import Metric, VendorName, WeightFormat
from catalog.slices import Slices
from catalog.versions import by_name


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


class Effect(StrEnum):
    """Consequences of an option for whoever plans a server with it.

    `nothing` that matters there; `counted` in the sum of the memory; `uncounted`: it changes that sum, and nobody knows
    by how much; `host`: the same of the memory of the pod; `files` and `network`: it needs some that no server has;
    `risky`: it works, and opens a door; `never`: with it nothing works; `planned`: a setting decides it.
    """

    NOTHING = "nothing"
    COUNTED = "counted"
    UNCOUNTED = "uncounted"
    HOST = "host"
    FILES = "files"
    NETWORK = "network"
    RISKY = "risky"
    NEVER = "never"
    PLANNED = "planned"


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


class Case(BaseModel):
    """An effect, and `why`: the end of the sentence that says so; `then`: another one, once it has the network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    effect: Effect
    why: str = ""
    then: "Case | None" = None

    @model_validator(mode="after")
    def _explained(self) -> Self:
        if self.effect is not Effect.NOTHING and not self.why:
            raise ValueError(f"effect {self.effect} needs why")
        return self


class ValueCase(Case):
    """The effect of values that have something `like` this regular expression in them."""

    like: Annotated[str, AfterValidator(_pattern)]


class Option(Case):
    """One option of a command line; the head of its file says how to read it.

    Its default has no effect, nor has a value of `unless`; others have that of the first of `when` they are like, or
    else its own. What is `planned` is so whatever the value, which would come after the plan's own. Flags are `true`
    and `false`, JSON is as Python writes it.
    """

    kind: Literal["flag", "value", "optional-value"]
    type: str = ""
    choices: list[str | int] = []
    suggested: list[str | int] = []
    aliases: list[str] = []
    hidden: list[str] = []
    negative: str = ""
    default: bool | int | float | str | None = None
    nargs: str = ""
    repeat: bool = False
    deprecated: str = ""
    unless: frozenset[str] = frozenset()
    when: tuple[ValueCase, ...] = ()

    @property
    def spellings(self) -> list[str]:
        """Every spelling but its name; those that switch it off among them."""
        return [*self.aliases, *self.hidden, *([self.negative] if self.negative else [])]

    def case_of(self, value: str) -> Case:
        """The effect of this value."""
        if self.effect is Effect.PLANNED:
            return self
        # None where vLLM chooses, which no argument says; 0.0 is 0
        usual = str(self.default).lower() if isinstance(self.default, bool) else str(self.default)
        if value in self.unless or _number(value) == _number(usual):
            return NO_EFFECT
        return next((case for case in self.when if re.search(case.like, value)), self)


NO_EFFECT = Case(effect=Effect.NOTHING)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


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


class Quantizations(BaseModel):
    """Methods of quantisation: what each makes of bf16 weights while they are loaded, and those of each format.

    `online`: method → the format whose size the weights then have; `own`: format → methods that read such a checkpoint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    online: Mapping[str, WeightFormat] = {}
    own: Mapping[WeightFormat, frozenset[str]] = {}


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

    Of a program there may be a file for each of several versions (`catalog.versions`).
    Files have what their program has, so every field but the first two may be empty, and further keys are kept as
    attributes. `options`: by long name.
    `contents`: of those that take JSON, what it holds. `removed_options`: name → what to use instead.
    `chat_options`: those that mean something to models that chat alone.
    `metrics`: by scraped name; `roles`: what is asked for → the metric that says it;
    `variables`: what is said → the variable. `tasks`: what a model is for → options it is started with.
    `no_loras`: families of models that it loads no adapters for. `writing_options` and `cache_options`: those of
    servers that write tokens, and of those that keep a KV cache.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    engine: str
    version: str
    source: Mapping[str, object] = {}
    options: Mapping[str, Option] = {}
    contents: Mapping[str, Content] = {}
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
    devices: Mapping[VendorName, Devices] = {}
    quantizations: Quantizations = Quantizations()
    slices: Mapping[WeightFormat, Slices] = {}
    no_loras: frozenset[str] = frozenset()
    cpu: CpuCosts | None = None
    tasks: Mapping[str, list[str]] = {}
    chat_options: frozenset[str] = frozenset()
    writing_options: frozenset[str] = frozenset()
    cache_options: frozenset[str] = frozenset()
    router_settings: list[str] = []
    general_settings: list[str] = []
    litellm_settings: list[str] = []
    litellm_params: list[str] = []
    setting_types: Mapping[str, Mapping[str, object]] = {}
    defaults: Mapping[str, object] = {}
    health: Health = Health()
    newest_minor: int = 0
    claims_minor: int = 0
    environment: Mapping[str, object] = {}

    @cached_property
    def spellings(self) -> Mapping[str, str]:
        """Every spelling of every option → its long name."""
        return {spelling: name for name, option in self.options.items() for spelling in (name, *option.spellings)}

    @field_validator("metrics", mode="before")
    @classmethod
    def _metrics_by_name(cls, value: object) -> object:
        return by_name(value)

    @field_validator("removed_options", mode="before")
    @classmethod
    def _successor_by_name(cls, value: object) -> object:
        named = by_name(value)
        if not isinstance(named, dict):
            return named
        return {name: change["use"] if isinstance(change, dict) else change for name, change in named.items()}
