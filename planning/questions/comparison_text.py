"""A comparison of a log with its plan as text: the table, and the block to paste below the model."""

import json
from collections.abc import Iterator
from math import ceil

from planning.questions.calibrate import Comparison, Line
from planning.questions.startup_log import LOOKED_FOR


def as_text(comparison: Comparison) -> str:
    """The comparison for a person, and the block to paste below the model."""
    version = f", vLLM {comparison.log.version}" if comparison.log.version else ""
    workload, spread = comparison.workload, comparison.fit.parallelism
    lines = [
        f"{comparison.model} on {spread.gpus} × {comparison.gpu.name}, {spread}{version}",
        (
            f"  {workload.context_tokens:,} tokens, max_num_seqs {workload.max_num_seqs}, max_num_batched_tokens "
            f"{workload.max_num_batched_tokens}, utilisation {workload.utilization:g}, "
            f"KV cache {workload.kv_cache_dtype}"
        ),
    ]
    if comparison.assumed:
        lines.append(f"  assumed, because the log does not say: {', '.join(comparison.assumed)}")
    lines.append(f"\n  {'per GPU':<24}{'predicted':>16}{'logged':>16}{'logged − predicted':>24}")
    lines += [f"  {line.name:<24}{_value(line.predicted, line.unit):>16}{_value(line.logged, line.unit):>16}"
              f"{_difference(line):>24}".rstrip() for line in comparison.lines]  # fmt: skip
    lines += [f"  predicted: refused, {reason}" for reason in comparison.reasons]
    if not comparison.known:
        lines.append(
            "  nothing is predicted: the catalogue does not have this model; python -m catalog add makes an entry"
        )
    if comparison.log.failure:
        lines.append(f"  logged: vLLM did not start, “{comparison.log.failure}”")
    return "\n".join([*lines, "", *_block(comparison)])


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    if unit == "×":
        return f"{value:,.2f} ×"
    return f"{value:,.0f} {unit}" if unit == "tokens" else f"{value:,.2f} {unit}"


def _difference(line: Line) -> str:
    """In the unit of the line, and as a share of what was predicted."""
    if line.predicted is None or line.logged is None:
        return "–"
    difference = line.logged - line.predicted
    number = f"{difference:+,.0f}" if line.unit == "tokens" else f"{difference:+,.2f}"
    share = f"{difference / line.predicted:+.1%}" if line.predicted > 0 else "–"
    return f"{number} ({share})"


def _block(comparison: Comparison) -> Iterator[str]:
    """The `measured:` block, and the settings that were measured with it."""
    figures, spread, options = comparison.log.figures, comparison.fit.parallelism, comparison.log.options
    missing = [
        line for name, line in (("weights_gib", LOOKED_FOR[0]), ("kv_tokens", LOOKED_FOR[2])) if name not in figures
    ]
    if missing:
        yield f"no measured: block, because the log has no line “{'” and no line “'.join(missing)}”"
        return
    if comparison.log.failure:
        yield "no measured: block, because vLLM did not start with these settings"
        return
    yield "Below the model in the stack file:"
    yield ""
    beside = {
        "maxNumSeqs": options.get("max_num_seqs"),
        "maxNumBatchedTokens": options.get("max_num_batched_tokens"),
        "kvCacheDtype": options.get("kv_cache_dtype") if options.get("kv_cache_dtype") != "auto" else None,
        "expertParallel": "true" if spread.expert else None,
    }
    yield from (f"{key}: {value}" for key, value in beside.items() if value)
    yield "measured:"
    concurrency = figures.get("max_concurrency")
    fields = {
        "weightsGibPerGpu": figures["weights_gib"],
        "kvTokens": int(figures["kv_tokens"]) * spread.data,
        "gpus": spread.gpus,
        "tensorParallel": spread.tensor,
        "pipelineParallel": spread.pipeline if spread.pipeline > 1 else None,
        "dataParallel": spread.data if spread.data > 1 else None,
        "contextTokens": int(figures["context_tokens"]) if "context_tokens" in figures else None,
        "maxConcurrency": round(concurrency * spread.data, 2) if concurrency else None,
        "kvGibPerGpu": figures.get("kv_gib"),
        "gpuMemoryUtilization": comparison.workload.utilization,
        "vllm": json.dumps(comparison.log.version) if comparison.log.version else None,
    }
    yield from (f"  {key}: {value}" for key, value in fields.items() if value is not None)
    start = {
        "loadS": figures.get("load_s"),
        "compileAgainS" if comparison.log.found_compiled else "compileS": figures.get("compile_s"),
        "engineS": comparison.log.engine_s,
    }
    settings = ", ".join(f"{key}: {max(1, ceil(value))}" for key, value in start.items() if value is not None)
    if settings:
        yield f"  start: {{{settings}}}"
