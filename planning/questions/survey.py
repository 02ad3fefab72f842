"""One model on every GPU of the catalogue: the fewest of each that serve it, what they hold, what they cost.

GPUs are taken as they are sold, in nodes of eight (or of what a board has), else of four. Pure functions.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from catalog.load import Catalog
from catalog.schema import Gpu, Model
from planning.capacity.asked import Asked, workload
from planning.capacity.budget import MemoryBudget, Parallelism
from planning.capacity.cards import visible_bytes
from planning.capacity.memory import Workload, weight_bytes
from planning.capacity.parallelism import (
    SMALLEST_AUTO_CONTEXT,
    Fit,
    Hardware,
    heads_and_layers,
    spreads,
    try_fit,
    with_longest_context,
)
from planning.capacity.remembered import remembered
from planning.questions.calculator import SMALL_NODE_GPUS, USUAL_NODE_GPUS
from planning.server import measured

MOST_GPUS = 16


@dataclass(frozen=True)
class Row:
    """The answer for one GPU type. `gpus_per_node`: of the nodes the replica stands on; `instance` has the price."""

    gpu: str
    name: str
    fit: Fit
    gpus_per_node: int
    usd_per_hour: float | None
    instance: str | None
    reason: str | None

    @property
    def gpus(self) -> int:
        """Number of GPUs that one replica takes."""
        return self.fit.parallelism.gpus


def survey_gpus(model: Model, asked: Asked, catalog: Catalog, *, expert: bool = False) -> list[Row]:
    """A row per GPU of the catalogue, cheapest first; after them those without a price, at last those that cannot."""
    rows = [
        survey_gpu(model, key, gpu, asked, catalog, range(1, MOST_GPUS + 1), expert=expert)
        for key, gpu in catalog.gpus.items()
    ]
    return sorted(rows, key=_order)


def _order(row: Row) -> tuple[bool, bool, float, int, str]:
    price = row.usd_per_hour
    return row.reason is not None, price is None, price or 0.0, row.gpus, row.gpu


def survey_gpu(
    model: Model,
    key: str,
    gpu: Gpu,
    asked: Asked,
    catalog: Catalog,
    sizes: Collection[int],
    *,
    expert: bool = False,
) -> Row:
    """The fewest GPUs of one type, out of `sizes`, that serve the model."""
    needed = workload(asked, model, gpu, catalog.vllm)
    hardware, fit = fewest(model, gpu, needed, sizes, auto_context=asked.context_tokens == 0, expert=expert)
    gpus = fit.parallelism.gpus
    if not fit.fits:
        return Row(key, gpu.name, fit, 0, None, None, _reason(key, fit))
    here = min(gpus, hardware.gpus_per_node)
    price = cheapest(catalog, key, here)
    return Row(
        gpu=key,
        name=gpu.name,
        fit=fit,
        gpus_per_node=here,
        usd_per_hour=price[1] * gpus if price else None,
        instance=price[0] if price else None,
        reason=None,
    )


@remembered
def shapes(gpu: Gpu, most: int) -> tuple[Hardware, ...]:
    """The nodes a replica may stand on: eight GPUs each, or four; where boards have fewer, these."""
    usual = gpu.gpus_per_node or USUAL_NODE_GPUS
    return tuple(
        Hardware(gpu, per_node, max(1, -(-most // per_node)), nvlink=gpu.nvlink_gb_per_s > 0)
        for per_node in dict.fromkeys((min(usual, most), min(usual, most, SMALL_NODE_GPUS)))
    )


def fewest(
    model: Model, gpu: Gpu, needed: Workload, sizes: Collection[int], *, auto_context: bool, expert: bool
) -> tuple[Hardware, Fit]:
    """The first way to spread the model that fits, fewest GPUs first; else the last one tried, with its reasons.

    The same as `choose` on every number of GPUs in turn. What has no chance is not tried: a GPU holds no less than an
    even share of the weights.
    """
    tried_workload = needed
    if auto_context:
        tried_workload = replace(needed, context_tokens=min(SMALLEST_AUTO_CONTEXT, model.context.config_tokens))
    tried = trials(model, gpu, sizes, expert=expert)
    room = visible_bytes(gpu) * needed.utilization
    only, element = needed.language_model_only, needed.model_bytes
    total = weight_bytes(model, Parallelism(), language_model_only=only, model_bytes=element)[0]
    nearest: tuple[Hardware, Fit] | None = None
    for hardware, parallelism in tried:
        if total > room * parallelism.gpus:
            continue
        fit = try_fit(model, hardware, parallelism, tried_workload)
        if fit.fits:
            longest = auto_context and with_longest_context(model, hardware, parallelism, needed)
            return hardware, longest or fit
        if fit.memory is None:
            return hardware, fit
        kv = nearest[1].memory.kv_cache_gib if nearest and nearest[1].memory else None
        if kv is None or fit.memory.kv_cache_gib > kv:
            nearest = hardware, fit
    # where all were hopeless, the one that spreads it thinnest says so
    hardware, parallelism = tried[-1]
    return nearest or (hardware, try_fit(model, hardware, parallelism, tried_workload))


def trials(model: Model, gpu: Gpu, sizes: Collection[int], *, expert: bool) -> list[tuple[Hardware, Parallelism]]:
    """Everything to try, fewest GPUs first; what two kinds of node allow is tried on the larger."""
    kinds = shapes(gpu, max(sizes))
    places = tuple((hardware.gpus_per_node, hardware.nodes) for hardware in kinds)
    ordered = _fewest_first(heads_and_layers(model), places, kinds[0].nvlink, expert, tuple(sizes))
    return [(kinds[at], parallelism) for at, parallelism in ordered]


@lru_cache(maxsize=1024)
def _fewest_first(
    divided: tuple[int, int], places: tuple[tuple[int, int], ...], nvlink: bool, expert: bool, sizes: tuple[int, ...]
) -> tuple[tuple[int, Parallelism], ...]:
    """Each spread once, with the first of the places that has it."""
    first: dict[Parallelism, int] = {}
    for at, place in enumerate(places):
        for parallelism in spreads(divided, place, nvlink, expert):
            if parallelism.gpus in sizes:
                first.setdefault(parallelism, at)
    ordered = sorted(first.items(), key=lambda way: way[0].gpus)
    return tuple((at, parallelism) for parallelism, at in ordered)


def _reason(gpu: str, fit: Fit) -> str:
    """The first reason against the spread that came nearest; what cannot be computed at all comes before the rest."""
    gpus = fit.parallelism.gpus
    reason = next((reason for reason in fit.reasons if not reason.computable), fit.reasons[0])
    return measured.add_hint(reason, f"{gpus} × {gpu}" if gpus > 1 else gpu, "models.NAME")


@remembered
def cheapest(catalog: Catalog, gpu: str, gpus: int) -> tuple[str, float] | None:
    """Machine type and USD per GPU-hour where one machine has `gpus` of them, by its share; None without a price.

    What a GPU costs by a catalogue of the user's own comes before that of all machine types.
    """
    if (own := catalog.gpus[gpu].usd_per_hour) is not None:
        return "catalog", own
    return min(
        (
            (name, instance.usd_per_hour / instance.gpus)
            for name, instance in catalog.instances.items()
            if instance.gpu == gpu and instance.gpus >= gpus and instance.usd_per_hour is not None
        ),
        key=lambda priced: priced[1],
        default=None,
    )


def as_json(rows: Iterable[Row]) -> list[dict[str, object]]:
    """The table for programs; what is not known, or not there because nothing fits, is null."""
    return [
        {
            "gpu": row.gpu,
            "name": row.name,
            "fits": row.reason is None,
            "gpus": row.gpus if row.reason is None else None,
            "gpus_per_node": row.gpus_per_node or None,
            "tensor_parallel": row.fit.parallelism.tensor if row.reason is None else None,
            "pipeline_parallel": row.fit.parallelism.pipeline if row.reason is None else None,
            "expert_parallel": row.fit.parallelism.expert if row.reason is None else None,
            "context_tokens": memory.context_tokens if (memory := _memory(row)) else None,
            "kv_cache_tokens": memory.kv_cache_tokens if memory else None,
            "max_concurrency": round(memory.max_concurrency, 2) if memory else None,
            "usd_per_hour": None if row.usd_per_hour is None else round(row.usd_per_hour, 4),
            "instance": row.instance,
            "reasons": [] if row.reason is None else [row.reason],
        }
        for row in rows
    ]


def as_text(model: str, rows: Collection[Row]) -> str:
    """The table for a person: what serves the model, then what does not, and why."""
    head = ("GPU", "GPUs", "spread", "context", "KV tokens", "at once", "$/h", "by the price of")
    body = [_cells(row) for row in rows if row.reason is None]
    lines = [f"{model}: {len(body)} of {len(rows)} GPUs of the catalogue serve it, with at most {MOST_GPUS} of them"]
    if body:
        widths = [max(len(line[column]) for line in (head, *body)) for column in range(len(head))]
        lines += ["  " + "  ".join(_aligned(line, widths)).rstrip() for line in (head, *body)]
    refused: dict[str, list[str]] = {}
    for row in rows:
        if row.reason is not None:
            refused.setdefault(row.reason, []).append(row.gpu)
    for reason, gpus in refused.items():
        lines.append(f"  refused: {'all of them' if len(gpus) == len(rows) else ', '.join(gpus)}: {reason}")
    return "\n".join(lines)


def _memory(row: Row) -> MemoryBudget | None:
    return row.fit.memory if row.reason is None else None


def _cells(row: Row) -> tuple[str, ...]:
    memory = _memory(row)
    assert memory is not None, "what fits has a budget"
    nodes = -(-row.gpus // row.gpus_per_node)
    return (
        row.gpu,
        f"{row.gpus}" if nodes == 1 else f"{nodes} × {row.gpus_per_node}",
        f"{row.fit.parallelism}",
        f"{memory.context_tokens:,}",
        f"{memory.kv_cache_tokens:,}",
        f"{memory.max_concurrency:.2f}",
        "–" if row.usd_per_hour is None else f"{row.usd_per_hour:.2f}",
        row.instance or "–",
    )


def _aligned(line: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """Numbers to the right, names to the left."""
    for column, (cell, width) in enumerate(zip(line, widths, strict=True)):
        yield cell.ljust(width) if column in (0, 2, 7) else cell.rjust(width)
