"""What is written down about a cluster: its ports, and every process with the moment it started."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from workshop.simcluster import durable
from workshop.simcluster.problems import Impossible
from workshop.simcluster.processes import Process
from workshop.simcluster.programs import Ports


class Damaged(Impossible):
    """The file is there, and does not say what it should."""


@dataclass
class State:
    """What is written down about a cluster."""

    # the folder whose programs it was started from
    programs: str
    ports: Ports
    contexts: tuple[str, ...]
    processes: dict[str, Process] = field(default_factory=dict)

    def runs(self, program: str) -> bool:
        """Whether this process has been started and lives."""
        process = self.processes.get(program)
        return process is not None and process.alive()

    def to_json(self) -> str:
        """As the file holds it."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "State":
        """As the file held it."""
        raw: dict[str, Any] = json.loads(text)
        processes = {name: Process(int(one["pid"]), str(one["started"])) for name, one in raw["processes"].items()}
        return cls(str(raw["programs"]), Ports(**raw["ports"]), tuple(raw["contexts"]), processes)

    def write(self, file: Path) -> None:
        """Writes it down, before or after a power cut whole."""
        durable.replace(file, self.to_json())


def read(file: Path) -> State | None:
    """What is written down; None when there is no such file. Raises `Damaged`."""
    try:
        return State.from_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        name = file.parent.name
        raise Damaged(
            f"cluster '{name}': {file} cannot be read: it was damaged, or written by another version; "
            f"end the cluster with: python -m workshop.simcluster down --name {name}"
        ) from None
