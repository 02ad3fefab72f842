"""The example of a program that puts components together by hand, and what docs/components.md says of their arguments.

That it deploys is not proved here: its objects are those of a stack with the same sections.
"""

import re
import runpy
from typing import Any

import components
from planning.stack.identity import CLAIM
from preview.rendering.manifests import collect_manifests
from preview.rendering.recorder import run
from preview.rendering.render import render
from preview.rendering.stackfile import read_project
from tests.harness import ROOT, stack

EXAMPLE = ROOT / "examples" / "own-program"
OWNER = "pulumi.com/patchFieldManager"


def sections() -> dict[str, Any]:
    """What the program plans from."""
    names: dict[str, Any] = {}
    run(lambda: names.update(runpy.run_path(str(EXAMPLE / "__main__.py"))))
    return names["SECTIONS"]


def without_owner(body: Any) -> Any:
    """An object without the name of the stack it belongs to."""
    metadata = body["metadata"]
    annotations = {key: value for key, value in metadata.get("annotations", {}).items() if key != OWNER}
    return {**body, "metadata": {**metadata, "annotations": annotations}}


def test_its_objects_are_those_of_a_stack_with_these_sections():
    """Every object of the program is, to the letter, what `LlmStack` would declare, less what it has left out."""
    rendering = render(read_project(EXAMPLE), "team-a")
    assert rendering.refused == ()
    mine = {(item.kind, item.name): without_owner(item.body) for item in collect_manifests(rendering.records)}
    whole = {(item.kind, item.name): without_owner(item.body) for item in stack(sections()).manifests
             if item.component.partition("/")[0] != "Observability" and item.kind != "Release"}  # fmt: skip
    # a program of parts installs no operator, and claims nothing for its state
    absent = {("Namespace", "gpu-operator"), ("Namespace", "monitoring"), ("ConfigMap", CLAIM)}
    assert mine == {key: body for key, body in whole.items() if key not in absent}


def test_the_program_is_as_short_as_it_is_said_to_be():
    """At most thirty lines, blank ones left out."""
    lines = (EXAMPLE / "__main__.py").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) <= 30


def test_the_arguments_of_every_component_are_documented():
    """The table has the keys of each contract in their order, those that may be left out in brackets."""
    text = (ROOT / "docs" / "components.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"^\| `(\w+)` \| (`namespace`.*) \|$", text, flags=re.MULTILINE))
    expected = {}
    for name in ("GpuNodePool", "ModelWeights", "VllmServer", "LlmGateway", "Observability"):
        contract = getattr(components, f"{name}Args")
        optional = [key for key in contract.__annotations__ if key in contract.__optional_keys__]
        needed = [f"`{key}`" for key in contract.__annotations__ if key not in optional]
        expected[name] = ", ".join([*needed, f"[{', '.join(f'`{key}`' for key in optional)}]"])
    assert said == expected
