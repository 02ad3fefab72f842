"""`ModelWeights` with buckets to fill: a Job per checkpoint, who it is, and where it may go.

That the script fills a bucket that servers can stream from is proved in tests/local/test_fill_store.py.
"""

from typing import Any

import pytest

from tests.harness import HUB_TOKEN, Deployed, container_of, environment, minimal, pods, stack, two_nodes
from tests.kubernetes_rules import leaves

REVISION = "c1899de289a04d12100db370d81485cdf75e47ca"
LOGICAL = "weights-qwen--qwen3-0-6b-c1899de2"
URL = f"s3://models/published/Qwen--Qwen3-0.6B/{REVISION}"
WRITER = {"kind": "existingSecret", "name": "writer"}
CLIENT = "01234567-89ab-cdef-0123-456789abcdef"
ROLES = {name: f"arn:aws:iam::111122223333:role/llm-{name}" for name in ("weights", "filler")}


def identity(name: str) -> dict[str, str]:
    """Credentials of a role."""
    return {"kind": "workloadIdentity", "identity": ROLES[name]}


def filled(cluster: str = "generic", **changes: Any) -> Deployed:
    """A small stack whose bucket is filled."""
    weights = {"storageClass": None, "kind": "objectStore", "url": "s3://models/published", "fill": True}
    keys = {"credentials": {"kind": "existingSecret", "name": "store"}}
    return stack(minimal(cluster={"platform": cluster}, weights=weights | keys | changes))


def job(deployed: Deployed) -> Any:
    """The one Job that fills."""
    (body,) = (body for body in deployed.objects("Job") if body["metadata"]["name"].startswith("weights-"))
    return body


def test_a_bucket_has_a_job_per_checkpoint_and_no_claim():
    """Beside what all of them share."""
    assert filled().children("weights") == [
        ("ServiceAccount", "weights-fill", "model-weights-fill"),
        ("ConfigMap", "weights-fill", "model-weights-fill"),
        ("NetworkPolicy", "weights-fill", "model-weights-fill"),
        ("Job", LOGICAL, LOGICAL),
    ]


def test_the_job_is_told_what_to_bring_and_where():
    """Repository, commit, folder, least size and the store; the keys come from their Secret, and the hub's token."""
    deployed = filled(fill={"credentials": WRITER, "hub": {"tokenSecret": "hub", "endpoint": "https://hf-mirror.com"}})
    assert environment(container_of(job(deployed))) == {
        "AWS_ACCESS_KEY_ID": "secret:writer/access-key-id",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SECRET_ACCESS_KEY": "secret:writer/secret-access-key",
        "EXPECTED_BYTES": "1192099840",
        "HF_ENDPOINT": "https://hf-mirror.com",
        "HF_TOKEN": "secret:hub/token",
        "HOME": "/tmp",
        "MODEL_REPO": "Qwen/Qwen3-0.6B",
        "MODEL_REVISION": REVISION,
        "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING": "1",
        "TARGET_URL": URL,
    }


def test_the_script_has_beside_it_what_it_imports():
    """One immutable ConfigMap of a fixed name, run by the image that has the store's clients."""
    deployed = filled()
    config = deployed.object("ConfigMap", "model-weights-fill")
    assert (config["immutable"], sorted(config["data"])) == (
        True,
        ["buckets.py", "fetch_weights.py", "fill_store.py", "hub_files.py", "prove_weights.py"],
    )
    container = container_of(job(deployed))
    assert container["command"] == ["python3", "/scripts/fill_store.py"]
    assert container["image"] == deployed.plan.servers[0].image.reference


def test_it_takes_a_small_disk_and_little_memory():
    """Nothing but heads and small files is written, whatever the size of the checkpoint."""
    resources = container_of(job(filled()))["resources"]
    assert resources == {
        "requests": {"cpu": "2", "memory": "2Gi", "ephemeral-storage": "2112Mi"},
        "limits": {"memory": "4Gi"},
    }


def test_a_refusal_ends_the_job_at_once():
    """What no retry can help is not retried."""
    (rule,) = job(filled())["spec"]["podFailurePolicy"]["rules"]
    assert rule == {"action": "FailJob", "onExitCodes": {"containerName": "fill", "operator": "In", "values": [2]}}


def test_servers_wait_for_their_bucket():
    """And for nothing of it where it is full."""
    assert f"Job/{LOGICAL}" in filled().depends_on("Deployment", "vllm-small")
    assert [one for one in filled(fill=False).depends_on("Deployment", "vllm-small") if LOGICAL in one] == []
    assert filled(fill=False).children("weights") == []


def test_the_job_has_an_account_of_its_own_and_servers_keep_theirs():
    """Its role may write; that of the servers is not given to it, nor its to them."""
    deployed = filled("eks", credentials=identity("weights"), fill={"credentials": identity("filler")})
    found = {
        body["metadata"]["name"]: body["metadata"]["annotations"].get("eks.amazonaws.com/role-arn")
        for body in deployed.objects("ServiceAccount")
        if body["metadata"]["name"] in ("model-weights-fill", "vllm-small")
    }
    assert found == {"model-weights-fill": ROLES["filler"], "vllm-small": ROLES["weights"]}
    assert job(deployed)["spec"]["template"]["spec"]["serviceAccountName"] == "model-weights-fill"


def test_labels_that_ask_for_an_identity_are_on_the_pod():
    """As Azure wants it."""
    weights = {
        "url": "az://models",
        "account": "acme",
        "credentials": {"kind": "workloadIdentity", "identity": CLIENT},
    }
    template = job(filled("aks", **weights))["spec"]["template"]
    assert template["metadata"]["labels"]["azure.workload.identity/use"] == "true"


def test_a_key_file_is_mounted_and_named():
    """Google's keys are a file."""
    weights = {"storageClass": None, "kind": "objectStore", "url": "gs://models", "fill": True, "credentials": WRITER}
    body = job(stack(two_nodes(weights=weights)))
    container = container_of(body)
    assert environment(container)["RUNAI_STREAMER_GCS_CREDENTIAL_FILE"] == "/store/key.json"
    assert {"name": "store", "mountPath": "/store", "readOnly": True} in container["volumeMounts"]
    volumes = body["spec"]["template"]["spec"]["volumes"]
    secret = {"secretName": "writer", "items": [{"key": "key.json", "path": "key.json"}]}
    assert {"name": "store", "secret": secret} in volumes


def test_the_hub_is_for_the_job_alone():
    """Servers reach the store, a download of another checkpoint the hub; only what fills reaches both."""
    models = {
        "tiny": {
            "model": "Qwen/Qwen3-1.7B",
            "pool": "l4",
            "contextTokens": 4096,
            "weights": {
                "kind": "objectStore",
                "url": "s3://models",
                "endpoint": "http://minio.storage.svc:9000",
                "credentials": WRITER,
                "fill": True,
            },
        }
    }
    deployed = stack(minimal(models=models))
    policies = deployed.objects("NetworkPolicy")
    found = {pod.owner: leaves(policies, pod) for pod in pods(deployed)}
    (filler,) = (where for owner, where in found.items() if "qwen3-1-7b" in owner)
    hub, dns, server = (found[name] for name in (f"Job {LOGICAL}", "Deployment vllm-small", "Deployment vllm-tiny"))
    assert filler == hub | server
    assert hub - dns == {("0.0.0.0/0", "TCP/443"), ("::/0", "TCP/443")}
    assert server - dns == {("storage", "all"), ("0.0.0.0/0", "TCP/9000"), ("::/0", "TCP/9000")}


@pytest.mark.parametrize("also_claims", [False, True])
def test_the_token_of_the_stack_is_one_secret(also_claims: bool):
    """Claims and buckets of one stack ask one hub with one token."""
    bucket = {"kind": "objectStore", "url": "s3://models", "credentials": WRITER, "fill": True}
    tiny = {"model": "Qwen/Qwen3-1.7B", "pool": "l4", "contextTokens": 4096, "weights": bucket}
    raw = minimal(models={"tiny": tiny}) if also_claims else minimal(weights={"storageClass": None, **bucket})
    deployed = stack(minimal() | raw | {"huggingFaceToken": HUB_TOKEN})
    secrets = [body["metadata"]["name"] for body in deployed.objects("Secret") if "token" in body["stringData"]]
    assert secrets == ["model-weights-hub"]
    tokens = {
        environment(container_of(body)).get("HF_TOKEN")
        for body in deployed.objects("Job")
        if body["metadata"]["name"].startswith("weights-")
    }
    assert tokens == {"secret:model-weights-hub/token"}
