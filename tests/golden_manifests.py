"""The golden manifests: every object, patch and release of every stack, with the place of a pod script for its text.

The scripts are files of this repository already; a copy of each in every stack would be a third of all golden bytes.
`python -m tests.golden_manifests` writes them (`make golden`).
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.pod_scripts import NAMES, source
from preview.rendering.manifests import write
from tests.harness import ROOT, Deployed, rendered, stack_names

GOLDEN = ROOT / "tests" / "golden"
PLACES = {source(name): f"<components/pod_scripts/{name}.py>" for name in NAMES}


def write_golden(deployed: Deployed, folder: Path, stack: str) -> None:
    """The files of one stack."""
    write([replace(manifest, body=_placed(manifest.body)) for manifest in deployed.manifests], folder, stack)


def _placed(value: Any) -> Any:
    """The same, a script's text replaced by where it is."""
    match value:
        case str():
            return PLACES.get(value, value)
        case Mapping():
            return {key: _placed(item) for key, item in value.items()}
        case list():
            return [_placed(item) for item in value]
        case _:
            return value


if __name__ == "__main__":
    for name in stack_names():
        write_golden(rendered(name), GOLDEN / name, name)
