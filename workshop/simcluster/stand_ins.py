"""The process that stands in for what cannot run here: volumes, groups, Postgres, and what a kubelet looks for first.

Does what is missing again and again, and remembers next to nothing, so that a restart changes nothing. What is refused
is said once, and stops nothing else. Ends by itself when its cluster is gone.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from workshop.kubernetes import Object, condition, is_ready, named
from workshop.simcluster import groups, references, surroundings
from workshop.simcluster.api import CONFLICT, NOT_FOUND, Api, ApiError, Unreachable
from workshop.simcluster.bodies import STAND_IN
from workshop.simcluster.cluster import STAND_INS, Cluster

PERIOD_S = 0.25
MANAGER = "simcluster-stand-in"


def log(line: str) -> None:
    """One line of the log."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


@dataclass
class Player:
    """Plays absent controllers; remembers the `lines` it has printed, and the workers of each leader (`crews`)."""

    api: Api
    say: Callable[[str], None] = log
    lines: set[str] = field(default_factory=set)
    crews: dict[str, dict[str, str]] = field(default_factory=dict)

    def play(self) -> None:
        """One round."""
        for play in (self._play_claims, self._play_pods, self._play_groups, self._play_databases):
            with self._apart(play.__name__.removeprefix("_play_")):
                play()

    @contextmanager
    def _apart(self, part: str) -> Iterator[None]:
        """A refusal inside is said once, and stops nothing outside."""
        try:
            yield
        except ApiError as error:
            # somebody else was quicker, or the object is gone: the next round sees it as it is
            if error.status not in (CONFLICT, NOT_FOUND):
                self._once(f"{part}: {error}")

    def _once(self, line: str) -> None:
        if line not in self.lines:
            self.lines.add(line)
            self.say(line)

    def _play_claims(self) -> None:
        classes = surroundings.served(self.api.items("storage.k8s.io/v1", "StorageClass"))
        claims = self.api.items("v1", "PersistentVolumeClaim")
        for claim in claims:
            if surroundings.wants_volume(claim, classes, claims):
                with self._apart(named(claim)):
                    self.api.create(surroundings.volume_for(claim))

    def _play_pods(self) -> None:
        contents: dict[str, dict[tuple[str, str], frozenset[str] | None]] = {}
        for pod in self.api.items("v1", "Pod", fields="status.phase=Pending"):
            if references.waits(pod):
                with self._apart(named(pod)):
                    self._play_pod(pod, contents.setdefault(pod["metadata"]["namespace"], {}))

    def _play_pod(self, pod: Object, known: dict[tuple[str, str], frozenset[str] | None]) -> None:
        needed = references.references(pod)
        for reference in needed:
            if (reference.kind, reference.name) not in known:
                present = self.api.get("v1", reference.kind, reference.name, pod["metadata"]["namespace"])
                keys = [key for part in ("data", "binaryData") for key in (present or {}).get(part, {})]
                known[reference.kind, reference.name] = None if present is None else frozenset(keys)
        status = references.status(needed, known)
        seen, (new,) = condition(pod, references.READY_TO_START), status["conditions"]
        if any(seen.get(key) != value for key, value in new.items()):
            # with its uid: a pod of the same name that has come meanwhile is another
            metadata = {key: pod["metadata"][key] for key in ("name", "namespace", "uid")}
            body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}
            self.api.apply(body, "status", MANAGER)

    def _play_groups(self) -> None:
        sets = self.api.items(groups.VERSION, "LeaderWorkerSet")
        if not sets:
            return
        pods = self.api.items("v1", "Pod", selector=groups.NAME)
        # after the pods: each of them then finds the StatefulSet it is of
        owners = self.api.items("apps/v1", "StatefulSet", selector=groups.NAME)
        before, self.crews = self.crews, {}
        for group in sets:
            if "deletionTimestamp" not in group["metadata"]:
                with self._apart(named(group)):
                    self._play_group(group, pods, owners, before)

    def _play_group(
        self, group: Object, pods: list[Object], owners: list[Object], before: dict[str, dict[str, str]]
    ) -> None:
        self._put(groups.leaders(group))
        for leader in groups.leaders_at_work(group, pods):
            uid, crew = leader["metadata"]["uid"], groups.crew(leader, pods, owners)
            self.crews[uid] = groups.uids(crew)
            if groups.broken(group, leader, crew, before.get(uid, {})):
                # its workers go before it, and then comes another
                self.api.delete(leader, "Foreground", preconditions={"uid": uid})
            elif groups.is_current(group, leader) and (workers := groups.workers(group, leader)) is not None:
                self._put(workers)
        status, seen = groups.status(group, pods), group.get("status", {})
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for new in status["conditions"]:
            old = condition(group, new["type"])
            new["lastTransitionTime"] = old["lastTransitionTime"] if old.get("status") == new["status"] else now
        if status != {name: seen.get(name) for name in status}:
            self.api.patch(group, {"status": status}, "status")

    def _play_databases(self) -> None:
        for cluster in self.api.items("postgresql.cnpg.io/v1", "Cluster"):
            if not is_ready(cluster):
                with self._apart(named(cluster)):
                    owner, status = surroundings.postgres_of(cluster)
                    self.api.create(owner)
                    self.api.patch(cluster, {"status": status}, "status")

    def _put(self, body: Object) -> None:
        """Creates a StatefulSet, or brings it up to date where its template, its owner or its size is another."""
        metadata = body["metadata"]
        existing = self.api.get("apps/v1", "StatefulSet", metadata["name"], metadata["namespace"])
        if existing is None:
            self.api.create(body)
        elif STAND_IN not in existing["metadata"].get("annotations", {}):
            self._once(f"{named(body)}: is somebody else's, and stays as it is; its LeaderWorkerSet gets no pods")
        elif not groups.owned(existing, metadata["ownerReferences"][0]["uid"]):
            return  # of a leader that is gone: the garbage collector takes it away, and the next round makes ours
        elif existing["metadata"]["labels"].get(groups.REVISION) != metadata["labels"][groups.REVISION] or (
            existing["spec"]["replicas"] != body["spec"]["replicas"]
        ):
            self.api.apply(body, manager=MANAGER)


def main(name: str) -> int:
    """Plays until the cluster of this name is no more."""
    cluster = Cluster(name)
    lines: set[str] = set()
    while (state := cluster.state()) is not None:
        player = Player(cluster.api(state, STAND_INS), lines=lines)
        try:
            while cluster.paths.state.exists():
                player.play()
                time.sleep(PERIOD_S)
        except Unreachable as error:
            log(str(error))
        time.sleep(PERIOD_S)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
