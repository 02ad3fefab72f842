"""Every source of weights with every way to serve from it: refused with what to use instead, or rendered whole.

Reads objects as data; that pods run with them is what tests/cluster and tests/local prove, for some of these.
"""

from typing import Any

import pytest

from components.pod_scripts import source
from planning.plan.weights import OwnClaim
from preview.rendering.prerequisites import find_prerequisites
from tests import kubernetes_rules
from tests.harness import Config, Deployed, Pod, environment, merged, minimal, pods, refusals, stack, two_nodes
from tests.stacks.test_invariants import dangling

IMAGE = {"kind": "image", "reference": f"registry.example.com/models/small@sha256:{'a' * 64}"}
STORE = {"kind": "objectStore", "url": "s3://models/published"}
KEYS = {"credentials": {"kind": "existingSecret", "name": "store"}}
SHARED = {"kind": "sharedClaim", "storageClass": "rwx"}
CLAIM = {"kind": "existingClaim", "claimName": "disk"}
# Source → its weights, and the platform it needs.
SOURCES: dict[str, tuple[dict[str, Any], str]] = {
    "shared claim": (SHARED, "generic"),
    "claim of one node": (SHARED | {"accessMode": "ReadWriteOnce"}, "generic"),
    "claim of one pod": (SHARED | {"accessMode": "ReadWriteOncePod"}, "generic"),
    "cloned claim": (SHARED | {"accessMode": "ReadOnlyMany"}, "generic"),
    "existing claim": (CLAIM, "generic"),
    "bucket with keys": (STORE | KEYS | {"endpoint": "https://minio.example.com"}, "generic"),
    "bucket with an identity": (STORE | {"credentials": {"kind": "workloadIdentity"}}, "eks"),
    "bucket of Google": (STORE | {"url": "gs://models/published"}, "gke"),
    "bucket of shards": (STORE | KEYS | {"layout": "sharded"}, "generic"),
    "bucket that is filled": (STORE | KEYS | {"fill": {}}, "generic"),
    "image": (IMAGE, "generic"),
    "copy of a shared claim": ({"kind": "nodeCache", "storageClass": "nvme", "from": SHARED}, "generic"),
    "copy of an existing claim": ({"kind": "nodeCache", "storageClass": "nvme", "from": CLAIM}, "generic"),
    "copy of a bucket": ({"kind": "nodeCache", "storageClass": "nvme", "from": STORE | KEYS}, "generic"),
    "copy of an image": ({"kind": "nodeCache", "storageClass": "nvme", "from": IMAGE}, "generic"),
}
ONE_NODE: Config = {"gpuPools": {"l4": {"nodes": 1}}}
CANARY = {"canary": {"weight": 10, "args": ["--enable-prefix-caching"]}}
OTHER = {"model": "Qwen/Qwen3-0.6B", "pool": "l4", "contextTokens": 4096}
# Way to serve → what it changes in a small stack; a group of nodes has a model of its own.
WAYS: dict[str, Config] = {
    "one node": ONE_NODE,
    "several nodes": {"models": {"small": {"replicas": {"max": 2}}}},
    "a group of nodes": {},
    "canary": {"models": {"small": CANARY}},
    "canary of another revision": {"models": {"small": {"canary": {"weight": 10, "revision": "f" * 40}}}},
    "a second server of the same checkpoint": {"models": {"other": OTHER}},
    "scale to zero": {"models": {"small": {"replicas": {"min": 0, "max": 1}}}},
    "compile cache": {"compileCache": {"kind": "claim", "storageClass": "rwx"}},
    "images pulled before": {"images": {"prePull": True}},
    "mirror": {"images": {"mirror": "registry.example.com/mirror", "pullSecrets": ["regcred"]}},
}
# (source, way) → what its refusal says to use instead.
REFUSED = {
    ("claim of one node", way): "use ReadOnlyMany where the class can clone volumes"
    for way in WAYS
    if way != "one node"
} | {
    ("claim of one pod", way): "ReadWriteMany"
    for way in ("several nodes", "a group of nodes", "canary", "a second server of the same checkpoint")
}
# experts, in fp8
REFUSED["bucket of shards", "a group of nodes"] = "leave layout out, with the whole files in the bucket"


def config(source_: str, way: str) -> Config:
    """The small stack, or the one of two nodes, with such weights served so."""
    weights, platform = SOURCES[source_]
    base = two_nodes() if way == "a group of nodes" else minimal()
    changed = merged(base, {"cluster": {"platform": platform}} | WAYS[way])
    if source_ == "bucket of shards" and way != "a group of nodes":
        models = {name: model | {"tensorParallel": 2} for name, model in changed["models"].items()}
        changed = merged(changed, {"gpuPools": {"l4": {"gpusPerNode": 2}}, "models": models})
    return {**changed, "weights": weights}


def servers(deployed: Deployed) -> list[Pod]:
    """Pods of vLLM, leaders and workers."""
    return [pod for pod in pods(deployed) if pod.labels["app.kubernetes.io/name"] == "vllm"]


PAIRS = pytest.mark.parametrize(("source_", "way"), [(source_, way) for source_ in SOURCES for way in WAYS])


@PAIRS
def test_a_pair_is_rendered_whole_or_refused_with_what_to_use(source_: str, way: str):
    """A refusal names another mode or kind; what is rendered refers to what is there, and is restricted."""
    raw = config(source_, way)
    refused = refusals(raw)
    if (source_, way) in REFUSED:
        assert [REFUSED[source_, way] in text for text in refused] == [True], refused
        return
    assert refused == []
    deployed = stack(raw)
    assert dangling(deployed) == []
    assert {pod.owner: kubernetes_rules.restricted(pod.spec) for pod in pods(deployed)} == {
        pod.owner: [] for pod in pods(deployed)
    }
    for server in deployed.plan.servers:
        checkpoint = server.checkpoint
        mine = [pod for pod in servers(deployed) if pod.owner.rpartition(" ")[2] == server.name]
        assert mine
        for pod in mine:
            check, told = pod.spec["initContainers"][0], environment(pod.spec["initContainers"][0])
            assert check["command"] == ["python3", f"/scripts/{checkpoint.source.script}.py"]
            assert told["MODEL_DIR"] == checkpoint.source.directory
            assert pod.spec["containers"][0]["args"][0] == checkpoint.source.argument
            streamed = checkpoint.source.streamed
            formats = [word for word in pod.spec["containers"][0]["args"] if word.startswith("--load-format")]
            sharded = "_sharded" if source_ == "bucket of shards" else ""
            assert formats == [f"--load-format={f'runai_streamer{sharded}' if streamed else 'safetensors'}"]
            mounted = [volume for volume in pod.spec["volumes"] if volume["name"].startswith(("models", "copy"))]
            assert bool(mounted) != streamed
            keys = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & {*environment(pod.spec["containers"][0])}
            assert bool(keys) == (streamed and "existingSecret" in str(SOURCES[source_][0]))
        awaited = deployed.depends_on(*workload(deployed, server.name))
        kinds = {name.partition("/")[0] for name in awaited if name.partition("/")[2].startswith("weights-")}
        claim = {"PersistentVolumeClaim"} if isinstance(checkpoint.place, OwnClaim) else set()
        assert kinds == ({"Job", *claim} if checkpoint.fetch else set())


def workload(deployed: Deployed, name: str) -> tuple[str, str]:
    """(kind, logical name) of what a server's pods come from."""
    (kind,) = {item.kind for item in deployed.manifests if item.name == name} & {"Deployment", "LeaderWorkerSet"}
    return kind, name


@pytest.mark.parametrize(
    ("source_", "way"), [(source_, way) for source_ in SOURCES for way in WAYS if (source_, way) not in REFUSED]
)
def test_what_a_pair_expects_of_a_cluster_is_said(source_: str, way: str):
    """Classes, Secrets and claims that nobody declares are among what the preview expects."""
    deployed = stack(config(source_, way))
    expected = {(found.kind, found.name) for found in find_prerequisites(deployed.manifests)}
    weights = SOURCES[source_][0]
    origin = weights.get("from", weights)
    classes = {part["storageClass"] for part in (weights, origin) if "storageClass" in part}
    assert {name for kind, name in expected if kind == "StorageClass"} >= classes
    if origin["kind"] == "existingClaim":
        assert ("PersistentVolumeClaim", "disk") in expected
    if "credentials" in origin and origin["credentials"]["kind"] == "existingSecret":
        assert ("Secret", "store") in expected


def test_every_script_of_a_source_is_one_of_ours():
    """What runs before a server is a file of the pod scripts."""
    scripts = {"prewarm_weights", "check_shards", "check_store", "copy_store", "copy_weights"}
    rendered = {
        server.checkpoint.source.script
        for name in SOURCES
        if (name, "one node") not in REFUSED
        for server in stack(config(name, "one node")).plan.servers
    }
    assert rendered == scripts
    assert all(source(script) for script in scripts)
