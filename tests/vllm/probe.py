"""Builds real vLLM engines and says how large their KV caches are, or runs scripts; in the interpreter that has vLLM.

One request per line on stdin, one answer per line on stdout (the first line says which vLLM answers):

    {"folder": "...", "arguments": {...}}     the folder holds a config.json; the arguments go to vllm.LLM
    {"folder": "...", "arguments": {"enable_lora": true, ...}}     as well: "slot_bytes" of all LoRA slots
    {"blocks": 682, "tokens": 87296, "concurrency": 42.625, "context": 2048, "groups": [...], "logged": {...}}
    {"folder": "...", "script": ["...", ...]}   a file of Python and its arguments; its stdin is stdin.txt of the folder
    {"output": "..."}
    {"error": "..."}

Importing vLLM takes longer than building an engine of a few layers, so it happens once and each engine or script
lives in a fork that ends with it. What an engine prints is in `engine.log` of its folder; `logged` is the line an
operator would read.
"""

import contextlib
import io
import json
import os
import re
import runpy
import signal
import sys
import time
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

SECONDS_PER_ENGINE = 300
LOGGED = re.compile(
    r"CPU KV cache size: (?P<tokens>[\d,]+) tokens, "
    r"Maximum concurrency for (?P<context>[\d,]+) tokens per request: (?P<concurrency>[\d.]+)x"
)


def stored_bytes(tensors: Iterable[Any]) -> int:
    """Bytes of all tensors, each once."""
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


def weighed() -> list[dict[str, int]]:
    """A list that gets the bytes of all parameters and of tables of rotary positions as soon as they are loaded.

    After that the CPU build packs them anew and lets go of most of them. With several ranks, it stays empty.
    """
    loader, sizes = import_module("vllm.model_executor.model_loader.base_loader"), []
    original = loader.process_weights_after_loading

    def weigh(model: Any, *arguments: Any) -> None:
        tables = [table for name, table in model.named_buffers() if "cos_sin" in name]
        kinds = {"weights_bytes": model.parameters(), "rotary_bytes": tables}
        sizes.append({kind: stored_bytes(tensors) for kind, tensors in kinds.items()})
        original(model, *arguments)

    vars(loader)["process_weights_after_loading"] = weigh
    return sizes


def slot_bytes(model: Any) -> int:
    """Bytes of the tensors that LoRA adapters are put into, each once."""
    storages: dict[int, int] = {}
    for module in model.modules():
        for name, value in vars(module).items():
            if name.endswith(("lora_a_stacked", "lora_b_stacked")):
                for tensor in value if isinstance(value, (list, tuple)) else [value]:
                    storage = tensor.untyped_storage()
                    storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def build(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Start one engine and read what it decided."""
    llm_class = import_module("vllm").LLM
    registry = import_module("vllm.model_executor.models.registry")
    # vLLM inspects a model class in a new process, to leave CUDA alone: 15 s for each class, and here is no CUDA
    vars(registry)["_run_in_subprocess"] = lambda function: function()
    loaded = weighed()
    usual = {"load_format": "dummy", "skip_tokenizer_init": True, "enforce_eager": True}
    llm = llm_class(model=str(folder), **(usual | arguments))
    config = llm.llm_engine.vllm_config
    layout = llm.llm_engine.engine_core.engine_core.scheduler.kv_cache_config
    slots = {"slot_bytes": sum(llm.apply_model(slot_bytes))} if arguments.get("enable_lora") else {}
    return {
        **slots,
        "blocks": layout.num_blocks,
        "tokens": config.cache_config.kv_cache_size_tokens,
        "concurrency": config.cache_config.kv_cache_max_concurrency,
        "context": config.model_config.max_model_len,
        "tasks": sorted(llm.llm_engine.engine_core.engine_core.get_supported_tasks()),
        **(loaded[0] if loaded else {"weights_bytes": None, "rotary_bytes": None}),
        "groups": [
            {
                "kind": type(group.kv_cache_spec).__name__,
                "layers": len(group.layer_names),
                "block_tokens": group.kv_cache_spec.block_size,
                "page_bytes": group.kv_cache_spec.page_size_bytes,
            }
            for group in layout.kv_cache_groups
        ],
    }


def printed(folder: Path, script: list[str]) -> dict[str, Any]:
    """What a script writes to its stdout."""
    written, sys.argv = io.StringIO(), script
    with (folder / "stdin.txt").open(encoding="utf-8") as sys.stdin, contextlib.redirect_stdout(written):
        runpy.run_path(script[0], run_name="__main__")
    return {"output": written.getvalue()}


def answer_in_fork(folder: Path, request: dict[str, Any]) -> None:
    """What the fork does: build or run, write the answer, end without any clean-up of the parent's."""
    os.setpgid(0, 0)
    log = os.open(folder / "engine.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        answer = printed(folder, request["script"]) if "script" in request else build(folder, request["arguments"])
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is the answer
        answer = {"error": f"{type(error).__name__}: {error}"}
    (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
    os._exit(0)


def measure(folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    """One engine or script in a process group of its own; it and its workers are gone when this returns."""
    child = os.fork()
    if child == 0:
        answer_in_fork(folder, request)
    deadline = time.monotonic() + SECONDS_PER_ENGINE
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):  # not reaped yet, so the number is still this group's
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    log = (folder / "engine.log").read_text(encoding="utf-8", errors="replace")
    if not (folder / "answer.json").exists():
        return {"error": f"no answer within {SECONDS_PER_ENGINE} s or a crash; the log ends with:\n{log[-2000:]}"}
    answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    found = LOGGED.search(log)
    answer["logged"] = {key: value.replace(",", "") for key, value in found.groupdict().items()} if found else None
    return answer


def main() -> None:
    """Import vLLM, say so, answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    vllm = import_module("vllm")
    assert vllm.LLM, "an attribute that is imported when asked for, and most of what takes long"
    print(json.dumps({"vllm": vllm.__version__}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(measure(Path(request["folder"]), request)), file=answers, flush=True)


if __name__ == "__main__":
    main()
