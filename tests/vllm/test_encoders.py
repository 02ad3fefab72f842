"""Encoders: from `config.json` to what the real vLLM loads of them, and that it keeps nothing of a request.

Their tokenizers are those of the local stand-ins, for vLLM wants one here. Does not prove what a GPU has loaded.
"""

import json

import pytest

from catalog.importing import Files, imported
from planning.capacity.budget import Parallelism
from planning.capacity.rotary import rotary_bytes
from planning.capacity.weights import weight_bytes
from planning.tasks import task_of
from tests.vllm.architectures import ENCODERS
from tests.vllm.conftest import Vllm
from workshop.local.weights import MAKER

pytestmark = pytest.mark.vllm

SAMPLE = {"xlm-roberta-pairs"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.sample] if name in SAMPLE else []) for name in ENCODERS]
)
def test_an_encoder_weighs_what_vllm_loads_and_keeps_nothing(vllm: Vllm, name: str):
    """Bytes of weights within one per cent at the longest context of the entry, and no layer has a cache."""
    model = imported(Files(ENCODERS[name], license="x")).model
    assert model is not None
    assert task_of(model).writes is False
    folder = vllm.folder / f"encoder-{name}"
    vllm.run(MAKER, folder, "intfloat/multilingual-e5-large" if "roberta" in name else "BAAI/bge-base-en-v1.5")
    (folder / "config.json").write_text(json.dumps(ENCODERS[name]), encoding="utf-8")
    seen = vllm.asked(folder, max_model_len=model.context.config_tokens, skip_tokenizer_init=False)
    assert "error" not in seen, seen["error"]
    assert seen["groups"] == []
    assert weight_bytes(model, Parallelism())[0] == pytest.approx(seen["weights_bytes"], rel=0.01)
    assert seen["rotary_bytes"] == rotary_bytes(model)
