"""The planner's KV cache sizes against the real vLLM, CPU build: blocks, tokens and concurrency, exactly.

Each config keeps what decides the cache (heads, head dimensions, ranks, state shapes, the pattern of layers) and gives
up the rest: few layers, narrow hidden and feed-forward sizes, few experts, dummy weights. Nothing is generated.

Proves how a given amount of KV memory is divided. Does not prove how much memory a GPU leaves for it, nor the block
sizes of GPU backends.
"""

import hashlib
import json
from typing import Any

import pytest

from catalog import load_catalog
from catalog.architecture import Architecture, AttentionLayers, MixtureOfExperts
from catalog.schema import KvProfile
from planning.capacity.budget import Parallelism
from planning.capacity.kv_cache import KvCacheSize, Layout, kv_cache_size, layout
from planning.capacity.layers import attention_layers
from planning.capacity.tuning import Tuning

pytestmark = pytest.mark.vllm

KV_BYTES = 2**30  # VLLM_CPU_KVCACHE_SPACE of the fixture
CONTEXT = 5000  # no multiple of any block
SINGLE = Parallelism()
LONGEST = 2**20  # max_position_embeddings: more than the cache holds
BATCHED_TOKENS = 2048
NO_FP8 = "FP8 KV cache on CPU requires x86"  # vLLM's words, where the CPU has neither AVX-512 nor AMX
SMALL_EXPERTS = MixtureOfExperts(experts=4, experts_per_token=2, intermediate_size=64)


def period(shape: Architecture) -> int:
    """One layer in so many is full attention."""
    return shape.layers // attention_layers(shape)


def reduced(shape: Architecture) -> Architecture:
    """The same cache per layer, in a model that is built within seconds.

    Three layers divide 1 GiB with a remainder, and not evenly over two stages; a hybrid keeps two of its periods.
    """
    update: dict[str, Any] = {"layers": 3, "hidden_size": shape.attention_heads * 16, "intermediate_size": 64}
    update["vocab_size"] = 512
    if shape.qkv_bias:  # vLLM's Qwen2 derives the head dimension
        update["hidden_size"] = shape.attention_heads * shape.head_dim
    if shape.linear_attention:
        update["layers"] = 2 * period(shape)
        linear = shape.linear_attention.model_copy(update={"layers": 2 * period(shape) - 2})
        update["linear_attention"] = linear
    if shape.moe:
        shared = 64 if shape.moe.shared_intermediate_size else 0
        dense = min(shape.moe.dense_layers, 1)
        update["moe"] = SMALL_EXPERTS.model_copy(update={"shared_intermediate_size": shared, "dense_layers": dense})
    return shape.model_copy(update=update)


def model_class(family: str, shape: Architecture) -> tuple[str, str]:
    """`architectures` and `model_type` of the config: the text model, where a checkpoint has a vision tower too."""
    if shape.mla:
        kinds = [("DeepseekV3ForCausalLM", "deepseek_v3"), ("DeepseekV32ForCausalLM", "deepseek_v32")]
        return kinds[shape.mla.indexer_heads > 0]
    if shape.linear_attention and family == "qwen3-next":
        return "Qwen3NextForCausalLM", "qwen3_next"
    if shape.linear_attention:
        kinds = [("Qwen3_5ForCausalLM", "qwen3_5_text"), ("Qwen3_5MoeForCausalLM", "qwen3_5_moe_text")]
    elif shape.attention:
        kinds = [("Gemma3ForCausalLM", "gemma3_text"), ("GptOssForCausalLM", "gpt_oss")]
    elif shape.qkv_bias:
        kinds = [("Qwen2ForCausalLM", "qwen2")]
    elif family == "qwen3":
        kinds = [("Qwen3ForCausalLM", "qwen3"), ("Qwen3MoeForCausalLM", "qwen3_moe")]
    else:
        kinds = [("LlamaForCausalLM", "llama")]
    return kinds[shape.moe is not None]


def config_json(family: str, shape: Architecture) -> dict[str, Any]:
    """The config.json of a checkpoint with this shape."""
    name, model_type = model_class(family, shape)
    config: dict[str, Any] = {
        "architectures": [name],
        "model_type": model_type,
        "dtype": "bfloat16",
        "num_hidden_layers": shape.layers,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_attention_heads": shape.attention_heads,
        "num_key_value_heads": shape.kv_heads,
        "vocab_size": shape.vocab_size,
        "tie_word_embeddings": shape.tied_embeddings,
        "max_position_embeddings": LONGEST,
        "rms_norm_eps": 1e-6,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if shape.mla is None:
        config |= {"head_dim": shape.head_dim}
    else:
        config |= {
            "q_lora_rank": shape.mla.q_lora_rank,
            "kv_lora_rank": shape.mla.kv_lora_rank,
            "qk_rope_head_dim": shape.mla.rope_head_dim,
            "qk_nope_head_dim": shape.mla.nope_head_dim,
            "v_head_dim": shape.mla.value_head_dim,
        }
        if shape.mla.indexer_heads:
            indexer = {"index_head_dim": shape.mla.indexer_head_dim, "index_n_heads": shape.mla.indexer_heads}
            config |= indexer | {"index_topk": 2048}
    if shape.linear_attention:
        gdn = shape.linear_attention
        config |= {
            "full_attention_interval": period(shape),
            "linear_num_key_heads": gdn.key_heads,
            "linear_num_value_heads": gdn.value_heads,
            "linear_key_head_dim": gdn.key_head_dim,
            "linear_value_head_dim": gdn.value_head_dim,
            "linear_conv_kernel_dim": gdn.conv_kernel,
        }
    if shape.attention:
        full, sliding = shape.attention
        kinds = ["sliding_attention"] * (sliding.layers // full.layers) + ["full_attention"]
        config |= {"sliding_window": sliding.window_tokens, "layer_types": kinds * full.layers}
    if shape.moe:
        config |= {
            "num_experts": shape.moe.experts,
            "num_local_experts": shape.moe.experts,
            "n_routed_experts": shape.moe.experts,
            "num_experts_per_tok": shape.moe.experts_per_token,
            "moe_intermediate_size": shape.moe.intermediate_size,
            "shared_expert_intermediate_size": shape.moe.shared_intermediate_size,
            "n_shared_experts": 1 if shape.moe.shared_intermediate_size else None,
            "first_k_dense_replace": shape.moe.dense_layers,
            "n_group": 1,
            "topk_group": 1,
        }
    return config


def arguments(shape: Architecture, **others: Any) -> dict[str, Any]:
    """What the stack passes as well, as far as it decides the cache."""
    given: dict[str, Any] = {"max_model_len": CONTEXT, "max_num_batched_tokens": BATCHED_TOKENS}
    if shape.mla:  # on a CPU with AMX another backend would be chosen, with larger blocks
        given["attention_backend"] = "CPU_MLA"
    if shape.linear_attention:
        # said, not left to vLLM: CPUs with AVX512-BF16 change it, and Qwen3-Next's default is the model's bf16
        kinds = {2: "bfloat16", 4: "float32"}
        given["mamba_ssm_cache_dtype"] = kinds[shape.linear_attention.state_bytes_per_element]
        given["enable_prefix_caching"] = False
    return given | others


# Others are asked by their config.json, in test_architectures.py.
FAMILIES = {"deepseek-r1-distill", "deepseek-v3", "llama3", "smollm2"}
FAMILIES |= {"qwen2.5", "qwen3", "qwen3-next", "qwen3.5", "qwen3.6", "qwen3.8"}


def cache_kinds() -> dict[str, tuple[str, Architecture]]:
    """Family and shape of every kind of cache in the catalogue, under the first model that has it."""
    kinds: dict[tuple[Any, ...], tuple[str, str, Architecture]] = {}
    for name, model in load_catalog().models.items():
        shape = model.architecture
        unknown = shape is None or model.kv_profile in (KvProfile.UNKNOWN, KvProfile.NONE)
        if shape is None or unknown or model.family not in FAMILIES:
            continue
        small = reduced(shape)
        key = (model_class(model.family, shape), small.kv_heads, small.head_dim, small.mla, small.linear_attention)
        key += (small.tied_embeddings, small.moe is not None)
        kinds.setdefault(key, (name, model.family, small))
    return {name: (family, shape) for name, family, shape in kinds.values()}


def windows(full: int, sliding: int, tokens: int) -> tuple[AttentionLayers, ...]:
    """So many layers of each kind."""
    return AttentionLayers(layers=full), AttentionLayers(layers=sliding, kind="sliding", window_tokens=tokens)


# Not in the catalogue (yet), so that sliding windows are measured: two patterns seen in public models.
ALTERNATING = Architecture(
    layers=6,
    hidden_size=1024,
    attention_heads=64,
    kv_heads=8,
    head_dim=64,
    intermediate_size=64,
    vocab_size=512,
    moe=SMALL_EXPERTS,
    attention=windows(3, 3, 128),
)
FIVE_OF_SIX = Architecture(
    layers=12,
    hidden_size=128,
    attention_heads=8,
    kv_heads=4,
    head_dim=256,
    intermediate_size=64,
    vocab_size=512,
    attention=windows(2, 10, 1024),
)

KINDS = cache_kinds()
MEASURED = {name: kind for name, kind in KINDS.items() if not (kind[1].mla and kind[1].mla.indexer_heads)}
SPARSE = {name: kind for name, kind in KINDS.items() if name not in MEASURED}
DENSE, LATENT, HYBRID = "meta-llama/Llama-3.1-8B-Instruct", "deepseek-ai/DeepSeek-R1", "Qwen/Qwen3.5-27B"


def cut(shape: Architecture, parallelism: Parallelism = SINGLE, kv_cache_dtype: str = "auto") -> Layout:
    """The planner's layout for the CPU build, which does not schedule ahead: one step is in flight per stage."""
    in_flight = parallelism.pipeline * BATCHED_TOKENS
    return layout(shape, parallelism, kv_cache_dtype=kv_cache_dtype, in_flight_tokens=in_flight)


def folder(request: pytest.FixtureRequest) -> str:
    """A folder name for this test."""
    return hashlib.sha256(request.node.name.encode()).hexdigest()[:12]


def check(seen: dict[str, Any], planned: KvCacheSize) -> None:
    """The planner's numbers are what vLLM decided, to the last digit."""
    assert "error" not in seen, seen["error"]
    assert seen["blocks"] == planned.blocks
    assert seen["tokens"] == planned.tokens
    assert seen["concurrency"] == planned.concurrency
    assert {group["layers"] * group["page_bytes"] for group in seen["groups"]} == {planned.block_bytes}
    # without prefix caching vLLM writes max_model_len as the "block" of state pages
    assert {g["block_tokens"] for g in seen["groups"] if g["kind"] != "MambaSpec"} == {planned.block_tokens}
    assert seen["logged"] == {
        "tokens": str(planned.tokens),
        "context": str(seen["context"]),
        "concurrency": f"{planned.concurrency:.2f}",
    }


@pytest.mark.parametrize("name", MEASURED)
def test_every_kind_of_cache_in_the_catalogue(vllm, request, name):
    """One model for each kind of cache; a model added to the catalogue with a new kind is measured by itself."""
    family, shape = MEASURED[name]
    seen = vllm.size(folder(request), config_json(family, shape), **arguments(shape))
    check(seen, kv_cache_size(cut(shape), KV_BYTES, CONTEXT))


@pytest.mark.parametrize("name", [DENSE, LATENT, HYBRID])
def test_an_fp8_cache(vllm, request, name):
    """Half the bytes per token; a hybrid's blocks grow instead, because its state stays as it is."""
    family, shape = MEASURED[name]
    seen = vllm.size(folder(request), config_json(family, shape), **arguments(shape, kv_cache_dtype="fp8"))
    if NO_FP8 in seen.get("error", ""):
        pytest.skip("this machine's CPU is none that vLLM keeps an fp8 cache on")
    check(seen, kv_cache_size(cut(shape, kv_cache_dtype="fp8"), KV_BYTES, CONTEXT))


def test_a_model_in_float32(vllm, request):
    """Twice the bytes per token, because a cache without a dtype of its own has the model's."""
    family, shape = MEASURED[DENSE]
    seen = vllm.size(folder(request), config_json(family, shape), **arguments(shape, dtype="float32"))
    wide = layout(shape, SINGLE, in_flight_tokens=BATCHED_TOKENS, model_bytes=4)
    check(seen, kv_cache_size(wide, KV_BYTES, CONTEXT))


@pytest.mark.parametrize("shape", [ALTERNATING, FIVE_OF_SIX], ids=["alternating", "five-of-six"])
@pytest.mark.parametrize("context", [CONTEXT, 1500])
def test_sliding_windows(vllm, request, shape, context):
    """Window layers hold the window and what is in flight; a short context is held whole."""
    given = arguments(shape, max_model_len=context)
    seen = vllm.size(folder(request), config_json("", shape), **given)
    check(seen, kv_cache_size(cut(shape), KV_BYTES, context))


@pytest.mark.parametrize(
    ("name", "parallelism"),
    [
        (DENSE, Parallelism(tensor=2)),
        (LATENT, Parallelism(tensor=2)),
        (HYBRID, Parallelism(tensor=2)),
        (DENSE, Parallelism(pipeline=2)),
    ],
    ids=str,
)
def test_two_ranks_share_a_model(vllm, request, name, parallelism):
    """Each of two processes has its own KV memory, its share of the heads or its share of the layers."""
    family, shape = MEASURED[name]
    ranks = {"tensor_parallel_size": parallelism.tensor, "pipeline_parallel_size": parallelism.pipeline}
    seen = vllm.size(folder(request), config_json(family, shape), **arguments(shape, **ranks))
    check(seen, kv_cache_size(cut(shape, parallelism), KV_BYTES, CONTEXT))


@pytest.mark.parametrize("name", [DENSE, LATENT, HYBRID, "alternating", "five-of-six"])
def test_the_longest_context_that_fits(vllm, request, name):
    """What vLLM finds by searching (max_model_len -1) is what the planner computes."""
    family, shape = {**MEASURED, "alternating": ("", ALTERNATING), "five-of-six": ("", FIVE_OF_SIX)}[name]
    seen = vllm.size(folder(request), config_json(family, shape), **arguments(shape, max_model_len=-1))
    assert "error" not in seen, seen["error"]
    longest = cut(shape).longest_context(kv_cache_size(cut(shape), KV_BYTES, 1).blocks, LONGEST)
    assert seen["context"] == longest < LONGEST
    check(seen, kv_cache_size(cut(shape), KV_BYTES, longest))


GUESSES = {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 4}


@pytest.mark.parametrize(
    ("name", "told", "tuning"),
    [
        (HYBRID, {"enable_prefix_caching": True}, Tuning(prefix_caching=True)),
        (DENSE, {"enable_prefix_caching": True}, Tuning(prefix_caching=True)),
        (HYBRID, {"speculative_config": GUESSES}, Tuning(draft_tokens=3)),
        (DENSE, {"speculative_config": GUESSES}, Tuning(draft_tokens=3)),
        (HYBRID, {"speculative_config": GUESSES, "enable_prefix_caching": True}, Tuning(True, draft_tokens=3)),
        (
            HYBRID,
            {"speculative_config": {"method": "mtp", "num_speculative_tokens": 1}},
            Tuning(draft_tokens=1, draft_head=True),
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_states_of_prefixes_and_guesses(vllm, request, name, told, tuning):
    """Pages of state for prefixes and guesses of a hybrid, one more attention layer for an MTP head."""
    family, shape = MEASURED[name]
    config = config_json(family, shape) | {"mtp_num_hidden_layers": 1}
    seen = vllm.size(folder(request), config, **arguments(shape, **told))
    planned = kv_cache_size(layout(shape, SINGLE, in_flight_tokens=BATCHED_TOKENS, tuning=tuning), KV_BYTES, CONTEXT)
    check(seen, planned)


@pytest.mark.parametrize(("kv_heads", "head_dim"), [(8, 128), (2, 64)])
def test_a_draft_model_adds_its_layers(vllm, request, kv_heads, head_dim):
    """As further layers of the one group, of pages as large as the model's or not."""
    family, shape = MEASURED[DENSE]
    draft = shape.model_copy(update={"layers": 2, "kv_heads": kv_heads, "head_dim": head_dim})
    beside = vllm.folder / f"{folder(request)}-draft"
    beside.mkdir()
    (beside / "config.json").write_text(json.dumps(config_json(family, draft)), encoding="utf-8")
    guesses = {"method": "draft_model", "model": str(beside), "num_speculative_tokens": 2}
    seen = vllm.size(folder(request), config_json(family, shape), **arguments(shape, speculative_config=guesses))
    known = next(model for model in load_catalog().models.values() if model.architecture)
    tuning = Tuning(draft_tokens=2, draft=known.model_copy(update={"architecture": draft}), draft_reads_tokens=True)
    planned = kv_cache_size(layout(shape, SINGLE, in_flight_tokens=BATCHED_TOKENS, tuning=tuning), KV_BYTES, CONTEXT)
    assert "error" not in seen, seen["error"]
    expected = (planned.blocks, planned.tokens, planned.concurrency)
    assert (seen["blocks"], seen["tokens"], seen["concurrency"]) == expected


@pytest.mark.parametrize("name", [DENSE, HYBRID])
def test_blocks_that_are_given(vllm, request, name):
    """As many as were asked for, each as large as the planner cuts it."""
    family, shape = MEASURED[name]
    seen = vllm.size(folder(request), config_json(family, shape), **arguments(shape, num_gpu_blocks_override=100))
    check(seen, kv_cache_size(cut(shape), 100 * cut(shape).block_bytes, CONTEXT))


@pytest.mark.parametrize("name", SPARSE)
def test_sparse_attention_cannot_be_measured_here(vllm, request, name):
    """Says so as long as it is true."""
    family, shape = SPARSE[name]
    seen = vllm.size(folder(request), config_json(family, shape), **arguments(shape))
    assert "Sparse Attention is not supported on CPU" in seen.get("error", ""), "it can: move it to the measured ones"
