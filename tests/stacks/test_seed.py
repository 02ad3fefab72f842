"""Every row of the guide this product started from, found again in what the prod stack declares.

The guide's figures stand here as its author wrote them; where it was wrong, the corrected value stands with the reason.
That the objects do on a cluster what the guide wants of them is not proved here.
"""

import json
from typing import Any

import pytest
import yaml

from tests.harness import (
    container_of,
    environment,
    gateway_config,
    rendered,
    walk,
)


@pytest.fixture(scope="module")
def prod():
    """The prod stack."""
    return rendered("prod")


@pytest.fixture(scope="module")
def server(prod) -> Any:
    """Deployment of the guide's model, Qwen3-14B."""
    return prod.object("Deployment", "vllm-qwen3-14b")


def options(body: Any) -> dict[str, str]:
    """Arguments of a vLLM container, option → value."""
    return {name: value for name, _, value in (argument.partition("=") for argument in container_of(body)["args"])}


def volumes(body: Any) -> dict[str, Any]:
    """Volumes of a workload's pods by name."""
    return {volume["name"]: volume for volume in body["spec"]["template"]["spec"]["volumes"]}


def mounts(body: Any) -> dict[str, Any]:
    """Mounts of its first container by volume."""
    return {mount["name"]: mount for mount in container_of(body)["volumeMounts"]}


# --- GPU nodes --------------------------------------------------------------------------------------------------------


def test_the_gpu_operator_brings_driver_and_toolkit(prod):
    """As helm install gpu-operator with driver and toolkit enabled; its own exporter instead of a second chart."""
    release = prod.object("Release", "gpu-operator")
    assert (release["namespace"], release["repositoryOpts"]["repo"]) == (
        "gpu-operator",
        "https://helm.ngc.nvidia.com/nvidia",
    )
    values = release["values"]
    assert (values["driver"]["enabled"], values["toolkit"]["enabled"]) == (True, True)
    assert values["dcgmExporter"]["serviceMonitor"] == {
        "enabled": True,
        "interval": "15s",
        "additionalLabels": {"release": "kube-prometheus-stack"},
    }
    assert [item.name for item in prod.manifests if "dcgm" in item.name] == []


def test_gpu_nodes_are_labelled_and_tainted(prod):
    """node-role=gpu-inference, gpu-type=a10 and the taint nvidia.com/gpu=present:NoSchedule on every named node."""
    nodes = {body["metadata"]["name"]: body for body in prod.objects("Node")}
    assert sorted(nodes) == ["gpu-1", "gpu-2", "gpu-3", "gpu-4"]
    wanted = {"node-role": "gpu-inference", "gpu-type": "a10"}.items()
    assert all(wanted <= body["metadata"]["labels"].items() for body in nodes.values())
    taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    assert [body["spec"]["taints"] for body in nodes.values()] == [[taint]] * 4


def test_gpu_nodes_are_verified(prod):
    """What kubectl describe node | grep nvidia.com/gpu, as a Job that counts them."""
    values = environment(container_of(prod.object("Job", "verify-nodes-a10")))
    assert (values["RESOURCE_NAME"], values["GPUS_PER_NODE"], values["EXPECTED_NODES"]) == ("nvidia.com/gpu", "2", "4")


def test_the_server_finds_the_gpu_nodes(server):
    """By nodeSelector node-role: gpu-inference, and the toleration of the taint."""
    spec = server["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"node-role": "gpu-inference", "gpu-type": "a10", "llm-stack.io/pool": "a10"}
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


# --- weights ----------------------------------------------------------------------------------------------------------


def test_weights_are_on_a_shared_claim(prod, server):
    """ReadWriteMany of nfs-storage in llm-serving, for the 28 GB of Qwen3-14B; other checkpoints have their own."""
    claim = volumes(server)["models"]["persistentVolumeClaim"]["claimName"]
    body = prod.object("PersistentVolumeClaim", claim)
    assert (body["metadata"]["namespace"], body["spec"]["accessModes"], body["spec"]["storageClassName"]) == (
        "llm-serving",
        ["ReadWriteMany"],
        "nfs-storage",
    )
    size = body["spec"]["resources"]["requests"]["storage"]
    assert size.endswith("Gi")
    assert 28e9 < int(size.removesuffix("Gi")) * 2**30 < 100 * 2**30
    assert len(prod.objects("PersistentVolumeClaim")) == 3


def test_a_job_downloads_from_the_mirror(prod, server):
    """Qwen/Qwen3-14B into /models with HF_ENDPOINT=https://hf-mirror.com, never restarted by the kubelet.

    In place of pip at run time and the retired huggingface-cli: a pinned image, a pinned revision and a script.
    """
    (job,) = (body for body in prod.objects("Job") if "qwen3-14b" in body["metadata"]["name"])
    values = environment(container_of(job))
    assert (values["MODEL_REPO"], values["HF_ENDPOINT"]) == ("Qwen/Qwen3-14B", "https://hf-mirror.com")
    assert len(values["MODEL_REVISION"]) == 40
    assert values["TARGET_DIR"] == f"/models/Qwen--Qwen3-14B/{values['MODEL_REVISION']}"
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    claim = volumes(server)["models"]["persistentVolumeClaim"]["claimName"]
    assert volumes(job)["models"]["persistentVolumeClaim"] == {"claimName": claim}
    assert [leaf for _, leaf in walk(job) if "pip install" in str(leaf) or "huggingface-cli" in str(leaf)] == []


def test_weights_are_warmed_by_an_init_container(server):
    """An init container reads the weights before vLLM does."""
    (first,) = server["spec"]["template"]["spec"]["initContainers"]
    assert (first["command"], environment(first)["PREWARM"]) == (["python3", "/scripts/prewarm_weights.py"], "true")


def test_weights_are_mounted_read_only(server):
    """The claim is mounted at /models, read-only for the server."""
    assert mounts(server)["models"] == {"name": "models", "mountPath": "/models", "readOnly": True}
    assert volumes(server)["models"]["persistentVolumeClaim"]["readOnly"] is True


# --- vLLM -------------------------------------------------------------------------------------------------------------


def test_vllm_gets_the_arguments_of_the_guide(server):
    """32,768 tokens, 256 sequences, 0.9 of the memory, prefix caching, safetensors, the name, the port.

    Two GPUs per replica instead of one: 27.5 GiB of weights do not fit the 22 GiB of one A10.
    """
    given = options(server)
    wanted = {
        "--served-model-name": "qwen3-14b",
        "--tensor-parallel-size": "2",
        "--max-model-len": "32768",
        "--max-num-seqs": "256",
        "--gpu-memory-utilization": "0.9",
        "--enable-prefix-caching": "",
        "--load-format": "safetensors",
        "--host": "0.0.0.0",
        "--port": "8000",
    }
    assert {name: given.get(name) for name in wanted} == wanted


def test_vllm_gets_the_resources_of_the_guide(server):
    """GPUs in requests and limits, 32 GiB requested, more allowed, and 8 GiB of /dev/shm."""
    resources = container_of(server)["resources"]
    assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"] == "2"
    assert resources["requests"]["memory"] == "32Gi"
    assert int(resources["limits"]["memory"].removesuffix("Gi")) >= 40
    assert volumes(server)["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Gi"}
    assert mounts(server)["shm"]["mountPath"] == "/dev/shm"


def test_a_loading_server_is_left_alone(server):
    """One startup probe on /health holds the whole load budget of minutes; no delay to guess, no early liveness."""
    container = container_of(server)
    probes = {name: container[name] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {probe["httpGet"]["path"] for probe in probes.values()} == {"/health"}
    assert [name for name, probe in probes.items() if "initialDelaySeconds" in probe] == []
    budget = probes["startupProbe"]["periodSeconds"] * probes["startupProbe"]["failureThreshold"]
    assert budget > 3 * 60


def test_the_server_has_a_service(prod):
    """Port 8000 in llm-serving, with a named port."""
    ports = prod.object("Service", "vllm-qwen3-14b")["spec"]["ports"]
    assert ports == [{"name": "http", "port": 8000, "targetPort": "http", "protocol": "TCP"}]


def test_a_disruption_budget_keeps_servers_up(prod):
    """One pod at a time, in place of minAvailable: 1, which blocks every drain of a single replica."""
    spec = prod.object("PodDisruptionBudget", "vllm-qwen3-14b")["spec"]
    assert (spec["maxUnavailable"], spec["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    assert "minAvailable" not in spec


# --- scaling ----------------------------------------------------------------------------------------------------------


def test_servers_scale_on_the_queue(prod):
    """1 to 4 replicas for 10 waiting requests each; +1 per 120 s after 60 s, down after 300 s."""
    spec = prod.object("ScaledObject", "vllm-qwen3-14b")["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert spec["maxReplicaCount"] == 4
    assert behavior["scaleUp"] == {
        "stabilizationWindowSeconds": 60,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
    }
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 300
    waiting = spec["triggers"][0]
    assert (waiting["metricType"], waiting["metadata"]["threshold"]) == ("AverageValue", "10")
    assert waiting["metadata"]["query"].startswith("sum(vllm:num_requests_waiting{")


def test_servers_go_to_zero_off_peak(prod):
    """KEDA: none at night, at least one from 8 to 22 h, woken by the gateway, because absent pods count nothing."""
    spec = prod.object("ScaledObject", "vllm-qwen3-14b")["spec"]
    assert spec["minReplicaCount"] == 0
    triggers = {trigger["name"]: trigger for trigger in spec["triggers"]}
    assert triggers["floor"]["metadata"] == {
        "timezone": "Asia/Shanghai",
        "start": "0 8 * * *",
        "end": "0 22 * * *",
        "desiredReplicas": "1",
    }
    assert (
        'litellm_proxy_total_requests_metric_total{namespace="llm-serving",requested_model="qwen3-14b",'
        in (triggers["wake"]["metadata"]["query"])
    )


def test_rare_requests_are_served_by_cpus(prod):
    """A quantised Qwen3 on CPUs (8B: there is no 7B) behind the same gateway, and as the fallback of the GPU server."""
    body = prod.object("Deployment", "vllm-qwen3-8b-cpu")
    container = container_of(body)
    assert "vllm-openai-cpu" in container["image"]
    assert "Qwen3-8B-AWQ" in container["args"][0]
    assert "nvidia.com/gpu" not in json.dumps(container["resources"])
    assert {"qwen3-14b": ["qwen3-8b-cpu"]} in gateway_config(prod)["router_settings"]["fallbacks"]


# --- gateway ----------------------------------------------------------------------------------------------------------


def test_the_gateway_has_the_times_and_retries_of_the_guide(prod):
    """Two LiteLLM pods on port 4000, 600 s, 2 retries (in the section where they count); one server per name."""
    body = prod.object("Deployment", "litellm")
    assert body["spec"]["replicas"] == 2
    assert container_of(body)["ports"][0]["containerPort"] == 4000
    config = gateway_config(prod)
    assert config["router_settings"]["num_retries"] == 2
    assert {entry["litellm_params"]["timeout"] for entry in config["model_list"]} == {600}
    names = [entry["model_name"] for entry in config["model_list"]]
    assert len(set(names)) == len(names)
    assert "num_retries" not in config["litellm_settings"]


def test_both_models_of_the_guide_are_routed(prod):
    """qwen3-14b and deepseek-r1 by name, each with a key of its own in place of "none"."""
    routes = {entry["model_name"]: entry["litellm_params"] for entry in gateway_config(prod)["model_list"]}
    assert {"qwen3-14b", "deepseek-r1"} < set(routes)
    assert routes["qwen3-14b"]["api_base"] == "http://vllm-qwen3-14b.llm-serving.svc:8000/v1"
    assert routes["deepseek-r1"]["api_base"] == "http://vllm-deepseek-r1.llm-serving.svc:8000/v1"
    assert routes["qwen3-14b"]["api_key"] == "os.environ/KEY_VLLM_QWEN3_14B"


def test_the_master_key_is_in_no_config_map(prod):
    """Configuration names an environment variable, which comes from a Secret."""
    assert gateway_config(prod)["general_settings"]["master_key"] == "os.environ/LITELLM_MASTER_KEY"
    values = environment(container_of(prod.object("Deployment", "litellm")))
    assert values["LITELLM_MASTER_KEY"] == "secret:llm-keys/master-key"
    texts = yaml.safe_dump([body["data"] for body in prod.objects("ConfigMap")])
    assert "sk-" not in texts


def test_the_gateway_is_reached_by_the_gateway_api(prod):
    """Users → Gateway API → LLM gateway, on the public host."""
    spec = prod.object("HTTPRoute", "litellm")["spec"]
    assert (spec["hostnames"], spec["parentRefs"][0]["name"]) == (["llm.example.com"], "public")
    assert prod.exports["endpoint"] == "https://llm.example.com/v1"


# --- monitoring -------------------------------------------------------------------------------------------------------


def test_metrics_are_scraped_every_15_s(prod):
    """/metrics of every server by the name of its port; "8000" is none, and the guide's Service had no labels."""
    (endpoint,) = prod.object("PodMonitor", "vllm")["spec"]["podMetricsEndpoints"]
    assert endpoint == {"port": "http", "path": "/metrics", "interval": "15s"}


@pytest.mark.parametrize(
    ("alert", "expression", "holds"),
    [
        (
            "LLMHighWaitQueue",
            'sum by (namespace, model_name) (vllm:num_requests_waiting{namespace="llm-serving"}) > 20',
            "120s",
        ),
        (
            "LLMHighTTFT",
            (
                "histogram_quantile(0.95, sum by (le, namespace, model_name) "
                '(rate(vllm:time_to_first_token_seconds_bucket{namespace="llm-serving"}[5m]))) > 5'
            ),
            "300s",
        ),
        (
            "LLMGPUCacheNearFull",
            'max by (namespace, model_name, pod) (vllm:kv_cache_usage_perc{namespace="llm-serving"}) > 0.85',
            "300s",
        ),
    ],
)
def test_the_three_alerts_of_the_guide(prod, alert: str, expression: str, holds: str):
    """Queue above 20 for 2 min, TTFT above 5 s and cache above 0.85 for 5 min, with the queries put right."""
    rules = {rule["alert"]: rule for rule in prod.object("PrometheusRule", "llm-serving")["spec"]["groups"][0]["rules"]}
    assert (rules[alert]["expr"], rules[alert]["for"]) == (expression, holds)


def test_the_key_metrics_of_the_guide_are_on_the_dashboard(prod):
    """Latency, running, waiting, KV cache (under its new name) and time to first token."""
    text = prod.object("ConfigMap", "llm-serving-dashboard")["data"]["llm-serving.json"]
    wanted = (
        "vllm:e2e_request_latency_seconds",
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
        "vllm:time_to_first_token_seconds",
    )
    assert [name for name in wanted if name not in text] == []
