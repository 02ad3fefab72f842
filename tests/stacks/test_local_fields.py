"""The table of fields that a stack on this machine obeys, against the components and against Kubernetes itself.

Does not prove that a stack runs there: devices, images and tokens are refused for other reasons, and are not looked at.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes_validate import utils

from settings.problems import Problem
from tests.harness import every_stack, rendered
from workshop.local.objects import READ, read
from workshop.local.unsupported import SHAPES

VERSION = "1.36"
# The end of a refusal that names the setting which asks for the field.
ASKED_FOR = (
    "(compileCache)",
    "(gateway.redis.tls, extraVolumes)",
    "(extraVolumes)",
    "(weights.kind)",
    "processes of this machine get no devices; use a pool with gpu none",
    "use weights.accessMode ReadWriteMany",
    "name those",
)


@pytest.mark.parametrize("name", every_stack())
def test_no_stack_declares_a_field_that_is_not_obeyed(name):
    """Of every stack and variant: refused is a whole object or a container; a field only with what asks for it."""
    problems: list[Problem] = []
    read([item.body for item in rendered(name).manifests if not item.file.startswith(("patch-", "release-"))], problems)
    by_path = [str(problem) for problem in problems if ": " in problem.path]
    assert [said for said in by_path if not said.endswith(ASKED_FOR)] == []


def unknown(row: str, schema: dict[str, Any], definitions: dict[str, Any]) -> Iterator[str]:
    """Fields of a row, and of those it leads to, that Kubernetes' schema does not have."""
    while "$ref" in schema or "items" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema["items"]
    shape, properties = SHAPES[row], schema["properties"]
    yield from (
        f"{row}.{name}"
        for name in (*shape.holds, *shape.obeyed, *shape.only, *shape.idle, *shape.one_of, *shape.why)
        if name not in properties
    )
    for name, inner in shape.holds.items():
        yield from unknown(inner, properties[name], definitions)


@pytest.mark.parametrize("kind", READ)
def test_every_field_of_the_table_is_one_of_kubernetes(kind):
    """A misspelt one would let nothing through, and nobody would notice."""
    definitions = utils.schema_contents(f"kubernetes-json-schema/v{VERSION}.0-local/_definitions.json", VERSION)[
        "$defs"
    ]
    group = {"Deployment": "apps", "StatefulSet": "apps", "Job": "batch"}.get(kind, "core")
    schema = definitions[f"io.k8s.api.{group}.v1.{kind}"]
    row, inside = (kind, schema) if kind in SHAPES else (f"{kind}.spec", schema["properties"]["spec"])
    assert list(unknown(row, inside, definitions)) == []
