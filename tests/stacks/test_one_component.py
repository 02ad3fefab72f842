"""A stack from before `LlmStack`, beside what this program declares: what the preview says of the step between them.

That the engine takes it the same way is proved with the engine: tests/engine/test_one_component.py.
"""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from planning.stack.identity import CLAIM
from preview.rendering.former import former_urns
from preview.rendering.manifests import collect_manifests
from preview.rendering.recorder import run_program
from preview.rendering.records import Record
from preview.rendering.render import render
from preview.rendering.stackfile import read_project, read_stack
from preview.reporting.compare import Action, Thing, compare
from preview.reporting.summary import document
from tests.harness import ROOT

FLAT = ROOT / "tests" / "engine" / "flat" / "__main__.py"


def flat(name: str) -> tuple[Record, ...]:
    """What the program of then declares for a stack of now."""
    project = read_project(ROOT)
    config = read_stack(project, name)
    return run_program(Path(FLAT), config.values, config.secret_keys, name, project.name)[0].records


def things(rendering: Any, records: tuple[Record, ...]) -> tuple[Thing, ...]:
    """Objects as the preview compares them."""
    found = collect_manifests(records)
    content = document(rendering, found)
    bodies = {manifest.file: manifest.body for manifest in found}
    entries = [entry for part in ("releases", "patches", "objects") for entry in content[part]]
    return tuple(Thing(entry, bodies[entry["file"]]) for entry in entries)


@pytest.mark.parametrize("name", ["prod", "sim"])
def test_every_resource_is_found_under_its_former_name(name: str):
    """Each is one that was there, and none was there that is not: but for the component itself and the claim."""
    records = render(read_project(ROOT), name).records
    former = former_urns(records)
    before = {record.urn for record in flat(name)}
    assert {urn for record in records for urn in former.get(record.urn, ())} >= before
    unknown = [record.name for record in records if not before & {*former.get(record.urn, ())}]
    assert unknown == ["llm-stack", CLAIM]


def test_the_preview_says_that_nothing_changes():
    """No object is announced as replaced or deleted, because none is; the claim is new."""
    rendering = render(read_project(ROOT), "prod")
    (change,) = compare(things(rendering, flat("prod")), things(rendering, rendering.records))
    assert (change.action, change.thing.entry["name"]) == (Action.ADD, CLAIM)


def test_a_program_may_call_its_stack_as_it_likes(tmp_path: Path):
    """The plan is found in the component, under whatever name: nothing of the report goes missing."""
    text = (ROOT / "__main__.py").read_text(encoding="utf-8")
    (tmp_path / "__main__.py").write_text(re.sub(r"\bstack\b", "platform", text), encoding="utf-8")
    for file in ("Pulumi.yaml", "Pulumi.dev.yaml"):
        shutil.copy(ROOT / file, tmp_path)
    assert render(read_project(tmp_path), "dev").plan == render(read_project(ROOT), "dev").plan
