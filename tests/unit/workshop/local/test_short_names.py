"""Short names for long directories."""

import tempfile
from pathlib import Path

import pytest

from workshop.local.places import forget, short


def test_a_link_is_short_leads_there_and_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A socket of 36 characters fits below it; only links to what lies below the given directory are removed."""
    links = tmp_path / "t"
    links.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(links))
    ours, theirs = tmp_path / "ours" / "pods" / "a", tmp_path / "theirs" / "a"
    for place in (ours, theirs):
        place.mkdir(parents=True)
    ours_link, theirs_link = short(ours), short(theirs)
    (links / "llm-notes").write_text("a file of somebody else")
    (ours_link / "file").write_text("x")
    assert (ours / "file").read_text() == "x"
    assert len(ours_link.name) == 12
    forget(tmp_path / "ours" / "pods")
    assert sorted(file.name for file in links.iterdir()) == sorted(["llm-notes", theirs_link.name])
    assert (ours / "file").exists()
