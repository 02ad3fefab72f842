"""A Qwen3 of two layers with random weights and a tokenizer of bytes, made on the spot. Runs in .venv-local.

    python make_tiny_qwen3.py DIRECTORY [BYTES]

No file of weights has more than BYTES, e.g. 100KB; without it there is one file.
It says nothing sensible. It has what the parsers of the real one look for: the marks of thinking and of tool calls.
"""

import sys
from pathlib import Path

import torch  # pyright: ignore[reportMissingImports] - of .venv-local
from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # pyright: ignore[reportMissingImports] - as above
from transformers import (  # pyright: ignore[reportMissingImports] - as above
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MARKS = ["<think>", "</think>", "<tool_call>", "</tool_call>"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, and the marks."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(SPECIAL)
    made.add_tokens(MARKS)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>", model_max_length=40960
    )
    wrapped.chat_template = TEMPLATE
    return wrapped


def main(target: Path, largest: str = "1GB") -> None:
    """Fill `target`."""
    torch.manual_seed(0)
    words = tokenizer()
    config = Qwen3Config(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=40960,
        tie_word_embeddings=True,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        bos_token_id=None,
    )
    Qwen3ForCausalLM(config).to(torch.bfloat16).save_pretrained(target, max_shard_size=largest)
    words.save_pretrained(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
