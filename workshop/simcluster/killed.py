"""What an engine that was killed leaves behind: helpers that live on, and files it had begun to write.

No signal to the engine's group reaches its helpers (pulumi/pulumi sdk/go/common/util/cmdutil/child_unix.go); a language
host looks for its engine every five minutes, a provider never.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from workshop.process import processes

HELPERS = ("pulumi-language-", "pulumi-resource-")


def mend(state: Path) -> Iterator[Path]:
    """Removes sidecars that hold nothing readable, and yields each: the backend reads no file that has such a one.

    It writes `FILE.attrs` beside every file, not atomically, and does without (gocloud.dev blob/fileblob/attrs.go).
    """
    for sidecar in sorted(state.rglob("*.attrs")):
        try:
            json.loads(sidecar.read_bytes())
        except ValueError:
            sidecar.unlink()
            yield sidecar


def helpers(backend: str) -> list[psutil.Process]:
    """The helpers of all engines of a backend, dead or alive."""
    return [process for process in processes() if _helps(process, backend)]


def _helps(process: psutil.Process, backend: str) -> bool:
    with suppress(psutil.Error, OSError):
        named = any(Path(word).name.startswith(HELPERS) for word in process.cmdline()[:3])
        return named and process.environ().get("PULUMI_BACKEND_URL") == backend
    return False
