"""Fetch as `fetch_weights` does, and publish only what somebody vouched for: a mirror is no witness of itself.

Runs as a Job, configured as that script, which stands beside it with `prove_weights`, and by

    MANIFEST_SHA256  what the manifest must have, as `prove_weights` says

Exit status: 0 published or already there, 1 failed and worth a retry, 2 refused because a retry cannot help. What is
refused stays staged and is not published; what was published before is proven again.
"""

# ruff: noqa: T201 - printing is how a pod speaks
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import fetch_weights
from prove_weights import UnprovenError, prove


def prove_folder(folder: Path, wanted: str) -> None:
    """Refuse a folder whose manifest is another than the one that was vouched for."""
    try:
        prove((folder / "manifest.json").read_text(encoding="utf-8"), wanted, str(folder))
    except UnprovenError as reason:
        raise fetch_weights.RefusedError(str(reason)) from None


def main(environ: Mapping[str, str], *clocks: Callable) -> int:
    """Fetch and prove; return the exit status."""
    wanted, publish = environ.get("MANIFEST_SHA256", ""), fetch_weights.publish

    def publish_proven(job: fetch_weights.Job) -> None:
        prove_folder(job.staging, wanted)
        publish(job)

    try:
        # its last step, with all that it does before and after
        fetch_weights.publish = publish_proven
        status = fetch_weights.main(environ, *clocks)
    finally:
        fetch_weights.publish = publish
    try:
        if status == 0:
            prove_folder(Path(environ["TARGET_DIR"]), wanted)
    except (fetch_weights.RefusedError, OSError) as refusal:
        print(f"refused: {refusal}", flush=True)
        return 2
    return status


if __name__ == "__main__":
    # as fetch_weights: its client and its lock end with it
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(os.environ))
