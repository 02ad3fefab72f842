"""Speech: what the real vLLM keeps of a request where a decoder reads what an encoder made of the audio.

Whisper's files are those of the local stand-in, because vLLM looks into more of them than `config.json` here; those of
Qwen3-ASR are made beside its small configuration. Does not prove what a GPU's profile run takes.
"""

import json
from pathlib import Path

import pytest

from catalog.importing import Files, imported
from catalog.schema import TaskName
from planning.capacity.budget import Parallelism
from planning.capacity.kv_cache import kv_cache_size, layout
from planning.capacity.weights import weight_bytes
from tests.vllm.architectures import HEARING
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


@pytest.mark.sample
def test_a_language_model_that_hears_keeps_what_one_that_reads_does(vllm: Vllm):
    """Qwen3-ASR: blocks, tokens, concurrency and bytes of weights are vLLM's, and it offers transcriptions."""
    folder = vllm.folder / "hearing"
    vllm.run(Path(__file__).with_name("hearing.py"), folder)
    (folder / "config.json").write_text(json.dumps(HEARING), encoding="utf-8")
    model = imported(Files(HEARING, license="x")).model
    assert model is not None
    assert (model.task, model.architecture is None) == (TaskName.TRANSCRIBE, False)
    assert model.architecture is not None
    seen = vllm.asked(folder, max_model_len=5000, max_num_batched_tokens=2048, skip_tokenizer_init=False)
    assert "error" not in seen, seen["error"]
    assert "transcription" in seen["tasks"]
    cut = layout(model.architecture, Parallelism(), in_flight_tokens=2048)
    size = kv_cache_size(cut, KV_CACHE_GIB * 2**30, 5000)
    assert (seen["blocks"], seen["tokens"], seen["concurrency"]) == (size.blocks, size.tokens, size.concurrency)
    assert weight_bytes(model, Parallelism())[0] == pytest.approx(seen["weights_bytes"], rel=0.01)
