"""Where things lie, and keys as files of their owner's."""

import fcntl
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from workshop.local.places import RunFolder, claim, problems, read_keys, write_keys

KEYS = {"llm-keys": {"master-key": "sk-1", "vllm-a": "x y\n"}, "other": {"k": "ü"}}


def test_a_run_lies_below_its_project(tmp_path):
    """All of it in one folder, whose path is the mark of its processes; the project's path is made absolute."""
    (tmp_path / "link").symlink_to(tmp_path)
    folder = RunFolder.of(tmp_path / "link", "dev")
    assert folder.path == tmp_path / ".local" / "dev"
    assert [folder.mark, *(str(path.relative_to(folder.path)) for path in (
        folder.objects, folder.pods, folder.logs, folder.keys, folder.prometheus, folder.control, folder.supervisor_log,
    ))] == [
        str(folder.path), "objects", "pods", "logs", "keys", "prometheus", "control", "supervisor.log",
    ]  # fmt: skip


def test_the_runs_of_a_project_are_its_folders(tmp_path):
    """By their stacks' names; files are none, and a project without any has none."""
    found = [RunFolder.found(tmp_path)]
    for name in ("b", "a"):
        RunFolder.of(tmp_path, name).path.mkdir(parents=True)
    (tmp_path / ".local" / "file").touch()
    assert [*found, RunFolder.found(tmp_path)] == [(), ("a", "b")]


@pytest.mark.parametrize(
    ("given", "expected"),
    [("/x/cache", "/x/cache"), ("", "{home}/.cache"), ("x/cache", "{home}/.cache"), (None, "{home}/.cache")],
)
def test_claims_are_in_the_users_cache(monkeypatch, given, expected):
    """Where XDG says, or below the home directory; a relative place is none, as XDG wants it."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if given is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", given)
    base = Path(expected.format(home=Path.home()))
    assert claim("weights") == base / "llm-stack" / "claims" / "weights"


@pytest.mark.parametrize(
    ("below", "free_gb", "said"),
    [
        ("new/er", 2, []),
        ("new/er", 1.94, ["x: takes about 2 GB in {}/new/er, 1.9 GB are free; fix it"]),
        ("file/new/er", 2, ["x: {}/file/new/er cannot be written ({}/file: not a directory); fix it"]),
        ("nowhere/new", 2, ["x: {}/nowhere/new cannot be written ({}/nowhere: no such file or directory); fix it"]),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(tmp_path, monkeypatch, below, free_gb, said):
    """By the first thing on its way that is there, and by its disk; nothing is made."""
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free_gb * 10**9))
    assert [str(problem) for problem in problems("x", tmp_path / below, 2, "fix it")] == [
        text.format(tmp_path, tmp_path) for text in said
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "nowhere"]


def test_keys_are_written_for_their_owner_only(tmp_path):
    """Files 0600 in folders 0700, each value as it is."""
    write_keys(tmp_path, KEYS)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert {str(file.relative_to(tmp_path)): file.read_text(encoding="utf-8") for file in files} == {
        "llm-keys/master-key": "sk-1",
        "llm-keys/vllm-a": "x y\n",
        "other/k": "ü",
    }
    assert [stat.S_IMODE(path.stat().st_mode) for path in (*files, *tmp_path.iterdir())] == [0o600] * 3 + [0o700] * 2


def test_keys_are_read_as_they_were_written(tmp_path):
    """And written over; without any there are none."""
    write_keys(tmp_path, KEYS)
    write_keys(tmp_path, {"other": {"k": "v"}})
    assert (read_keys(tmp_path), read_keys(tmp_path / "none")) == ({**KEYS, "other": {"k": "v"}}, {})


def test_one_at_a_time_is_alone_in_a_folder(tmp_path: Path):
    """A second one is told so, also for another stack of the project; the last leaves nothing."""
    folder = RunFolder.of(tmp_path, "dev")
    with folder.alone() as first, RunFolder.of(tmp_path, "prod").alone() as second:
        assert (first, second) == (True, False)
    with folder.alone() as third:
        assert third is True
    assert not (tmp_path / ".local").exists()


def test_another_run_in_the_folder_stays(tmp_path: Path):
    """Who was alone removes the folder of all runs only when it is empty."""
    folder = RunFolder.of(tmp_path, "dev")
    with folder.alone():
        folder.path.mkdir()
    assert [file.name for file in (tmp_path / ".local").iterdir()] == ["dev"]


def test_a_folder_that_was_removed_meanwhile_keeps_nobody_out(tmp_path: Path, monkeypatch):
    """Between opening and holding it another may have removed it and made a new one: the new one is what is held."""
    folder, hold, stale = RunFolder.of(tmp_path, "dev"), fcntl.flock, []

    def flock(handle: int, how: int) -> None:
        if not stale:
            stale.append(folder.path.parent.stat().st_ino)
            folder.path.parent.rename(tmp_path / "removed")
            folder.path.parent.mkdir()
        hold(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with folder.alone() as first, folder.alone() as second:
        assert (first, second, stale == [folder.path.parent.stat().st_ino]) == (True, False, False)
