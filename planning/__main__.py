"""`python -m planning --model ID --gpu ID --gpus N`: can I run this there? Exit 0 fits, 2 refused, 64 usage."""

import argparse
import json
import sys
from collections.abc import Sequence
from math import nan
from typing import NoReturn

from catalog import load_catalog
from planning.calculator import Answer, Question, answer
from planning.memory import DEFAULT_UTILIZATION
from planning.plan import Parallelism
from settings.problems import nearest

FITS, REFUSED, USAGE = 0, 2, 64
BAR_WIDTH = 48
# Beyond it a number is a slip of the keyboard, and arithmetic is no longer exact.
LARGEST = 10**15


class Parser(argparse.ArgumentParser):
    """An argument parser that leaves with 64 (EX_USAGE), because 2 means refused here."""

    def error(self, message: str) -> NoReturn:
        """Print usage and the message; leave with 64."""
        self.print_usage(sys.stderr)
        print(f"{self.prog}: {message}", file=sys.stderr)
        raise SystemExit(USAGE)


def _at_least_one(text: str) -> int:
    value = _number(text)
    if value < 1 or value != int(value):
        raise argparse.ArgumentTypeError(f"{text} must be a whole number, at least 1")
    return int(value)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not abs(value) <= LARGEST:
        raise argparse.ArgumentTypeError(f"{text} must be a number")
    return value


def _context(text: str) -> int:
    return 0 if text == "auto" else _at_least_one(text)


def _share(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} must be above 0 and at most 1")
    return value


def _positive(text: str) -> float:
    value = _number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} must be above 0")
    return value


def _parser() -> Parser:
    parser = Parser(prog="python -m planning", description="Can this model run on these GPUs?", allow_abbrev=False)
    parser.add_argument("--model", required=True, help="Hugging Face repository id of a catalogue entry")
    parser.add_argument("--gpu", required=True, help="GPU id of the catalogue, e.g. nvidia-a10")
    parser.add_argument("--gpus", type=_at_least_one, required=True, help="how many GPUs one replica may use")
    parser.add_argument("--context", type=_context, help="tokens, or auto; default: all the checkpoint has")
    parser.add_argument("--max-num-seqs", type=_at_least_one, help="default: vLLM's own for this GPU")
    parser.add_argument("--max-num-batched-tokens", type=_at_least_one, help="default: vLLM's own for this GPU")
    parser.add_argument("--gpu-memory-utilization", type=_share, default=DEFAULT_UTILIZATION, metavar="F")
    parser.add_argument("--kv-cache-dtype", help="e.g. fp8; default: auto")
    parser.add_argument("--tensor-parallel", type=_at_least_one, metavar="N")
    parser.add_argument("--pipeline-parallel", type=_at_least_one, metavar="N")
    parser.add_argument("--data-parallel", type=_at_least_one, metavar="N")
    parser.add_argument("--expert-parallel", action="store_true")
    parser.add_argument("--gpu-memory-gib", type=_positive, metavar="F", help="GiB CUDA shows, instead of the table's")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Answers one question; returns the exit code."""
    parser, catalog = _parser(), load_catalog()
    options = parser.parse_args(argv)
    dtypes = catalog.engines["vllm"].kv_cache_dtypes
    for what, given, known in (
        ("model", options.model, catalog.models),
        ("GPU", options.gpu, catalog.gpus),
        ("KV cache dtype", options.kv_cache_dtype, dtypes),
    ):
        if given is not None and given not in known:
            parser.error(f"unknown {what} '{given}'{nearest(given, known)}")
    parts = (options.tensor_parallel, options.pipeline_parallel, options.data_parallel)
    chosen = None
    if any(part is not None for part in parts):
        chosen = Parallelism(*(part or 1 for part in parts), expert=options.expert_parallel)
    found = answer(
        Question(
            model=options.model,
            gpu=options.gpu,
            gpus=options.gpus,
            context_tokens=options.context,
            max_num_seqs=options.max_num_seqs,
            max_num_batched_tokens=options.max_num_batched_tokens,
            utilization=options.gpu_memory_utilization,
            kv_cache_dtype=options.kv_cache_dtype,
            parallelism=chosen,
            expert_parallel=options.expert_parallel,
            gpu_memory_gib=options.gpu_memory_gib,
        ),
        catalog,
    )
    print(json.dumps(as_json(found), indent=2) if options.json else as_text(found, options.model, options.gpus))
    return FITS if found.fit.fits else REFUSED


def as_json(found: Answer) -> dict[str, object]:
    """The answer for programs; memory figures are null where none can be computed."""
    memory, spread = found.fit.memory, found.fit.parallelism
    return {
        "fits": found.fit.fits,
        "reasons": list(found.reasons),
        "fixes": list(found.fixes),
        "weights_gib_per_gpu": round(memory.weights_gib, 3) if memory else None,
        "activation_gib_per_gpu": round(memory.activation_gib, 3) if memory else None,
        "cuda_graphs_gib_per_gpu": round(memory.cuda_graphs_gib, 3) if memory else None,
        "non_torch_gib_per_gpu": round(memory.non_torch_gib, 3) if memory else None,
        "kv_cache_gib_per_gpu": round(memory.kv_cache_gib, 3) if memory else None,
        "kv_cache_tokens": memory.kv_cache_tokens if memory else None,
        "max_concurrency": round(memory.max_concurrency, 2) if memory else None,
        "context_tokens": found.workload.context_tokens,
        "max_context_tokens": memory.max_context_tokens if memory else None,
        "max_num_seqs": found.workload.max_num_seqs,
        "tensor_parallel": spread.tensor,
        "pipeline_parallel": spread.pipeline,
        "data_parallel": spread.data,
        "expert_parallel": spread.expert,
    }


def as_text(found: Answer, model: str, gpus: int) -> str:
    """The answer for a person: the verdict, where the memory goes, and what would fit."""
    memory, spread = found.fit.memory, found.fit.parallelism
    verdict = "fits" if found.fit.fits else "does not fit"
    lines = [f"{model} on {gpus} × {found.gpu.name}, {spread}: {verdict}"]
    if memory is not None:
        shares = (
            ("weights", "█", memory.weights_gib),
            ("activation", "▓", memory.activation_gib),
            ("CUDA graphs", "▒", memory.cuda_graphs_gib),
            ("NCCL, context", "░", memory.non_torch_gib),
            ("KV cache", "·", max(0.0, memory.kv_cache_gib)),
        )
        scale = BAR_WIDTH / max(memory.budget_gib, sum(share for _, _, share in shares))
        lines.append("  " + "".join(mark * round(share * scale) for _, mark, share in shares))
        lines += [f"  {mark} {name:<14}{share:>8.2f} GiB per GPU" for name, mark, share in shares]
        lines.append(f"  = {memory.budget_gib:.2f} GiB ({memory.visible_gib:.2f} × {memory.utilization:g})")
        lines.append(
            f"  {memory.kv_cache_tokens:,} tokens of KV cache: {memory.max_concurrency:.2f} sequences of "
            f"{memory.context_tokens:,} tokens; longest context {memory.max_context_tokens:,}; "
            f"max_num_seqs {found.workload.max_num_seqs}"
        )
    lines += [f"  refused: {reason}" for reason in found.reasons]
    if found.fixes:
        lines.append(f"  use {', or '.join(found.fixes)}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
