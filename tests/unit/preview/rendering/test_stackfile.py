"""Stack files are read as the engine reads them, and what cannot be read is refused with its place.

What the engine does was seen with the real one; it does not run here.
"""

from pathlib import Path

import pytest

from preview.rendering.stackfile import PLACEHOLDER, find_project, read_project, read_stack
from settings.commandline import UsageError
from settings.problems import Refused
from tests.harness import ROOT

PROJECT = """
name: shop
runtime: python
config:
  cluster: {type: object}
  gateway: {type: object, default: {replicas: 2}}
  token: {type: string, default: ""}
  fixed: {value: 7}
  aws:region: eu-central-1
"""


@pytest.fixture
def project(tmp_path):
    """A project with a program and one stack file `dev` to be written."""
    (tmp_path / "Pulumi.yaml").write_text(PROJECT)
    (tmp_path / "__main__.py").write_text("")
    (tmp_path / "Pulumi.dev.yaml").write_text("config: {}\n")
    return tmp_path


def stack(project: Path, text: str):
    """The configuration of a stack file with this text."""
    (project / "Pulumi.dev.yaml").write_text(text)
    return read_stack(read_project(project), "dev")


def refusal(project: Path, text: str) -> list[str]:
    """The lines with which a stack file with this text is refused."""
    with pytest.raises(Refused) as refused:
        stack(project, text)
    return [str(problem) for problem in refused.value.problems]


def test_defaults_of_the_project_apply(project):
    """An empty stack file still has every default and fixed value of `Pulumi.yaml`; a required key is left out."""
    assert stack(project, "").values == {
        "shop:gateway": '{"replicas": 2}',
        "shop:token": "",
        "shop:fixed": "7",
        "aws:region": "eu-central-1",
    }


def test_a_default_is_replaced_and_not_merged(project):
    """A key of the stack file takes the place of the default, as the engine has it."""
    assert stack(project, "config: {shop:gateway: {host: h}}").values["shop:gateway"] == '{"host": "h"}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shop:x: word", "word"),
        ("x: word", "word"),
        ("shop:x: 3", "3"),
        ("shop:x: 1.36", "1.36"),
        ("shop:x: true", "true"),
        ("shop:x: no", "no"),
        ("shop:x: 2026-11-01", "2026-11-01"),
        ("shop:x: 1:30", "1:30"),
        ("shop:x: 8e3", "8000.0"),
        ("shop:x: 8_192", "8192"),
        ("shop:x: 8_192.", "8192.0"),
        ("shop:x: .5", "0.5"),
        ("shop:x: 020000", "8192"),
        ("shop:x: 0o20000", "8192"),
        ("shop:x: -0x10", "-16"),
        ("shop:x: 08192", "8192.0"),
        ("shop:x: 0", "0"),
        ("shop:x: 1:30.5", "1:30.5"),
        ("shop:x: 1.2.3", "1.2.3"),
        ("shop:x: .5.5", ".5.5"),
        ("shop:x: ._", "._"),
        ("shop:x: [1, a]", '[1, "a"]'),
        ("shop:x: {b: 1, a: {c: ü}}", '{"a": {"c": "ü"}, "b": 1}'),
        ("shop:x: &here {a: 1}\n  shop:y: *here", '{"a": 1}'),
    ],
)
def test_values_are_handed_over_as_text(project, text, expected):
    """Keys get the project's name, objects become JSON with sorted keys, scalars the text YAML 1.2 sees."""
    assert stack(project, f"config:\n  {text}\n").values["shop:x"] == expected


def test_text_in_the_place_of_an_object_stays_text(project):
    """The engine takes no JSON for an object, so neither may the settings: they are handed a text to refuse."""
    assert stack(project, "config: {shop:cluster: '{\"context\": \"c\"}', shop:x: '{}'}").values == {
        **stack(project, "").values,
        "shop:cluster": '"{\\"context\\": \\"c\\"}"',
        "shop:x": "{}",
    }


def test_an_empty_object_key_is_refused(project):
    """The engine takes no null for an object, all of them are named."""
    assert refusal(project, "config:\n  shop:gateway:\n  cluster: ~\n  shop:token:\n") == [
        "cluster: is empty; give a value, or leave the key out",
        "gateway: is empty; give a value, or leave the key out",
    ]


def test_a_key_without_value_is_left_out(project):
    """`key:` with nothing behind it is as if it were not there."""
    assert "shop:x" not in stack(project, "config:\n  shop:x:\n").values


def test_ciphers_become_a_placeholder_and_a_secret_key(project):
    """A `secure` value is never needed: the program gets a placeholder, marked secret."""
    config = stack(project, "config: {shop:token: {secure: v1:abc}, shop:cluster: {context: c}}")
    assert (config.values["shop:token"], config.secret_keys) == (PLACEHOLDER, ("shop:token",))


def test_a_cipher_inside_an_object_makes_the_whole_key_secret(project):
    """A nested `secure` value marks its top-level key, so that the settings can refuse it."""
    config = stack(project, "config: {shop:cluster: {context: c, keys: [{secure: v1:abc}]}}")
    assert config.values["shop:cluster"] == f'{{"context": "c", "keys": ["{PLACEHOLDER}"]}}'
    assert config.secret_keys == ("shop:cluster",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("config: {a: 1", "Pulumi.dev.yaml: line 1, column 14: expected ',' or '}', but got '<stream end>'"),
        ("config:\n  shop:x: 1\n  shop:x: 2\n", "Pulumi.dev.yaml: line 3, column 3: the key 'shop:x' is given twice"),
        (
            "config:\n\tshop:x: 1\n",
            "Pulumi.dev.yaml: line 2, column 1: found character '\\t' that cannot start any token",
        ),
        ("config: 7\n", "Pulumi.dev.yaml: config must be a mapping of keys"),
        ("- config\n", "Pulumi.dev.yaml: must be a mapping of keys"),
        ("just text\n", "Pulumi.dev.yaml: must be a mapping of keys"),
        ("config: {shop:x: &a {b: *a}}\n", "Pulumi.dev.yaml: line 1, column 25: 'a' contains itself"),
        (
            "config: {shop:x: !os.system ls}\n",
            (
                "Pulumi.dev.yaml: line 1, column 18: the tag !os.system asks for what no setting is; write the value "
                "without it"
            ),
        ),
        (
            "config: \x00\n",
            "Pulumi.dev.yaml: is not readable YAML: line 1 has 0x00, which is not text that YAML allows",
        ),
    ],
)
def test_a_malformed_stack_file_is_refused_with_its_place(project, text, expected):
    """Whatever is wrong with the text is one line: the file, where in it, and what."""
    assert refusal(project, text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("runtime: python\n", "Pulumi.yaml: name is missing"),
        ("name: shop\nconfig: [a]\n", "Pulumi.yaml: config must be a mapping of keys"),
        ("name: shop\nmain: elsewhere\n", "Pulumi.yaml: main: there is no program at elsewhere"),
    ],
)
def test_a_malformed_project_is_refused(project, text, expected):
    """A project file that names no project or no program is refused in one line."""
    (project / "Pulumi.yaml").write_text(text)
    with pytest.raises(Refused) as refused:
        read_project(project)
    assert [str(problem) for problem in refused.value.problems] == [expected]


def test_a_missing_project_is_refused(tmp_path):
    """A directory without `Pulumi.yaml` is refused and not searched any further."""
    with pytest.raises(Refused) as refused:
        read_project(find_project(tmp_path))
    assert [str(problem) for problem in refused.value.problems] == [
        "Pulumi.yaml: cannot be read: no such file or directory"
    ]


def test_main_points_to_a_program_elsewhere(project):
    """`main` is a folder or a file relative to `Pulumi.yaml`, as for the examples."""
    example = project / "examples" / "one"
    example.mkdir(parents=True)
    (example / "Pulumi.yaml").write_text("name: shop\nmain: ../..\n")
    assert read_project(example).program == project / "__main__.py"
    (example / "Pulumi.yaml").write_text("name: shop\nmain: ../../__main__.py\n")
    assert read_project(example).program == project / "__main__.py"


def test_the_project_is_found_upwards_from_the_working_directory(project, monkeypatch):
    """Without a directory the nearest `Pulumi.yaml` at or above the working directory counts."""
    below = project / "docs" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert find_project() == project


def test_our_own_project_is_the_last_resort(tmp_path, monkeypatch):
    """Far away from any project, the one this package belongs to is previewed."""
    monkeypatch.chdir(tmp_path)
    assert find_project() == ROOT


def test_stacks_are_listed_by_their_files(project):
    """Every `Pulumi.<stack>.yaml` is a stack; asking for another one is wrong usage."""
    (project / "Pulumi.prod.eu.yaml").write_text("")
    found = read_project(project)
    assert (found.chosen(None), found.chosen("dev")) == (("dev", "prod.eu"), ("dev",))
    with pytest.raises(UsageError, match=r"^no stack 'pord'; stacks: dev, prod\.eu$"):
        found.chosen("pord")
