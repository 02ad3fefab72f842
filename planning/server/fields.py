"""Settings that are options of the engine: written as its arguments, so that both ways of a word are counted alike."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from catalog.engine import Engine
from catalog.schema import Model
from planning.capacity import flags
from planning.capacity.options import plain, read_options
from planning.plan.pools import PoolPlan
from planning.plan.weights import CheckpointPlan
from planning.server.adapters import plan_adapters, slot_args
from planning.server.fit import Site
from planning.server.speculative import plan_draft, speculative_args
from settings.problems import Problem
from settings.schema import ModelSettings

# References to variables, and what stands for a $ (Kubernetes, third_party/forked/golang/expansion).
CHANGED_IN_ARGUMENTS = re.compile(r"\$[$(]")
# Options of a field that, said twice, would contradict each other or be lost.
SPECULATIVE = (flags.SPECULATIVE_CONFIG, flags.SPEC_METHOD, flags.SPEC_MODEL, flags.SPEC_TOKENS)


@dataclass(frozen=True)
class Beside:
    """Checkpoints that are loaded beside the weights; adapters by their public names."""

    draft: CheckpointPlan | None
    adapters: Mapping[str, CheckpointPlan]

    @property
    def checkpoints(self) -> tuple[CheckpointPlan, ...]:
        """All of them."""
        return (*([self.draft] if self.draft else []), *self.adapters.values())


def plan_beside(
    site: Site, path: str, settings: ModelSettings, model: Model, pool: PoolPlan, *, canary: bool
) -> tuple[Beside, list[Problem]]:
    """Everything beside the weights of a server, or of a canary with the settings of that."""
    draft, unguessed = plan_draft(site, path, settings, pool, canary=canary)
    engine = site.catalog.vllm
    plainly = settings.model_copy(update={"args": plain(read_options(settings.args, engine), engine)})
    adapters, unloaded = plan_adapters(site, path, plainly, model, pool, canary=canary)
    return Beside(draft, adapters), unguessed + unloaded


def with_fields(settings: ModelSettings, engine: Engine, draft: CheckpointPlan | None) -> ModelSettings:
    """The settings with the arguments that their fields stand for, before those that were written."""
    offload = [f"{flags.KV_OFFLOADING_SIZE}={settings.kv_offload.gib:g}"] if settings.kv_offload else []
    template = [f"{flags.CHAT_TEMPLATE}={settings.chat_template}"] if settings.chat_template else []
    fields = [*speculative_args(settings.speculative, draft), *offload, *slot_args(settings, engine), *template]
    return settings.model_copy(update={"args": [*fields, *settings.args]})


def said_twice(settings: ModelSettings, engine: Engine) -> dict[str, str]:
    """Options among the arguments of a model that a field of it says already → the field."""
    fields = {name: "speculative" for name in SPECULATIVE if settings.speculative}
    fields |= {flags.KV_OFFLOADING_SIZE: "kvOffload"} if settings.kv_offload else {}
    fields |= {flags.CHAT_TEMPLATE: "chatTemplate"} if settings.chat_template else {}
    return {name: fields[name] for name in read_options(settings.args, engine) if name in fields}


def field_problems(settings: ModelSettings, engine: Engine, path: str) -> Iterator[Problem]:
    """A problem for each of them."""
    options = read_options(settings.args, engine)
    for name, field in said_twice(settings, engine).items():
        yield Problem(f"{path}.args", f"{options[name].written} is decided by {field}; leave one of them out")
    if settings.chat_template and CHANGED_IN_ARGUMENTS.search(settings.chat_template):
        yield Problem(f"{path}.chatTemplate", "holds $$ or $(, which Kubernetes changes in arguments; write {{ '$' }}")
