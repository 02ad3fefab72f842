"""The fit of one model on the GPUs of a pool, as its user asks for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from catalog.devices import Devices
from catalog.engine import Engine
from catalog.load import Catalog
from catalog.schema import Gpu, Model
from planning.capacity import flags
from planning.capacity.asked import NO_DEVICES
from planning.capacity.budget import Parallelism
from planning.capacity.flags import decode_context, json_value
from planning.capacity.memory import Workload
from planning.capacity.parallelism import Fit, Hardware, choose, try_fit, with_longest_context
from planning.capacity.reason import Reason
from planning.plan.flows import Flow
from planning.plan.pods import ImagePlan
from planning.plan.pools import PoolPlan
from planning.stack.flows import model_flows
from planning.stack.places import Keeping
from planning.stack.weights import vouched_hashes
from settings.doubt import aside
from settings.scalars import MOST_TOKENS
from settings.schema import ModelSettings, StackSettings


@dataclass(frozen=True)
class Site:
    """Everything that servers are planned with."""

    settings: StackSettings
    catalog: Catalog
    pools: Mapping[str, PoolPlan]
    images: Mapping[str, ImagePlan]

    def running(self, image: ImagePlan) -> tuple[Self, Engine]:
        """The same for the vLLM that is in this image, and its facts."""
        catalog = self.catalog.running("vllm", image.engine)
        return replace(self, catalog=catalog), catalog.vllm

    def opened(self, path: str) -> Callable[[], tuple[Flow, ...]]:
        """The ways of the servers of the model at `path`, for whoever asks: they may be in doubt."""
        model = path.removeprefix("models.").removesuffix(".canary")
        return lambda: model_flows(self.settings, model, self.catalog.networks)

    @property
    def keeping(self) -> Keeping:
        """Everything that checkpoints are planned with."""
        settings, images = self.settings, self.images
        with aside():
            vouched = vouched_hashes(settings)
        return Keeping(
            settings.weights,
            self.catalog,
            settings.cluster,
            images["vllm-cpu"],
            images["vllm"],
            vouched=vouched,
        )


def devices_of(site: Site, settings: ModelSettings, gpu: Gpu) -> Devices:
    """The rules of this GPU's vendor; of an image of one's own, whoever built it knows for which cards."""
    devices = site.catalog.vllm.devices.get(gpu.vendor, NO_DEVICES)
    return devices.model_copy(update={"built_for": None}) if settings.image is not None else devices


def stretch_context(model: Model, settings: ModelSettings) -> Model:
    """The model with the longer context that an `--hf-overrides` of the user gives it."""
    length = max((_overridden_length(argument) for argument in settings.args), default=0)
    if settings.context_tokens is None or not model.context.config_tokens < settings.context_tokens <= length:
        return model
    return model.model_copy(update={"context": model.context.model_copy(update={"config_tokens": length})})


def _overridden_length(argument: str) -> int:
    """The `max_position_embeddings` in a JSON argument; a RoPE factor alone does not lengthen what vLLM allows."""
    try:
        values = json_value(argument.removeprefix(f"{flags.HF_OVERRIDES}="))
    except ValueError:
        return 0
    parts = [values, values.get("text_config")] if isinstance(values, dict) else []
    lengths = [part.get("max_position_embeddings") for part in parts if isinstance(part, dict)]
    return max((length for length in lengths if isinstance(length, int) and length <= MOST_TOKENS), default=0)


def has_nvlink(site: Site, pool: PoolPlan, gpu: Gpu) -> bool:
    """Whether GPUs of one node of the pool are linked, as the type has it or the user says."""
    link = site.settings.gpu_pools[pool.name].gpu_link
    return gpu.nvlink_gb_per_s > 0 if link == "auto" else link == "nvlink"


def hardware_of(site: Site, pool: PoolPlan, gpu: Gpu) -> Hardware:
    """The GPUs that one replica may use: those of the pool, or one part where its cards are cut into some."""
    if pool.mig:
        return Hardware(gpu, 1, 1, nvlink=False)
    return Hardware(gpu, pool.cards_per_node, pool.nodes, has_nvlink(site, pool, gpu))


def explicit_parallelism(settings: ModelSettings) -> Parallelism | None:
    """The parallelism of the settings; what is left out beside it is 1, as in vLLM. None: ours to choose."""
    parts = (settings.tensor_parallel, settings.pipeline_parallel, settings.data_parallel)
    if all(part is None for part in parts):
        return None
    tensor, pipeline, data = (part or 1 for part in parts)
    return Parallelism(tensor, pipeline, data, bool(settings.expert_parallel), decode_context(settings.args))


def fit_as_asked(model: Model, hardware: Hardware, settings: ModelSettings, workload: Workload) -> Fit:
    """The parallelism that was asked for, or else the cheapest; the context too."""
    explicit, auto = explicit_parallelism(settings), settings.context_tokens is None
    if explicit is None:
        return choose(model, hardware, workload, auto_context=auto, expert=bool(settings.expert_parallel))
    return spread_as_asked(model, hardware, explicit, workload, auto_context=auto)


def spread_as_asked(
    model: Model, hardware: Hardware, spread: Parallelism, workload: Workload, *, auto_context: bool
) -> Fit:
    """The fit of one given parallelism; with `auto_context` that of the longest context it holds."""
    if reason := spread_problem(spread, hardware):
        return Fit(spread, None, (Reason(reason),))
    if auto_context:
        return with_longest_context(model, hardware, spread, workload)
    return try_fit(model, hardware, spread, workload)


def spread_problem(explicit: Parallelism, hardware: Hardware) -> str | None:
    """The reason why a given parallelism cannot be cut into nodes, whatever the memory."""
    if explicit.tensor > hardware.gpus_per_node:
        return f"tensorParallel {explicit.tensor} does not fit into a node of {hardware.gpus_per_node} GPUs"
    cut = explicit.gpus % hardware.gpus_per_node or hardware.gpus_per_node % explicit.tensor
    if explicit.gpus > hardware.gpus_per_node and cut:
        return f"{explicit} ({explicit.gpus} GPUs) does not divide into whole nodes of {hardware.gpus_per_node} GPUs"
    return None
