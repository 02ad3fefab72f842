"""Copies of YAML files as JSON: the same content, of the present bytes only, and never in the way.

Does not prove how much faster it is (`make benchmark`).
"""

import json
import sys

import pytest
import yaml

from catalog import compiled
from catalog.compiled import read_yaml
from tests.harness import ROOT

FILES = sorted((ROOT / "catalog").rglob("*.yaml"))


@pytest.fixture(autouse=True)
def _own_copies(tmp_path, monkeypatch):
    """Copies of this test alone, whether this machine keeps bytecode or not."""
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "copies"))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


def copies(tmp_path):
    """Names of the copies that were kept."""
    return sorted(file.name for file in (tmp_path / "copies").rglob("*") if file.is_file())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_copy_says_what_the_file_says(tmp_path, monkeypatch, file):
    """Each file of the catalogue, read from YAML, and again when nobody can read YAML."""
    expected = repr(yaml.safe_load(file.read_bytes()))
    first = repr(read_yaml(file))
    monkeypatch.setattr(compiled.yaml, "load", None)
    assert (first, repr(read_yaml(file)), copies(tmp_path)) == (expected, expected, [f"{file.name}.json"])


def test_a_file_that_was_changed_is_read_again(tmp_path):
    """Also when neither its length nor its time has changed."""
    file = tmp_path / "x.yaml"
    said = []
    for text in ("a: 1", "a: 2"):
        file.write_text(text)
        said.append(read_yaml(file))
    assert said == [{"a": 1}, {"a": 2}]


def test_another_reader_reads_again(tmp_path, monkeypatch):
    """What one version of the reader kept is not what another one would have made of the same bytes."""
    file = tmp_path / "x.yaml"
    file.write_text("a: 1")
    read_yaml(file)
    monkeypatch.setattr(compiled, "READER", b"2")
    monkeypatch.setattr(compiled.yaml, "load", lambda *_, **__: {"a": "read again"})
    assert read_yaml(file) == {"a": "read again"}


@pytest.mark.parametrize(
    "copy",
    ["", "{", "[]", "null", '{"sha256": "0", "content": 1}', '{"content": 1}', "\ud800", "[" * 200_000],
    ids=lambda copy: copy[:12] or "empty",
)
def test_a_copy_that_is_none_is_not_believed(tmp_path, copy):
    """Cut off, of another shape, or of another file; it is replaced."""
    file = tmp_path / "x.yaml"
    file.write_text("a: 1")
    read_yaml(file)
    (kept,) = (tmp_path / "copies").rglob("*.json")
    whole = kept.read_bytes()
    kept.write_bytes(copy.encode("utf-8", "surrogatepass"))
    assert (read_yaml(file), json.loads(kept.read_bytes())) == ({"a": 1}, json.loads(whole))


@pytest.mark.parametrize("text", ["a: 2026-01-01", "{1: a, 2: b}", "a: !!set {b}"])
def test_what_json_cannot_hold_is_not_kept(tmp_path, text):
    """Dates, keys that are no text, sets: they are read from the file each time, and stay what they are."""
    file = tmp_path / "x.yaml"
    file.write_text(text)
    assert ([read_yaml(file), read_yaml(file)], copies(tmp_path)) == ([yaml.safe_load(text)] * 2, [])


def test_a_place_that_cannot_be_written_is_no_hindrance(tmp_path, monkeypatch):
    """Neither a checkout of somebody else, nor Python that is told to keep no bytecode."""
    file = tmp_path / "x.yaml"
    file.write_text("a: 1")
    (tmp_path / "copies").write_text("a file where the folder would be")
    assert read_yaml(file) == {"a": 1}
    (tmp_path / "copies").unlink()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert (read_yaml(file), copies(tmp_path)) == ({"a": 1}, [])
