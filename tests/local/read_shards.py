"""What vLLM's own loader reads of files of each rank, as one rank of a replica. Runs in .venv-local.

    python read_shards.py RANK RANKS PORT FOLDER TARGET URL OPTION...

Every rank is a process of its own, which meets the others at PORT. It loads the model in FOLDER as from any folder,
writes it to TARGET as `save_sharded_state` does, says SAVED and waits for a line. Then it loads the model anew from URL
with a server's OPTIONs and prints one JSON object: the SHA-256 of every tensor as it was read, and as it is in the
model of FOLDER.
"""

# ruff: noqa: T201 - its output is its answer
import json
import os
import sys
from pathlib import Path
from typing import Any

from read_store import digest
from vllm.config import set_current_vllm_config  # pyright: ignore[reportMissingImports] - of .venv-local
from vllm.distributed import (  # pyright: ignore[reportMissingImports] - as above
    init_distributed_environment,
    initialize_model_parallel,
)
from vllm.engine.arg_utils import EngineArgs  # pyright: ignore[reportMissingImports] - as above
from vllm.model_executor.model_loader import (  # pyright: ignore[reportMissingImports] - as above
    ShardedStateLoader,
    get_model_loader,
)
from vllm.utils.argparse_utils import FlexibleArgumentParser  # pyright: ignore[reportMissingImports] - as above
from vllm.utils.torch_utils import set_default_torch_dtype  # pyright: ignore[reportMissingImports] - as above

# Bytes of a file of shards, so that a rank has several.
LARGEST = 40_000


def configured(words: list[str]) -> Any:
    """The engine's configuration by a server's arguments."""
    parser = EngineArgs.add_cli_args(FlexibleArgumentParser())
    return EngineArgs.from_cli_args(parser.parse_args(words)).create_engine_config()


def loaded(config: Any) -> Any:
    """The model with its weights as they were read, before they are arranged for kernels."""
    loader, model_config = get_model_loader(config.load_config), config.model_config
    with set_default_torch_dtype(model_config.dtype):
        model = loader.create_model(vllm_config=config, model_config=model_config)
    loader.load_weights(model, model_config)
    return model


def digests(model: Any) -> dict[str, str]:
    """Of all tensors."""
    # a scale has no dimension, and no bytes to look at before it has one
    return {name: f"{tuple(one.shape)} {digest(one.reshape(-1))}" for name, one in model.state_dict().items()}


def main(rank: int, ranks: int, port: str, folder: Path, target: str, url: str, *options: str) -> None:
    """Do it."""
    common = [f"--tensor-parallel-size={ranks}", "--enforce-eager"]
    os.environ["VLLM_DIST_IDENT"] = f"read-shards-{port}"
    usual = configured([f"--model={folder}", *common])
    with set_current_vllm_config(usual):
        meet = f"tcp://127.0.0.1:{port}"
        init_distributed_environment(ranks, rank, meet, local_rank=rank, backend="gloo")
        initialize_model_parallel(ranks)
        model = loaded(usual)
        ShardedStateLoader.save_model(model, target, max_size=LARGEST)
    print("SAVED", flush=True)
    sys.stdin.readline()
    config = configured([f"--model={url}", *common, *options])
    with set_current_vllm_config(config):
        print(json.dumps({"read": digests(loaded(config)), "there": digests(model)}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), *sys.argv[5:])
