"""The calculator's answer for programs, and for a person with where the memory goes."""

from planning.questions.calculator import Answer

BAR_WIDTH = 48


def as_json(answer: Answer) -> dict[str, object]:
    """The answer for programs; memory figures are null where none can be computed."""
    memory, spread = answer.fit.memory, answer.fit.parallelism
    return {
        "fits": answer.fit.fits,
        "reasons": list(answer.reasons),
        "fixes": list(answer.fixes),
        "weights_gib_per_gpu": round(memory.weights_gib, 3) if memory else None,
        "activation_gib_per_gpu": round(memory.activation_gib, 3) if memory else None,
        "cuda_graphs_gib_per_gpu": round(memory.cuda_graphs_gib, 3) if memory else None,
        "non_torch_gib_per_gpu": round(memory.non_torch_gib, 3) if memory else None,
        "kv_cache_gib_per_gpu": round(memory.kv_cache_gib, 3) if memory else None,
        "kv_cache_tokens": memory.kv_cache_tokens if memory else None,
        "max_concurrency": round(memory.max_concurrency, 2) if memory else None,
        "context_tokens": answer.workload.context_tokens,
        "max_context_tokens": memory.max_context_tokens if memory else None,
        "max_num_seqs": answer.workload.max_num_seqs,
        "tensor_parallel": spread.tensor,
        "pipeline_parallel": spread.pipeline,
        "data_parallel": spread.data,
        "expert_parallel": spread.expert,
    }


def as_text(answer: Answer, model: str, gpus: int) -> str:
    """The answer for a person: the verdict, where the memory goes, and what would fit."""
    memory, spread = answer.fit.memory, answer.fit.parallelism
    verdict = "fits" if answer.fit.fits else "does not fit"
    lines = [f"{model} on {gpus} × {answer.gpu.name}, {spread}: {verdict}"]
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
        held = f"{memory.kv_cache_tokens:,} tokens of KV cache: {memory.max_concurrency:.2f}"
        # an encoder; an empty cache of another model does not fit
        if memory.fits and not memory.kv_cache_blocks:
            held = f"no KV cache: {memory.max_concurrency:.0f}"
        lines.append(
            f"  {held} sequences of {memory.context_tokens:,} tokens; longest context {memory.max_context_tokens:,}; "
            f"max_num_seqs {answer.workload.max_num_seqs}"
        )
    lines += [f"  refused: {reason}" for reason in answer.reasons]
    if answer.fixes:
        lines.append(f"  use {', or '.join(answer.fixes)}")
    return "\n".join(lines)
