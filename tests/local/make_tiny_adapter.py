"""A LoRA adapter of random weights for the model of `make_tiny_qwen3.py`. Runs in .venv-local.

python make_tiny_adapter.py DIRECTORY SEED BASE [RANK]

It is large enough that answers are others than those of the base. BASE: what adapter_config.json calls that.
"""

import json
import sys
from pathlib import Path

import torch  # pyright: ignore[reportMissingImports] - of .venv-local
from safetensors.torch import save_file  # pyright: ignore[reportMissingImports] - as above

LAYERS, HIDDEN, INNER = 2, 64, 128
# Layer → its width before and after.
SHAPES = {
    "self_attn.q_proj": (HIDDEN, 128),
    "self_attn.v_proj": (HIDDEN, 64),
    "self_attn.o_proj": (128, HIDDEN),
    "mlp.up_proj": (HIDDEN, INNER),
    "mlp.down_proj": (INNER, HIDDEN),
}


def main(target: Path, seed: int, base: str, rank: int = 8) -> None:
    """Fill `target`."""
    torch.manual_seed(seed)
    tensors = {}
    for layer in range(LAYERS):
        for name, (before, after) in SHAPES.items():
            path = f"base_model.model.model.layers.{layer}.{name}"
            tensors[f"{path}.lora_A.weight"] = torch.randn(rank, before)
            tensors[f"{path}.lora_B.weight"] = torch.randn(after, rank)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": 2 * rank,
        "bias": "none",
        "target_modules": [name.partition(".")[2] for name in SHAPES],
    }
    target.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target / "adapter_model.safetensors")
    (target / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], *map(int, sys.argv[4:]))
