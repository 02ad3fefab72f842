"""Copy the weights from a bucket to the pod's own volume on its node's disk, and check every byte on the way.

Runs as an init container of a vLLM pod, beside `buckets`, `copy_weights` and `fetch_weights`, configured by its
environment alone:

    MODEL_DIR       the published folder, e.g. s3://models/llm/Qwen--Qwen3-14B/<revision>; only ever read
    COPY_DIR, MODEL_REPO, MODEL_REVISION, COPY_THREADS    as of `copy_weights`

Keys and addresses of the store are the variables of its clients. Exit status: 0 ready, 1 not (a message names what is
missing and what to do). The manifest is written last, so a copy that was cut off is made again, but for the files of it
that are whole; a copy that is there is left alone.
"""

# ruff: noqa: T201 - printing is how a pod speaks
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from buckets import Store, store_of
from copy_weights import Files, NotReadyError, copy, promised
from fetch_weights import RefusedError

MANIFEST = "manifest.json"


class Object:
    """One file of a bucket, as `copy_weights` reads one of a volume."""

    def __init__(self, store: Store, name: str) -> None:
        self.store, self.name = store, name

    def __str__(self) -> str:
        return self.name

    @contextmanager
    def open(self, _mode: str) -> Iterator[Any]:
        """Its bytes, from the beginning; not every client has a stream that can be closed."""
        yield self.store.open(self.name)


class Folder:
    """A folder of a bucket, as `copy_weights` reads one of a volume; its manifest is in `here` already."""

    def __init__(self, store: Store, here: Path) -> None:
        self.store, self.here = store, here

    def __truediv__(self, name: str) -> Object | Path:
        return self.here / name if name == MANIFEST else Object(self.store, name)


def held(store: Store, url: str, folder: Path, repo: str, revision: str) -> Files:
    """Get the manifest into `folder`; return its files, or say why this is not the revision asked for."""
    if MANIFEST in store.sizes():
        (folder / MANIFEST).write_bytes(store.open(MANIFEST).read())
    try:
        return promised(folder, repo, revision)
    except NotReadyError as error:
        raise NotReadyError(str(error).replace(str(folder), url)) from None


def main(
    environ: Mapping[str, str],
    clock: Callable[[], float] = time.monotonic,
    at: Callable[[str, Mapping[str, str]], Store] = store_of,
) -> int:
    """Check and copy; return the exit status."""
    try:
        url, repo, revision = (environ[key] for key in ("MODEL_DIR", "MODEL_REPO", "MODEL_REVISION"))
        target = Path(environ["COPY_DIR"])
        if (target / MANIFEST).is_file():
            print(f"{target} is there already", flush=True)
            return 0
        store = at(url, environ)
        with tempfile.TemporaryDirectory() as folder:
            files = held(store, url, Path(folder), repo, revision)
            print(f"{url} holds {repo}@{revision}, {len(files)} files", flush=True)
            origin: Any = Folder(store, Path(folder))
            print(copy(origin, target, files, int(environ.get("COPY_THREADS") or 8), clock), flush=True)
    except KeyError as missing:
        print(f"not ready: {missing.args[0]} is not set", flush=True)
    except (NotReadyError, RefusedError) as reason:
        print(f"not ready: {reason}", flush=True)
    except Exception as error:  # noqa: BLE001 - each store's client has errors of its own
        print(f"not ready: {environ['MODEL_DIR']} cannot be copied: {type(error).__name__}: {error}", flush=True)
    else:
        return 0
    return 1


if __name__ == "__main__":
    # Process 1 of a container ignores signals that it does not handle; what is copied stays for the next try.
    signal.signal(signal.SIGTERM, lambda signum, _frame: os._exit(128 + signum))
    sys.exit(main(os.environ))
