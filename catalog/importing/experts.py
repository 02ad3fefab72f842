"""Feed-forward layers: dense ones, experts, what all tokens share; and which layers have which."""

from collections.abc import Callable

from catalog.architecture import MixtureOfExperts
from catalog.importing.config import Config
from catalog.importing.windows import pattern_of

EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_k", "top_k_experts", "moe_topk")

# Layers with a dense feed-forward, of so many.
Dense = Callable[[Config, int], int]


def none_dense(_: Config, __: int) -> int:
    """Every layer has experts."""
    return 0


def first_dense(config: Config, layers: int) -> int:
    """The first few, and all but each so manieth where that is said, as a number or a mark per layer."""
    words = config.words("mlp_layer_types")
    if len(words) == layers:
        return words.count("dense")
    first, step = config.whole("first_k_dense_replace", least=0) or 0, config.get("moe_layer_freq")
    if isinstance(step, list):
        return sum(1 for mark in step if not mark)
    step = step if isinstance(step, int) and step > 0 else 1
    return sum(1 for layer in range(layers) if layer < first or layer % step)


def each_step(config: Config, layers: int) -> int:
    """Qwen: each `decoder_sparse_step` has experts, but those that are listed as dense."""
    step = config.whole("decoder_sparse_step") or 1
    listed = config.get("mlp_only_layers")
    dense = set(listed) if isinstance(listed, list) else set()
    return sum(1 for layer in range(layers) if layer in dense or (layer + 1) % step)


def interleaved(config: Config, layers: int) -> int:
    """Llama 4: each `interleave_moe_layer_step` has experts."""
    step = config.whole("interleave_moe_layer_step", least=0)
    step = 1 if step is None else step
    return sum(1 for layer in range(layers) if not step or (layer + 1) % step)


def between(config: Config, layers: int) -> int:
    """Ernie 4.5: from one layer to another, each so manieth."""
    start, end = config.whole("moe_layer_start_index", least=0) or 0, config.whole("moe_layer_end_index", least=0)
    last, step = layers - 1 if end is None else end, config.whole("moe_layer_interval") or 1
    return sum(1 for layer in range(layers) if not (start <= layer <= last) or (layer + 1) % step)


def marked(config: Config, layers: int) -> int:
    """MiMo V2: a mark per layer."""
    return first_dense(config, layers)


# Inner size of what all tokens share: of one expert that they all have, times their number.
Shared = Callable[[Config, int], int]


def counted(config: Config, inner: int) -> int:
    """So many shared experts, each like a routed one."""
    return (config.whole("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", least=0) or 0) * inner


def sized(config: Config, _: int) -> int:
    """A size of its own."""
    return config.whole("shared_expert_intermediate_size", "shared_intermediate_size", least=0) or 0


def as_inner(_: Config, inner: int) -> int:
    """One expert like the routed ones."""
    return inner


def beside(config: Config, _: int) -> int:
    """Gemma 4: a dense feed-forward beside the experts of each layer."""
    return config.need("intermediate_size")


def no_shared(_: Config, __: int) -> int:
    """None."""
    return 0


def sized_times(config: Config, _: int) -> int:
    """Nemotron-H: a size of its own, times their number."""
    count = config.whole("n_shared_experts", least=0) or 0
    return count * config.need("moe_shared_expert_intermediate_size") if count else 0


def experts(config: Config, layers: int, inner_name: str, dense: Dense, shared: Shared) -> MixtureOfExperts | None:
    """The experts of a model; None: it has none. `inner_name`: the key of their inner size."""
    if not config.get(*EXPERTS) or not config.whole(*EXPERTS, least=0):
        return None
    inner = config.need(inner_name)
    return MixtureOfExperts(
        experts=config.need(*EXPERTS),
        experts_per_token=config.need(*CHOSEN),
        intermediate_size=inner,
        shared_intermediate_size=shared(config, inner),
        dense_layers=dense(config, layers),
        hidden_size=config.whole("moe_latent_size"),
    )


def feed_forward_layers(config: Config) -> int:
    """Layers of a Nemotron-H that have a feed-forward: dense ones and those with experts."""
    return sum(1 for letter in pattern_of(config) if letter in "-E")


def letters_dense(config: Config, _: int) -> int:
    """Dense ones of a Nemotron-H."""
    return pattern_of(config).count("-")
