"""What vLLM's own loader makes of options, and the weights that it streams. Runs in .venv-local.

    python read_store.py URL FOLDER OPTION...

Each OPTION is a `--model-loader-extra-config=…`, parsed and taken by the loader as a server does it. The first is
streamed with. Prints one JSON object: for each option what was taken, or the error; the SHA-256 of every tensor as it
came from URL, and of those of the safetensors in FOLDER.
"""

# ruff: noqa: T201 - its output is its answer
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch  # pyright: ignore[reportMissingImports] - of .venv-local
from safetensors.torch import load_file  # pyright: ignore[reportMissingImports] - as above
from vllm.engine.arg_utils import EngineArgs  # pyright: ignore[reportMissingImports] - as above
from vllm.model_executor.model_loader import get_model_loader  # pyright: ignore[reportMissingImports] - as above
from vllm.utils.argparse_utils import FlexibleArgumentParser  # pyright: ignore[reportMissingImports] - as above


def loader(option: str, folder: Path) -> Any:
    """The loader that a server with this option has; the folder is that of a model, which the parser looks for."""
    parser = EngineArgs.add_cli_args(FlexibleArgumentParser())
    words = parser.parse_args([f"--model={folder}", "--load-format=runai_streamer", option])
    return get_model_loader(EngineArgs.from_cli_args(words).create_load_config())


def taken(option: str, folder: Path) -> dict[str, Any]:
    """What it goes by, in its own words."""
    os.environ.pop("RUNAI_STREAMER_MEMORY_LIMIT", None)
    try:
        made = loader(option, folder)
    except ValueError as error:
        return {"error": str(error)}
    limit = os.environ.get("RUNAI_STREAMER_MEMORY_LIMIT")
    return {"loader": type(made).__name__, "distributed": made._is_distributed, "memory_limit": limit}


def digest(tensor: Any) -> str:
    """Of its type, its shape and its bytes."""
    raw = tensor.contiguous().view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode() + raw).hexdigest()


def main(url: str, folder: Path, options: list[str]) -> None:
    """Print it."""
    found = [taken(option, folder) for option in options]
    weights = loader(options[0], folder)._get_weights_iterator(url, None)
    streamed = {name: digest(one) for name, one in weights}
    files = [load_file(file) for file in sorted(folder.glob("*.safetensors"))]
    there = {name: digest(one) for tensors in files for name, one in tensors.items()}
    print(json.dumps({"options": found, "streamed": streamed, "there": there}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
