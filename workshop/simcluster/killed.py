"""What an engine that was killed leaves behind: helpers that live on, and files it had begun to write.

The engine starts each helper in a process group of its own (pulumi/pulumi sdk/go/common/util/cmdutil/child_unix.go), so
no signal to the engine's group reaches them; a language host looks for its engine every five minutes, a provider never.
They are known by their names, and by the backend in their environment. Where there is no /proc, none is found.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from workshop.simcluster.processes import Process, start_of

PROC = Path("/proc")
HELPERS = ("pulumi-language-", "pulumi-resource-")


def mend(state: Path) -> Iterator[Path]:
    """Removes sidecars that hold nothing that can be read, and yields each.

    The backend writes `FILE.attrs` beside every file, not atomically, and reads no file whose sidecar is cut off
    ("failed to load checkpoint: EOF"); without a sidecar it reads it (gocloud.dev blob/fileblob/attrs.go).
    """
    for sidecar in sorted(state.rglob("*.attrs")):
        try:
            json.loads(sidecar.read_bytes())
        except ValueError:
            sidecar.unlink()
            yield sidecar


def helpers(backend: str) -> Iterator[Process]:
    """The helpers of all engines of a backend, dead or alive."""
    if not PROC.joinpath("self").exists():
        return
    for place in PROC.iterdir():
        with suppress(OSError):
            if place.name.isdigit() and place.stat().st_uid == os.getuid() and _helps(place, backend):
                yield Process(int(place.name), start_of(int(place.name)))


def _helps(place: Path, backend: str) -> bool:
    words = place.joinpath("cmdline").read_bytes().split(b"\0")
    named = any(Path(os.fsdecode(word)).name.startswith(HELPERS) for word in words[:3])
    return named and f"PULUMI_BACKEND_URL={backend}".encode() in place.joinpath("environ").read_bytes().split(b"\0")
