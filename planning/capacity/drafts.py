"""A draft beside a model: its weights on each GPU, and what vLLM refuses of the two.

It is divided as the model is (vllm/config/speculative.py, draft_tensor_parallel_size), and its layers are further
layers of the model's KV cache (planning/capacity/kv_cache.py). Pure functions.
"""

from collections.abc import Iterator

from catalog.schema import KvProfile, Model
from planning.capacity.budget import Parallelism
from planning.capacity.layers import attention_groups
from planning.capacity.reason import Reason
from planning.capacity.tuning import Tuning
from planning.capacity.weights import weight_bytes


def draft_weight_bytes(tuning: Tuning, parallelism: Parallelism, model_bytes: int) -> float:
    """Bytes of the draft on one GPU; embedding and head are counted as its own, which some share with the model."""
    if tuning.draft is None:
        return 0
    return weight_bytes(tuning.draft, Parallelism(parallelism.tensor), model_bytes=model_bytes)[1]


def draft_rules(model: Model, parallelism: Parallelism, tuning: Tuning) -> Iterator[Reason]:
    """Pairs that vLLM does not start."""
    shape = tuning.draft.architecture if tuning.draft else None
    if shape is None or model.architecture is None:
        return
    if shape.attention_heads % parallelism.tensor:
        text = f"{shape.attention_heads} attention heads of its draft cannot be divided by tensorParallel"
        yield Reason(f"{text} {parallelism.tensor}")
    words, known = shape.vocab_size, model.architecture.vocab_size
    if tuning.draft_reads_tokens and words != known:
        yield Reason(f"its draft has {words} words and it has {known}: a draft model must have the same vocabulary")


def uncounted_draft(model: Model, tuning: Tuning) -> Reason | None:
    """The reason why the cache of the two is not computed; None where it is."""
    if tuning.draft is None or (_is_plain(model) and _is_plain(tuning.draft)):
        return None
    text = "the KV cache of a draft is only computed where both attend to all tokens in all layers"
    return Reason(text, computable=False)


def _is_plain(model: Model) -> bool:
    """Whether all layers are alike and keep keys and values of all tokens."""
    shape = model.architecture
    if shape is None or model.kv_profile is not KvProfile.GQA or shape.keeps_state:
        return False
    return all(group.kind == "full" for group in attention_groups(shape))
