"""The rendered pod of a CPU server whose compile cache is kept, started for real in folders of this machine.

What stands here proves nothing by itself.
"""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planning.questions.startup_log import read
from tests.harness import environment, on_cpu, stack
from workshop.local.toolchain import VENV
from workshop.ports import LOOPBACK, free_ports

DEADLINE_S = 400
PYTHON = str(VENV / "bin" / "python")
CACHE = {"kind": "claim", "storageClass": "rwx"}


@dataclass(frozen=True)
class Pod:
    """The rendered pod of a CPU server in folders of this machine; its cache is always in one place, as in a pod.

    `kept`: what stands for the claim.
    """

    folder: Path
    kept: Path
    model: Path
    spec: Mapping[str, Any]

    @property
    def cache(self) -> Path:
        """What stands for its emptyDir."""
        return self.folder / "cache"

    def empty_cache(self) -> None:
        """Lets its successor begin with an emptyDir of its own."""
        shutil.rmtree(self.cache)
        self.cache.mkdir()

    def _here(self, container: Mapping[str, Any]) -> dict[str, str]:
        """Its environment, directories of this machine in place of the container's."""
        values = {name: value for name, value in environment(container).items() if not value.startswith("secret:")}
        places = {"/cache": str(self.cache), "/kept": str(self.kept)}
        for name, value in values.items():
            for there, here in places.items():
                if value == there or value.startswith(f"{there}/"):
                    values[name] = value.replace(there, here, 1)
        return {**values, "PATH": os.environ["PATH"], "HOSTNAME": self.folder.name}

    def script(self, name: str, action: str) -> str:
        """What one container of the cache says in its first line."""
        (container,) = [one for one in self.spec["initContainers"] if one["name"] == name]
        values = self._here(container)
        if action == "publish":
            values["HEALTH_URL"] = values["HEALTH_URL"].replace(":8000", f":{self.port}")
        script = Path(__file__).parents[2] / "components" / "pod_scripts" / "compile_cache.py"
        process = subprocess.Popen([sys.executable, script], env=values, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            return process.stdout.readline().strip()
        finally:
            if action == "publish":
                # it stays until its pod goes
                process.terminate()
            assert process.wait(30) == 0

    @property
    def port(self) -> int:
        """Where its server listens: one that stays the same for this pod."""
        return int((self.folder / "port").read_text())

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Its server, healthy."""
        (container,) = self.spec["containers"]
        _, *rest = container["args"]
        args = [word.replace("0.0.0.0", LOOPBACK).replace("--port=8000", f"--port={self.port}") for word in rest]
        command = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(self.model), *args]
        self.cache.mkdir(exist_ok=True)
        with (self.folder / "log").open("w") as log:
            process = subprocess.Popen(command, env=self._here(container), stdout=log, stderr=log, cwd=self.folder)
            try:
                self._wait(process)
                yield
            finally:
                process.terminate()
                process.wait(60)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            assert process.poll() is None, (self.folder / "log").read_text()[-4000:]
            try:
                with urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        raise AssertionError((self.folder / "log").read_text()[-4000:])

    def engine_s(self) -> float:
        """Seconds vLLM says its engine took, which is where it compiles."""
        with (self.folder / "log").open() as lines:
            return read(lines).figures["init_s"]


def pod(folder: Path, model: Path, **changes: Any) -> Pod:
    """The pod of one server, `changes` in its settings."""
    # what the CPU build 0.32 saves ahead of time it cannot load with this torch, and compiles again
    settings = {"contextTokens": 1024, "maxNumSeqs": 4, "env": {"VLLM_USE_AOT_COMPILE": "0"}, **changes}
    deployed = stack(on_cpu(compileCache=CACHE, models={"tiny": settings}))
    kept = folder.parent / "kept"
    for made in (folder, kept):
        made.mkdir(exist_ok=True)
    (folder / "port").write_text(str(free_ports(1)[0]))
    return Pod(folder, kept, model, deployed.object("Deployment", "vllm-tiny")["spec"]["template"]["spec"])


def tiny_model(folder: Path) -> Path:
    """A tiny random Qwen3."""
    maker = Path(__file__).with_name("make_tiny_qwen3.py")
    subprocess.run([PYTHON, maker, folder / "tiny"], check=True, capture_output=True)
    return folder / "tiny"


def start_twice(folder: Path, model: Path) -> tuple[float, float]:
    """Seconds to the engine of a pod that finds nothing, and of its successor, which finds what the first compiled."""
    first = pod(folder, model)
    assert first.script("restore-cache", "restore").startswith("starts without a kept cache: there is no ")
    with first.serving():
        assert first.script("publish-cache", "publish").startswith("published ")
    cold_s = first.engine_s()
    first.empty_cache()
    assert first.script("restore-cache", "restore").startswith("restored ")
    with first.serving():
        assert first.script("publish-cache", "publish").startswith("nothing to publish: ")
    return cold_s, first.engine_s()
