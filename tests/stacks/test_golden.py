"""The rendered stacks against the files in `tests/golden/<stack>/`: one file per object, patch and Helm release.

A difference is a change somebody has to look at; whether it is a right one the other tests say. What Pulumi or Helm
make of the objects on a cluster is not proved here.
"""

from pathlib import Path

import pytest

from components.pod_scripts import NAMES, source
from preview.rendering.manifests import Category
from tests import resources
from tests.golden_manifests import GOLDEN, write_golden
from tests.harness import patches_and_releases, rendered, stack_names


def differences(expected: Path, actual: Path) -> list[str]:
    """`added: x.yaml`, `changed: …`, `gone: …` for every file that is not the same in both folders."""
    before = {file.name: file.read_text(encoding="utf-8") for file in expected.glob("*.yaml")}
    after = {file.name: file.read_text(encoding="utf-8") for file in actual.glob("*.yaml")}
    states = dict.fromkeys(after.keys() - before.keys(), "added")
    states |= dict.fromkeys(before.keys() - after.keys(), "gone")
    states |= {name: "changed" for name in before.keys() & after.keys() if before[name] != after[name]}
    return [f"{state}: {name}" for name, state in sorted(states.items())]


@pytest.mark.parametrize("name", stack_names())
def test_a_stack_renders_what_is_in_its_golden_folder(name: str, tmp_path: Path):
    """Every object of the stack is, letter for letter, the one that was looked at when it was committed."""
    deployed = rendered(name)
    write_golden(deployed, tmp_path, name)
    different = differences(GOLDEN / name, tmp_path)
    assert not different, (
        f"stack {name} renders other objects than tests/golden/{name}: {', '.join(different)}. "
        "When that is meant, run: make golden, and look at git diff tests/golden"
    )


def test_a_script_is_in_no_golden_file():
    """Its text is in the repository once; the objects that carry it say where."""
    texts = [file.read_text(encoding="utf-8") for file in sorted(GOLDEN.glob("*/*.yaml"))]
    first_lines = [source(name).splitlines()[0] for name in NAMES]
    assert [line for line in first_lines if any(line in text for text in texts)] == []
    named = {name for name in NAMES if any(f"<components/pod_scripts/{name}.py>" in text for text in texts)}
    assert named == set(NAMES)


def test_the_engine_knows_every_resource_as_before():
    """Types, names and parents are those of a stack that is up; what is called otherwise has its former name beside it.

    A line that changes without an alias is a replacement, and a deletion, in every stack that is up.
    """
    assert resources.text() == resources.FILE.read_text(encoding="utf-8")


def test_every_golden_folder_belongs_to_a_stack():
    """A stack that is gone leaves no folder behind."""
    assert sorted(folder.name for folder in GOLDEN.iterdir() if folder.is_dir()) == sorted(stack_names())


def test_patches_and_releases_can_be_told_from_objects():
    """Files of patches and Helm releases say so in their names, because neither can be applied as it is."""
    named = {manifest.file.partition("-")[0]: manifest.category for manifest in patches_and_releases(rendered("prod"))}
    assert named == {"patch": Category.PATCH, "release": Category.RELEASE}
    files = {file.name for file in (GOLDEN / "prod").glob("*.yaml")}
    assert {manifest.file for manifest in rendered("prod").manifests} == files


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a.yaml": "1"}, {"a.yaml": "1"}, []),
        ({"a.yaml": "1"}, {"a.yaml": "2"}, ["changed: a.yaml"]),
        ({"a.yaml": "1"}, {"b.yaml": "1"}, ["gone: a.yaml", "added: b.yaml"]),
    ],
)
def test_the_difference_names_every_file(tmp_path: Path, before, after, expected):
    """A changed, a missing and a new file are each named once."""
    for folder, files in (("before", before), ("after", after)):
        (tmp_path / folder).mkdir()
        for name, text in files.items():
            (tmp_path / folder / name).write_text(text)
    assert differences(tmp_path / "before", tmp_path / "after") == expected
