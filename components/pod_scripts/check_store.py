"""Check that a bucket holds the checkpoint, before a server streams it from there.

Runs as an init container of vLLM's image, whose streamer reads the bucket, configured by its environment alone:

    MODEL_DIR       the published folder, e.g. s3://models/llm/Qwen--Qwen3-14B/<revision>
    MODEL_REPO      organisation/name the server is configured for
    MODEL_REVISION  40-hex commit, or "main" when unpinned
    AWS_CONFIG_FILE optional: a file to write, which tells this pod's AWS clients to have the bucket in the host's name

Keys and addresses of the store are the streamer's own variables. Exit status: 0 ready, 1 not (a message names what is
missing and what to do). Small files are compared with the hashes of the manifest; of the safetensors only their names,
because reading them is what the server does.
"""

# ruff: noqa: T201 - printing is how a pod speaks
import hashlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# List (URL → names of its safetensors) and pull (URL, folder, patterns of names) of the streamer.
Store = tuple[Callable[[str], Sequence[str]], Callable[[str, str, list[str] | None, list[str] | None], Any]]


# For boto3, with which the streamer lists and gets small files: it reads this from files alone (botocore 1.44).
IN_HOST_NAME = "[default]\ns3 =\n    addressing_style = virtual\n"


class NotReadyError(Exception):
    """The bucket does not hold what the server is going to load."""


def streamer() -> Store:
    """Return what vLLM reads buckets with (runai-model-streamer 0.15 and later)."""
    try:
        import runai_model_streamer as library  # noqa: PLC0415 # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise NotReadyError(f"this image has no streamer ({error}); use one with runai-model-streamer in it") from None
    return library.list_safetensors, library.pull_files


def check(url: str, repo: str, revision: str, store: Store, folder: Path) -> int:
    """Compare the folder of the bucket with its manifest; return the number of its safetensors."""
    remedy = f"publish {repo}@{revision} there, with the manifest.json of its weights Job, then restart this pod"
    names, pull = store
    pull(url, str(folder), ["*/manifest.json"], None)
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        held, files = f"{manifest['repo']}@{manifest['revision']}", dict(manifest["files"])
        promised = {name: str(entry["sha256"]) for name, entry in files.items()}
    except FileNotFoundError:
        raise NotReadyError(f"{url} has no manifest.json, so nothing was published there; {remedy}") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise NotReadyError(f"{url}/manifest.json does not parse; {remedy}") from None
    if held != f"{repo}@{revision}":
        raise NotReadyError(f"{url} holds {held}, this server wants {repo}@{revision}; {remedy}")
    # small files only: what is not of our making may hold others of any size
    pull(url, str(folder), [f"*/{name}" for name in promised if not name.endswith(".safetensors")], None)
    weights = {name for name in promised if name.endswith(".safetensors")}
    there = {name.removeprefix(f"{url}/") for name in names(url)}
    faults = [f"{name} is missing" for name in sorted(weights - there)]
    # the server loads every one it finds
    faults += [f"{name} is not in the manifest" for name in sorted(there - weights)]
    for name in sorted(promised.keys() - weights):
        path = folder / name
        if not path.is_file():
            faults.append(f"{name} is missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != promised[name]:
            faults.append(f"{name} is not what the manifest says")
    if faults:
        raise NotReadyError(f"{url} is not complete: {', '.join(faults)}; {remedy}")
    return len(weights)


def main(environ: Mapping[str, str], store: Callable[[], Store] = streamer) -> int:
    """Check; return the exit status."""
    try:
        url, repo, revision = (environ[key] for key in ("MODEL_DIR", "MODEL_REPO", "MODEL_REVISION"))
        if config := environ.get("AWS_CONFIG_FILE"):
            Path(config).write_text(IN_HOST_NAME, encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            count = check(url, repo, revision, store(), Path(folder))
        print(f"{url} holds {repo}@{revision}, {count} safetensors", flush=True)
    except KeyError as missing:
        print(f"not ready: {missing.args[0]} is not set", flush=True)
    except NotReadyError as reason:
        print(f"not ready: {reason}", flush=True)
    except Exception as error:  # noqa: BLE001 - each store's client has errors of its own
        print(f"not ready: {environ['MODEL_DIR']} cannot be read: {type(error).__name__}: {error}", flush=True)
    else:
        return 0
    return 1


if __name__ == "__main__":
    # Process 1 of a container ignores signals that it does not handle; nothing here needs tidying up.
    signal.signal(signal.SIGTERM, lambda signum, _frame: os._exit(128 + signum))
    sys.exit(main(os.environ))
