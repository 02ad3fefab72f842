"""The real vLLM, as a fixture: one process that imports it once, and builds engines of configs or runs scripts.

Where there is no interpreter with vLLM, every test of this tier is skipped and says how to get one.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from workshop.local.toolchain import VENV, is_ready

PROBE = Path(__file__).with_name("probe.py")
KV_CACHE_GIB = 1


def interpreter() -> Path:
    """The Python that has vLLM; skips the test that asks when there is none."""
    if not is_ready(VENV):
        pytest.skip("no vLLM here, nothing was measured: run `make vllm-test`")
    return VENV / "bin" / "python"


class Vllm:
    """A running probe. `size` asks for one engine, `run` for what a script prints; `version` is vLLM's."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.version = self._read()["vllm"]

    def size(self, name: str, config: dict[str, Any], **arguments: Any) -> dict[str, Any]:
        """What vLLM makes of this config.json and these arguments: see probe.py, `{"error": ...}` included."""
        folder = self.folder / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return self.asked(folder, **arguments)

    def asked(self, folder: Path, **arguments: Any) -> dict[str, Any]:
        """The same of the files that are in a folder."""
        return self._ask({"folder": str(folder), "arguments": arguments})

    def run(self, script: Path, *arguments: object, text: str = "") -> list[str]:
        """The lines that a script prints, with this text as its stdin, where vLLM is imported already."""
        folder = Path(mkdtemp(dir=self.folder, prefix=script.stem))
        (folder / "stdin.txt").write_text(text, encoding="utf-8")
        answer = self._ask({"folder": str(folder), "script": [str(script), *map(str, arguments)]})
        assert "error" not in answer, answer["error"]
        return answer["output"].splitlines()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            said = (self.folder / "probe.log").read_text(encoding="utf-8", errors="replace")
            pytest.fail(f"the process with vLLM ended; it said:\n{said[-2000:]}")
        return json.loads(line)


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    """The process with vLLM, for all tests; it reaches no network and leaves nothing in the home directory."""
    python = interpreter()
    folder = tmp_path_factory.mktemp("vllm")
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_CACHE_ROOT": str(folder / "cache"),
        "VLLM_CPU_KVCACHE_SPACE": str(KV_CACHE_GIB),
        # two ranks on one NUMA node: without this, vLLM wants a node for each
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
    }
    with (folder / "probe.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [str(python), str(PROBE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            cwd=folder,
            text=True,
        )
        try:
            yield Vllm(process, folder)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
