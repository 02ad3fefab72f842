"""Context lengths from `config.json`, as vLLM 0.33.0 derives them (config/model.py, _get_and_verify_max_len)."""

from collections.abc import Iterator, Mapping

from catalog.importing.config import Config
from catalog.schema import Context

# Lengths in a configuration, all of which limit (transformers_utils/model_arch_config_convertor.py).
LENGTHS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
# Kinds of RoPE whose factor is in the length already, or is not applied to it.
SCALED = ("su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling")


def context(text: Config, unused: int = 0) -> Context:
    """Native and served length; YaRN that the file does not switch on is a promise of the card, and unknown here.

    `unused`: positions of the file that no token has.
    """
    lengths = [length for name in LENGTHS if (length := text.whole(name)) is not None]
    if not lengths:
        text.miss("max_position_embeddings", "is not there")
    longest = max(min(lengths, default=1) - unused, 1)
    native = longest
    for rope in _ropes(text):
        kind, factor = str(rope.get("rope_type") or rope.get("type") or "default"), rope.get("factor")
        original = rope.get("original_max_position_embeddings")
        if kind not in SCALED and isinstance(factor, int | float) and "gemma3" not in str(text.get("model_type")):
            longest = int(min(lengths, default=1) * factor)
        if kind in SCALED and kind != "llama3" and isinstance(original, int) and 1 <= original < longest:
            # the length holds with the stretching that is part of the file
            native = longest
    return Context(native_tokens=min(native, longest), config_tokens=longest)


def _ropes(text: Config) -> Iterator[Mapping[str, object]]:
    """Parameters of RoPE, of all kinds of layers."""
    for name in ("rope_parameters", "rope_scaling"):
        value = text.get(name)
        if isinstance(value, Mapping):
            nested = [each for each in value.values() if isinstance(each, Mapping)]
            yield from nested or [value]
