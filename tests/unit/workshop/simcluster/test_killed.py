"""What a killed engine leaves behind: which files are removed, and whose helpers are found.

Starts harmless processes of its own; `tests/engine` kills the real engine.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from workshop.simcluster.killed import PROC, helpers, mend

HERE = "file:///here/state"
WAITS = "import time; print(flush=True); time.sleep(600)"


@pytest.mark.parametrize("cut", ["", '{"user.content_type":'])
def test_a_sidecar_that_cannot_be_read_is_removed(tmp_path: Path, cut: str):
    """The one that was cut off goes; the state, its backup and the sidecars that are whole stay."""
    folder = tmp_path / ".pulumi" / "stacks" / "p"
    folder.mkdir(parents=True)
    whole = {"dev.json": "{}", "dev.json.bak": "", "dev.json.bak.attrs": '{"user.metadata": null}'}
    for name, text in {**whole, "dev.json.attrs": cut}.items():
        (folder / name).write_text(text, encoding="utf-8")
    assert [item.name for item in mend(tmp_path)] == ["dev.json.attrs"]
    assert {item.name for item in folder.iterdir()} == set(whole)
    assert list(mend(tmp_path)) == []


@pytest.mark.skipif(not PROC.joinpath("self").exists(), reason="helpers are found by /proc")
def test_helpers_are_known_by_name_and_backend(tmp_path: Path):
    """A provider and a language host of this backend; no other program, and nobody else's."""
    started = {}
    for name, backend in (
        ("pulumi-resource-kubernetes", HERE),
        ("pulumi-language-python", HERE),
        ("pulumi-resource-other", f"{HERE}2"),
        ("pulumi", HERE),
        ("tail-pulumi-resource-kubernetes", HERE),
    ):
        program = tmp_path / name
        program.symlink_to(Path(sys.executable).resolve())
        environment = {"PULUMI_BACKEND_URL": backend}
        started[name] = subprocess.Popen([program, "-c", WAITS], stdout=subprocess.PIPE, env=environment)
    try:
        for child in started.values():
            assert child.stdout
            child.stdout.readline()
        mine = {started[name].pid for name in ("pulumi-resource-kubernetes", "pulumi-language-python")}
        assert {process.pid for process in helpers(HERE)} == mine
    finally:
        for child in started.values():
            child.kill()
            child.communicate()
