"""What the engine knows each resource of a stack by: `tests/golden/resources.yaml`.

A resource is replaced when its type, its name or the types of its parents change, unless an alias says what it was
called before. So a difference in that file is a replacement in every stack that is up, or has its alias beside it.
`python -m tests.resources` writes it (`make golden`).
"""

import sys
from pathlib import Path

import yaml

from tests.harness import ROOT, Deployed, rendered, stack_names

FILE = ROOT / "tests" / "golden" / "resources.yaml"


def known_by(deployed: Deployed) -> list[str]:
    """`types of parents and own name`, and what it was called before, of every resource."""
    found = []
    for record in deployed.records:
        # the SDK adds the former types of Kubernetes' objects by itself
        ours = [alias for alias in record.options.aliases if not alias.startswith("type=kubernetes:")]
        aliases = "; ".join(alias.replace("noParent=True", "at the top") for alias in ours)
        found.append(f"{record.urn.split('::', 2)[2]}{f', before: {aliases}' if aliases else ''}")
    return sorted(found)


def text() -> str:
    """The whole file."""
    return yaml.safe_dump({name: known_by(rendered(name)) for name in stack_names()}, width=2**16)


if __name__ == "__main__":
    Path(FILE).write_text(text(), encoding="utf-8")
    sys.stdout.write(f"{FILE.relative_to(ROOT)}\n")
