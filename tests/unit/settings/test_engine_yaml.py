"""Bytes that claim to be YAML become a mapping or one refusal with a place, quickly and in little memory.

Does not prove that the engine reads the same; `test_preview_stackfile.py` has what was seen there.
"""

import os
import resource
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings import engine_yaml
from settings.engine_yaml import read_mapping
from settings.problems import Refused
from tests.unit.small_stack import ROOT, properties


def read(folder: Path, data: bytes):
    """What a file with these bytes becomes: the mapping, or the line of the refusal."""
    file = folder / "s.yaml"
    file.write_bytes(data)
    try:
        return read_mapping(file)
    except Refused as refused:
        (problem,) = refused.problems
        return str(problem)


LAUGHS = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n".encode() for n in range(12)
)
MERGES = b"a: &a {x: 1}\n" + b"".join(
    f"{chr(98 + n)}: &{chr(98 + n)} {{<<: [{','.join(['*' + chr(97 + n)] * 9)}]}}\n".encode() for n in range(12)
)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", {}),
        (b"# only a comment\n", {}),
        (b"\xef\xbb\xbfa: 1\n", {"a": 1}),
        ("a: ü\n".encode("utf-16"), {"a": "ü"}),
        (b"a: &x {b: 1}\nc: {<<: *x, d: 2}\ne: *x\n", {"a": {"b": 1}, "c": {"b": 1, "d": 2}, "e": {"b": 1}}),
        (b"a: &x {b: 1}\nc: {<<: *x, b: 2}\n", {"a": {"b": 1}, "c": {"b": 2}}),
        (b"a: !!str 1.36\nb: =\nc: ! 5\n", ("s.yaml: line 3, column 4: the tag ! asks for what no setting is; write "
         "the value without it")),
        (b"a: !!str 1.36\nb: =\n", {"a": "1.36", "b": "="}),
        (b"a: !!set {x, y}\n", ("s.yaml: line 1, column 4: the tag !!set asks for what no setting is; write the value "
         "without it")),
        (b'a: !!int ""\n', ("s.yaml: line 1, column 4: the tag !!int asks for what no setting is; write the value "
         "without it")),
        (b"a: !!binary aGk=\n", ("s.yaml: line 1, column 4: the tag !!binary asks for what no setting is; write "
         "the value without it")),
        (b"a: !!timestamp x\n", ("s.yaml: line 1, column 4: the tag !!timestamp asks for what no setting is; write "
         "the value without it")),
        (b"a: 1\n---\nb: 2\n", ("s.yaml: line 2, column 1: a second document begins here, which the engine would not "
         "read")),
        (b"a: " + b"9" * 5000, "s.yaml: line 1, column 4: a number of 5,000 characters; at most 400"),
        (b"a: " + b"9" * 390, {"a": int("9" * 390)}),
        (b"a: " + b"x" * 70_000, "s.yaml: line 1, column 4: a value of 70,000 characters; at most 65,536"),
        (b"a: " + b"[" * 100_000, "s.yaml: line 1, column 25: is nested deeper than 22 levels"),
        (b"a: *nothing\n", "s.yaml: line 1, column 4: found undefined alias"),
        (b"a: &a {b: [*a]}\n", "s.yaml: line 1, column 12: 'a' contains itself"),
        (b"? [1, 2]\n: x\n", "s.yaml: line 1, column 3: found unhashable key"),
        (b"a: {<<: 5}\n", ("s.yaml: line 1, column 9: expected a mapping or list of mappings for merging, but found "
         "scalar")),
        (b"a: \xff\xfe\n", "s.yaml: is not readable YAML: line 1 has 0xFF, which is not text that YAML allows"),
        (b"a: 1\nb: \x07\n", "s.yaml: is not readable YAML: line 2 has 0x07, which is not text that YAML allows"),
        (LAUGHS, "s.yaml: line 5, column 26: more than 50,000 values, those included that aliases repeat"),
        (b"a: &a " + b"x" * 60_000 + b"\nb: [" + b"*a, " * 200 + b"]\n",
         "s.yaml: line 2, column 281: more than 4,194,304 characters, those included that aliases repeat"),
        (b"x" * (2**20 + 1), "s.yaml: has 1,048,577 bytes; at most 1,048,576"),
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_bytes_become_a_mapping_or_a_refusal_with_its_place(tmp_path, data, expected):
    """YAML that people write is read; what would never end, or no setting can be, is refused where it begins."""
    assert read(tmp_path, data) == expected


def test_merge_keys_may_not_repeat_for_ever(tmp_path):
    """They count as much as what they bring."""
    assert str(read(tmp_path, MERGES)).endswith("more than 50,000 values, those included that aliases repeat")


def test_what_is_no_file_is_not_waited_for(tmp_path):
    """A pipe that nobody writes to, a folder, nothing."""
    os.mkfifo(tmp_path / "pipe")
    for name, said in (("pipe", "it is no file"), (".", "it is no file"), ("none", "no such file or directory")):
        with pytest.raises(Refused) as refused:
            read_mapping(tmp_path / name)
        assert str(refused.value).endswith(f": cannot be read: {said}")


@properties(400)
@given(
    st.binary(max_size=200)
    | st.text(alphabet="abAB01{}[]:,&*!#|>-<'\"\\ \n\t?%@~.=", max_size=80).map(lambda text: text.encode())
)
def test_any_bytes_become_a_mapping_or_a_refusal(tmp_path_factory, data):
    """No exception but a refusal of one short, printable line."""
    found = read(tmp_path_factory.getbasetemp(), data)
    assert isinstance(found, (dict, str))
    if isinstance(found, str):
        assert (found.isprintable(), len(found) < 2000) == (True, True)


def test_the_slow_parser_finds_the_same(tmp_path, monkeypatch):
    """Where PyYAML comes without libyaml the stacks of this repository are the same."""
    files = sorted(ROOT.glob("Pulumi*.yaml"))
    fast = [read_mapping(file) for file in files]
    monkeypatch.setattr(engine_yaml, "FastLoader", engine_yaml.yaml.SafeLoader)
    assert [read_mapping(file) for file in files] == fast
    assert str(read(tmp_path, LAUGHS)).endswith("those included that aliases repeat")


def test_a_megabyte_is_read_in_seconds_and_little_memory(tmp_path):
    """The largest file there may be, made of the smallest values; what a process has held at most says it all."""
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "more than 50,000 values" in str(read(tmp_path, b"a: [" + b"x, " * 340_000 + b"]"))
    used_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert (time.process_time() - began < 5, used_mib < 200) == (True, True)
