"""The process that stands in for controllers that cannot run here: a provisioner of volumes, and LeaderWorkerSet's.

Looks at everything it is responsible for again and again, and does what is missing; forgets everything in between, so
that a restart, or an API server that went away and came back, changes nothing. Ends by itself when its cluster is gone.
"""

import sys
import time

from simcluster import groups, volumes
from simcluster.api import CONFLICT, NOT_FOUND, Api, ApiError, Unreachable
from simcluster.cluster import STAND_INS, Cluster

PERIOD_S = 0.25
MANAGER = "simcluster-stand-in"


def play(api: Api) -> None:
    """One round."""
    for claim in api.items("v1", "PersistentVolumeClaim"):
        if volumes.wants_volume(claim):
            api.create(volumes.volume_for(claim))
    sets = api.items("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet")
    if not sets:
        return
    pods = api.items("v1", "Pod", selector=groups.NAME)
    for group in sets:
        if "deletionTimestamp" not in group["metadata"]:
            _play_group(api, group, pods)


def _play_group(api: Api, group: groups.Object, pods: list[groups.Object]) -> None:
    _put(api, groups.leaders(group))
    for leader in groups.current_leaders(group, pods):
        workers = groups.workers(group, {"apiVersion": "v1", "kind": "Pod", **leader})
        if workers is not None:
            _put(api, workers)
    wanted = groups.status(group, pods)
    seen = group.get("status", {})
    conditions = {item["type"]: item["status"] for item in seen.get("conditions", [])}
    same = {item["type"]: item["status"] for item in wanted["conditions"]} == conditions
    if not same or any(seen.get(key, 0) != value for key, value in wanted.items() if key != "conditions"):
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for item in wanted["conditions"]:
            item["lastTransitionTime"] = now
        api.patch(group, {"status": wanted}, "status")


def _put(api: Api, body: groups.Object) -> None:
    """Creates a StatefulSet, or brings it up to date where its template, its owner or its size is another."""
    metadata = body["metadata"]
    existing = api.get("apps/v1", "StatefulSet", metadata["name"], metadata["namespace"])
    if existing is None:
        api.create(body)
    elif existing["metadata"]["ownerReferences"][0]["uid"] != metadata["ownerReferences"][0]["uid"]:
        return  # of a leader that is gone: the garbage collector takes it away, and the next round makes ours
    elif existing["metadata"]["labels"].get(groups.REVISION) != metadata["labels"][groups.REVISION] or (
        existing["spec"]["replicas"] != body["spec"]["replicas"]
    ):
        api.apply(body, manager=MANAGER)


def main(name: str) -> int:
    """Plays until the cluster of this name is no more."""
    cluster = Cluster(name)
    while (state := cluster.state()) is not None:
        api = cluster.api(state, STAND_INS)
        try:
            while cluster.paths.state.exists():
                play(api)
                time.sleep(PERIOD_S)
        except Unreachable as error:
            sys.stderr.write(f"{error}\n")
        except ApiError as error:
            # somebody else was quicker, or the object is gone: the next round sees it as it is
            if error.status not in (CONFLICT, NOT_FOUND):
                sys.stderr.write(f"{error}\n")
        time.sleep(PERIOD_S)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
