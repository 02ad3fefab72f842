"""Speech: what the real vLLM keeps of a request where a decoder reads what an encoder made of the audio.

Its files are those of the local stand-in, because vLLM looks into more of them than `config.json` here.
"""

import json

import pytest

from catalog.importing import Files, imported
from catalog.schema import TaskName
from planning.capacity.budget import Parallelism
from planning.capacity.kv_cache import kv_cache_size, layout
from planning.capacity.weights import weight_bytes
from tests.vllm.conftest import KV_CACHE_GIB, Vllm
from workshop.local.weights import MAKER

pytestmark = pytest.mark.vllm

CONTEXT = 448


@pytest.mark.parametrize("step_tokens", [pytest.param(2048, marks=pytest.mark.sample), 4000])
def test_cross_attention_keeps_what_an_encoder_may_hand_over_in_a_step(vllm: Vllm, step_tokens: int):
    """Blocks, tokens and concurrency are vLLM's, for any number of tokens of a step, and so are bytes of weights."""
    folder = vllm.folder / f"speech-{step_tokens}"
    vllm.run(MAKER, folder, "openai/whisper-tiny")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = imported(Files(config, license="x")).model
    assert model is not None
    assert (model.task, model.architecture is None) == (TaskName.TRANSCRIBE, False)
    assert model.architecture is not None
    seen = vllm.asked(folder, max_model_len=CONTEXT, max_num_batched_tokens=step_tokens, skip_tokenizer_init=False)
    assert "error" not in seen, seen["error"]
    cut = layout(model.architecture, Parallelism(), in_flight_tokens=step_tokens, step_tokens=step_tokens)
    size = kv_cache_size(cut, KV_CACHE_GIB * 2**30, CONTEXT)
    assert (seen["blocks"], seen["tokens"], seen["concurrency"]) == (size.blocks, size.tokens, size.concurrency)
    assert weight_bytes(model, Parallelism())[0] == pytest.approx(seen["weights_bytes"], rel=0.01)
