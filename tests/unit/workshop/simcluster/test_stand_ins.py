"""What the stand-ins do when a request is refused; that their objects work is for the cluster tests."""

from typing import Any

import pytest

from workshop.simcluster import groups
from workshop.simcluster.api import CONFLICT, INVALID, Api, ApiError
from workshop.simcluster.stand_ins import Player
from workshop.simcluster.surroundings import postgres_of, storage_class

Object = dict[str, Any]


def claim(name: str) -> Object:
    """A claim that waits for a volume."""
    spec = {"storageClassName": "shared", "accessModes": [], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": name, "namespace": "n", "uid": name}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def group(name: str) -> Object:
    """A set of one group of one pod."""
    template = {"size": 1, "workerTemplate": {"spec": {"containers": [{"name": "c"}]}}}
    spec = {"replicas": 1, "leaderWorkerTemplate": template}
    metadata = {"name": name, "namespace": "n", "uid": name}
    return {"apiVersion": groups.VERSION, "kind": "LeaderWorkerSet", "metadata": metadata, "spec": spec}


def postgres(name: str, *conditions: Object) -> Object:
    """A Cluster of CloudNativePG."""
    metadata = {"name": name, "namespace": "n", "creationTimestamp": "2026-11-29T00:00:00Z"}
    body = {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": metadata, "spec": {"instances": 2}}
    return {**body, "status": {"conditions": list(conditions)}}


class Refusing(Api):
    """A server that has some objects, refuses to create others, and notes what it was asked to create or change."""

    def __init__(self, objects: list[Object], refused: dict[str, ApiError]) -> None:
        self._objects = objects
        self._refused = refused
        self.asked: list[str] = []

    def items(
        self, api_version: str, kind: str, namespace: str = "", selector: str = "", fields: str = ""
    ) -> list[Object]:
        """All objects of a kind."""
        assert (namespace, bool(api_version), bool(selector and fields)) == ("", True, False)
        return [item for item in self._objects if item["kind"] == kind]

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Object | None:
        """One object."""
        found = self.items(api_version, kind)
        return next((item for item in found if item["metadata"]["name"] == name and namespace), None)

    def create(self, body: Any) -> Object | None:
        """Notes the name, and refuses some."""
        name = body["metadata"]["name"]
        if name in self._refused:
            raise self._refused[name]
        self.asked.append(f"{body['kind']} {name}")
        return body

    def patch(self, body: Any, change: Any, subresource: str = "") -> Object:
        """Notes the name."""
        (ready,) = (value for key, value in change["status"].items() if key in ("readyReplicas", "readyInstances"))
        self.asked.append(f"{subresource} of {body['metadata']['name']}: {ready} ready")
        return body


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (INVALID, ["PersistentVolumeClaim a in n: no", "LeaderWorkerSet c in n: no"]),
        (CONFLICT, []),  # somebody was quicker: the next round sees it
    ],
)
def test_a_refusal_stops_nothing_else(status: int, said: list[str]):
    """A refused volume or group is said once, however often it is tried, and all others are made."""
    refusal = ApiError(status, "", "no")
    api = Refusing(
        [storage_class("shared"), claim("a"), claim("b"), group("c"), group("d")], {"pvc-a": refusal, "c": refusal}
    )
    lines: list[str] = []
    player = Player(api, lines.append)
    player.play()
    player.play()
    assert (api.asked, lines) == (["PersistentVolume pvc-b", "StatefulSet d", "status of d: 0 ready"] * 2, said)


def test_a_stateful_set_of_somebody_else():
    """One of the same name stays as it is, whoever it belongs to; that is said once, and the set reports no pods."""
    theirs = {"kind": "StatefulSet", "metadata": {"name": "c", "namespace": "n"}}
    api = Refusing([group("c"), theirs], {})
    lines: list[str] = []
    player = Player(api, lines.append)
    player.play()
    player.play()
    assert (api.asked, lines) == (
        ["status of c: 0 ready"] * 2,
        ["StatefulSet c in n: is somebody else's, and stays as it is; its LeaderWorkerSet gets no pods"],
    )


def test_a_postgres_is_ready_with_the_secret_of_its_owner():
    """Both are made until it is ready, also when the Secret came before a restart; what somebody refuses is said."""
    running = {"type": "Ready", "status": "True"}
    api = Refusing([postgres("a"), postgres("b", running), postgres("c")], {"c-app": ApiError(INVALID, "", "no")})
    lines: list[str] = []
    Player(api, lines.append).play()
    assert (api.asked, lines) == (["Secret a-app", "status of a: 2 ready"], ["Cluster c in n: no"])
    owner, status = postgres_of(postgres("a"))
    assert (owner["type"], set(owner["stringData"])) == ("kubernetes.io/basic-auth", {"username", "password"})
    assert status["conditions"][0]["lastTransitionTime"] == "2026-11-29T00:00:00Z"
