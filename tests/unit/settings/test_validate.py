"""`settings.validate`: what is well formed, the exact words for what is not, and everything at once."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from settings import validate
from settings.problems import MOST_KNOWN
from settings.schema import ExistingNodes, ReplicaSettings, StackSettings
from tests.unit.small_stack import A10, MODEL, checked, properties, refusals, serving, stack, stack_file

PROD = stack_file("prod")
NAN, INF = float("nan"), float("inf")
WEIGHTS_KEYS = (
    "accessMode",
    "downloadMemoryGib",
    "downloadMibPerS",
    "env",
    "hub",
    "kind",
    "prewarm",
    "readMibPerS",
    "storageClass",
    "usdPerGibMonth",
)
MIRROR = "unknown key: a registry that has copies of all images is mirror"
KIND = "{0} is a kind: write kind: {0}, and beside it what that has"
OF_A_SHARED_CLAIM = "belongs to kind sharedClaim; leave it out, or use kind: sharedClaim"
TAINT_KEY = "key of the taint, e.g. dedicated"
SECTIONS = sorted(field.alias or name for name, field in StackSettings.model_fields.items())


def without(values: dict[str, Any]) -> dict[str, Any]:
    """The values less those marked to be left out."""
    return {key: value for key, value in values.items() if value != "leave out"}


def pool(**changes: Any) -> dict[str, Any]:
    """The small stack with its one pool changed."""
    return serving(without({**A10, **changes}))


def gateway(**changes: Any) -> dict[str, Any]:
    """The small stack with another gateway."""
    return stack(gateway={"existingSecret": "llm-keys", **changes})


def expose(**values: Any) -> dict[str, Any]:
    """The small stack with an endpoint on a host of its own."""
    return gateway(host="llm.example.com", expose=values)


def redis(**values: Any) -> dict[str, Any]:
    """The small stack with somebody else's Redis."""
    return gateway(redis={"kind": "existing", **values})


def cluster(**changes: Any) -> dict[str, Any]:
    """The small stack on another cluster."""
    return stack(cluster=without({"context": "test", "identifier": "test-1", **changes}))


def weights(**changes: Any) -> dict[str, Any]:
    """The small stack with other weights."""
    return stack(weights={"storageClass": "nfs", **changes})


def existing_claim(**changes: Any) -> dict[str, Any]:
    """The small stack with weights on a claim that exists."""
    return stack(weights={"kind": "existingClaim", "claimName": "disk", **changes})


def canary(**changes: Any) -> dict[str, Any]:
    """The small stack with a canary of fewer sequences."""
    return serving(canary=without({"weight": 10, "maxNumSeqs": 8, **changes}))


def bought(**how: Any) -> dict[str, Any]:
    """A pool of nodes that Karpenter, or GKE, buys."""
    types = "machineTypes" if how.get("kind") == "computeClass" else "instanceTypes"
    return pool(provisioning={"kind": "karpenter", types: ["g5.xlarge"], **how})


def existing(*names: Any) -> dict[str, Any]:
    """The small stack on named nodes."""
    return pool(provisioning={"kind": "existing", "nodeNames": [*names]})


def labelled(labels: dict[str, Any]) -> dict[str, Any]:
    """The small stack on nodes with further labels."""
    return pool(provisioning={"kind": "labelled", "labels": labels})


def off_peak(start: str, end: str = "1 1 1 1 1") -> dict[str, Any]:
    """The small stack with hours off."""
    return serving(scaling={"offPeak": {"start": start, "end": end}})


def problems(raw: dict[str, Any]) -> list[str]:
    """What the settings alone say."""
    return [str(problem) for problem in validate(raw)[1]]


# --- what is well formed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dev", "local", "prod"])
def test_the_stacks_of_the_repository_are_well_formed(name):
    """No problem in the stack files of this repository."""
    assert problems(stack_file(name)) == []


def test_values_arrive_typed_and_defaults_are_filled_in():
    """What is written becomes typed values; what is left out has its default."""
    settings = checked(PROD)
    assert settings.models["qwen3-14b"].replicas == ReplicaSettings(min=1, max=4)
    assert settings.models["deepseek-r1"].replicas == ReplicaSettings(min=1, max=1)
    assert settings.gpu_pools["a10"].provisioning == ExistingNodes.model_validate(
        {"kind": "existing", "nodeNames": ["gpu-1", "gpu-2", "gpu-3", "gpu-4"]}
    )
    assert settings.cluster.model_dump() == {
        "context": "prod-gpu",
        "identifier": "prod-gpu-1",
        "platform": "generic",
        "kubernetes": "1.36",
        "dns_addresses": [],
        "namespace": "llm-serving",
        "take_over": False,
        "proxy": None,
        "ca_bundle": None,
    }


def test_the_order_of_pools_and_models_is_that_of_their_names():
    """A stack file and the engine, which sorts, must plan the same stack."""
    models = {name: {**MODEL, "pool": "b"} for name in ("z", "a", "m")}
    settings = checked(stack(gpuPools={"b": A10, "a": A10}, models=models))
    assert [*settings.gpu_pools] == ["a", "b"]
    assert [*settings.models] == ["a", "m", "z"]


def test_the_input_is_not_changed():
    """Taking broken parts away happens on a copy."""
    raw = serving(replicas={"min": -1})
    before = deepcopy(raw)
    validate(raw)
    assert raw == before


@pytest.mark.parametrize(
    ("field", "written", "value"),
    [
        ("max_num_seqs", "2", 2),
        ("max_num_seqs", 2.0, 2),
        ("gpu_memory_utilization", "0.5", 0.5),
        ("gpu_memory_utilization", 1, 1.0),
        ("gpu_memory_utilization", 1.0, 1.0),
        ("context_tokens", 1, 1),
        ("context_tokens", 2**27, 2**27),
        ("tokens_per_minute", 2**31 - 1, 2**31 - 1),
        ("expert_parallel", False, False),
    ],
)
def test_numbers_may_be_quoted_or_written_as_others_do(field, written, value):
    """A quoted number is a number, 2.0 is 2, and the ends of a range belong to it."""
    key = to_camel(field)
    assert getattr(checked(serving(**{key: written})).models["m"], field) == value


def test_names_may_be_equal_where_they_mean_different_things():
    """A model may be called like its pool."""
    assert problems(stack(models={"a10": MODEL})) == []


@pytest.mark.parametrize(
    "raw",
    [
        gateway(existingSecret="llm.keys-of-" + "x" * 60),
        gateway(database={"existingSecret": "postgres.production-" + "x" * 60}),
        weights(hub={"tokenSecret": "hub.token-" + "x" * 60}),
        cluster(namespace="n" * 63),
        stack(observability={"namespace": "n" * 63, "release": "r" * 53}),
        expose(kind="gatewayApi", gatewayName="g." + "x" * 60, gatewayNamespace="n" * 63),
        pool(provisioning={"kind": "karpenter", "instanceTypes": ["g5.xlarge"], "nodeClass": "class." + "x" * 60}),
    ],
)
def test_what_exists_may_have_any_name_that_kubernetes_takes(raw):
    """Nothing is derived from the names of Secrets, namespaces, Gateways and node classes of others."""
    assert problems(raw) == []


@pytest.mark.parametrize(
    "labels",
    [
        {"group": ""},
        {"cloud.google.com/gke-nodepool": "GPU_1.a"},
        {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB-MIG-3g.40gb"},
        {"x" * 63: "x" * 63},
    ],
)
def test_nodes_may_be_told_apart_by_any_label(labels):
    """Keys with a domain, empty values, and both as long as they may be."""
    assert problems(labelled(labels)) == []


# --- what is not, and the words for it --------------------------------------------------------------------------------


NAME = r"must match ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_NAME = r"must match ^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
URL = r"must match ^https?://[^\s/]+(/\S*)?$"
PREFIX = r"must match ^[a-z0-9][a-z0-9._-]*(:\d+)?(/[a-z0-9._-]+)*/?$"
TAG = r"must match ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"
REPOSITORY = r"must match ^[a-z0-9][a-z0-9._-]*(:\d+/[a-z0-9._-]+)?(/[a-z0-9._-]+)*$"
LABEL_KEY = (
    r"must match ^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
LABEL_VALUE = r"must match ^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"
EMPTY = "is empty; give a value, or leave the key out"
TEXT = "must be text; put it in quotes"
USER_IN_URL = "holds a password in a URL, which everybody who reads the stack would see; "


@pytest.mark.parametrize(
    ("raw", "path", "message"),
    [
        # unknown keys
        (serving(tensorParalel=2), "models.m.tensorParalel", "unknown key; did you mean 'tensorParallel'?"),
        (serving(tensor_parallel=2), "models.m.tensor_parallel", "unknown key; did you mean 'tensorParallel'?"),
        (serving(replicas={"minn": 1}), "models.m.replicas.minn", "unknown key; did you mean 'min'?"),
        (gateway(exsitingSecret="k"), "gateway.exsitingSecret", "unknown key; did you mean 'existingSecret'?"),
        (stack(clusters={}), "clusters", "unknown key; did you mean 'cluster'?"),
        (weights(diskGib=1), "weights.diskGib", f"unknown key; known: {', '.join(WEIGHTS_KEYS)}"),
        (weights(hub={"endpont": "x"}), "weights.hub.endpont", "unknown key; did you mean 'endpoint'?"),
        (canary(maxNumSeq=8, image="r:v1.2.3"), "models.m.canary.maxNumSeq", "unknown key; did you mean 'maxNumSeqs'?"),
        (
            stack(weights={"kind": "objectStore", "url": "s3://models/Published/"}),
            "weights.url",
            (
                '"s3://models/Published/" is not well formed; it must match '
                "^(s3|gs|az)://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[A-Za-z0-9][A-Za-z0-9._=-]{0,200}){0,20}$; "
                "did you mean 's3://models/Published'?"
            ),
        ),
        # missing keys
        (
            cluster(context="leave out"),
            "cluster.context",
            "is missing: kubeconfig context to deploy to; never the ambient one",
        ),
        (pool(gpusPerNode="leave out"), "gpuPools.a10", "a GPU pool needs gpusPerNode"),
        (
            pool(gpu="none", gpusPerNode="leave out"),
            "gpuPools.a10",
            "a CPU pool needs cpusPerNode and memoryGibPerNode",
        ),
        (pool(gpu="none"), "gpuPools.a10", "gpusPerNode must be left out when gpu is none"),
        (stack(models={}), "models", "must have at least 1 entry"),
        # empty ones
        (stack(models=None), "models", EMPTY),
        (stack(models={"m": None}), "models.m", EMPTY),
        (stack(gateway=None), "gateway", EMPTY),
        (serving(replicas=None), "models.m.replicas", EMPTY),
        (serving(args=None), "models.m.args", EMPTY),
        (pool(gpu=None), "gpuPools.a10.gpu", EMPTY),
        # other kinds of value
        (stack(gpuPools=[]), "gpuPools", "a list must be a mapping of keys"),
        (stack(weights=3), "weights", "3 must be a mapping of keys"),
        (
            weights(kind="existingClam"),
            "weights",
            (
                "kind 'existingClam' is not one of sharedClaim, existingClaim, image, objectStore, nodeCache; did you "
                "mean 'existingClaim'?"
            ),
        ),
        (existing_claim(claimNam="disk"), "weights.claimNam", "unknown key; did you mean 'claimName'?"),
        (serving(args="--seed=1"), "models.m.args", '"--seed=1" must be a list'),
        (serving(args=[1]), "models.m.args[0]", f"1 {TEXT}"),
        (serving(env={"X": 3}), "models.m.env.X", f"3 {TEXT}"),
        (serving(pool=5), "models.m.pool", f"5 {TEXT}"),
        (stack(models={5: MODEL}), "models.5", f"5 {TEXT}"),
        (stack(**{"": 1}), '""', f"unknown key; known: {', '.join(SECTIONS[:MOST_KNOWN])}, …"),
        (serving(tensorParallel="two"), "models.m.tensorParallel", '"two" must be a whole number'),
        (serving(tensorParallel=2.5), "models.m.tensorParallel", "2.5 must be a whole number"),
        (serving(tensorParallel=[2]), "models.m.tensorParallel", "a list must be a whole number"),
        (serving(tensorParallel=True), "models.m.tensorParallel", "true must be a number"),
        (serving(gpuMemoryUtilization="92%"), "models.m.gpuMemoryUtilization", '"92%" must be a number'),
        (serving(gpuMemoryUtilization=NAN), "models.m.gpuMemoryUtilization", "NaN must be a finite number"),
        (pool(pricePerNodeHourUsd=INF), "gpuPools.a10.pricePerNodeHourUsd", "Infinity must be a finite number"),
        (serving(expertParallel="perhaps"), "models.m.expertParallel", '"perhaps" must be true or false'),
        (serving(maxOutputTokens=10**400), "models.m.maxOutputTokens", "is too large a number"),
        (serving(replicas={"max": 2**31}), "models.m.replicas.max", "is too large a number"),
        (serving(maxOutputTokens="9" * 400), "models.m.maxOutputTokens", "is too large a number"),
        (cluster(kubernetes=1.36), "cluster.kubernetes", f"1.36 {TEXT}"),
        # ranges
        (serving(replicas={"min": -1}), "models.m.replicas.min", "-1 must be at least 0"),
        (serving(replicas={"min": 3, "max": 2}), "models.m.replicas", "min (3) must not exceed max (2)"),
        (serving(replicas={"max": 0}), "models.m.replicas.max", "0 must be at least 1"),
        (serving(contextTokens=0), "models.m.contextTokens", "0 must be at least 1"),
        (serving(gpuMemoryUtilization=92), "models.m.gpuMemoryUtilization", "92 must be at most 1"),
        (serving(gpuMemoryUtilization=0), "models.m.gpuMemoryUtilization", "0 must be greater than 0"),
        (pool(nodes=0), "gpuPools.a10.nodes", "0 must be at least 1"),
        (
            pool(tolerations=[{"key": "dedicated", "operator": "Exists", "value": "ml"}]),
            "gpuPools.a10.tolerations[0]",
            'value must be left out with operator Exists; leave operator out to ask for "ml"',
        ),
        (pool(tolerations=[{"key": "x"}] * 51), "gpuPools.a10.tolerations", "has 51 entries; at most 50"),
        (stack(gateway={"memoryGib": 257}), "gateway.memoryGib", "257 must be at most 256"),
        (stack(gateway={"memoryGib": True}), "gateway.memoryGib", "true must be a number"),
        (stack(gateway={"restartAfterRequests": 999}), "gateway.restartAfterRequests", "999 must be at least 1000"),
        (stack(gateway={"restartAfterRequests": 2**31}), "gateway.restartAfterRequests", "is too large a number"),
        (pool(tolerations=[{"value": "ml"}]), "gpuPools.a10.tolerations[0].key", f"is missing: {TAINT_KEY}"),
        (
            pool(tolerations=[{"key": "x", "effects": "NoExecute"}]),
            "gpuPools.a10.tolerations[0].effects",
            "unknown key; did you mean 'effect'?",
        ),
        (
            pool(tolerations=[{"key": "dedicated"}, {"key": "x", "operator": "In"}]),
            "gpuPools.a10.tolerations[1].operator",
            '"In" is not one of Equal, Exists',
        ),
        (
            pool(tolerations=[{"key": "x", "effect": "NoExecutes"}]),
            "gpuPools.a10.tolerations[0].effect",
            "\"NoExecutes\" is not one of NoSchedule, PreferNoSchedule, NoExecute; did you mean 'NoExecute'?",
        ),
        (canary(weight=0), "models.m.canary.weight", "0 must be at least 1"),
        (canary(weight=101), "models.m.canary.weight", "101 must be at most 100"),
        (redis(host="r", port=70000), "gateway.redis.port", "70000 must be at most 65535"),
        (serving(scaling={"scaleUpAfterS": 3601}), "models.m.scaling.scaleUpAfterS", "3601 must be at most 3600"),
        (serving(scaling={"scaleUpAfterS": -1}), "models.m.scaling.scaleUpAfterS", "-1 must be at least 0"),
        (serving(scaling={"scaleUpPeriodS": 1801}), "models.m.scaling.scaleUpPeriodS", "1801 must be at most 1800"),
        (serving(scaling={"scaleDownAfterS": 7200}), "models.m.scaling.scaleDownAfterS", "7200 must be at most 3600"),
        (serving(scaling={"scaleDownAfterS": 0}), "models.m.scaling.scaleDownAfterS", "0 must be at least 1"),
        # words
        (
            gateway(database={"existingSecret": "pg", "whenAway": "refuze"}),
            "gateway.database.whenAway",
            "\"refuze\" is not one of refuse, admitEveryone; did you mean 'refuse'?",
        ),
        (
            gateway(database={"existingSecret": "pg", "whenAway": "x"}),
            "gateway.database.whenAway",
            '"x" is not one of refuse, admitEveryone',
        ),
        (
            stack(images={"overrides": {"vllmm": {"version": "v0.33.0"}}}),
            "images.overrides.vllmm",
            (
                '"vllmm" is not one of vllm, vllm-cpu, vllm-rocm, vllm-router, litellm, redis, postgres, '
                "cloudnative-pg-postgres, open-webui, python; "
                "did you mean 'vllm'?"
            ),
        ),
        # forms
        (cluster(kubernetes="1.4"), "cluster.kubernetes", r'"1.4" is not well formed; it must match ^1\.\d{2}$'),
        (
            cluster(kubernetes="1.29"),
            "cluster.kubernetes",
            '"1.29" is too old: pods that pause before they stop need 1.30',
        ),
        (cluster(context=""), "cluster.context", EMPTY),
        (stack(models={"_M": MODEL}), "models._M", f"\"_M\" is not well formed; it {NAME}; did you mean 'm'?"),
        (
            stack(models={"Qwen2.5-7B-Instruct": MODEL}),
            "models.Qwen2.5-7B-Instruct",
            (
                '"Qwen2.5-7B-Instruct" is no name of an object; write qwen2-5-7b-instruct: '
                "{publicName: Qwen2.5-7B-Instruct, …}, and clients ask for Qwen2.5-7B-Instruct"
            ),
        ),
        (stack(models={"__": MODEL}), "models.__", f'"__" is not well formed; it {NAME}'),
        (
            gateway(host="LLM.corp"),
            "gateway.host",
            f"\"LLM.corp\" is not well formed; it {DNS_NAME}; did you mean 'llm.corp'?",
        ),
        (gateway(host="10.0.0.1"), "gateway.host", '"10.0.0.1" is an address; give a name that leads to it'),
        (gateway(host="llm.corp:8443"), "gateway.host", f'"llm.corp:8443" is not well formed; it {DNS_NAME}'),
        (
            stack(models={"x" * 41: MODEL, "x" * 40: MODEL}),
            f"models.{'x' * 41}",
            f'"{"x" * 41}" must have at most 40 characters',
        ),
        (cluster(namespace="n" * 64), "cluster.namespace", f'"{"n" * 64}" must have at most 63 characters'),
        (
            stack(observability={"release": "r" * 54}),
            "observability.release",
            f'"{"r" * 54}" must have at most 53 characters',
        ),
        (
            serving(revision="main"),
            "models.m.revision",
            (
                '"main" is not well formed; it must match ^[0-9a-f]{40}$; write all 40 digits of a commit, since '
                "branches and tags move"
            ),
        ),
        (weights(hub={"private": True}), "weights.hub", "private needs endpoint: it describes that mirror"),
        (weights(hub={"endpoint": "mirror"}), "weights.hub.endpoint", f'"mirror" is not well formed; it {URL}'),
        (
            weights(hub={"endpoint": "https://mirror:port"}),
            "weights.hub.endpoint",
            "\"https://mirror:port\" is not a URL: Port could not be cast to integer value as 'port'",
        ),
        (
            stack(observability={"prometheusUrl": "http://p:70000"}),
            "observability.prometheusUrl",
            '"http://p:70000" is not a URL: Port out of range 0-65535',
        ),
        (
            stack(observability={"prometheusUrl": "https://me:secret@prom:9090"}),
            "observability.prometheusUrl",
            f"{USER_IN_URL}give an address that needs no login inside the cluster",
        ),
        (
            stack(charts={"keda": {"repository": "https://me:pw@charts.corp"}}),
            "charts.keda.repository",
            f"{USER_IN_URL}Helm logs in by `helm registry login` or its own configuration",
        ),
        (
            stack(charts={"keda": {"chart": "oci://me:pw@reg.corp/keda"}}),
            "charts.keda.chart",
            f"{USER_IN_URL}Helm logs in by `helm registry login` or its own configuration",
        ),
        (
            weights(hub={"endpoint": "https://token@mirror.example.com/hf"}),
            "weights.hub.endpoint",
            (
                f"{USER_IN_URL}the hub's token is the config secret huggingFaceToken, or a Secret in "
                "weights.hub.tokenSecret"
            ),
        ),
        (stack(images={"mirror": "https://r"}), "images.mirror", f'"https://r" is not well formed; it {PREFIX}'),
        (
            stack(images={"overrides": {"vllm": {"repository": "vllm/vllm-openai:v1"}}}),
            "images.overrides.vllm.repository",
            f'"vllm/vllm-openai:v1" is not well formed; it {REPOSITORY}',
        ),
        (
            stack(images={"overrides": {"vllm": {"version": f"v0.33.0@sha256:{'a' * 64}"}}}),
            "images.overrides.vllm.version",
            f'"v0.33.0@sha256:{"a" * 61}… is not well formed; it {TAG}',
        ),
        (
            stack(images={"overrides": {"vllm": {"version": ""}}}),
            "images.overrides.vllm.version",
            f'"" is not well formed; it {TAG}',
        ),
        # kinds
        (
            expose(kind="ingres", className="nginx"),
            "gateway.expose",
            "kind 'ingres' is not one of gatewayApi, ingress, route, none; did you mean 'ingress'?",
        ),
        (expose(className="nginx"), "gateway.expose", "needs a kind: gatewayApi, ingress, route, none"),
        (
            stack(weights={"kind": "objectStore", "url": "s3://m-m", "credentials": {"name": "store"}}),
            "weights.credentials",
            "needs a kind: workloadIdentity, existingSecret, none",
        ),
        (
            cluster(caBundle={"name": "company-ca"}),
            "cluster.caBundle.kind",
            "is missing: what holds them; one of configMap, secret",
        ),
        (
            stack(weights={"kind": "objectStore", "url": "oss://models/x", "credentials": {"kind": "none"}}),
            "weights.url",
            (
                '"oss://models/x" is not well formed; it must match '
                "^(s3|gs|az)://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[A-Za-z0-9][A-Za-z0-9._=-]{0,200}){0,20}$; "
                "write s3://BUCKET/FOLDER, gs://… or az://…, and other stores (MinIO, OSS, OBS) as s3:// with endpoint"
            ),
        ),
        (gateway(expose="ingress"), "gateway.expose", '"ingress" must be a mapping of keys'),
        (gateway(expose={"kind": "ingress", "className": "n"}), "gateway", "expose.kind ingress needs host"),
        (expose(kind="gatewayApi"), "gateway.expose.gatewayName", "is missing: name of the Gateway"),
        (redis(), "gateway.redis.host", "is missing: host name of the Redis"),
        (
            gateway(redis={"kind": "nome"}),
            "gateway.redis",
            "kind 'nome' is not one of bundled, existing, sentinel, none; did you mean 'none'?",
        ),
        (
            gateway(redis={"kind": "none", "host": "r"}),
            "gateway.redis.host",
            "belongs to kind existing; leave it out, or use kind: existing",
        ),
        # weights
        (
            stack(weights={"prewarm": True}),
            "weights.storageClass",
            (
                "is missing: storage class that offers accessMode, e.g. nfs-storage; for weights that are on a "
                "claim already, use kind: existingClaim with claimName"
            ),
        ),
        (
            weights(claimName="disk"),
            "weights.claimName",
            "belongs to kind existingClaim; leave it out, or use kind: existingClaim",
        ),
        (
            stack(weights={"kind": "existingClaim"}),
            "weights.claimName",
            (
                "is missing: existing PersistentVolumeClaim with the published checkpoints; to have them downloaded, "
                "use kind: sharedClaim with storageClass"
            ),
        ),
        (
            existing_claim(storageClass="nfs"),
            "weights.storageClass",
            OF_A_SHARED_CLAIM.replace(";", " or nodeCache;", 1),
        ),
        (existing_claim(hub={"tokenSecret": "hub"}), "weights.hub", OF_A_SHARED_CLAIM),
        (
            serving(scaling={"minReplicas": 1}),
            "models.m.scaling.minReplicas",
            "unknown key: the fewest and the most are replicas: {min, max}",
        ),
        (stack(images={"registry": "r"}), "images.registry", MIRROR),
        (existing_claim(objectStore={}), "weights.objectStore", "unknown key; " + KIND.format("objectStore")),
        (existing_claim(existingClaim="disk"), "weights.existingClaim", "unknown key; " + KIND.format("existingClaim")),
        (
            cluster(caBundle={"kind": "configMap", "name": "company-ca", "configMap": "x"}),
            "cluster.caBundle.configMap",
            "unknown key; " + KIND.format("configMap"),
        ),
        (existing_claim(downloadMibPerS=100), "weights.downloadMibPerS", OF_A_SHARED_CLAIM),
        (existing_claim(downloadMemoryGib=None), "weights.downloadMemoryGib", OF_A_SHARED_CLAIM),
        (
            pool(provisioning={"kind": "labelled", "machineTypes": ["g2-standard-8"]}),
            "gpuPools.a10.provisioning.machineTypes",
            "belongs to kind computeClass; leave it out, or use kind: computeClass",
        ),
        (existing_claim(claimName="Disk_1"), "weights.claimName", f'"Disk_1" is not well formed; it {DNS_NAME}'),
        # labels and annotations
        (
            labelled({"node group": "a"}),
            "gpuPools.a10.provisioning.labels.node group",
            f'"node group" is not well formed; it {LABEL_KEY}',
        ),
        (
            labelled({"example.com/group": "x" * 64}),
            "gpuPools.a10.provisioning.labels.example.com/group",
            f'"{"x" * 64}" is not well formed; it {LABEL_VALUE}',
        ),
        (labelled({"group": 1}), "gpuPools.a10.provisioning.labels.group", f"1 {TEXT}"),
        (
            expose(kind="ingress", className="n", annotations={"a/b/c": "x"}),
            "gateway.expose.annotations.a/b/c",
            f'"a/b/c" is not well formed; it {LABEL_KEY}',
        ),
        # nodes
        (existing("a", "b"), "gpuPools.a10", "provisioning.nodeNames names 2 nodes, nodes says 4"),
        (existing("a", "a", "b", "c"), "gpuPools.a10.provisioning.nodeNames", "names a node twice"),
        (existing(), "gpuPools.a10.provisioning.nodeNames", "must have at least 1 entry"),
        (existing("a", 1, "b", "c"), "gpuPools.a10.provisioning.nodeNames[1]", f"1 {TEXT}"),
        (
            pool(provisioning={"kind": "karpenter", "instanceTypes": ["g5.xlarge"], "capacityTypes": ["spott"]}),
            "gpuPools.a10.provisioning.capacityTypes[0]",
            "\"spott\" is not one of on-demand, reserved, spot; did you mean 'spot'?",
        ),
        (
            pool(provisioning={"kind": "karpenter", "instanceTypes": ["g5.xlarge"], "amiAlias": "ubuntu@v1"}),
            "gpuPools.a10.provisioning.amiAlias",
            r'"ubuntu@v1" is not well formed; it must match ^(al2023|al2|bottlerocket)@\S+$',
        ),
        (
            pool(provisioning={"kind": "karpenter", "instanceTypes": ["g5.xlarge"], "diskGib": 20}),
            "gpuPools.a10.provisioning.diskGib",
            "20 must be at least 32",
        ),
        (
            pool(
                provisioning={
                    "kind": "karpenter",
                    "instanceTypes": ["g5.xlarge"],
                    "nodeClass": "shared",
                    "amiAlias": "al2023@v20261101",
                    "diskGib": 500,
                }
            ),
            "gpuPools.a10.provisioning",
            'amiAlias and diskGib must be left out: nodeClass "shared" says it already',
        ),
        (
            pool(
                provisioning={
                    "kind": "karpenter",
                    "instanceTypes": ["g5.xlarge"],
                    "role": "arn:aws:iam::123456789012:role/team/gpu-nodes",
                }
            ),
            "gpuPools.a10.provisioning.role",
            (
                '"arn:aws:iam::123456789012:role/team/gpu-nodes" is not the name of an IAM role; '
                "did you mean 'gpu-nodes'?"
            ),
        ),
        (
            pool(provisioning={"kind": "karpenter", "instanceTypes": ["g5.xlarge"], "role": "gpu nodes"}),
            "gpuPools.a10.provisioning.role",
            '"gpu nodes" is not the name of an IAM role',
        ),
        (
            bought(capacityTypes=["reserved", "spot"]),
            "gpuPools.a10.provisioning",
            "capacityTypes reserved needs reservation: {ids: [cr-...]}, or {tags: {...}}",
        ),
        (
            bought(reservation={"ids": ["cr-1a"]}),
            "gpuPools.a10.provisioning",
            "reservation is taken by capacityTypes: [reserved, on-demand] only",
        ),
        (
            bought(capacityTypes=["reserved"], reservation={}),
            "gpuPools.a10.provisioning.reservation",
            "ids or tags must say which",
        ),
        (
            bought(capacityTypes=["reserved"], nodeClass="shared", reservation={"ids": ["cr-1a"]}),
            "gpuPools.a10.provisioning",
            'reservation must be left out: nodeClass "shared" says it already',
        ),
        (
            bought(capacityTypes=["spot", "spot"]),
            "gpuPools.a10.provisioning.capacityTypes",
            'names "spot" twice',
        ),
        (
            bought(instanceTypes=[f"g{n}.xlarge" for n in range(51)], capacityTypes=["spot", "on-demand"]),
            "gpuPools.a10.provisioning",
            (
                "instanceTypes × capacityTypes are 102 choices in order, of which there may be 100; name fewer, or use "
                "order: price"
            ),
        ),
        (
            bought(kind="computeClass", capacityTypes=["spot", "reserved"]),
            "gpuPools.a10.provisioning",
            "reservation: NAME and capacityTypes: [reserved, ...] go together: the one names what the other takes",
        ),
        (
            bought(kind="computeClass", reservation="mine"),
            "gpuPools.a10.provisioning",
            "reservation: NAME and capacityTypes: [reserved, ...] go together: the one names what the other takes",
        ),
        (
            bought(kind="computeClass", spot=True),
            "gpuPools.a10.provisioning.spot",
            "unknown key; known: capacityTypes, kind, machineTypes, reservation",
        ),
        # canary and off-peak hours
        (
            canary(maxNumSeqs="leave out", args=[]),
            "models.m.canary",
            "changes nothing: give model, revision, image, contextTokens, maxNumSeqs or args",
        ),
        (
            serving(replicas={"min": 0}, scaling={"offPeak": {"start": "0 22 * * *", "end": "0 8 * * *"}}),
            "models.m",
            "scaling.offPeak needs replicas.min >= 1: the floor that holds outside off-peak hours",
        ),
        (off_peak("0 8 * * *", "0 8 * * *"), "models.m.scaling.offPeak", 'start and end are both "0 8 * * *"'),
        (
            off_peak("0 22"),
            "models.m.scaling.offPeak.start",
            r'"0 22" is not well formed; it must match ^\S+( \S+){4}$',
        ),
        (
            off_peak("0 24 * * *"),
            "models.m.scaling.offPeak.start",
            '"0 24 * * *" is not a cron expression: hour 24 is not within 0-23',
        ),
        (
            off_peak("0 22-6 * * *"),
            "models.m.scaling.offPeak.start",
            '"0 22-6 * * *" is not a cron expression: hour 22-6 ends before it begins',
        ),
        (
            off_peak("0 22 * * SAT-MON"),
            "models.m.scaling.offPeak.start",
            '"0 22 * * SAT-MON" is not a cron expression: weekday SAT-MON ends before it begins',
        ),
        (
            off_peak("0 22 * * *", "0 8 * * mo"),
            "models.m.scaling.offPeak.end",
            '"0 8 * * mo" is not a cron expression: weekday mo is not within 0-6',
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_path(raw, path, message):
    """One problem: its path as written, what is wrong, and the nearest known word where there is one."""
    assert problems(raw) == [f"{path}: {message}"]


def test_all_that_is_missing_is_said_at_once():
    """An empty configuration names every section it needs, with its meaning."""
    assert problems({}) == [
        "cluster: is missing: which cluster",
        "gpuPools: is missing: groups of nodes, by name",
        "weights: is missing: how model weights reach the pods; a sharedClaim unless kind says otherwise",
        (
            "models: is missing: what is served, by the name of its objects, which clients ask for too where it has no "
            "publicName"
        ),
    ]


def test_a_misspelt_required_key_is_both_missing_and_unknown():
    """The reader sees what is needed, and which key was probably meant to be it."""
    assert problems(pool(provisioning={"kind": "karpenter", "instanceTypez": ["g5.xlarge"]})) == [
        "gpuPools.a10.provisioning.instanceTypes: is missing: EC2 instance types, in order of preference",
        "gpuPools.a10.provisioning.instanceTypez: unknown key; did you mean 'instanceTypes'?",
    ]


def test_long_values_are_cut():
    """A refusal shows the start of a long value, not all of it."""
    assert problems(serving(revision="x" * 200)) == [
        (
            f'models.m.revision: "{"x" * 76}… is not well formed; it must match ^[0-9a-f]{{40}}$;'
            " write all 40 digits of a commit, since branches and tags move"
        )
    ]


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ("Asia/Shanghai", []),
        ("Asia/Shangai", ["; did you mean 'Asia/Shanghai'?"]),
        ("CST8", [""]),
    ],
)
def test_time_zones_are_those_of_the_database(monkeypatch, zone, said):
    """A misspelt zone is refused with the nearest one, wherever the machine has its database."""
    monkeypatch.setattr("settings.schema.available_timezones", lambda: {"Asia/Shanghai", "UTC"})
    raw = off_peak("0 22 * * *")
    raw["models"]["m"]["scaling"]["offPeak"]["timezone"] = zone
    path = "models.m.scaling.offPeak.timezone"
    assert problems(raw) == [f'{path}: "{zone}" is not an IANA time zone{hint}' for hint in said]


def test_a_machine_without_a_time_zone_database_takes_every_zone(monkeypatch):
    """Where no zone is known, none can be refused."""
    monkeypatch.setattr("settings.schema.available_timezones", set)
    raw = off_peak("0 22 * * *")
    raw["models"]["m"]["scaling"]["offPeak"]["timezone"] = "Mars/Base"
    assert problems(raw) == []


@pytest.mark.parametrize(
    "cron",
    [
        "0 22 * * *",
        "*/15 8-18 1,15 1-6 1-5",
        "59 23 31 12 6",
        "0 8 * JAN MON-FRI",
        "0-30/10 0 * * SUN",
        "0 0 1 feb-Mar 0-sat",
    ],
)
def test_schedules_that_cron_takes_are_taken(cron):
    """Stars, steps, ranges, lists and names of months and weekdays are well formed."""
    assert problems(off_peak(cron)) == []


@pytest.mark.parametrize(
    "cron",
    ["60 0 * * *", "0 0 0 * *", "0 0 * 13 *", "0 0 * * 7", "a b c d e", "*/0 * * * *", "0 8 * * abc", "0 8 * mon *"],
)
def test_schedules_that_cron_refuses_are_refused(cron):
    """Numbers outside of a field's range and words that are none are refused here, not in the cluster."""
    found = problems(off_peak(cron))
    assert [text.partition(" is not a cron")[0] for text in found] == [f'models.m.scaling.offPeak.start: "{cron}"']


# --- everything at once -----------------------------------------------------------------------------------------------


def test_a_misspelt_key_and_a_model_that_does_not_fit_are_reported_together():
    """What can still be understood is planned without the broken part, and all problems are said."""
    raw = serving(tensorParallel=1)
    raw["gateway"]["replicaz"] = 3
    needs = "needs 27.5 GiB of weights per GPU, pool 'a10' gives 20.2 GiB (22.0 × 0.92)"
    assert refusals(raw) == [
        "gateway.replicaz: unknown key; did you mean 'replicas'?",
        f"models.m: {needs}; use tensorParallel: 2, or Qwen/Qwen3-14B-AWQ",
    ]


def test_a_broken_model_does_not_hide_what_is_wrong_with_another():
    """One model is malformed, the other does not fit: both are said, and nothing about what refers to the first."""
    models = {
        "broken": {**MODEL, "replicas": {"min": -1}},
        "large": {**MODEL, "tensorParallel": 1, "fallbacks": ["broken"]},
    }
    assert [text.partition(":")[0] for text in refusals(stack(models=models))] == [
        "models.broken.replicas.min",
        "models.large",
    ]


def test_a_broken_pool_takes_its_models_along():
    """That the pool of a model is gone is our doing, and not said to the user."""
    raw = stack(
        gpuPools={"a10": A10, "l4": {"gpu": "nvidia-l4"}},
        models={"m": {**MODEL, "fallbacks": ["n"]}, "n": {"model": "Qwen/Qwen3-8B", "pool": "l4"}},
    )
    assert refusals(raw) == [
        "gpuPools.l4.nodes: is missing: how many nodes the pool has, or may grow to",
        "gpuPools.l4: a GPU pool needs gpusPerNode",
    ]


def test_the_only_model_is_planned_without_its_broken_value():
    """The one problem of settings, and the one of planning that does not follow from it."""
    raw = serving(tensorParallel=1, replicas={"min": -1})
    assert [text.partition(":")[0] for text in refusals(raw)] == ["models.m.replicas.min", "models.m"]


# Independent mistakes: where, what is written there, and what is said.
MISTAKES: list[tuple[tuple[str, ...], Any, str]] = [
    (("cluster", "platform"), "my cloud", '"my cloud" is not well formed; it must match ^\\S{1,40}$'),
    (("cluster", "namespac"), "x", "unknown key; did you mean 'namespace'?"),
    (("gpuPools", "a10", "nodes"), 0, "0 must be at least 1"),
    (("gpuPools", "h200", "gpusPerNode"), "eight", '"eight" must be a whole number'),
    (("weights", "readMibPerS"), -5, "-5 must be at least 1"),
    (("models", "qwen3-14b", "replicas", "min"), -1, "-1 must be at least 0"),
    (("models", "qwen3-14b", "contextTokns"), 1, "unknown key; did you mean 'contextTokens'?"),
    (("models", "deepseek-r1", "pool"), 7, "7 must be text; put it in quotes"),
    (("models", "qwen3-8b-cpu", "args"), {}, "a mapping must be a list"),
    (("gateway", "replicas"), 0, "0 must be at least 1"),
    (("gateway", "host"), "UPPER", ""),
    (("observability", "alerts"), [], "a list must be a mapping of keys"),
    (("images",), {"requireDigest": True}, "unknown key; did you mean 'requireDigests'?"),
]


@given(st.sets(st.integers(0, len(MISTAKES) - 1), min_size=1))
@properties(80)
def test_independent_mistakes_are_all_reported_at_once(chosen):
    """As many problems as mistakes, each at its own place, whatever else is wrong."""
    raw, expected = deepcopy(PROD), []
    for path, value, said in (MISTAKES[index] for index in sorted(chosen)):
        holder = raw
        for step in path[:-1]:
            holder = holder.setdefault(step, {})
        holder[path[-1]] = value
        where = ".".join((*path, *value) if path == ("images",) else path)
        expected.append(f"{where}: {said}")
    found = problems(raw)
    assert len(found) == len(chosen)
    assert {text for text in found if "UPPER" not in text} == {text for text in expected if "gateway.host" not in text}


# --- whatever is written ----------------------------------------------------------------------------------------------

WORDS = sorted(
    {key for section in PROD.values() if isinstance(section, dict) for key in section}
    | {field.alias or name for name, field in StackSettings.model_fields.items()}
    | {"kind", "min", "max", "gpu", "nodes", "pool", "model", "m", "offPeak", "vllm", "keda", "nodeNames", "weight"}
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=0).map(lambda exponent: 10 ** (exponent % 500))
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["existing", "karpenter", "none", "ingress", "a10", "nvidia-a10", "Qwen/Qwen3-14B"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path inside a configuration."""
    inside: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inside = [*value.items()]
    elif isinstance(value, list):
        inside = [*enumerate(value)]
    return [path] * bool(path) + [place for key, item in inside for place in places(item, (*path, key))]


@given(st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), VALUES, max_size=6))
@properties(120)
def test_anything_at_all_is_answered_with_problems(raw):
    """No input raises; what is no configuration gets problems, each with a path and a message."""
    _, found = validate(raw)
    assert [problem for problem in found if not (problem.path and problem.message)] == []
    assert found != []


@given(st.lists(st.tuples(st.sampled_from(places(PROD)), VALUES), min_size=1, max_size=3))
@properties(120)
def test_any_value_at_any_place_is_planned_or_refused_in_words(changes):
    """A good configuration with values exchanged is planned, or refused with paths; never a traceback."""
    raw = deepcopy(PROD)
    for path, value in changes:
        holder: Any = raw
        for step in path[:-1]:
            holder = holder.get(step, {}) if isinstance(holder, dict) else {}
        if isinstance(holder, dict):
            holder[path[-1]] = value
    said = refusals(raw)
    assert [text for text in said if not all(text.partition(": ")[::2])] == []


def sections(settings: BaseModel, raw: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str]]:
    """(path, key) of every key a configuration could have in the sections it has as mappings."""
    found = []
    for name, field in type(settings).model_fields.items():
        key, value = field.alias or name, getattr(settings, name)
        found.append((path, key))
        if isinstance(value, BaseModel) and isinstance(raw.get(key), dict):
            found += sections(value, raw[key], (*path, key))
        elif isinstance(value, dict):
            for inner, item in value.items():
                found += sections(item, raw[key][inner], (*path, key, inner)) if isinstance(item, BaseModel) else []
    return found


@given(st.sampled_from(sections(checked(PROD), PROD)), st.integers(min_value=0))
@properties(150)
def test_one_misspelt_key_is_one_problem_with_the_nearest_match(place, position):
    """A known key with a letter doubled, anywhere in a good configuration, is answered with the key that was meant."""
    path, key = place
    at = position % len(key)
    raw, typo = deepcopy(PROD), key[:at] + key[at] + key[at:]
    holder = raw
    for step in path:
        holder = holder[step]
    holder[typo] = 1
    assert problems(raw) == [f"{'.'.join((*path, typo))}: unknown key; did you mean '{key}'?"]
