"""The files beside `config.json` that vLLM wants of Qwen3-ASR: a tokenizer of bytes, and what cuts audio into features.

    python hearing.py DIRECTORY

In the interpreter that has vLLM.
"""

import sys

import transformers  # pyright: ignore[reportMissingImports] - of .venv-local
from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # pyright: ignore[reportMissingImports]

AUDIO = {"audio_token": "<|audio_pad|>", "audio_bos_token": "<|audio_start|>", "audio_eos_token": "<|audio_end|>"}
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_start|>", "<|audio_end|>", "<|audio_pad|>"]

known = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
made = Tokenizer(models.BPE(vocab={word: number for number, word in enumerate(known)}, merges=[]))
made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
made.add_special_tokens(SPECIAL)
transformers.Qwen2TokenizerFast(
    tokenizer_object=made,
    eos_token="<|im_end|>",
    pad_token=SPECIAL[0],
    unk_token=SPECIAL[0],
    extra_special_tokens=AUDIO,
).save_pretrained(sys.argv[1])
transformers.WhisperFeatureExtractor(feature_size=128).save_pretrained(sys.argv[1])
