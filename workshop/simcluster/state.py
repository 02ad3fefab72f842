"""What is written down about a cluster: the programs it was started from, its ports, and the names it is known by."""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from workshop.cache import write_secret
from workshop.ports import free_ports, is_taken
from workshop.problems import Impossible
from workshop.simcluster.programs import Ports

# which port is whose: field of `Ports` → program
OWNERS = {"etcd": "etcd", "etcd_peer": "etcd", "api_server": "kube-apiserver"}


class Damaged(Impossible):
    """The file is there, and does not say what it should."""


@dataclass
class State:
    """What is written down about a cluster. `programs`: the folder whose programs it was started from."""

    programs: str
    ports: Ports
    contexts: tuple[str, ...]

    def write(self, file: Path) -> None:
        """Writes it down, before or after a power cut whole."""
        write_secret(file, json.dumps(asdict(self), indent=1))


def read(file: Path) -> State | None:
    """What is written down; None when there is no such file. Raises `Damaged`."""
    try:
        raw: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return State(**{**raw, "ports": Ports(**raw["ports"]), "contexts": tuple(raw["contexts"])})
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError, AttributeError):
        name = file.parent.name
        raise Damaged(
            f"cluster '{name}': {file} cannot be read: it was damaged, or written by another version; "
            f"end the cluster with: python -m workshop.simcluster down --name {name}"
        ) from None


def without_taken(ports: Ports, running: Collection[str]) -> Ports:
    """The same, but others for those that somebody has taken from a program that does not run."""
    fields = [name for name, owner in OWNERS.items() if owner not in running and is_taken(asdict(ports)[name])]
    return replace(ports, **dict(zip(fields, free_ports(len(fields)), strict=True)))
