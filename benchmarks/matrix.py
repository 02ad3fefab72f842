"""Time to plan every model of the catalogue on every GPU of it, and the golden file of what comes out.

`python -m benchmarks.matrix` measures and returns 1 above the limit; with `--write FILE` it writes the matrix instead
(`make golden`). A cell says how many GPUs (1, 2, 4, 8 or 16) serve the whole context, or in a few words why none do.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from catalog import load_catalog
from catalog.load import Catalog
from catalog.schema import KvProfile, Model
from planning.capacity.asked import Asked
from planning.capacity.parallelism import Fit
from planning.questions.survey import MOST_GPUS, survey_gpu, survey_gpus

ROUNDS = 3
# Seconds for all models × all GPUs × 1 to 16 GPUs, the best of three rounds, on two slow cores.
LIMIT = 2.0
SIZES = (1, 2, 4, 8, 16)
HEAD = """\
# The fewest GPUs (of 1, 2, 4, 8, 16) of each type on which a model serves its whole context with vLLM's own defaults;
# below them the types on which none of these does, by what is in the way. Written by `make golden`.
"""


def matrix(catalog: Catalog) -> dict[str, dict[str, list[str]]]:
    """Model → number of GPUs, or what is in the way → GPU ids."""
    rows = {}
    for name, model in catalog.models.items():
        cells: dict[str, list[str]] = {}
        for key, gpu in catalog.gpus.items():
            answer = survey_gpu(model, key, gpu, Asked(), catalog, SIZES)
            cell = f"{answer.gpus}" if answer.reason is None else obstacle(model, answer.fit)
            cells.setdefault(cell, []).append(key)
        rows[name] = dict(sorted(cells.items(), key=lambda cell: (not cell[0].isdecimal(), cell[0].zfill(2))))
    return rows


def obstacle(model: Model, fit: Fit) -> str:
    """The reason in few words and without figures, so that the file changes only when an answer does."""
    memory = fit.memory
    if model.kv_profile is KvProfile.UNKNOWN or memory is None:
        return "unknown"
    if memory.weights_gib > memory.budget_gib:
        return "weights"
    if not memory.fits:
        return "context" if memory.max_context_tokens else "KV cache"
    return "rule"


def as_yaml(rows: dict[str, dict[str, list[str]]]) -> str:
    """One line per cell value, so that a diff shows which GPUs moved."""
    lines = [HEAD]
    for name, cells in rows.items():
        lines.append(f"{name}:\n")
        lines += [f"  {cell}: [{', '.join(gpus)}]\n" for cell, gpus in cells.items()]
    return "".join(lines)


def seconds(catalog: Catalog) -> float:
    """Wall-clock seconds of the whole matrix, of models about which nothing is remembered yet."""
    models = [model.model_copy(deep=True) for model in catalog.models.values()]
    start = perf_counter()
    for model in models:
        survey_gpus(model, Asked(), catalog)
    return perf_counter() - start


def main(argv: Sequence[str]) -> int:
    """Measure and print, or write the golden file."""
    catalog = load_catalog()
    if argv[:1] == ["--write"] and len(argv) == 2:
        Path(argv[1]).write_text(as_yaml(matrix(catalog)), encoding="utf-8")
        return 0
    if argv:
        print("usage: python -m benchmarks.matrix [--write FILE]", file=sys.stderr)
        return 64
    best = min(seconds(catalog) for _ in range(ROUNDS))
    cells = len(catalog.models) * len(catalog.gpus)
    print(f"{len(catalog.models)} models × {len(catalog.gpus)} GPUs × 1–{MOST_GPUS}  {best:.2f} s")
    print(f"{best / cells * 1e6:.0f} µs per model and GPU, limit {LIMIT:.2f} s in all")
    return 0 if best <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
