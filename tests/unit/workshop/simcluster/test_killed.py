"""What a killed engine leaves behind: which files are removed, and whose helpers are found.

Starts harmless processes of its own; `tests/engine` kills the real engine.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workshop.simcluster.engine import helpers, mend

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


@pytest.fixture
def started(tmp_path: Path) -> Iterator[dict[str, int]]:
    """What is started → its number: programs and a script of these names, and one that only reads such a file."""
    children: dict[str, subprocess.Popen[bytes]] = {}
    python = Path(sys.executable).resolve()
    script = tmp_path / "pulumi-language-python-exec"
    script.write_text(WAITS, encoding="utf-8")
    commands = {"the program": [python, "-u", script], "a reader": [python, "-c", WAITS, "pulumi-resource-x.log"]}
    backends = {"the program": HERE, "a reader": HERE}
    for name, backend in (
        ("pulumi-resource-kubernetes", HERE),
        ("pulumi-language-python", HERE),
        ("pulumi-resource-other", f"{HERE}2"),
        ("pulumi", HERE),
        ("tail-pulumi-resource-kubernetes", HERE),
    ):
        link = tmp_path / name
        link.symlink_to(python)
        commands[name], backends[name] = [link, "-c", WAITS], backend
    try:
        for name, command in commands.items():
            environment = {"PULUMI_BACKEND_URL": backends[name]}
            child = children[name] = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
            assert child.stdout
            child.stdout.readline()
        yield {name: child.pid for name, child in children.items()}
    finally:
        for child in children.values():
            child.kill()
            child.communicate()


def test_helpers_are_known_by_name_and_backend(started: dict[str, int]):
    """A provider, a language host and the program it runs, of this backend; no other program, and nobody else's."""
    found = {process.pid for process in helpers(HERE)}
    assert {name for name, pid in started.items() if pid in found} == {
        "pulumi-resource-kubernetes",
        "pulumi-language-python",
        "the program",
    }
    assert found <= set(started.values())


def test_helpers_of_another_user_are_not_ours(started: dict[str, int], monkeypatch: pytest.MonkeyPatch):
    """Also root, who may read everybody's environment, ends nobody else's."""
    user = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)
    assert started
    assert list(helpers(HERE)) == []
