"""Fetch a LoRA adapter as `fetch_weights` does, and publish only what its server can load.

Runs as a Job, configured as that script, which stands beside it with `fetch_proven` and `prove_weights`, and by

    BASE_MODEL       the repository that adapter_config.json has to name as its base
    MAX_RANK         the largest rank it may have
    ADAPTER_FIELD    where a stack says both, e.g. models.chat.adapters.sql
    MANIFEST_SHA256  optional: what the manifest must have, as `prove_weights` says

Exit status: 0 published or already there, 1 failed and worth a retry, 2 refused because a retry cannot help. What is
refused stays staged and is not published; what was published before is looked at again.
"""

# ruff: noqa: T201 - printing is how a pod speaks
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import fetch_proven
import fetch_weights

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
# What vLLM refuses as it loads an adapter (PEFTHelper, vllm/lora/peft_helper.py, 0.33.0).
UNSUPPORTED = ("use_dora", "lora_bias", "alora_invocation_tokens", "layer_replication", "use_bdlora", "use_qalora")
# Ways to begin a training that leave the base as it is; others change its weights.
PLAIN_STARTS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
HEADS = ("classifier", "score")


def read_config(folder: Path) -> dict[str, Any]:
    """Return what an adapter says of itself; refuse a folder that is none."""
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise fetch_weights.RefusedError(f"it has no {name}, so it is no LoRA adapter")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if isinstance(config, dict):
            return config
    except (ValueError, RecursionError):
        pass
    raise fetch_weights.RefusedError(f"{CONFIG} does not parse")


def largest_rank(config: Mapping[str, Any]) -> int:
    """Return the largest rank of any of its layers."""
    pattern = config.get("rank_pattern") or {}
    ranks = [config.get("r"), *(pattern.values() if isinstance(pattern, dict) else [None])]
    if not all(isinstance(rank, int) and not isinstance(rank, bool) and rank > 0 for rank in ranks):
        raise fetch_weights.RefusedError(f"{CONFIG} has a rank that is none")
    return max(ranks)


def same_base(named: object, wanted: str) -> bool:
    """Say whether both are one repository; a folder of that name on somebody's disk is it, too."""
    name = str(named).rstrip("/")
    folder = name.startswith(("/", ".", "~"))
    return name.lower() == wanted.lower() or (
        folder and name.rpartition("/")[2].lower() == wanted.rpartition("/")[2].lower()
    )


def faults(config: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[str]:
    """Yield what is against the adapter, each with what to do."""
    field, wanted, most = environ["ADAPTER_FIELD"], environ["BASE_MODEL"], int(environ["MAX_RANK"])
    if (kind := config.get("peft_type")) not in (None, "LORA"):
        yield f"it is an adapter of type {str(kind)[:40]}, and only LORA is served"
    if (rank := largest_rank(config)) > most:
        yield f"its rank is {rank}, and {field}.rank is {most}; write rank: {rank}"
    named = config.get("base_model_name_or_path")
    if named and not same_base(named, wanted):
        shown = str(named)[:200]
        yield f"its base is {shown!r}, and {field} is for {wanted!r}; are both one model, write {field}.base: {shown}"
    used = [key for key in UNSUPPORTED if config.get(key)]
    used += ["bias"] if config.get("bias", "none") != "none" else []
    start = config.get("init_lora_weights", True)
    used += ["init_lora_weights"] if isinstance(start, str) and start.lower() not in PLAIN_STARTS else []
    used += ["modules_to_save"] if any(name not in HEADS for name in config.get("modules_to_save") or ()) else []
    if used:
        yield f"{CONFIG} has {', '.join(used)}, which vLLM does not serve; merge it into a checkpoint of its own"


def check(folder: Path, environ: Mapping[str, str]) -> None:
    """Refuse what the server could not load, with everything against it at once."""
    if found := list(faults(read_config(folder), environ)):
        raise fetch_weights.RefusedError("; ".join(found))
    if wanted := environ.get("MANIFEST_SHA256", ""):
        fetch_proven.prove_folder(folder, wanted)


def main(environ: Mapping[str, str], *clocks: Callable) -> int:
    """Fetch and check; return the exit status."""
    publish = fetch_weights.publish
    name = f"{environ.get('MODEL_REPO')}@{environ.get('MODEL_REVISION')}"

    def publish_checked(job: fetch_weights.Job) -> None:
        try:
            check(job.staging, environ)
        except fetch_weights.RefusedError as refusal:
            raise fetch_weights.RefusedError(f"{name}: {refusal}") from None
        publish(job)

    try:
        # its last step, with all that it does before and after
        fetch_weights.publish = publish_checked
        status = fetch_weights.main(environ, *clocks)
    finally:
        fetch_weights.publish = publish
    try:
        if status == 0:
            check(Path(environ["TARGET_DIR"]), environ)
    except (fetch_weights.RefusedError, OSError) as refusal:
        print(f"refused: {name}: {refusal}", flush=True)
        return 2
    return status


if __name__ == "__main__":
    # as fetch_weights: its client and its lock end with it
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(os.environ))
