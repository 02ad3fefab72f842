"""The user's cache: where it is, and that what lies there is whole, or is not there.

Does not prove what a file system keeps after a power cut.
"""

import os
import stat
from pathlib import Path

import pytest

from settings.problems import Problem, Refused
from workshop import cache


def test_a_user_without_a_home_is_refused(monkeypatch):
    """With what to set; a cache that is named is enough."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises(Refused) as caught:
        cache.cache()
    rule = f"is not set, and user {os.getuid()} has no home directory; set it, or XDG_CACHE_HOME, to a directory"
    assert caught.value.problems == (Problem("HOME", rule),)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache.cache() == Path("/x/llm-stack")


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that goes to disk, or gets a name, in this order."""
    seen: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def synced(descriptor: int) -> None:
        seen.append("sync a folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync a file")
        fsync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        seen.append(f"rename {target.name}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    return seen


def test_content_is_on_disk_before_its_name(tmp_path: Path, order: list[str]):
    """Or the name of a file without content could be all that is there after a power cut."""
    cache.write_secret(tmp_path / "a", "x")
    assert ((tmp_path / "a").read_text(encoding="utf-8"), order) == ("x", ["sync a file", "rename a"])


def test_a_folder_is_on_disk_before_its_name(tmp_path: Path, order: list[str]):
    """Everything in it; a link is part of the folder."""

    def make(fresh: Path) -> None:
        (fresh / "b").write_text("x", encoding="utf-8")
        (fresh / "c").symlink_to("b")

    cache.made_once(tmp_path / "a", make)
    assert order == ["sync a folder", "sync a file", "rename a"]
