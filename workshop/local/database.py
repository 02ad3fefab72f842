"""`.venv-gateway`: Prisma, by which LiteLLM speaks to Postgres, without the binaries that its publisher hands out.

npm has the query engine as WebAssembly, which prisma/query_engine.js puts behind the protocol of the binary;
prisma/schema_engine.js runs migrations as the other binary does.
"""

import hashlib
import os
import shutil
import sys
import time
from pathlib import Path

from settings.problems import Problem, Refused
from workshop.local import places
from workshop.local.toolchain import ROOT, VENV, Progress
from workshop.process import watched

SOURCES = Path(__file__).with_name("prisma")
PLACE = ROOT / ".venv-gateway"
DISK_GB = 0.2
# Programs that Prisma would fetch.
ENGINES = {
    "PRISMA_QUERY_ENGINE_BINARY": SOURCES / "query_engine.js",
    "PRISMA_QUERY_ENGINE_LIBRARY": SOURCES / "query_engine.js",
    "PRISMA_SCHEMA_ENGINE_BINARY": SOURCES / "schema_engine.js",
}


def is_ready() -> bool:
    """Whether it is there and made from these sources for this LiteLLM."""
    stamp = PLACE / ".stamp"
    return stamp.is_file() and schema().is_file() and stamp.read_text("utf-8") == _digest()


def problems() -> list[Problem]:
    """Programs that this machine lacks, and too little disk."""
    how = "is not on PATH; on Debian and Ubuntu: apt-get install npm, or leave gateway.database out"
    lacking = [Problem(name, how) for name in ("node", "npm") if shutil.which(name) is None]
    return lacking if is_ready() else [*lacking, *places.problems(PLACE.name, PLACE, DISK_GB, places.OF_PROJECT)]


def ensure(progress: Progress) -> float:
    """Makes it, unless it is there: Prisma's packages of npm and PyPI, and the Python client for LiteLLM's schema.

    Returns the seconds it took. Raises `Refused` when it cannot.
    """
    begun = time.monotonic()
    if is_ready():
        return 0.0
    shutil.rmtree(PLACE, ignore_errors=True)
    shutil.copytree(SOURCES, PLACE)
    programs = {"UV": Path(sys.executable).with_name("uv"), "PYTHON": VENV / "bin" / "python"}
    variables = [f"{name}={value}" for name, value in {**environment(), **programs}.items()]
    status, lines = watched(
        ["env", *variables, "sh", PLACE / "prepare.sh"],
        lambda: progress(f"installing Prisma: {time.monotonic() - begun:.0f} s"),
    )
    if status:
        raise Refused([Problem(PLACE.name, f"could not be made: {' '.join(lines[-3:])}")])
    (PLACE / ".stamp").write_text(_digest(), encoding="utf-8")
    return time.monotonic() - begun


def environment() -> dict[str, str]:
    """Variables for LiteLLM, or for Prisma's own commands, in place of what an image has built in."""
    return {
        "INSTALLED_SCHEMA": str(schema()),
        "PATH": f"{PLACE / 'python' / 'bin'}:{VENV / 'bin'}:{os.environ['PATH']}",
        "PRISMA_BINARY_CACHE_DIR": str(PLACE),
        "PYTHONPATH": str(PLACE / "python"),
        "QUERY_ENGINE_MODULES": str(PLACE / "node_modules"),
        **{name: str(engine) for name, engine in ENGINES.items()},
    }


def program(name: str) -> str | None:
    """A program of Postgres; Debian keeps some of them off PATH."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return shutil.which(name) or next(map(str, installed), None)


def schema() -> Path:
    """LiteLLM's data model, as its package has it."""
    return next(VENV.glob("lib/python3*/site-packages/litellm/proxy/schema.prisma"), VENV / "schema.prisma")


def _digest() -> str:
    parts = [file.read_bytes() for file in (*sorted(SOURCES.glob("*")), schema())]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
