"""The authorities that a pod trusts instead of those of its image: a volume with the file, and where it is mounted."""

from typing import Any

from planning.plan.access import CaBundle
from planning.stack.outward import CA_FOLDER, CA_NAME

NAME = "ca"
MOUNT = {"name": NAME, "mountPath": CA_FOLDER, "readOnly": True}


def volume(bundle: CaBundle) -> dict[str, Any]:
    """The volume of `MOUNT`."""
    items = [{"key": bundle.entry, "path": CA_NAME}]
    match bundle.kind:
        case "configMap":
            return {"name": NAME, "configMap": {"name": bundle.name, "items": items}}
        case "secret":
            return {"name": NAME, "secret": {"secretName": bundle.name, "items": items}}
