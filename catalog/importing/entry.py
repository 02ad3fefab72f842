"""The catalogue entry of a checkpoint from its files, and what they do not say."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from catalog.architecture import Architecture
from catalog.importing.config import Config, text_config
from catalog.importing.context import context
from catalog.importing.families import FAMILIES, Family
from catalog.importing.formats import Storage, stored
from catalog.importing.matrices import Target
from catalog.importing.serving import parsers
from catalog.importing.shape import architecture
from catalog.schema import Model, WeightFormat

UNKNOWN = "unknown"
NO_FILES = "config.json alone: there is no source but the file that was read"


@dataclass(frozen=True)
class Files:
    """Content of a checkpoint's files, and what else is known of its repository.

    `index`: of `model.safetensors.index.json`; `quantization`: of `hf_quant_config.json`; `disk_bytes`: of all files
    of weights.
    """

    config: Mapping[str, object]
    index: Mapping[str, object] | None = None
    quantization: Mapping[str, object] | None = None
    revision: str | None = None
    license: str | None = None
    gated: bool = False
    disk_bytes: int | None = None
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Imported:
    """A raw entry of the catalogue's shape, and sentences about what is not known; no entry: too little is."""

    entry: Mapping[str, object] | None
    unknown: tuple[str, ...]
    model: Model | None = field(default=None, compare=False)


def imported(files: Files) -> Imported:
    """The entry of these files. What they do not say is in `unknown`, and not in the entry."""
    name, family = _family(Config(files.config))
    own = family.names if family else {}
    whole = Config({**files.config, **{usual: files.config.get(key) for usual, key in own.items()}})
    text = text_config(whole)
    total = _total(files.index, whole)
    disk = files.disk_bytes or total
    context(text, _unused(text, family))
    # without a length there is no entry at all
    refused = bool(whole.unknown)
    shape = _shape(whole, family) if family else None
    kept = _stored(whole, text, files, family, shape)
    notes = [_no_family(name)] if family is None else []
    notes += whole.unknown + whole.uncounted
    if disk is None and (shape is None or kept.format is None or whole.uncounted):
        refused = True
        notes.append("the bytes of its weights cannot be counted from these files: give --index, which has their sum")
    if files.license is None:
        notes.append("license is not in these files: it is on the model card")
    if refused:
        return Imported(None, tuple(notes))
    entry = _entry(files, family, shape, kept, whole, (total or disk, disk))
    return Imported(entry, tuple(notes), Model.model_validate(entry))


def _shape(whole: Config, family: Family) -> Architecture | None:
    """The shape; None where something is missing, or numbers are none of a model."""
    try:
        shape = architecture(whole, family)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            whole.miss(".".join(map(str, fault["loc"])) or "config.json", f"cannot be: {fault['msg']}")
        return None
    return None if whole.unknown else shape


def _family(whole: Config) -> tuple[str, Family | None]:
    """The first architecture that is known, and its name; else the first that is named."""
    named = whole.words("architectures") or text_config(whole).words("architectures")
    for name in named:
        if name in FAMILIES:
            return name, FAMILIES[name]
    return named[0] if named else "", None


def _no_family(name: str) -> str:
    if not name:
        return "architectures is not there, so nothing is known of the KV cache"
    return f"architectures: '{name}' is none whose KV cache is proved here (kvProfile: unknown)"


def _stored(whole: Config, text: Config, files: Files, family: Family | None, shape: Architecture | None) -> Storage:
    """The storage of weights; of a model whose shape is not known that of all parts, or mixed."""
    if shape is not None and family is not None:
        own = family.experts.names if family.experts else ()
        return stored(whole, text, files.quantization, Target(shape, own))
    some = Architecture(
        layers=1, hidden_size=1, attention_heads=1, kv_heads=1, head_dim=1, intermediate_size=1, vocab_size=1
    )
    alone = stored(Config(whole.values), Config(text.values), files.quantization, Target(some))
    return Storage(WeightFormat.MIXED if alone.format is None or alone.parts else alone.format)


def _total(index: Mapping[str, object] | None, whole: Config) -> int | None:
    """Bytes of all tensors, from the index."""
    if index is None:
        return None
    metadata = index.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, Mapping) else None
    if isinstance(total, float) and total.is_integer():
        total = int(total)
    if isinstance(total, bool) or not isinstance(total, int) or total < 1:
        whole.miss("metadata.total_size", "of the index is no number of bytes")
        return None
    return total


def _entry(
    files: Files,
    family: Family | None,
    shape: Architecture | None,
    kept: Storage,
    whole: Config,
    counts: tuple[int | None, int | None],
) -> dict[str, object]:
    """`counts`: bytes of all tensors, and of the files."""
    text = text_config(whole)
    profile = UNKNOWN
    if family and shape:
        profile = "hybrid" if shape.keeps_state else family.profile
    model_type = str(whole.get("model_type") or text.get("model_type") or UNKNOWN)
    checkpoint = {
        "format": (kept.format or WeightFormat.MIXED).value,
        "parts": {part.value: kind.value for part, kind in kept.parts.items()},
        "method": kept.method,
        "groupSize": kept.group_size,
        "loadedBytes": counts[0] if shape is None or _all_is_loaded(family, kept, whole, text) else None,
        "diskBytes": counts[1],
    }
    return _filled(
        {
            "family": model_type.replace("_", "-"),
            "license": files.license or UNKNOWN,
            "task": family.task if family else None,
            "revision": files.revision,
            "gated": files.gated or None,
            "kvProfile": profile,
            "architecture": shape.model_dump(by_alias=True, exclude_defaults=True, mode="json") if shape else None,
            "context": _filled(context(text, _unused(text, family)).model_dump(by_alias=True)),
            "checkpoint": _filled(checkpoint),
            "serving": parsers(model_type),
            "sources": list(files.sources) or [NO_FILES],
        }
    )


def _all_is_loaded(family: Family | None, kept: Storage, whole: Config, text: Config) -> bool:
    """Whether the bytes of the files are those on GPUs: no draft layers, other models, dtypes or layouts."""
    if _draft_layers(text) or (family and family.rewritten) or kept.format is WeightFormat.MXFP4:
        return False
    dtype = whole.get("dtype", "torch_dtype") or text.get("dtype", "torch_dtype")
    return kept.format is not WeightFormat.BF16 or dtype not in ("float32", None)


def _unused(text: Config, family: Family | None) -> int:
    """Positions of the file that no token has."""
    return family.unused(text) if family and family.unused else 0


def _draft_layers(text: Config) -> int:
    """Layers of multi-token prediction in the files, which are not loaded without speculative decoding."""
    for name in ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules"):
        value = text.get(name)
        if isinstance(value, int) and value > 0:
            return value
    return 0


def _filled(values: Mapping[str, object]) -> dict[str, object]:
    """Without what is empty."""
    return {key: value for key, value in values.items() if value is not None and value != {}}
