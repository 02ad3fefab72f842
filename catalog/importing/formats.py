"""Storage of weights from `quantization_config`, or from `hf_quant_config.json` beside the configuration.

One checkpoint may store parts of the model in several ways; a part has the format that most of its matrices have. What
vLLM 0.33.0 names and this module does not is unknown.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from catalog.architecture import ModelPart
from catalog.importing.config import Config
from catalog.importing.matrices import Target, below_layers, formats_by_rule, is_meant, parts_of
from catalog.schema import WeightFormat

BLOCK = [128, 128]
# Type and bits of weights in compressed-tensors.
KINDS = {
    "float8": WeightFormat.FP8_CHANNEL,
    "float4": WeightFormat.NVFP4,
    "int4": WeightFormat.GPTQ_INT4,
}
MXFP4_GROUP = 32
COMPRESSED = "compressed-tensors"
# Formats whose experts it loads otherwise than their usual method does (`slices` of the engine file).
OWN_RULES = {WeightFormat.FP8_BLOCK128, WeightFormat.GPTQ_INT4}
MODELOPT = {
    "NVFP4": WeightFormat.NVFP4,
    "W4A16_NVFP4": WeightFormat.NVFP4,
    "FP8": WeightFormat.FP8_CHANNEL,
    "FP8_PER_CHANNEL_PER_TOKEN": WeightFormat.FP8_CHANNEL,
}


@dataclass(frozen=True)
class Storage:
    """Format of most linear weights, of parts that differ, and the group of int4; None: unknown.

    `method`: that of the file, where vLLM has rules of its own for it.
    """

    format: WeightFormat | None
    parts: Mapping[ModelPart, WeightFormat] = field(default_factory=dict)
    group_size: int | None = None
    method: str | None = None


def stored(whole: Config, text: Config, beside: Mapping[str, object] | None, target: Target) -> Storage:
    """The storage of this checkpoint; `beside`: the content of `hf_quant_config.json`."""
    holder = next(
        (each for each in (whole.values, text.values) if isinstance(each.get("quantization_config"), Mapping)), {}
    )
    raw = holder.get("quantization_config") or whole.values.get("compression_config")
    inner = (beside or {}).get("quantization")
    if not isinstance(raw, Mapping):
        raw = inner
    elif isinstance(inner, Mapping):
        raw = {**inner, **raw}
    if not isinstance(raw, Mapping):
        return Storage(WeightFormat.BF16)
    config = Config(raw, {}, whole.unknown, whole.uncounted, "quantization_config.")
    method = str(config.get("quant_method") or "").lower().replace("_", "-")
    if config.get("quant_algo") is not None:
        method = "modelopt"
    reader = READERS.get(method)
    if reader is None:
        config.miss("quant_method", f"'{method}' is none whose bytes are known here")
        return Storage(None)
    return reader(config, target)


def _fp8(config: Config, target: Target) -> Storage:
    block = config.get("weight_block_size")
    if block is not None and list(block) != BLOCK if isinstance(block, list) else block is not None:
        config.miss("weight_block_size", f"{block} is not {BLOCK}")
        return Storage(None)
    kind = WeightFormat.FP8_BLOCK128 if block else WeightFormat.FP8_CHANNEL
    return _with_ignored(config, target, kind)


def _int4(kind: WeightFormat) -> Callable[[Config, Target], Storage]:
    def read(config: Config, target: Target) -> Storage:
        if config.get("bits", "w_bit") != 4:
            config.miss("bits", f"{config.get('bits', 'w_bit')} is not 4")
            return Storage(None)
        group = config.get("group_size", "q_group_size")
        return Storage(kind, _with_ignored(config, target, kind).parts, _group(group))

    return read


def _group(word: object) -> int | None:
    """Numbers that share a scale; 0: all of an input."""
    return max(word, 0) if isinstance(word, int) and word != 0 else None


def _mxfp4(_: Config, target: Target) -> Storage:
    """Experts alone, whatever else is there (quantization/mxfp4.py)."""
    rest = [part for part in parts_of(target.shape) if part is not ModelPart.EXPERTS]
    return Storage(WeightFormat.MXFP4, dict.fromkeys(rest, WeightFormat.BF16))


def _compressed(config: Config, target: Target) -> Storage:
    """compressed-tensors: groups of matrices, each with its own kind of weights."""
    groups = config.get("config_groups")
    rows = list(groups.values()) if isinstance(groups, Mapping) else []
    kinds = [_of_group(config, row) for row in rows if isinstance(row, Mapping)]
    if not kinds or None in kinds:
        return Storage(None)
    patterns = [[str(target) for target in row.get("targets") or []] for row in rows]
    named = [(list_, kind) for list_, kind in zip(patterns, kinds, strict=True) if kind]

    def rule(name: str) -> WeightFormat | None:
        return next((kind[0] for targets, kind in named if is_meant(targets, name, classes=True)), WeightFormat.BF16)

    size = next((kind[1] for _, kind in named if kind[1] is not None), None)
    parts = formats_by_rule(target, rule, config.words("ignore"))
    most = _most(parts, size)
    own_rules = {most.format, *most.parts.values()} & OWN_RULES
    return replace(most, method=COMPRESSED) if own_rules else most


def _of_group(config: Config, row: Mapping[str, object]) -> tuple[WeightFormat, int | None] | None:
    """Format of one group, and the size of its groups of int4."""
    weights = row.get("weights")
    if not isinstance(weights, Mapping):
        config.miss("config_groups", "has a group without weights")
        return None
    bits, kind, group = weights.get("num_bits"), weights.get("type"), weights.get("group_size")
    strategy, packed = weights.get("strategy"), str(row.get("format") or config.get("format") or "")
    # some files say neither type nor strategy
    kind = kind or ("float" if bits == 8 or "fp4" in packed else "int")
    known = KINDS.get(f"{kind}{bits}")
    if known is None:
        config.miss("config_groups", f"has weights of {bits} bits ({kind}), whose bytes are not known here")
        return None
    if known is WeightFormat.FP8_CHANNEL and strategy == "block":
        known = WeightFormat.FP8_BLOCK128
    if known is WeightFormat.NVFP4 and group == MXFP4_GROUP:
        known = WeightFormat.MXFP4
    if known is not WeightFormat.GPTQ_INT4:
        return known, None
    return known, 0 if strategy == "channel" else _group(group)


def _modelopt(config: Config, target: Target) -> Storage:
    algo = str(config.get("quant_algo") or "").upper()
    layers = config.get("quantized_layers")
    if algo == "MIXED_PRECISION" and isinstance(layers, Mapping):
        kinds: dict[str, WeightFormat] = {}
        for name, row in layers.items():
            word = str(row.get("quant_algo")).upper() if isinstance(row, Mapping) else ""
            if word not in MODELOPT:
                config.miss(
                    "quantized_layers", f"has {word or 'a layer without quant_algo'}, whose bytes are not known"
                )
                return Storage(None)
            kinds[below_layers(str(name))] = MODELOPT[word]
        return _most(formats_by_rule(target, lambda name: kinds.get(name, WeightFormat.BF16), []), None)
    if algo not in MODELOPT:
        config.miss("quant_algo", f"'{algo}' is none whose bytes are known here")
        return Storage(None)
    return _with_ignored(config, target, MODELOPT[algo])


READERS: Mapping[str, Callable[[Config, Target], Storage]] = {
    "fp8": _fp8,
    "fbgemm-fp8": _fp8,
    "awq": _int4(WeightFormat.AWQ_INT4),
    "awq-marlin": _int4(WeightFormat.AWQ_INT4),
    "gptq": _int4(WeightFormat.GPTQ_INT4),
    "gptq-marlin": _int4(WeightFormat.GPTQ_INT4),
    "mxfp4": _mxfp4,
    COMPRESSED: _compressed,
    "modelopt": _modelopt,
}


def _with_ignored(config: Config, target: Target, kind: WeightFormat) -> Storage:
    """One format for all but what is listed as left alone."""
    ignored = config.words("modules_to_not_convert", "ignored_layers", "exclude_modules", "ignore")
    parts = formats_by_rule(target, lambda _: kind, ignored)
    return Storage(kind, {part: each for part, each in parts.items() if each is not kind})


def _most(parts: Mapping[ModelPart, WeightFormat], size: int | None) -> Storage:
    """The format of the largest part leads."""
    for part in (ModelPart.EXPERTS, ModelPart.DENSE, ModelPart.ATTENTION):
        if part in parts:
            lead = parts[part]
            return Storage(lead, {name: kind for name, kind in parts.items() if kind is not lead}, size)
    return Storage(WeightFormat.BF16)
