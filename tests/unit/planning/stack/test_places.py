"""Every kind of weights: where it is kept, how servers find it, and what keeps a stack from it."""

import re
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.plan.access import Identity, SecretFile, SecretVariable
from planning.plan.pods import AddressBlock, EgressRule
from planning.plan.weights import (
    ClaimVolume,
    ExistingClaim,
    ImageVolume,
    LocalCopy,
    ObjectStore,
    OciImage,
    OwnClaim,
    Source,
)
from planning.stack.network import blocks
from settings.scalars import StoreUrl
from tests.unit.small_stack import CATALOG, MODEL, planned, properties, refusals, serving, stack

COMMIT = "40c069824f4251a91eefaf281ebe4c544efd3e18"
FOLDER = f"Qwen--Qwen3-14B/{COMMIT}"
IMAGE = f"registry.example.com/models/qwen3@sha256:{'a' * 64}"
ROLE = "arn:aws:iam::111122223333:role/llm-weights"
PUBLIC = EgressRule(blocks(CATALOG.networks, private=False), (), (443,))
STREAMED = '--model-loader-extra-config={"memory_limit":2147483648,"distributed":true}'


def store(**changes: Any) -> dict[str, Any]:
    """A bucket of S3 with keys in a Secret, changed."""
    credentials = {"kind": "existingSecret", "name": "store"}
    return {"kind": "objectStore", "url": "s3://models/published", "credentials": credentials, **changes}


def source(weights: dict[str, Any], **sections: Any) -> Source:
    """How the one server of the small stack finds its weights; it runs on two GPUs."""
    (server,) = planned(stack(weights=weights, **sections)).servers
    return server.checkpoint.source


def on(platform: str) -> dict[str, Any]:
    """A cluster there."""
    return {"context": "test", "identifier": "test-1", "platform": platform}


# --- files ------------------------------------------------------------------------------------------------------------


def test_an_image_is_mounted_where_a_claim_would_be():
    """Its checkpoint lies in it as on a claim; it takes at least that much of a node's disk."""
    (held,) = planned(stack(weights={"kind": "image", "reference": IMAGE})).weights.checkpoints
    directory = f"/models/{FOLDER}"
    assert held.place == OciImage(IMAGE, 29, whole=False)
    assert held.source == Source(
        argument=directory,
        directory=directory,
        load_format="safetensors",
        volume=ImageVolume(IMAGE, "/models"),
        read_mib_per_s=1000,
        prewarm=True,
    )


@pytest.mark.parametrize(
    ("origin", "place", "volume", "copied_at"),
    [
        ({"storageClass": "nfs"}, OwnClaim, ClaimVolume(f"weights-qwen--qwen3-14b-{COMMIT[:8]}", "/models"), 500),
        ({"kind": "existingClaim", "claimName": "disk"}, ExistingClaim, ClaimVolume("disk", "/models"), 500),
        ({"kind": "image", "reference": IMAGE}, OciImage, ImageVolume(IMAGE, "/models"), 1000),
    ],
)
def test_a_copy_is_made_of_what_another_kind_holds(origin, place, volume, copied_at):
    """The server loads the copy, which is in the page cache when it is made; the volume is only read to make it."""
    weights = {"kind": "nodeCache", "storageClass": "nvme", "from": origin}
    (held,) = planned(stack(weights=weights)).weights.checkpoints
    assert isinstance(held.place, place)
    assert held.source == Source(
        argument=f"/copy/{FOLDER}",
        load_format="safetensors",
        directory=f"/models/{FOLDER}",
        script="copy_weights",
        volume=volume,
        copy=LocalCopy("nvme", 32, "/copy", f"/copy/{FOLDER}", copied_at),
        read_mib_per_s=2000,
        prewarm=False,
    )


def test_a_copy_takes_its_time_before_the_server_starts():
    """29,576 MiB from the claim at 500 MiB/s; then they are read from memory, as after prewarming."""
    weights = {"kind": "nodeCache", "storageClass": "nvme", "from": {"storageClass": "nfs"}}
    copied, warmed = (
        planned(stack(weights=one)).servers[0].timing for one in (weights, {"storageClass": "nfs", "readMibPerS": 500})
    )
    assert (copied.prewarm_s, warmed.prewarm_s) == (60, 60)
    # read from the disk at 2,000 MiB/s, as its pages may be gone
    assert copied.expected_start_s == warmed.expected_start_s


def test_an_image_takes_its_time_to_be_pulled():
    """29 GiB at the rate published for another image, before they are read; it is waited for twice as long."""
    image, claim = (
        planned(stack(weights=weights)).servers[0].timing
        for weights in ({"kind": "image", "reference": IMAGE, "readMibPerS": 500}, {"storageClass": "nfs"})
    )
    assert [(phase.name, phase.seconds) for phase in image.phases[:2]] == [("pull", 313), ("weights", 60)]
    assert image.progress_deadline_s - claim.progress_deadline_s == 2 * 313


@pytest.mark.parametrize(("size", "mib"), [({}, 29 + 10), ({"sizeGib": 60}, 60)])
def test_checkpoints_of_one_image_share_a_disk(size, mib):
    """Each takes its part of it, unless it is said what the whole takes."""
    weights = {"kind": "image", "reference": IMAGE, **size}
    models = {"a": MODEL, "b": {**MODEL, "model": "Qwen/Qwen3-14B-AWQ"}, "c": MODEL}
    places = {one.key: one.place for one in planned(stack(weights=weights, models=models)).weights.checkpoints}
    parts = {
        place.name if place.whole else key: place.gib for key, place in places.items() if isinstance(place, OciImage)
    }
    assert sum(parts.values()) == mib


def test_ranks_that_read_for_themselves_read_it_all():
    """With data parallelism each copy streams the whole checkpoint."""
    pool = {"gpu": "nvidia-a10", "nodes": 1, "gpusPerNode": 4}
    one, two = (
        planned(serving(pool, weights=store(), tensorParallel=2, dataParallel=copies)).servers[0].timing.phases[0]
        for copies in (1, 2)
    )
    assert [(phase.name, phase.seconds) for phase in (one, two)] == [("load", 60), ("load", 119)]


def test_a_claim_of_one_node_is_mounted_by_that_node():
    """The Job and the servers are pods of the same node there."""
    pools = {"a10": {"gpu": "nvidia-a10", "nodes": 1, "gpusPerNode": 2}}
    weights = {"storageClass": "local-path", "accessMode": "ReadWriteOnce"}
    (held,) = planned(stack(weights=weights, gpuPools=pools)).weights.checkpoints
    assert isinstance(held.place, OwnClaim)
    assert held.place.access_mode == "ReadWriteOnce"
    # where its servers are, not where a Job would rather be
    assert held.place.on is not None
    assert held.place.on.name == "a10"


def test_what_many_nodes_read_is_filled_and_cloned():
    """Written by one pod, read by any number; the name of both says what is in them."""
    weights = {"storageClass": "hyperdisk-ml", "accessMode": "ReadOnlyMany"}
    (held,) = planned(stack(weights=weights)).weights.checkpoints
    assert isinstance(held.place, OwnClaim)
    name = f"weights-qwen--qwen3-14b-{COMMIT[:8]}"
    assert (held.place.name, held.place.mounted, held.place.access_mode) == (name, f"{name}-read", "ReadWriteOnce")
    assert held.source.volume == ClaimVolume(f"{name}-read", "/models")
    assert held.place.on is not None


@pytest.mark.parametrize(
    ("platform", "nodes", "limit"),
    [
        ("generic", 100, None),
        ("gke", 10, None),
        (
            "gke",
            11,
            "pd.csi.storage.gke.io have at most 10 readers (with parameters.type hyperdisk-ml, 2,500)",
        ),
        ("eks", 4, "ebs.csi.aws.com are never ReadOnlyMany"),
        ("aks", 4, "disk.csi.azure.com are never ReadOnlyMany"),
    ],
)
def test_more_readers_than_a_disk_of_the_platform_has_are_warned_about(platform, nodes, limit):
    """Before hours of downloads end in a claim that never binds; the class may be of another driver, so no refusal."""
    pools = {"a10": {"gpu": "nvidia-a10", "nodes": nodes, "gpusPerNode": 2}}
    weights = {"storageClass": "disks", "accessMode": "ReadOnlyMany"}
    warned = planned(stack(weights=weights, gpuPools=pools, cluster=on(platform))).warnings
    found = [line for line in warned if line.startswith("weights on disks")]
    told = (
        f"weights on disks are read from up to {nodes} nodes, and disks of {limit}; make sure that the class can do it"
    )
    assert found == ([told] if limit else [])


MODES = st.sampled_from(["ReadWriteMany", "ReadWriteOncePod", "ReadOnlyMany"])


@given(st.lists(st.tuples(MODES, st.sampled_from(["a", "b"]), st.sampled_from(["", "0" * 40])), max_size=4))
@properties(40)
def test_servers_mount_what_their_job_fills_or_a_clone_of_it(others):
    """Whatever modes there are beside each other: no two claims have one name, and one pod has what is for one pod."""
    models = {
        f"x{number}": {
            **MODEL,
            "weights": {"storageClass": name, "accessMode": mode},
            **({"revision": revision} if revision else {}),
        }
        for number, (mode, name, revision) in enumerate(others)
    }
    raw = stack(models={"m": MODEL, **models}, gpuPools={"a10": {"gpu": "nvidia-a10", "nodes": 8, "gpusPerNode": 2}})
    twice = [key for key in others if key[0] == "ReadWriteOncePod" and others.count(key) > 1]
    if twice:
        assert all("is on a claim for one pod" in said or "on a claim for one pod" in said for said in refusals(raw))
        return
    plan = planned(raw)
    own = {one.name: one.place for one in plan.weights.checkpoints if isinstance(one.place, OwnClaim)}
    for server in plan.servers:
        place = own[server.checkpoint.name]
        assert server.checkpoint.source.volume == ClaimVolume(place.mounted, "/models")
        assert (place.mounted != place.name) == place.cloned
        if place.access_mode == "ReadWriteOncePod":
            assert (server.max_replicas, server.rollout.max_surge) == (1, 0)
    claims = [*own.values()]
    names = [*(one.name for one in claims), *(one.mounted for one in claims if one.cloned)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("copied", [False, True])
def test_a_claim_of_one_node_counts_the_nodes_of_its_own_servers(copied):
    """Another model may be on another pool, with the claim of another checkpoint; the same one may not."""
    claim = {"storageClass": "local-path", "accessMode": "ReadWriteOnce"}
    weights = {"kind": "nodeCache", "storageClass": "nvme", "from": claim} if copied else claim
    pools = {name: {"gpu": "nvidia-a10", "nodes": 1, "gpusPerNode": 2} for name in ("a10", "b10")}
    other = {**MODEL, "pool": "b10", "revision": "0" * 40}
    assert refusals(stack(weights=weights, gpuPools=pools, models={"m": MODEL, "n": other})) == []
    plan = planned(stack(weights=weights, gpuPools=pools, models={"m": MODEL, "n": other}))
    places = {server.pool: server.checkpoint.place for server in plan.servers}
    assert {name: isinstance(one, OwnClaim) and one.on and one.on.name for name, one in places.items()} == {
        "a10": "a10",
        "b10": "b10",
    }
    same = {**MODEL, "pool": "b10"}
    path = "weights.from" if copied else "weights"
    (said,) = refusals(stack(weights=weights, gpuPools=pools, models={"m": MODEL, "n": same}))
    assert said.startswith(f"{path}.accessMode: ReadWriteOnce lets pods of one node in, and the pools of its servers")


def one_pod(**model: Any) -> dict[str, Any]:
    """One server whose weights let one pod in."""
    return serving(**model) | {"weights": {"storageClass": "gp3", "accessMode": "ReadWriteOncePod"}}


ONE_POD = "its weights are on a claim for one pod"
OTHERWISE = "accessMode ReadOnlyMany where the class can clone volumes, or a class that offers ReadWriteMany"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (one_pod(), []),
        (one_pod(replicas={"min": 0, "max": 1}), []),
        (
            one_pod(replicas={"min": 1, "max": 2}),
            [f"models.m.replicas.max: {ONE_POD}, and 2 replicas are 2; use 1, or {OTHERWISE}"],
        ),
        (
            one_pod(canary={"weight": 10, "maxNumSeqs": 8}),
            [f"models.m.canary: {ONE_POD}, which is that of vllm-m; use {OTHERWISE}"],
        ),
        (one_pod(canary={"weight": 10, "revision": "0" * 40}), []),
        (
            one_pod(canary={"weight": 10, "revision": "0" * 40, "replicas": 2}),
            [f"models.m.canary.replicas: {ONE_POD}, and 2 replicas are 2; use 1, or {OTHERWISE}"],
        ),
        (
            one_pod() | {"models": {"a": MODEL, "b": MODEL}},
            [f"models.b: {ONE_POD}, which is that of vllm-a; use {OTHERWISE}"],
        ),
        (
            one_pod(pipelineParallel=2, tensorParallel=2),
            [f"models.m: {ONE_POD}, and a replica is 2 pods; use {OTHERWISE}"],
        ),
    ],
)
def test_a_claim_for_one_pod_is_of_a_server_that_is_one_pod(raw, said):
    """One server, one replica of one node; with what else can be done."""
    assert refusals(raw) == said


# --- buckets ----------------------------------------------------------------------------------------------------------


def test_a_bucket_is_streamed():
    """The folder of the checkpoint, its loader, the memory that passes it on, keys from the Secret, the store alone."""
    assert source(store(region="eu-central-1")) == Source(
        argument=f"s3://models/published/{FOLDER}",
        directory=f"s3://models/published/{FOLDER}",
        script="check_store",
        load_format="runai_streamer",
        options=(STREAMED,),
        read_mib_per_s=500,
        prewarm=False,
        buffer_gib_per_gpu=2,
        environment={
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REGION": "eu-central-1",
            "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING": "1",
        },
        secrets=(
            SecretVariable("AWS_ACCESS_KEY_ID", "store", "access-key-id"),
            SecretVariable("AWS_SECRET_ACCESS_KEY", "store", "secret-access-key"),
        ),
        egress=(PUBLIC,),
    )


def test_what_a_server_says_of_its_bucket():
    """Arguments and variables reach the engine; what is streamed takes memory of its own, and no page cache."""
    (server,) = planned(stack(weights=store())).servers
    assert server.args[0] == f"s3://models/published/{FOLDER}"
    assert {"--load-format=runai_streamer", STREAMED} <= set(server.args)
    assert server.env["AWS_EC2_METADATA_DISABLED"] == "true"
    (usual,) = planned(stack()).servers
    assert (server.resources.memory_gib, server.resources.memory_limit_gib) == (usual.resources.memory_gib + 4,) * 2
    assert planned(stack(weights=store())).weights.checkpoints[0].place == ObjectStore(
        server.args[0], "s3://models/published"
    )


@pytest.mark.parametrize(
    ("changes", "addressing"),
    [
        ({"endpoint": "https://minio.example.com"}, "0"),
        ({"endpoint": "https://oss-eu-central-1.aliyuncs.com", "addressing": "virtualHost"}, "1"),
        ({"addressing": "path"}, "0"),
        ({}, "1"),
    ],
)
def test_a_bucket_is_addressed_as_its_store_wants(changes, addressing):
    """In the path with an endpoint, in the host's name without one, unless it is said."""
    told = source(store(**changes)).environment
    assert told["RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING"] == addressing
    assert told.get("AWS_ENDPOINT_URL") == changes.get("endpoint")
    both = addressing == "1" and "endpoint" in changes
    assert told.get("AWS_CONFIG_FILE") == ("/tmp/aws-config" if both else None)


@pytest.mark.parametrize(
    ("endpoint", "rule"),
    [
        ("http://minio.storage.svc:9000", EgressRule(namespaces=("storage",))),
        ("https://s3.example.com:8443", EgressRule(blocks(CATALOG.networks, private=False), (), (8443,))),
    ],
)
def test_servers_may_go_to_their_store(endpoint, rule):
    """To the pods behind a Service, or to the port of a host."""
    assert source(store(endpoint=endpoint)).egress[0] == rule


def test_every_kind_of_store_is_known():
    """Each scheme that a URL may have is a row of the catalogue, and so is that of each platform's own store."""
    (constraints,) = get_args(StoreUrl)[1:]
    (schemes,) = re.findall(r"^\^\(([a-z0-9|]+)\)://", constraints.pattern)
    assert set(schemes.split("|")) == set(CATALOG.stores)
    assert {identity.scheme for identity in CATALOG.workload_identity.values()} <= set(CATALOG.stores)


def test_keys_of_each_store():
    """Variables, or a file whose path is in one; nothing where everybody may read."""
    gs = source(store(url="gs://models"))
    az = source(store(url="az://models", account="acme"))
    free = source(store(credentials={"kind": "none"}))
    assert (gs.secrets, gs.secret_file) == ((), SecretFile("RUNAI_STREAMER_GCS_CREDENTIAL_FILE", "store", "key.json"))
    assert az.secrets == (SecretVariable("AZURE_STORAGE_ACCOUNT_KEY", "store", "account-key"),)
    assert az.environment == {"AZURE_STORAGE_ACCOUNT_NAME": "acme"}
    assert (free.secrets, free.environment["RUNAI_STREAMER_S3_UNSIGNED"]) == ((), "1")


def agent(cidr: str, port: int) -> EgressRule:
    """The way to a service of the node."""
    return EgressRule((AddressBlock(cidr, ()),), (), (port,))


@pytest.mark.parametrize(
    ("platform", "url", "identity", "expected", "agents"),
    [
        (
            "eks",
            "s3://models",
            ROLE,
            Identity({"eks.amazonaws.com/role-arn": ROLE}, {}),
            [],
        ),
        ("eks", "s3://models", None, Identity({}, {}), [agent("169.254.170.23/32", 80), agent("fd00:ec2::23/128", 80)]),
        (
            "gke",
            "gs://models",
            "weights@project.iam.gserviceaccount.com",
            Identity({"iam.gke.io/gcp-service-account": "weights@project.iam.gserviceaccount.com"}, {}),
            [agent("169.254.169.252/32", 988), agent("169.254.169.254/32", 80)],
        ),
        (
            "aks",
            "az://models",
            "01234567-89ab-cdef-0123-456789abcdef",
            Identity(
                {"azure.workload.identity/client-id": "01234567-89ab-cdef-0123-456789abcdef"},
                {"azure.workload.identity/use": "true"},
            ),
            [],
        ),
    ],
)
def test_the_platform_says_who_a_pod_is(platform, url, identity, expected, agents):
    """By an annotation of its account, with labels of its pods where that is asked for, and a way to who answers."""
    credentials = {"kind": "workloadIdentity", **({"identity": identity} if identity else {})}
    account = {"account": "acme"} if url.startswith("az") else {}
    found = source(store(url=url, credentials=credentials, **account), cluster=on(platform))
    assert found.identity == expected
    assert list(found.egress) == [PUBLIC, *agents]


# --- refusals ---------------------------------------------------------------------------------------------------------

OTHER = "use {kind: existingSecret, name: …}"
IDENTITY = {"kind": "workloadIdentity"}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            stack(weights={"storageClass": "local-path", "accessMode": "ReadWriteOnce"}),
            (
                "weights.accessMode: ReadWriteOnce lets pods of one node in, and the pools of its servers have 4; use "
                "ReadOnlyMany where the class can clone volumes, ReadWriteOncePod for servers of one pod, or a class "
                "that offers ReadWriteMany"
            ),
        ),
        (
            stack(weights={"kind": "image", "reference": IMAGE}, cluster={**on("generic"), "kubernetes": "1.35"}),
            (
                "weights: kind image needs Kubernetes 1.36, where image volumes are stable, and cluster.kubernetes is "
                "1.35; use kind: existingClaim or sharedClaim"
            ),
        ),
        (
            stack(weights=store(credentials=IDENTITY)),
            f"weights.credentials: pods of platform generic have no identity that a store knows; {OTHER}",
        ),
        (
            stack(
                weights={"kind": "existingClaim", "claimName": "compile-cache"},
                compileCache={"kind": "claim", "storageClass": "nfs"},
            ),
            "weights.claimName: compile-cache is the claim that compileCache makes; use another one",
        ),
        (
            serving(weights={"storageClass": "nfs", "downloadMemoryGib": 64}) | {"weights": {"storageClass": "nfs"}},
            "models.m.weights: is the same place as weights, but differs in downloadMemoryGib; write the same in both",
        ),
        (
            serving(weights=store(), args=["--model-loader-extra-config.memory_limit=1"]),
            "models.m.args: --model-loader-extra-config is decided by weights.kind objectStore",
        ),
        (
            serving(weights=store(), env={"AWS_ENDPOINT_URL": "http://x"}),
            "models.m.env.AWS_ENDPOINT_URL: is decided by weights.endpoint; set that",
        ),
        (
            serving(weights=store(), env={"RUNAI_STREAMER_CONCURRENCY": "4"}),
            "models.m.env.RUNAI_STREAMER_CONCURRENCY: is decided by the plan",
        ),
        (
            serving(weights=store(), env={"GOOGLE_CLOUD_PROJECT": "x"}),
            "models.m.env.GOOGLE_CLOUD_PROJECT: is decided by the plan",
        ),
        (
            serving(weights=store(), env={"AWS_SECRET_ACCESS_KEY": "x"}),
            "models.m.env.AWS_SECRET_ACCESS_KEY: is decided by weights.credentials; set that",
        ),
        (
            serving(env={"AZURE_STORAGE_CONNECTION_STRING": "x"}),
            (
                "models.m.env.AZURE_STORAGE_CONNECTION_STRING: looks like a secret; secrets never go into the "
                "environment here"
            ),
        ),
        (
            stack(weights=store(url="az://models", account="acme", credentials=IDENTITY), cluster=on("aks")),
            "weights.credentials: pods of platform aks need identity, such as 00000000-0000-0000-0000-000000000000",
        ),
        (
            stack(weights=store(credentials=IDENTITY), cluster=on("gke")),
            f"weights.credentials: the identity of gke's pods is for gs://, not for s3://; {OTHER}",
        ),
        (
            stack(weights=store(credentials=IDENTITY, endpoint="https://minio.example.com"), cluster=on("eks")),
            "weights.credentials: the identity of eks's pods is for s3://, not for https://minio.example.com; " + OTHER,
        ),
        (
            stack(weights=store(credentials={**IDENTITY, "identity": "llm"}), cluster=on("eks")),
            (
                'weights.credentials.identity: "llm" is none of eks; write one such as '
                "arn:aws:iam::111122223333:role/llm-weights"
            ),
        ),
        (
            stack(weights=store(endpoint="http://169.254.169.254")),
            (
                'weights.endpoint: "http://169.254.169.254" leads to 169.254.169.254, the instance metadata of AWS, '
                "Azure, Google Cloud, Oracle Cloud, OpenStack and others; no store is there, and nothing in the stack "
                "may reach it"
            ),
        ),
        (
            serving(weights=store(), args=["--load-format=auto"]),
            "models.m.args: --load-format is decided by weights.kind objectStore",
        ),
        (
            stack(
                weights=store(),
                gpuPools={"cpu": {"gpu": "none", "nodes": 1, "cpusPerNode": 16, "memoryGibPerNode": 64}},
                models={"m": {"model": "Qwen/Qwen3-0.6B", "pool": "cpu"}},
            ),
            (
                "models.m.weights: kind objectStore is for servers with GPUs: vLLM's image for CPUs has no client "
                "of stores; use another kind"
            ),
        ),
        (
            serving(weights={"kind": "nodeCache", "storageClass": "x", "from": {"kind": "image", "reference": IMAGE}})
            | {"cluster": {**on("generic"), "kubernetes": "1.34"}},
            (
                "models.m.weights.from: kind image needs Kubernetes 1.36, where image volumes are stable, and "
                "cluster.kubernetes is 1.34; use kind: existingClaim or sharedClaim"
            ),
        ),
        (
            stack(
                weights={"kind": "nodeCache", "storageClass": "nvme", "from": {"storageClass": "nfs", "prewarm": True}}
            ),
            "weights: from.prewarm must be left out: pods read the copy, which is in the page cache when made",
        ),
        (
            stack(weights=store(), models={"m": {**MODEL, "env": {"AWS_EC2_METADATA_DISABLED": "false"}}}),
            "models.m.env.AWS_EC2_METADATA_DISABLED: is decided by the plan",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(raw, said):
    """One sentence each, with its path."""
    assert refusals(raw) == [said]


# --- one model elsewhere ----------------------------------------------------------------------------------------------

PLACES = st.sampled_from(
    [
        {"storageClass": "other"},
        {"storageClass": "a"},
        {"storageClass": "nfs", "hub": {"endpoint": "https://hf-mirror.com"}},
        {"kind": "existingClaim", "claimName": "disk"},
        {"kind": "image", "reference": IMAGE},
        {"kind": "nodeCache", "storageClass": "nvme", "from": {"storageClass": "nfs"}},
        store(),
    ]
)


@given(others=st.lists(PLACES, max_size=3))
@properties(40)
def test_other_places_for_other_models_change_no_claim(others):
    """The claim of the stack's own weights keeps its name, and no two claims have one."""
    models = {f"x{number}": {**MODEL, "weights": weights} for number, weights in enumerate(others)}
    plan = planned(
        stack(
            weights={"storageClass": "nfs"},
            models={"m": MODEL, **models},
            gpuPools={"a10": {"gpu": "nvidia-a10", "nodes": 8, "gpusPerNode": 2}},
        )
    )
    usual = next(server for server in plan.servers if server.model_name == "m").checkpoint
    assert usual.source.volume == ClaimVolume(f"weights-qwen--qwen3-14b-{COMMIT[:8]}", "/models")
    own = [one.place for one in plan.weights.checkpoints if isinstance(one.place, OwnClaim)]
    assert len({place.name for place in own}) == len(own)
    assert len({one.name for one in plan.weights.checkpoints}) == len(plan.weights.checkpoints)


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("http://minio.storage.svc:9000", 9000),
        ("https://s3.corp:8443", 8443),
        ("http://s3.example.com", 80),
        ("https://oss-cn-hangzhou.aliyuncs.com", 443),
    ],
)
def test_a_server_may_connect_to_the_port_of_its_endpoint_alone(endpoint: str, port: int):
    """A store sends nobody on to another host, as hubs do."""
    rules = source(store(endpoint=endpoint)).egress
    assert {rule.ports for rule in rules if rule.blocks} == {(port,)}


def test_containers_of_two_accounts_are_two_places():
    """They may have one name."""
    of = {"kind": "objectStore", "url": "az://models/published", "credentials": {"kind": "existingSecret", "name": "a"}}
    models = {"m": MODEL, "n": MODEL | {"weights": {**of, "account": "second"}}}
    first, second = planned(stack(weights={**of, "account": "first"}, models=models)).weights.checkpoints
    assert (first.place, first.name == second.name) == (second.place, False)


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("HTTPS_PROXY", "cluster.proxy"),
        ("no_proxy", "cluster.proxy"),
        ("SSL_CERT_FILE", "cluster.caBundle"),
        ("AWS_CA_BUNDLE", "cluster.caBundle"),
        ("AWS_REGION", "weights.region"),
        ("AWS_ENDPOINT_URL", "weights.endpoint"),
        ("AWS_SECRET_ACCESS_KEY", "weights.credentials"),
        ("RUNAI_STREAMER_S3_UNSIGNED", "weights.credentials"),
        ("RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING", "weights.addressing"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "weights.account"),
        ("GOOGLE_CLOUD_PROJECT", "the plan"),
    ],
)
def test_a_variable_that_leads_a_server_to_its_store_has_a_setting(name: str, setting: str):
    """It is named; a server that mounts its weights may be told what it likes."""
    models = {"m": MODEL | {"env": {name: "x"}}}
    fix = "" if setting == "the plan" else "; set that"
    assert refusals(stack(weights=store(), models=models)) == [f"models.m.env.{name}: is decided by {setting}{fix}"]
    secret = {"AWS_SECRET_ACCESS_KEY"}
    assert bool(refusals(stack(models=models))) == (name in secret)
