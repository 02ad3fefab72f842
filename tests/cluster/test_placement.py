"""Every object is accepted, and every pod is where it belongs: dev, prod and sim on a real API server and scheduler.

Does not prove that a pod's containers start; nothing here runs one.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from planning.plan.weights import OwnClaim
from tests.cluster.world import INSTANCE, NAMESPACE, SOON_S, World, gpus_of, mutated, names, variant
from workshop.simcluster.api import wait_until
from workshop.simcluster.deploy import entry_key
from workshop.simcluster.rendered import Stack

GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


def test_every_object_exists(each: World):
    """The cluster has every object the stack declares, and the inventory lists exactly these."""
    declared = {entry_key(target.body) for target in each.stack.targets}
    found = set()
    for target in each.stack.targets:
        metadata = target.body["metadata"]
        body = each.api.get(
            target.body["apiVersion"], target.body["kind"], metadata["name"], metadata.get("namespace", "")
        )
        if body is not None:
            found.add(entry_key({**target.body, "metadata": body["metadata"]}))
    inventory = each.api.get("v1", "ConfigMap", f"stack-{each.stack.name}", "simcluster")
    assert inventory is not None
    assert (declared, declared) == (found, set(json.loads(inventory["data"]["objects"])))


def test_deploying_again_changes_nothing(each: World):
    """A second run leaves every object at the generation, or version, it had."""

    def versions() -> dict[str, str]:
        found = {}
        for target in each.stack.targets:
            if target.patch:  # a node's heartbeat changes its version all the time
                continue
            metadata = target.body["metadata"]
            body = each.api.get(
                target.body["apiVersion"], target.body["kind"], metadata["name"], metadata.get("namespace", "")
            )
            assert body is not None
            # a status changes the version, not the generation; what has no generation has no status either
            found[entry_key(target.body)] = str(body["metadata"].get("generation", body["metadata"]["resourceVersion"]))
        return found

    before = versions()
    lines = each.deploy()
    assert (before, []) == (versions(), [line for line in lines if line.startswith(("created", "deleted"))])


def test_pods_are_on_their_pools(each: World):
    """Every pod of a server is on a node of the server's pool."""
    pool_of = each.pool_of()
    expected = {server.name: {server.pool} for server in each.stack.plan.servers}
    actual: dict[str, set[str]] = {server.name: set() for server in each.stack.plan.servers}
    for name in expected:
        actual[name] = {pool_of.get(pod["spec"]["nodeName"], "none") for pod in each.pods(name)}
    assert expected == actual


def test_only_servers_hold_gpus(each: World):
    """Pods request the GPUs the plan gives their replica, and nothing else requests any."""
    expected = Counter()
    for server in each.stack.plan.servers:
        if server.resources.gpus:
            expected[server.name] = max(server.replicas, 1) * server.nodes_per_replica * server.resources.gpus
    actual = Counter()
    for pod in each.pods():
        if gpus_of(pod):
            actual[pod["metadata"]["labels"][INSTANCE]] += gpus_of(pod)
    assert expected == actual


def test_no_node_is_overbooked(each: World):
    """What pods request on a node never exceeds its GPUs, and the sum is what the servers need."""
    offered = {
        node["metadata"]["name"]: int(node["status"]["allocatable"]["nvidia.com/gpu"])
        for node in each.nodes()
        if "nvidia.com/gpu" in node["status"]["allocatable"]
    }
    used = each.gpus_used()
    assert offered.keys() == used.keys()
    assert {name: (used[name], offered[name]) for name in used if used[name] > offered[name]} == {}
    assert sum(gpus_of(pod) for pod in each.pods()) == sum(used.values())


def test_services_reach_exactly_the_pods_that_answer(each: World):
    """Behind a server's Service are its ready pods; of a replica over several nodes only the leader."""

    def ready() -> dict[str, list[str]]:
        found = {"litellm": names(each.ready("litellm"))}
        for server in each.stack.plan.servers:
            pods = each.ready(server.name)
            if server.nodes_per_replica > 1:
                index = "leaderworkerset.sigs.k8s.io/worker-index"
                pods = [pod for pod in pods if pod["metadata"]["labels"].get(index) == "0"]
            found[server.name] = names(pods)
        return found

    def answering() -> dict[str, list[str]]:
        return {name: each.endpoints(name) for name in ready()}

    # endpoints follow pods a moment later
    wait_until(lambda: ready() == answering(), SOON_S, "endpoints are the ready pods")
    assert ready() == answering()
    assert [name for name, pods in answering().items() if not pods] == []


def test_gateway_pods_are_apart(each: World):
    """No two pods of the gateway share a node."""
    on = Counter(pod["spec"]["nodeName"] for pod in each.pods("litellm"))
    assert each.stack.plan.gateway.replicas == len(on)


def test_unknown_fields_are_refused(each: World):
    """Validation is strict: a misspelt field of a Deployment or a custom resource is an error, not ignored."""
    messages = {}
    for kind, field in (("Deployment", "replicaz"), ("PodMonitor", "podMetricsEndpointz")):
        target = next(item for item in each.stack.targets if item.body["kind"] == kind)
        body = {**target.body, "spec": {**target.body["spec"], field: 1}}
        messages[kind] = str(each.refused(lambda body=body: each.api.apply(body)))
    assert {
        kind: message.rpartition("failed to create typed patch object")[2].rpartition("; ")[2].rpartition("): ")[2]
        or message
        for kind, message in messages.items()
    } == {
        "Deployment": ".spec.replicaz: field not declared in schema",
        "PodMonitor": ".spec.podMetricsEndpointz: field not declared in schema",
    }


def test_pod_security_is_enforced(each: World):
    """A pod that may become root is refused in the serving namespace, by the profile the stack sets there."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "root", "namespace": NAMESPACE},
        "spec": {
            "containers": [{"name": "root", "image": "example.invalid/root", "securityContext": {"runAsUser": 0}}]
        },
    }
    error = each.refused(lambda: each.api.create(pod))
    start = 'pods "root" is forbidden: violates PodSecurity "restricted:latest"'
    assert (403, start) == (error.status, str(error)[: len(start)])


@pytest.mark.parametrize("name", ["dev", "prod", "sim"])
def test_verification_script_passes_for_real(name: str, worlds, tmp_path: Path):
    """The script of each verification Job, run with its own token and environment, finds what was promised."""
    world: World = worlds(name)
    expected, actual = {}, {}
    for target in world.stack.targets:
        if target.body["kind"] == "Job" and "verify" in target.body["metadata"]["name"]:
            job = target.body["metadata"]["name"]
            status, output = run_verification(world, target.body, tmp_path / job)
            nodes = world.stack.plan.pools[target.body["metadata"]["labels"][INSTANCE]]
            expected[job] = (0, f"pool '{nodes.name}': {nodes.nodes} of {nodes.nodes} nodes keep the promise")
            # what is odd about other nodes is noted below that
            actual[job] = (status, output.partition("\n")[0])
    assert expected == actual
    assert actual


def test_verification_script_misses_a_label(prod: World, tmp_path: Path):
    """It says which node has lost its label; putting the stack there again brings the label back."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gpu-2"}}
    prod.api.patch(node, {"metadata": {"labels": {"llm-stack.io/pool": None}}})
    job = next(t.body for t in prod.stack.targets if t.body["kind"] == "Job" and "a10" in t.body["metadata"]["name"])
    selector = "gpu-type=a10,llm-stack.io/pool=a10,node-role=gpu-inference"
    nearest = "nearest: gpu-2 (it has no label llm-stack.io/pool)"
    assert (1, f"pool 'a10': 3 of 4 nodes match {selector}, {nearest}") == run_verification(prod, job, tmp_path)
    prod.deploy()
    assert run_verification(prod, job, tmp_path) == (0, "pool 'a10': 4 of 4 nodes keep the promise")


TOLERATE = 'add {key: dedicated, value: "ml", effect: NoSchedule} to gpuPools.a10.tolerations, or remove the taint'


def verification_of(world: World, pool: str) -> Mapping[str, Any]:
    """The verification Job of a pool, as it is declared."""
    return next(t.body for t in world.stack.targets if t.body["metadata"]["name"] == f"verify-nodes-{pool}"
                and t.body["kind"] == "Job")  # fmt: skip


SHARING = "nvidia.com/gpu.sharing-strategy"


@pytest.mark.parametrize(
    ("pool", "node", "change", "said"),
    [
        (
            "a10",
            "gpu-2",
            {"spec": {"taints": [GPU_TAINT, {"key": "dedicated", "value": "ml", "effect": "NoSchedule"}]}},
            f"has the taint dedicated=ml:NoSchedule, which pods of the pool do not tolerate ({TOLERATE})",
        ),
        (
            "a10",
            "gpu-2",
            {"metadata": {"labels": {SHARING: "time-slicing"}}},
            f"offers parts of cards, promised whole ones (its {SHARING} is 'time-slicing'; switch that off there)",
        ),
        (
            "a10",
            "gpu-2",
            {"metadata": {"labels": {"nvidia.com/cuda.driver-version.major": "550"}}},
            "has driver 550, its servers need 580 or newer (update it, or give its models an image for it)",
        ),
        ("cpu", "cpu-2", {"spec": {"unschedulable": True}}, "is cordoned (kubectl uncordon makes it take pods again)"),
        (
            "cpu",
            "cpu-2",
            {"status": {"allocatable": {"cpu": "15890m"}}},
            "offers 15.89 CPU cores to pods, 30 are needed (lower gpuPools.cpu.cpusPerNode or what its models ask for)",
        ),
    ],
)
def test_verification_fails_where_pods_could_not_run(
    prod: World, tmp_path: Path, pool: str, node: str, change: dict[str, Any], said: str
):
    """A taint, a cordon, parts of cards, a driver, too few cores: it says so of the node, until that is mended."""
    job, where = verification_of(prod, pool), {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}
    ((part, fields),) = change.items()
    found = next(item for item in prod.nodes() if item["metadata"]["name"] == node)
    before: dict[str, Any] = {part: {key: found[part].get(key) for key in fields}}
    if part == "metadata":  # a patch of labels leaves those alone that it does not name
        before[part]["labels"] = {key: found[part]["labels"].get(key) for key in fields["labels"]}
    subresource = "status" if part == "status" else ""
    prod.api.patch(where, change, subresource)
    status, output = run_verification(prod, job, tmp_path)
    prod.api.patch(where, before, subresource)
    # nodes without GPUs that are no part of the pool are too small, and named too
    assert (1, f"pool '{pool}': node {node} {said}") == (status, output.partition("\n")[0])
    wait_until(lambda: run_verification(prod, job, tmp_path)[0] == 0, SOON_S, "the pool keeps its promise again")


def test_pods_that_tolerate_a_taint_of_their_pool_run_there(tmp_path: Path):
    """With `gpuPools.NAME.tolerations` servers find the tainted node, and the verification passes."""
    mine = {"key": "dedicated", "value": "ml", "effect": "NoSchedule"}

    def tolerant(config: dict[str, Any]) -> None:
        config["llm-stack:gpuPools"]["a10"]["tolerations"] = [mine]

    world = World.begin("tolerant", variant("dev", tmp_path, tolerant))
    try:
        for node in world.nodes():
            if "nvidia.com/gpu" in node["status"]["allocatable"]:
                world.api.patch({"apiVersion": "v1", "kind": "Node", **node}, {"spec": {"taints": [GPU_TAINT, mine]}})
        world.deploy()
        (server,) = world.stack.plan.servers
        assert len(world.ready(server.name)) == server.replicas
        assert run_verification(world, verification_of(world, "a10"), tmp_path / "job")[0] == 0
    finally:
        world.cluster.down()
        shutil.rmtree(world.cluster.paths.root)


def run_verification(world: World, job: Mapping[str, Any], folder: Path) -> tuple[int, str]:
    """(exit status, output) of a verification Job's script, run here as its pod would run it, without waiting."""
    folder.mkdir(exist_ok=True)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    script = world.api.get("v1", "ConfigMap", pod["volumes"][0]["configMap"]["name"], NAMESPACE)
    assert script is not None
    (folder / "verify_nodes.py").write_text(script["data"]["verify_nodes.py"], encoding="utf-8")
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": pod["serviceAccountName"], "namespace": NAMESPACE},
    }
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    token = world.api.request("POST", world.api.path_of(account, "token"), request)
    (folder / "token").write_text(token["status"]["token"], encoding="utf-8")
    (folder / "ca.crt").write_bytes(world.cluster.paths.certificate("ca").read_bytes())
    state = world.cluster.state()
    assert state is not None
    environment = {item["name"]: item["value"] for item in container["env"]} | {
        "API_SERVER": f"https://127.0.0.1:{state.ports.api_server}",
        "SERVICE_ACCOUNT_DIR": str(folder),
        "TERMINATION_LOG": str(folder / "termination-log"),
        "TIMEOUT_S": "0",
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        [sys.executable, folder / "verify_nodes.py"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SOON_S,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.strip()


def test_claims_are_bound(each: World):
    """Every checkpoint's claim has a volume of its size that many nodes may mount."""

    def claims() -> dict[str, tuple]:
        found = each.api.items("v1", "PersistentVolumeClaim", NAMESPACE)
        return {
            item["metadata"]["name"]: (
                item["status"]["phase"],
                item["status"].get("capacity"),
                item["spec"]["accessModes"],
            )
            for item in found
        }

    wait_until(lambda: all(phase == "Bound" for phase, *_ in claims().values()), SOON_S, "claims are bound")
    assert {
        item.place.name: ("Bound", {"storage": f"{item.place.gib}Gi"}, ["ReadWriteMany"])
        for item in each.stack.plan.weights.checkpoints
        if isinstance(item.place, OwnClaim)
    } == claims()


def test_who_keeps_what_is_compiled_runs_beside_its_server(dev: World, tmp_path: Path):
    """It goes on when the server is ready, and what stands before it has ended; unwanted, the claim goes."""

    def keeping(config: dict[str, Any]) -> None:
        config["llm-stack:compileCache"] = {"kind": "claim", "storageClass": "rwx"}

    def claim() -> object:
        return dev.api.get("v1", "PersistentVolumeClaim", "compile-cache", NAMESPACE)

    dev.deploy(variant("dev", tmp_path, keeping))
    (server,) = dev.stack.plan.servers
    for pod in dev.ready(server.name):
        states = {one["name"]: [*one["state"]] for one in pod["status"]["initContainerStatuses"]}
        assert states == {"prewarm": ["terminated"], "restore-cache": ["terminated"], "publish-cache": ["running"]}
    assert claim() is not None
    dev.deploy()
    wait_until(lambda: claim() is None, SOON_S, "the claim is gone")


def test_images_are_pulled_on_the_nodes_of_their_pool_and_nobody_waits(prod: World, tmp_path: Path):
    """Admitted, tolerating what servers tolerate, on all nodes that exist; a pull that hangs holds nothing."""

    def pulling(config: dict[str, Any]) -> None:
        config["llm-stack:images"] = {**config.get("llm-stack:images", {}), "prePull": True}

    def hanging(body: Any) -> None:
        body["spec"]["template"]["spec"]["nodeSelector"] = {"nowhere": "true"}

    whole = variant("prod", tmp_path, pulling)
    prod.deploy(whole)
    pools, pulled = prod.pool_of(), {pull.pool.name: pull.pool for pull in whole.plan.pre_pulls}
    wanted = {name for name, pool in pools.items() if pool in pulled}
    assert wanted

    def nodes(instance: str) -> set[str]:
        return {pod["spec"]["nodeName"] for pod in prod.ready(instance)}

    found = lambda: {node for name in pulled for node in nodes(f"pre-pull-{name}")}  # noqa: E731
    wait_until(lambda: found() == wanted, SOON_S, "every node that exists pulls")
    assert all(gpus_of(pod) == 0 for name in pulled for pod in prod.pods(f"pre-pull-{name}"))
    prod.deploy(mutated(whole, "DaemonSet", f"pre-pull-{next(iter(pulled))}", hanging))
    prod.deploy()
    assert prod.api.items("apps/v1", "DaemonSet", NAMESPACE) == []


def test_every_mode_of_a_claim_is_served_and_changed(dev: World, tmp_path: Path):
    """Filled, cloned and read; a claim of one pod; on one node. Another script runs their Jobs again, where it can.

    What is no longer declared stays, and is there when it is wanted again.
    """

    def claims() -> dict[str, tuple[list[str], str]]:
        found = dev.api.items("v1", "PersistentVolumeClaim", NAMESPACE)
        return {one["metadata"]["name"]: (one["spec"]["accessModes"], one["status"]["phase"]) for one in found}

    def stack_with(mode: str, revision: str = "") -> Stack:
        def other(config: dict[str, Any]) -> None:
            config["llm-stack:weights"] = {"storageClass": f"class-{mode.lower()}", "accessMode": mode}
            (model,) = config["llm-stack:models"].values()
            model["revision"] = revision or digits[mode] * 40

        return variant("dev", tmp_path, other)

    digits = {"ReadOnlyMany": "a", "ReadWriteOncePod": "b", "ReadWriteOnce": "c"}
    for mode, digit in digits.items():
        whole = stack_with(mode)
        dev.deploy(whole)
        (server,) = whole.plan.servers
        assert len(dev.ready(server.name)) == 1
        filled = f"weights-qwen--qwen3-8b-{digit * 8}"
        expected = {filled: (["ReadWriteOnce" if mode == "ReadOnlyMany" else mode], "Bound")}
        if mode == "ReadOnlyMany":
            expected[f"{filled}-read"] = (["ReadOnlyMany"], "Bound")
        assert {name: claim for name, claim in claims().items() if digit * 8 in name} == expected
        before = dev.uids("batch/v1", "Job")[filled]
        dev.deploy(mutated(whole, "ConfigMap", "model-weights-fetch", _commented))
        assert (dev.uids("batch/v1", "Job")[filled] == before) == (mode == "ReadWriteOncePod")
    kept = {name: uid for name, uid in dev.uids("v1", "PersistentVolumeClaim").items() if "aaaaaaaa" in name}
    dev.deploy(stack_with("ReadOnlyMany", "d" * 40))
    assert sorted(name for name in claims() if name.endswith("-read")) == [
        f"weights-qwen--qwen3-8b-{digit * 8}-read" for digit in "ad"
    ]
    dev.deploy(stack_with("ReadOnlyMany"))
    assert {name: dev.uids("v1", "PersistentVolumeClaim")[name] for name in kept} == kept


def _commented(body: Any) -> None:
    body["data"]["fetch_weights.py"] += "# another one\n"


def test_a_cluster_of_one_node_needs_no_shared_class(dev: World, tmp_path: Path):
    """A class of local disks is all there is, as in kind, k3s and minikube: shared by its pods, or a copy for each."""
    shared = {"storageClass": "local-path", "accessMode": "ReadWriteOnce"}
    for weights in (shared, {"kind": "nodeCache", "storageClass": "local-path", "from": shared}):

        def local(config: dict[str, Any], weights: dict[str, Any] = weights) -> None:
            config["llm-stack:weights"] = weights
            # that of the catalogue is on a claim of the class that `dev` has
            config["llm-stack:models"]["qwen3-8b"]["revision"] = "e" * 40

        whole = variant("dev", tmp_path, local)
        dev.deploy(whole)
        (server,) = whole.plan.servers
        (pod,) = dev.ready(server.name)
        found = dev.api.items("v1", "PersistentVolumeClaim", NAMESPACE)
        modes = {
            one["metadata"]["name"]: (one["spec"]["accessModes"], one["status"]["phase"])
            for one in found
            if one["spec"]["storageClassName"] == "local-path"
        }
        copies = [f"{pod['metadata']['name']}-copy"] if "from" in weights else []
        assert modes == dict.fromkeys([f"weights-qwen--qwen3-8b-{'e' * 8}", *copies], (["ReadWriteOnce"], "Bound"))
    dev.deploy()


def test_every_source_of_weights_is_served(dev: World, tmp_path: Path):
    """Streamed, in an image, copied to a disk of the node: the server is ready; the copy's claim goes with its pod."""
    shared = {"storageClass": "nfs-storage"}
    kinds = [
        {"kind": "objectStore", "url": "s3://models/published"},
        {"kind": "image", "reference": f"registry.example.com/models/qwen3@sha256:{'a' * 64}"},
        {"kind": "nodeCache", "storageClass": "nfs-storage", "from": shared},
        {"kind": "nodeCache", "storageClass": "nfs-storage", "from": {"kind": "objectStore", "url": "s3://models/x"}},
    ]

    def copies() -> list[str]:
        claims = dev.api.items("v1", "PersistentVolumeClaim", namespace=NAMESPACE)
        return [item["status"]["phase"] for item in claims if item["metadata"]["name"].endswith("-copy")]

    for weights in kinds:

        def elsewhere(config: dict[str, Any], weights: dict[str, Any] = weights) -> None:
            config["llm-stack:cluster"]["platform"] = "eks"
            config["llm-stack:weights"] = weights

        dev.deploy(variant("dev", tmp_path, elsewhere))
        (server,) = dev.stack.plan.servers
        assert len(dev.ready(server.name)) == 1
        assert copies() == (["Bound"] if weights["kind"] == "nodeCache" else [])
    dev.deploy()
    wait_until(lambda: copies() == [], SOON_S, "the claim of the copy is gone")
