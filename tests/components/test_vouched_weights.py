"""Weights for which somebody vouched, as Jobs and pods: who runs which script, and what stays as it was."""

from typing import Any

import pytest

from tests.harness import container_of, environment, minimal, pods, stack

REVISION = "c1899de289a04d12100db370d81485cdf75e47ca"
LOGICAL = "weights-qwen--qwen3-0-6b-c1899de2"
VALUE = "a" * 64
VOUCHED = {"models": {"small": {"revision": REVISION, "manifestSha256": VALUE}}}
DIRECTORY = f"Qwen--Qwen3-0.6B/{REVISION}"
DISK = {"storageClass": None, "kind": "existingClaim", "claimName": "disk"}
BUCKET = {
    "storageClass": None,
    "kind": "objectStore",
    "url": "s3://models",
    "credentials": {"kind": "existingSecret", "name": "store"},
}
COPY = {"storageClass": "nvme", "kind": "nodeCache", "from": {"storageClass": "rwx"}}
IMAGE = {"storageClass": None, "kind": "image", "reference": f"registry.example.com/m@sha256:{'a' * 64}"}


def test_a_download_proves_before_it_publishes():
    """Its Job runs the script that does both, from a ConfigMap of its own; the others' are untouched."""
    plain, deployed = stack(minimal()), stack(minimal(**VOUCHED))
    (body,) = [one for one in deployed.objects("Job") if one["metadata"]["name"] == LOGICAL]
    container, told = container_of(body), environment(container_of(body))
    assert (container["name"], container["command"]) == ("fetch", ["python3", "/scripts/fetch_proven.py"])
    assert told.pop("MANIFEST_SHA256") == VALUE
    (before,) = [one for one in plain.objects("Job") if one["metadata"]["name"] == LOGICAL]
    assert told == environment(container_of(before))
    config = deployed.object("ConfigMap", "model-weights-proven")
    assert sorted(config["data"]) == ["fetch_proven.py", "fetch_weights.py", "prove_weights.py"]
    fetch = [one.object("ConfigMap", "model-weights-fetch") for one in (plain, deployed)]
    assert fetch[0] == fetch[1]
    assert "prove" not in {one["name"] for one in server(deployed)["initContainers"]}


def server(deployed: Any) -> Any:
    """The pod of the server."""
    return next(pod.spec for pod in pods(deployed) if pod.owner == "Deployment vllm-small")


CASES = {
    "disk": (DISK, f"/models/{DIRECTORY}", "true", ["prewarm", "prove"]),
    "image": (IMAGE, f"/models/{DIRECTORY}", "true", ["prewarm", "prove"]),
    "bucket": (BUCKET, f"s3://models/{DIRECTORY}", "false", ["check", "prove"]),
    "copy": (COPY, f"/copy/{DIRECTORY}", "false", ["copy", "prove"]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_pod_proves_what_its_server_is_going_to_load(case: str):
    """After what brings the weights nearer, in the same image, with the script beside the other."""
    weights, directory, every_byte, names = CASES[case]
    deployed = stack(minimal(weights=weights, **VOUCHED))
    pod = server(deployed)
    assert [one["name"] for one in pod["initContainers"]] == names
    opening, container = pod["initContainers"]
    told = environment(container)
    assert (told["MODEL_DIR"], told["MANIFEST_SHA256"], told["PROVE_BYTES"]) == (directory, VALUE, every_byte)
    assert (container["command"], container["image"]) == (["python3", "/scripts/prove_weights.py"], opening["image"])
    assert container["resources"] == opening["resources"]
    (name,) = (volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume)
    script = opening["command"][1].rpartition("/")[2]
    assert {script, "prove_weights.py"} == set(deployed.object("ConfigMap", name)["data"])
    if case == "bucket":
        assert told["AWS_ACCESS_KEY_ID"] == "secret:store/access-key-id"
    mounts = {mount["name"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    assert {name: read for name, read in mounts.items() if name != "tmp"} == {
        "scripts": True,
        **({"models": True} if case in ("disk", "image") else {"copy": True} if case == "copy" else {}),
    }


@pytest.mark.parametrize("weights", [DISK, IMAGE, BUCKET, COPY], ids=["disk", "image", "bucket", "copy"])
def test_without_a_value_nothing_is_there_for_it(weights: dict[str, Any]):
    """Pods and scripts are those of before."""
    deployed = stack(minimal(weights=weights))
    assert len(server(deployed)["initContainers"]) == 1
    names = {name for body in deployed.objects("ConfigMap") for name in body["data"]}
    assert names & {"prove_weights.py", "fetch_proven.py"} == set()


def test_a_fill_is_told_the_value():
    """And the script that proves is beside it in any case."""
    deployed = stack(minimal(weights={**BUCKET, "fill": True}, **VOUCHED))
    (body,) = [one for one in deployed.objects("Job") if one["metadata"]["name"] == LOGICAL]
    assert environment(container_of(body))["MANIFEST_SHA256"] == VALUE
    assert "prove_weights.py" in deployed.object("ConfigMap", "model-weights-fill")["data"]


def test_a_claim_of_one_pod_has_its_scripts_by_name():
    """Its Job, which stays, is not replaced with a script."""
    deployed = stack(minimal(weights={"accessMode": "ReadWriteOncePod"}, **VOUCHED))
    (body,) = [one for one in deployed.objects("Job") if one["metadata"]["name"] == LOGICAL]
    volumes = body["spec"]["template"]["spec"]["volumes"]
    assert [one["configMap"]["name"] for one in volumes if "configMap" in one] == ["model-weights-proven"]
