"""Clusters for tests of what commands do to them: written down, or started without a program."""

from collections.abc import Sequence
from pathlib import Path

from workshop.problems import Impossible
from workshop.simcluster.api import Api
from workshop.simcluster.cluster import Cluster
from workshop.simcluster.programs import Ports, State

PORTS = Ports(1, 2, 3)
WAITS = "import time; time.sleep(600)"


def written(cluster: Cluster) -> None:
    """Writes down that the cluster is up."""
    cluster.paths.logs.mkdir(parents=True, exist_ok=True)
    State("programs", PORTS, ("x",)).write(cluster.paths.state)


def files(cluster: Cluster) -> set[str]:
    """What lies in the cluster's folder."""
    return {path.relative_to(cluster.paths.root).as_posix() for path in cluster.paths.root.rglob("*")}


class Dry(Cluster):
    """A cluster whose programs are written down as if they had been started."""

    def __init__(self) -> None:
        super().__init__("x")
        self.started: list[str] = []
        self.complaints: list[str] = []

    def _start(self, state: State, program: str, command: Sequence[str | Path]) -> None:
        del state, command
        self.started.append(program)

    def wait_ready(self, state: State) -> Api:
        """It never is, and nobody waits; or a process has ended with what it complained of."""
        if self.complaints:
            raise Impossible(self.complaints.pop())
        return self.api(state)

    def program(self, state: State, name: str) -> Path:
        """Whether it is there or not."""
        return Path(state.programs) / name
