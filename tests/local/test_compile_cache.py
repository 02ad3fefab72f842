"""What vLLM really compiles, kept and found again: the rendered arguments and scripts of a CPU server, started anew.

A tiny random Qwen3 stands in for the checkpoint. What kernels of GPUs take, and what a network file system adds, is not
proved here. The ratio it prints is of one machine and one model.
"""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from planning.questions.startup_log import read
from tests.harness import environment, on_cpu, stack
from workshop.local.toolchain import VENV
from workshop.ports import LOOPBACK, free_ports

pytestmark = pytest.mark.local
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


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    subprocess.run([PYTHON, Path(__file__).with_name("make_tiny_qwen3.py"), folder], check=True, capture_output=True)
    return folder


def test_the_second_start_finds_what_the_first_compiled(tmp_path, model, capsys):
    """It takes at most two thirds of the time to its engine; a changed argument compiles anew."""
    first = pod(tmp_path / "pod", model)
    assert first.script("restore-cache", "restore").startswith("starts without a kept cache: there is no ")
    with first.serving():
        assert first.script("publish-cache", "publish").startswith("published ")
    cold_s = first.engine_s()
    shutil.rmtree(first.cache)
    first.cache.mkdir()
    assert first.script("restore-cache", "restore").startswith("restored ")
    with first.serving():
        assert first.script("publish-cache", "publish").startswith("nothing to publish: ")
    warm_s = first.engine_s()
    with capsys.disabled():
        print(f"\nengine: {cold_s:.1f} s without, {warm_s:.1f} s with the kept cache, ratio {warm_s / cold_s:.2f}")  # noqa: T201
    assert warm_s < 2 / 3 * cold_s
    other = pod(tmp_path / "pod", model, contextTokens=2048)
    shutil.rmtree(first.cache)
    first.cache.mkdir()
    assert other.script("restore-cache", "restore").startswith("starts without a kept cache: there is no ")


def test_two_first_starts_at_once_keep_one_entry(tmp_path, model):
    """Both serve, one publishes, the other says that it is there; what is there is complete."""
    both = [pod(tmp_path / name, model) for name in ("one", "two")]

    def start(one: Pod) -> str:
        with one.serving():
            return one.script("publish-cache", "publish").partition(" ")[0]

    with ThreadPoolExecutor(2) as at_once:
        said = sorted(at_once.map(start, both))
    assert said in (["another", "published"], ["nothing", "published"])
    (entry,) = both[0].kept.iterdir()
    third = pod(tmp_path / "three", model)
    third.cache.mkdir()
    assert third.script("restore-cache", "restore").startswith(f"restored {entry.name}: ")
