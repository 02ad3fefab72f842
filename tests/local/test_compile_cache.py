"""What vLLM really compiles, kept and found again: the rendered arguments and scripts of a CPU server, started anew.

A tiny random Qwen3 stands in for the checkpoint. What kernels of GPUs take, and what a network file system adds, is not
proved here. The ratio it prints is of one machine and one model.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.local.compiling import Pod, pod, start_twice, tiny_model

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model."""
    return tiny_model(tmp_path_factory.mktemp("model"))


def test_the_second_start_finds_what_the_first_compiled(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    """It takes at most two thirds of the time to its engine; a changed argument compiles anew."""
    cold_s, warm_s = start_twice(tmp_path / "pod", model)
    with capsys.disabled():
        print(f"\nengine: {cold_s:.1f} s without, {warm_s:.1f} s with the kept cache, ratio {warm_s / cold_s:.2f}")  # noqa: T201
    assert warm_s < 2 / 3 * cold_s
    other = pod(tmp_path / "pod", model, contextTokens=2048)
    other.empty_cache()
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
