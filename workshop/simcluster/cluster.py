"""One cluster: started, resumed, looked at, and stopped. Several may run side by side, each under its own name.

Every process carries the cluster's folder and its own name as its mark: what runs is seen and never written down.
"""

import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import psutil

from workshop import process
from workshop.cache import OWNER_ONLY, SECRET_FILE, sync_folder, write_secret
from workshop.lock import held
from workshop.ports import free_ports
from workshop.problems import Impossible
from workshop.simcluster.api import Api, ApiError, Endpoint, Unreachable
from workshop.simcluster.crds import install_definitions
from workshop.simcluster.paths import ClusterPaths, clusters
from workshop.simcluster.programs import PROGRAMS, Ports, State, arguments, kubeconfig, read, without_taken

PROJECT = Path(__file__).resolve().parents[2]

# one that has ended is noticed at once; this is for one that hangs, and far above what a busy machine takes (4 s idle)
START_TIMEOUT_S = 180
# A program that is just ending has no mark any more, and its port a little longer.
ENDING_S, LOOK_EVERY_S = 5, 0.1
# the process of our own beside the control plane; see workshop/simcluster/stand_ins.py
STAND_INS = "stand-ins"
# what must live for the API server to become ready
FIRST = ("etcd", "kube-apiserver")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
LOG_LINES = 5
# as Go's programs say it of a port
IN_USE = "address already in use"
LOCK = ".lock"


class Cluster:
    """A cluster by name, whether it runs or not."""

    def __init__(self, name: str) -> None:
        if not NAME.fullmatch(name):
            raise Impossible(f"cluster '{name}': a name has small letters, digits and '-', 40 at most")
        self.name = name
        self.paths = ClusterPaths(clusters() / name)

    def state(self) -> State | None:
        """Its record; None when there is no such cluster. Raises `Damaged`."""
        return read(self.paths.state)

    def up(self, programs: Path, contexts: Sequence[str] = ()) -> Api:
        """Starts what does not run, and returns a client once the API server is ready. Raises `Impossible`.

        `programs` is the folder of executables of a new cluster; `contexts` are names of it for its kubeconfig.
        """
        self.paths.root.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
        with self._locked():
            state = self.state()
            if state is None:
                # of an `up` that was killed before it could write anything down
                self._end()
                state = self._create(programs)
            # says so, when certificates are missing
            self.api(state)
            state.contexts = tuple(dict.fromkeys([*state.contexts, *contexts]))
            try:
                self._start_missing(state)
            except Impossible as error:
                if IN_USE not in str(error):
                    raise
                # somebody was quicker than the program that the port was drawn for
                self._start_missing(state)
            return self.api(state)

    def _start_missing(self, state: State) -> None:
        self._move(state)
        self._write_kubeconfigs(state)
        for program in PROGRAMS:
            # looked at one by one: who was only starting ends when its API server has gone
            if program not in self.processes():
                self._start(
                    state, program, [self.program(state, program), *arguments(program, state.ports, self.paths)]
                )
            if program == "kube-apiserver":
                install_definitions(self.wait_ready(state))
        if STAND_INS not in self.processes():
            self._start(state, STAND_INS, [sys.executable, "-m", "workshop.simcluster.stand_ins", self.name])

    def processes(self) -> dict[str, psutil.Process]:
        """Its processes that run, in the order in which they are started."""
        mark = str(self.paths.root)
        marked = {process.mark_of(owned).removeprefix(f"{mark}/"): owned for owned in process.marked(mark)}
        return {name: marked[name] for name in (*PROGRAMS, STAND_INS) if name in marked}

    def _end(self) -> bool:
        """Ends all processes, each before the one it talks to and would wait for; whether there were any."""
        running = self.processes()
        for owned in reversed(running.values()):
            process.stop(owned)
        return bool(running)

    def _create(self, programs: Path) -> State:
        # loads a library that only this needs
        from workshop.simcluster.certificates import write_certificates  # noqa: PLC0415

        # what a `down` that was killed has left is of another cluster: its data would not fit these certificates
        self._clear()
        self.paths.certificates.mkdir(mode=OWNER_ONLY)
        write_certificates(self.paths)
        (self.paths.certificates / "kwok.yaml").touch(mode=SECRET_FILE)
        # before the file that says there is a cluster, which would be one without certificates after a power cut
        sync_folder(self.paths.certificates)
        state = State(str(programs), Ports(*free_ports(3)), (f"simcluster-{self.name}",))
        state.write(self.paths.state)
        return state

    def _move(self, state: State) -> None:
        """Gives the cluster other ports for those that somebody took while it did not run, after a restart, say."""
        deadline = time.monotonic() + ENDING_S
        while (ports := without_taken(state.ports, self.processes())) != state.ports and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_S)
        if ports != state.ports:
            # a program that is still running would go on calling the old ones
            self._end()
            state.ports = ports
        state.write(self.paths.state)

    def _write_kubeconfigs(self, state: State) -> None:
        for program in ("kube-controller-manager", "kube-scheduler", "kwok"):
            text = kubeconfig(self.paths, program, state.ports.api_server, [program])
            write_secret(self.paths.kubeconfig_of(program), text)
        write_secret(self.paths.kubeconfig, kubeconfig(self.paths, "admin", state.ports.api_server, state.contexts))

    def program(self, state: State, name: str) -> Path:
        """An executable of the version this cluster was started with. Raises `Impossible` when it is gone."""
        file = Path(state.programs) / name
        if not file.exists():
            raise Impossible(
                f"cluster '{self.name}': {file} is not there: the cache was cleared, or the cluster is older than this "
                f"version; end it with: python -m workshop.simcluster down --name {self.name}"
            )
        return file

    def _start(self, state: State, program: str, command: Sequence[str | Path]) -> None:
        # somebody may have thrown the logs away
        self.paths.logs.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
        log, mark = self.paths.logs / f"{program}.log", f"{self.paths.root}/{program}"
        # Python finds this project's packages wherever the caller was started
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        try:
            process.start(command, log, mark, cwd=self.paths.logs, env=environment)
        except OSError as error:
            if error.filename != command[0]:
                raise
            raise Impossible(
                f"cluster '{self.name}': {command[0]} cannot be run ({error.strerror}): it is damaged, or its file "
                f"system forbids it; remove {state.programs}, and `up` makes it anew, or set XDG_CACHE_HOME"
            ) from None

    def left(self) -> set[Path]:
        """All there is of it in its folder, but what `down` keeps."""
        root = self.paths.root
        return set(root.iterdir()) - {self.paths.logs, root / LOCK} if root.is_dir() else set()

    def _clear(self) -> None:
        for place in self.left():
            shutil.rmtree(place) if place.is_dir() else place.unlink()

    def _locked(self) -> AbstractContextManager[object]:
        """One `up` or `down` of a cluster at a time."""
        return held(self.paths.root / LOCK)

    def api(self, state: State, identity: str = "admin") -> Api:
        """A client of the API server, whether that runs or not."""
        authority, certificate = self.paths.certificate("ca"), self.paths.certificate(identity)
        for file in (authority, certificate, key := self.paths.key(identity)):
            if not file.exists():
                raise Impossible(
                    f"cluster '{self.name}': {file} is not there; end the cluster with: "
                    f"python -m workshop.simcluster down --name {self.name}"
                )
        return Api(Endpoint(state.ports.api_server, authority, certificate, key))

    def wait_ready(self, state: State) -> Api:
        """A client of the API server once that says it is ready."""
        api = self.api(state)
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                api.request("GET", "/readyz")
            except (ApiError, Unreachable):
                # the others come after it, and are started again when they have ended
                if ended := [program for program in FIRST if program not in self.processes()]:
                    end = self.end_of_log(ended[0])
                    raise Impossible(f"cluster '{self.name}': {ended[0]} has ended: {end}") from None
                if time.monotonic() > deadline:
                    log = self.end_of_log("kube-apiserver")
                    raise Impossible(f"cluster '{self.name}': not ready within {START_TIMEOUT_S} s: {log}") from None
                time.sleep(LOOK_EVERY_S)
            else:
                return api

    def end_of_log(self, program: str) -> str:
        """The last lines a process said, on one line, and where the rest is."""
        log = self.paths.logs / f"{program}.log"
        return f"{' | '.join(process.last_lines(log, LOG_LINES)) or 'it said nothing'} ({log})"

    def down(self) -> bool:
        """Ends the cluster's processes and removes all but its logs; False when there was none."""
        if not self.paths.root.is_dir():
            return False
        with self._locked():
            # only now: an `up` or another `down` may have held the lock
            something = self._end() or bool(self.left())
            # before what a cluster needs, so that none is taken for one that is up when this is killed half-way
            self.paths.state.unlink(missing_ok=True)
            # also what the engine knows of a cluster that is no more
            self._clear()
        return something


def names() -> list[str]:
    """All clusters that are up, or were when somebody last looked."""
    return sorted(file.parent.name for file in clusters().glob("*/cluster.json"))


def unended() -> list[str]:
    """The clusters that run, and all of which an `up` or a `down` that was killed has left something."""
    folders = [place.name for place in clusters().glob("*") if NAME.fullmatch(place.name)]
    return sorted({*names(), *(name for name in folders if Cluster(name).left())})
