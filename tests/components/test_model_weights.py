"""`ModelWeights` on small stacks: one kept claim and one download Job per checkpoint, and what the Job may reach.

That the script really fetches, verifies and publishes is proved by the tests of the pod scripts; that a storage class
offers the claim, by no test.
"""

from copy import deepcopy
from typing import Any

import pulumi
import pytest

from catalog import load_catalog
from components.model_weights import ModelWeights
from planning.stack.hubs import JOB_VARIABLES
from planning.stack.outward import DIRECT_VARIABLES, PROXY_VARIABLES, TRUST_VARIABLES
from preview.rendering.prerequisites import find_prerequisites
from tests.harness import HUB_TOKEN, VARIANTS, Deployed, container_of, deploy, environment, merged, minimal, stack

REVISION = "c1899de289a04d12100db370d81485cdf75e47ca"
APP = "model-weights"
PUBLISHED = "with manifest.json, as the weights Job publishes it"
LOGICAL = "weights-qwen--qwen3-0-6b-c1899de2"
DIRECTORY = f"/models/Qwen--Qwen3-0.6B/{REVISION}"


def job(deployed: Deployed) -> Any:
    """The one download Job."""
    (body,) = (body for body in deployed.objects("Job") if body["metadata"]["labels"]["app.kubernetes.io/name"] == APP)
    return body


def fetch(deployed: Deployed) -> dict[str, str]:
    """What the download is told."""
    return environment(container_of(job(deployed)))


def hub_rules(deployed: Deployed) -> Any:
    """Where the download may connect to."""
    return deployed.object("NetworkPolicy", "model-weights-fetch")["spec"]["egress"]


def test_two_ways_to_one_mirror_are_both_open():
    """Claims of two classes may be filled from one, each with a port of its own behind its Service."""
    mirror = "http://hub.tools.svc:8080"
    other = {"storageClass": "ssd", "hub": {"endpoint": mirror, "podPort": 80}}
    models = {"other": {"model": "Qwen/Qwen3-1.7B", "pool": "l4", "contextTokens": 4096, "weights": other}}
    deployed = stack(minimal(weights={"hub": {"endpoint": mirror, "podPort": 8000}}, models=models))
    inside = [rule for rule in hub_rules(deployed) if "namespaceSelector" in rule["to"][0]]
    assert [[port["port"] for port in rule["ports"]] for rule in inside] == [[80], [8000]]


def test_a_checkpoint_has_a_claim_and_a_job():
    """Beside what all downloads share, each checkpoint brings two children."""
    assert stack(minimal()).children("weights") == [
        ("ServiceAccount", "weights", "model-weights"),
        ("ConfigMap", "weights-fetch", "model-weights-fetch"),
        ("NetworkPolicy", "weights-fetch", "model-weights-fetch"),
        ("PersistentVolumeClaim", LOGICAL, LOGICAL),
        ("Job", LOGICAL, LOGICAL),
    ]


def test_the_claim_is_shared_and_kept():
    """ReadWriteMany of the given class, never awaited, left on destroy and adopted by the next `up`."""
    deployed = stack(minimal())
    manifest = deployed.manifest("PersistentVolumeClaim", LOGICAL)
    assert manifest.body["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "rwx",
        "resources": {"requests": {"storage": "2Gi"}},
    }
    assert manifest.body["metadata"]["annotations"] == {
        "pulumi.com/patchFieldManager": "llm-stack",
        "pulumi.com/skipAwait": "true",
    }
    assert manifest.options.retain_on_delete is True


def test_a_claim_holds_its_checkpoint():
    """Every claim is larger than the files of its checkpoint, and less than twice as large."""
    deployed = stack(minimal(models={"large": {"model": "Qwen/Qwen3-4B", "pool": "l4", "contextTokens": 4096}}))
    sizes = {
        body["metadata"]["name"]: int(body["spec"]["resources"]["requests"]["storage"].removesuffix("Gi"))
        for body in deployed.objects("PersistentVolumeClaim")
    }
    needed = {f"weights-{plan.name}": plan.disk_bytes / 2**30 for plan in deployed.plan.weights.checkpoints}
    assert sizes.keys() == needed.keys()
    assert {name: needed[name] < size < 2 * max(needed[name], 1) for name, size in sizes.items()} == dict.fromkeys(
        sizes, True
    )


def test_the_job_is_told_what_to_fetch():
    """Repository, pinned revision, target and least size; caches are on its own volume."""
    assert fetch(stack(minimal())) == {
        "EXPECTED_BYTES": "1192099840",
        "HF_HOME": "/tmp/huggingface",
        "HOME": "/tmp",
        "HUB_KIND": "huggingface",
        "MODEL_REPO": "Qwen/Qwen3-0.6B",
        "MODEL_REVISION": REVISION,
        "TARGET_DIR": DIRECTORY,
    }


@pytest.mark.parametrize(
    ("weights", "told", "memory"),
    [
        ({}, {}, ("4Gi", "8Gi")),
        ({"downloadMemoryGib": 63}, {}, ("31Gi", "63Gi")),
        ({"downloadMemoryGib": 64}, {"HF_XET_HIGH_PERFORMANCE": "1"}, ("32Gi", "64Gi")),
        ({"hub": {"xet": False}, "downloadMemoryGib": 64}, {"HF_HUB_DISABLE_XET": "1"}, ("32Gi", "64Gi")),
        ({"hub": {"endpoint": "https://hf-mirror.com"}}, {"HF_HUB_DISABLE_XET": "1"}, ("4Gi", "8Gi")),
        ({"hub": {"endpoint": "https://hf-mirror.com", "xet": True}}, {}, ("4Gi", "8Gi")),
        ({"hub": {"kind": "modelscope"}, "downloadMemoryGib": 64}, {}, ("32Gi", "64Gi")),
    ],
)
def test_xet_is_what_the_hub_serves_and_the_memory_holds(weights: dict, told: dict[str, str], memory: tuple):
    """Off with a mirror, unless it is said to serve it; with its large buffers only where the Job may have them."""
    deployed = stack(minimal(weights=weights))
    resources = container_of(job(deployed))["resources"]
    assert {key: value for key, value in fetch(deployed).items() if "XET" in key} == told
    assert (resources["requests"]["memory"], resources["limits"]["memory"]) == memory


GATED = {"models": {"small": {"model": "meta-llama/Llama-3.1-8B-Instruct"}}, "gpuPools": {"l4": {"gpusPerNode": 2}}}
GATED_WARNING = (
    "meta-llama/Llama-3.1-8B-Instruct is gated and there is no hub token, so its download will be refused; accept its "
    "licence on the hub, then set the secret huggingFaceToken or weights.hub.tokenSecret"
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, True),
        ({"huggingFaceToken": HUB_TOKEN}, False),
        ({"weights": {"hub": {"tokenSecret": "hub"}}}, False),
        ({"weights": {"hub": {"kind": "modelscope"}}}, False),
        ({"weights": {"storageClass": None, "kind": "existingClaim", "claimName": "disk"}}, False),
    ],
)
def test_a_gated_checkpoint_without_a_token_is_said_before_its_download_fails(changes: dict, said: bool):
    """A warning of the plan, and a line among what the cluster is expected to have; neither with a token."""
    deployed = stack(minimal(**GATED, **changes))
    expected = [str(item) for item in find_prerequisites(deployed.manifests) if item.kind == "Access to"]
    line = "meta-llama/Llama-3.1-8B-Instruct: gated: an account that accepted its licence, and a token of it"
    assert expected == ([f"Access to {line}"] if said else [])
    assert (GATED_WARNING in deployed.plan.warnings) == said


def test_the_job_writes_and_servers_read():
    """The same claim is mounted for writing by the Job and read-only by the server, at the same place."""
    deployed = stack(minimal())
    writer, reader = job(deployed)["spec"]["template"]["spec"], deployed.object("Deployment", "vllm-small")["spec"]
    assert writer["volumes"][0] == {"name": "models", "persistentVolumeClaim": {"claimName": LOGICAL}}
    assert writer["containers"][0]["volumeMounts"][0] == {"name": "models", "mountPath": "/models"}
    assert reader["template"]["spec"]["volumes"][0] == {
        "name": "models",
        "persistentVolumeClaim": {"claimName": LOGICAL, "readOnly": True},
    }
    assert container_of(deployed.object("Deployment", "vllm-small"))["args"][0] == DIRECTORY


def test_the_job_ends_by_itself_and_a_refusal_is_not_retried():
    """Four retries within the deadline, none after exit status 2, and the engine waits two minutes longer."""
    deployed = stack(minimal())
    (plan,) = [item.fetch for item in deployed.plan.weights.checkpoints]
    assert plan is not None
    spec = job(deployed)["spec"]
    assert {key: spec[key] for key in spec if key != "template"} == {
        "backoffLimit": 4,
        "activeDeadlineSeconds": plan.job.deadline_s,
        "podFailurePolicy": {
            "rules": [{"action": "FailJob", "onExitCodes": {"containerName": "fetch", "operator": "In", "values": [2]}}]
        },
    }
    timeout = f"{plan.job.deadline_s + 120}s"
    assert deployed.manifest("Job", LOGICAL).options.timeouts == {"create": timeout, "update": timeout}


def test_the_job_waits_for_its_network_rule_and_the_server_for_the_job():
    """Nothing is fetched before the rule that allows it, and no server starts before its weights are there."""
    deployed = stack(minimal())
    assert deployed.depends_on("Job", LOGICAL) == {
        "ConfigMap/weights-fetch",
        "Namespace/llm-serving",
        "NetworkPolicy/weights-fetch",
        f"PersistentVolumeClaim/{LOGICAL}",
        "ServiceAccount/weights",
    }
    assert f"Job/{LOGICAL}" in deployed.depends_on("Deployment", "vllm-small")


def test_servers_of_one_checkpoint_share_its_download():
    """Two models of the same revision have one claim and one Job; another revision has its own."""
    other = "0" * 40
    deployed = stack(
        minimal(
            models={
                "again": {"model": "Qwen/Qwen3-0.6B", "pool": "l4", "contextTokens": 4096},
                "older": {"model": "Qwen/Qwen3-0.6B", "pool": "l4", "contextTokens": 4096, "revision": other},
            },
            gpuPools={"l4": {"nodes": 3}},
        )
    )
    targets = [
        environment(container_of(body))["TARGET_DIR"]
        for body in deployed.objects("Job")
        if "weights" in body["metadata"]["name"]
    ]
    assert sorted(targets) == sorted([DIRECTORY, f"/models/Qwen--Qwen3-0.6B/{other}"])
    assert f"Job/{LOGICAL}" in deployed.depends_on("Deployment", "vllm-again")
    assert f"Job/{LOGICAL}" not in deployed.depends_on("Deployment", "vllm-older")


def test_a_model_without_a_commit_is_fetched_by_branch_and_said_to_be_unpinned():
    """The hub's newest, on ModelScope for every model, whose commits the catalogue does not have; the plan says so."""
    name = next(
        name for name, model in sorted(load_catalog().models.items()) if not model.revision and "Qwen3-0.6B" in name
    )
    unpinned = stack(minimal(models={"small": {"model": name}}))
    elsewhere = stack(minimal(weights={"hub": {"kind": "modelscope"}}))
    found = [(fetch(deployed)["MODEL_REVISION"], deployed.plan.unpinned[-1]) for deployed in (unpinned, elsewhere)]
    assert found == [("main", f"{name}@main"), ("main", "Qwen/Qwen3-0.6B@main")]


# --- hubs and mirrors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hub", "variable"),
    [
        ({"kind": "huggingface", "endpoint": "https://hf-mirror.com"}, "HF_ENDPOINT"),
        ({"kind": "modelscope", "endpoint": "https://hf-mirror.com"}, "MODELSCOPE_ENDPOINT"),
    ],
)
def test_a_mirror_is_named_to_the_client_of_its_hub(hub: dict[str, str], variable: str):
    """Each client learns the mirror by the variable it reads."""
    values = fetch(stack(minimal(weights={"hub": hub})))
    assert (values["HUB_KIND"], values[variable]) == (hub["kind"], "https://hf-mirror.com")


def test_the_download_reaches_its_hub_and_no_other_network():
    """The internet in both families, without private networks and link-local addresses, and what is in neither."""
    assert hub_rules(stack(minimal())) == [
        {
            "to": [
                {
                    "ipBlock": {
                        "cidr": "0.0.0.0/0",
                        "except": [
                            "10.0.0.0/8",
                            "100.64.0.0/10",
                            "168.63.129.16/32",
                            "169.254.0.0/16",
                            "172.16.0.0/12",
                            "192.0.0.192/32",
                            "192.168.0.0/16",
                        ],
                    }
                },
                {"ipBlock": {"cidr": "::/0", "except": ["fc00::/7", "fe80::/10"]}},
            ],
            "ports": [{"port": 443, "protocol": "TCP"}],
        }
    ]


def test_a_hub_inside_the_cluster_is_reached_by_its_namespace():
    """On any port of its pods or on the one that is given; what it leads on to by address, metadata services aside."""
    hub = {"endpoint": "http://mirror.hub.svc:8080", "podPort": 3000}
    inside, outside = hub_rules(stack(minimal(weights={"hub": hub})))
    namespace = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "hub"}}}
    assert inside == {"to": [namespace], "ports": [{"port": 3000, "protocol": "TCP"}]}
    assert [port["port"] for port in outside["ports"]] == [443, 8080]
    assert [peer["ipBlock"]["except"] for peer in outside["to"]] == [
        ["100.100.100.200/32", "168.63.129.16/32", "169.254.0.0/16", "192.0.0.192/32"],
        [
            "fd00:42::42/128",
            "fd00:c1::a9fe:a9fe/128",
            "fd00:ec2::23/128",
            "fd00:ec2::254/128",
            "fd20:ce::254/128",
            "fe80::/10",
        ],
    ]


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_a_hub_token_of_the_configuration_is_in_a_secret():
    """The token reaches the Job from a Secret of the component, under the name its client reads."""
    deployed = stack(minimal(huggingFaceToken=HUB_TOKEN))
    assert ("Secret", "weights-hub", "model-weights-hub") in deployed.children("weights")
    assert fetch(deployed)["HF_TOKEN"] == "secret:model-weights-hub/token"
    assert deployed.secret("weights-hub") == {"token": HUB_TOKEN}


def test_a_hub_token_can_come_from_a_secret_that_exists():
    """With tokenSecret named no Secret is declared, and ModelScope's client gets its own variable."""
    hub = {"kind": "modelscope", "tokenSecret": "hub"}
    deployed = stack(minimal(weights={"hub": hub}))
    assert fetch(deployed)["MODELSCOPE_API_TOKEN"] == "secret:hub/token"
    assert deployed.objects("Secret") == []


@pytest.mark.parametrize(
    ("usual", "other"),
    [
        ({}, {"storageClass": "rwx", "hub": {"kind": "modelscope"}}),
        ({}, {"storageClass": "rwx", "hub": {"endpoint": "https://hf-mirror.com"}}),
        ({"hub": {"kind": "modelscope"}}, {"storageClass": "rwx"}),
    ],
)
def test_a_token_goes_to_the_hub_of_the_stack_alone(usual: dict, other: dict):
    """One model may be fetched from another hub, which is told nothing that it could use elsewhere."""
    elsewhere = {"model": "Qwen/Qwen3-4B", "pool": "l4", "contextTokens": 4096, "weights": other}
    deployed = stack(minimal(huggingFaceToken=HUB_TOKEN, weights=usual, models={"large": elsewhere}))
    told = {
        environment(container_of(body))["MODEL_REPO"]: [
            value for value in environment(container_of(body)).values() if value.startswith("secret:")
        ]
        for body in deployed.objects("Job")
        if body["metadata"]["name"].startswith("weights-")
    }
    assert told == {"Qwen/Qwen3-0.6B": ["secret:model-weights-hub/token"], "Qwen/Qwen3-4B": []}


def test_a_token_that_no_download_takes_is_in_no_secret():
    """The hub of the stack has a Secret of its own, and no other hub is told the token."""
    weights = {"hub": {"endpoint": "https://hub.example.com", "tokenSecret": "hub"}}
    other = {"model": "Qwen/Qwen3-4B", "pool": "l4", "contextTokens": 4096, "weights": {"storageClass": "rwx"}}
    plan = stack(minimal(weights=weights, models={"large": other})).plan.weights

    def program() -> None:
        ModelWeights("weights", {"namespace": "n", "weights": plan, "token": pulumi.Output.secret(HUB_TOKEN)})

    deployed = deploy(program)
    assert deployed.objects("Secret") == []
    assert HUB_TOKEN not in deployed.secrets


def test_the_claim_of_one_node_is_filled_there():
    """The Job goes where its servers go, and tolerates what they do: a volume of that node is nowhere else."""
    deployed = stack(minimal(gpuPools={"l4": {"nodes": 1}}, weights={"accessMode": "ReadWriteOnce"}))
    pod, server = (
        deployed.object(kind, name)["spec"]["template"]["spec"]
        for kind, name in (("Job", LOGICAL), ("Deployment", "vllm-small"))
    )
    placed = ("nodeSelector", "affinity", "tolerations")
    assert {key: pod.get(key) for key in placed} == {key: server.get(key) for key in placed}
    assert deployed.object("PersistentVolumeClaim", LOGICAL)["spec"]["accessModes"] == ["ReadWriteOnce"]


READ_ONLY = minimal(weights={"storageClass": "hyperdisk-ml", "accessMode": "ReadOnlyMany"})


def test_what_many_nodes_read_is_cloned_when_it_is_filled():
    """A second claim of the same class and size, made after the Job, kept as its origin is, and never changed."""
    deployed = stack(READ_ONLY)
    filled, clone = (deployed.manifest("PersistentVolumeClaim", name) for name in (LOGICAL, f"{LOGICAL}-read"))
    shared = {"storageClassName": "hyperdisk-ml", "resources": {"requests": {"storage": "2Gi"}}}
    assert filled.body["spec"] == {"accessModes": ["ReadWriteOnce"], **shared}
    assert clone.body["spec"] == {
        "accessModes": ["ReadOnlyMany"],
        **shared,
        "dataSource": {"kind": "PersistentVolumeClaim", "name": LOGICAL},
    }
    assert (clone.options.retain_on_delete, clone.options.ignore_changes) == (True, ("spec",))
    assert clone.body["metadata"]["annotations"]["pulumi.com/skipAwait"] == "true"
    assert f"Job/{LOGICAL}" in deployed.depends_on("PersistentVolumeClaim", f"{LOGICAL}-read")
    classes = [str(item) for item in find_prerequisites(deployed.manifests) if item.kind == "StorageClass"]
    assert classes == ["StorageClass hyperdisk-ml: must offer ReadOnlyMany, ReadWriteOnce, and clone volumes"]


def test_servers_read_the_clone_and_the_job_writes_its_origin():
    """What is filled is mounted by the Job alone, on the nodes of the servers, whose zone and kind can mount it."""
    deployed = stack(READ_ONLY)
    writer, reader = (
        deployed.object(kind, name)["spec"]["template"]["spec"]
        for kind, name in (("Job", LOGICAL), ("Deployment", "vllm-small"))
    )
    assert writer["volumes"][0] == {"name": "models", "persistentVolumeClaim": {"claimName": LOGICAL}}
    assert reader["volumes"][0] == {
        "name": "models",
        "persistentVolumeClaim": {"claimName": f"{LOGICAL}-read", "readOnly": True},
    }
    assert writer["nodeSelector"] == reader["nodeSelector"]
    assert f"PersistentVolumeClaim/{LOGICAL}-read" in deployed.depends_on("Deployment", "vllm-small")


def test_another_revision_has_a_clone_of_its_own():
    """What was cloned is of one moment: its name says of what, and the other one is no change of it."""
    other = "0" * 40
    deployed = stack(merged(READ_ONLY, {"models": {"small": {"revision": other}}}))
    claims = [body["metadata"]["name"] for body in deployed.objects("PersistentVolumeClaim")]
    assert sorted(claims) == ["weights-qwen--qwen3-0-6b-00000000", "weights-qwen--qwen3-0-6b-00000000-read"]


def test_the_compile_cache_has_the_mode_that_is_asked_for():
    """On one node its class need not be shared."""
    cache = {"kind": "claim", "storageClass": "local-path", "accessMode": "ReadWriteOnce"}
    deployed = stack(minimal(compileCache=cache, gpuPools={"l4": {"nodes": 1}}))
    assert deployed.object("PersistentVolumeClaim", "compile-cache")["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_the_claim_of_one_pod_is_filled_once():
    """Where the server's pods go; whatever changes later, no other run waits for a claim that the server holds."""
    deployed = stack(minimal(weights={"accessMode": "ReadWriteOncePod"}))
    filled = deployed.manifest("Job", LOGICAL)
    assert filled.options.ignore_changes == ("spec",)
    assert stack(minimal()).manifest("Job", LOGICAL).options.ignore_changes == ()
    server = deployed.object("Deployment", "vllm-small")["spec"]
    assert filled.body["spec"]["template"]["spec"]["nodeSelector"] == server["template"]["spec"]["nodeSelector"]
    assert server["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert deployed.object("PersistentVolumeClaim", LOGICAL)["spec"]["accessModes"] == ["ReadWriteOncePod"]


def test_a_class_of_local_disks_is_expected():
    """It is asked for by pods, not by a claim of the stack."""
    deployed = stack(VARIANTS["image-copied"])
    classes = [str(item) for item in find_prerequisites(deployed.manifests) if item.kind == "StorageClass"]
    assert classes == ["StorageClass local: must offer ReadWriteOnce"]


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        (
            "store-of-azure",
            [
                (
                    f"Folder az://models/published/Qwen--Qwen3-0.6B/{REVISION}/: in the storage account acme: "
                    f"must hold the files {PUBLISHED}; 01234567-89ab-cdef-0123-456789abcdef "
                    "(ServiceAccount vllm-small) must be let in to list and get"
                )
            ],
        ),
        (
            "store-of-google",
            [
                (
                    f"Folder gs://models/published/Qwen--Qwen3-0.6B/{REVISION}/: must hold the files {PUBLISHED}; "
                    "ServiceAccount vllm-small must be let in to list and get"
                )
            ],
        ),
        (
            "store-with-keys",
            [
                f"Folder s3://models/published/Qwen--Qwen3-0.6B/{revision}/: must hold the files {PUBLISHED}; "
                "the keys of Secret store must be let in to list and get"
                for revision in (REVISION, "f" * 40)
            ],
        ),
        ("one-node", []),
        (
            "pulled-before",
            [
                f"Image registry.example.com/models/small@sha256:{'a' * 64}: must hold Qwen--Qwen3-0.6B/{REVISION}/ "
                + PUBLISHED
            ],
        ),
    ],
)
def test_what_somebody_has_to_publish_is_said(variant, expected):
    """A folder of a bucket and who must be let in there, an image and what is in it; nothing where a Job does it."""
    found = find_prerequisites(stack(VARIANTS[variant]).manifests)
    assert [str(item) for item in found if item.kind in ("Folder", "Image")] == expected


@pytest.mark.parametrize("kind", ["configMap", "secret"])
def test_the_secret_of_a_proxy_is_no_key_of_a_store(kind: str):
    """Nor is one with authorities, nor the hub's token: who asks is an identity."""
    behind = {"endpoint": "http://proxy.example.com:3128", "existingSecret": "proxy"}
    identity = {"kind": "workloadIdentity", "identity": "01234567-89ab-cdef-0123-456789abcdef"}
    weights = {"storageClass": None, "kind": "objectStore", "url": "az://models", "account": "acme"}
    weights |= {"credentials": identity, "fill": {"hub": {"tokenSecret": "hub"}}}
    cluster = {"platform": "aks", "proxy": behind, "caBundle": {"kind": kind, "name": "company-ca"}}
    deployed = stack(minimal(cluster=cluster, weights=weights))
    (folder,) = [str(item) for item in find_prerequisites(deployed.manifests) if item.kind == "Folder"]
    assert folder == (
        f"Folder az://models/Qwen--Qwen3-0.6B/{REVISION}/: in the storage account acme: is filled by "
        "01234567-89ab-cdef-0123-456789abcdef (ServiceAccount model-weights-fill), who must be let in to list, get and "
        "put; 01234567-89ab-cdef-0123-456789abcdef (ServiceAccount vllm-small) must be let in to list and get"
    )


def test_a_bucket_that_is_filled_says_who_fills_it():
    """Its Job writes, its servers read; each as whom the store sees."""
    weights = {"storageClass": None, "kind": "objectStore", "url": "gs://models", "fill": True}
    deployed = stack(minimal(cluster={"platform": "gke"}, weights=weights))
    (folder,) = [str(item) for item in find_prerequisites(deployed.manifests) if item.kind == "Folder"]
    assert folder == (
        f"Folder gs://models/Qwen--Qwen3-0.6B/{REVISION}/: is filled by ServiceAccount model-weights-fill, who must be "
        "let in to list, get and put; ServiceAccount vllm-small must be let in to list and get"
    )


# --- outputs ----------------------------------------------------------------------------------------------------------


def test_weights_hand_on_where_they_are():
    """What its servers load of each checkpoint, and `ready` once all Jobs are done."""
    assert stack(minimal()).registered("weights") == {
        "sources": {LOGICAL.removeprefix("weights-"): DIRECTORY},
        "ready": True,
    }


# --- weights that are there already -----------------------------------------------------------------------------------

EXISTING = {"storageClass": None, "kind": "existingClaim", "claimName": "disk"}


def test_nothing_is_declared_for_an_existing_claim():
    """No claim, Job, script, account, network rule or Secret, and no storage class is expected; the claim is."""
    deployed = stack(minimal(weights=EXISTING))
    assert deployed.children("weights") == []
    assert deployed.registered("weights") == {
        "sources": {LOGICAL.removeprefix("weights-"): DIRECTORY},
        "ready": True,
    }
    held = f"Qwen--Qwen3-0.6B/{REVISION}/"
    expected = [
        item
        for item in find_prerequisites(deployed.manifests)
        if item.kind in ("PersistentVolumeClaim", "StorageClass")
    ]
    assert [str(item) for item in expected] == [
        (
            "PersistentVolumeClaim disk in llm-serving: "
            f"must hold {held} with manifest.json, as the weights Job publishes it"
        )
    ]


def test_servers_differ_only_in_the_claim_they_mount():
    """Read-only, at the same place, checked by the same init container; no server waits for a download."""
    downloaded, found = stack(minimal()), stack(minimal(weights=EXISTING))
    mounted = {"name": "models", "persistentVolumeClaim": {"claimName": "disk", "readOnly": True}}
    ours, theirs = (deepcopy(deployed.object("Deployment", "vllm-small")) for deployed in (downloaded, found))
    assert theirs["spec"]["template"]["spec"]["volumes"][0] == mounted
    ours["spec"]["template"]["spec"]["volumes"][0] = mounted
    assert theirs == ours
    waits = [deployed.depends_on("Deployment", "vllm-small") for deployed in (downloaded, found)]
    assert waits[0] - waits[1] == {f"Job/{LOGICAL}", f"PersistentVolumeClaim/{LOGICAL}"}
    assert waits[1] - waits[0] == set()


def test_a_download_behind_a_proxy_has_its_secret_and_the_companys_authorities():
    """The password comes from a Secret, the file from a ConfigMap; all else is what the Job always sets."""
    cluster = {"proxy": {"endpoint": "http://proxy.corp:3128", "existingSecret": "proxy"}}
    bundle = {"caBundle": {"kind": "configMap", "name": "company-ca", "key": "ca.pem"}}
    models = {"small": {"revision": REVISION, "manifestSha256": "a" * 64}}
    weights = {"env": {"HF_DEBUG": "1"}}
    deployed = stack(merged(minimal(), {"cluster": cluster | bundle, "weights": weights, "models": models}))
    body = job(deployed)
    told = environment(container_of(body))
    assert {name: value for name, value in told.items() if value.startswith("secret:")} == dict.fromkeys(
        PROXY_VARIABLES, "secret:proxy/url"
    )
    assert {*told} == {
        *JOB_VARIABLES,
        *PROXY_VARIABLES,
        *DIRECT_VARIABLES,
        *TRUST_VARIABLES,
        "HF_DEBUG",
        "HF_HUB_DISABLE_XET",
    }
    spec = body["spec"]["template"]["spec"]
    assert [volume for volume in spec["volumes"] if volume["name"] == "ca"] == [
        {"name": "ca", "configMap": {"name": "company-ca", "items": [{"key": "ca.pem", "path": "ca.crt"}]}}
    ]
    assert [mount for mount in container_of(body)["volumeMounts"] if mount["name"] == "ca"] == [
        {"name": "ca", "mountPath": "/ca", "readOnly": True}
    ]
