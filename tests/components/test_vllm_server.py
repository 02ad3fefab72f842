"""`VllmServer` on small stacks: pods, probes, scaling, canaries, groups over nodes, CPU servers, keys.

Numbers of the plan are the planner's tests' business; here it is that they arrive where Kubernetes reads them. That
vLLM starts with them on a GPU is not proved.
"""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from catalog import load_catalog
from components import wiring
from components._vllm_pod import pod_spec
from planning.plan.servers import ServerPlan
from planning.plan.weights import CheckpointPlan, ClaimVolume
from tests.harness import (
    MASTER_KEY,
    Deployed,
    container_of,
    environment,
    minimal,
    on_cpu,
    over_efa,
    own_keys,
    pods,
    stack,
    two_nodes,
)

MATCH = {"app.kubernetes.io/name": "vllm", "app.kubernetes.io/instance": "vllm-small"}
LABELS = {
    **MATCH,
    "app.kubernetes.io/component": "server",
    "app.kubernetes.io/part-of": "llm-stack",
    "app.kubernetes.io/managed-by": "pulumi",
    "llm-stack.io/model": "small",
    "llm-stack.io/track": "stable",
}
AUTOSCALED = {"small": {"replicas": {"min": 1, "max": 2}}}
PODS = '{namespace="llm-serving",pod=~"vllm-small-[0-9a-z]{1,15}(-[0-9a-z]{5})?"}'
WAITING = f"sum(vllm:num_requests_waiting{PODS})"


def server(deployed: Deployed, name: str = "vllm-small") -> Any:
    """A server's Deployment."""
    return deployed.object("Deployment", name)


def named(values: list[Any]) -> dict[str, Any]:
    """A list of Kubernetes items by name."""
    return {item["name"]: item for item in values}


# --- what there is ----------------------------------------------------------------------------------------------------


def test_a_server_has_these_children():
    """Account, script, network rule, Deployment, Service and budget; no autoscaler and no Secret unless asked for."""
    assert stack(minimal()).children("vllm-small") == [
        ("ServiceAccount", "vllm-small", "vllm-small"),
        ("ConfigMap", "vllm-small-prewarm", "vllm-small-prewarm-auto"),
        ("NetworkPolicy", "vllm-small", "vllm-small"),
        ("Service", "vllm-small", "vllm-small"),
        ("Deployment", "vllm-small", "vllm-small"),
        ("PodDisruptionBudget", "vllm-small", "vllm-small"),
    ]


def test_the_deployment_is_replaced_as_planned():
    """Replicas, selector, deadline and strategy are those of the plan; the selector has the lasting labels only."""
    deployed = stack(minimal())
    (plan,) = deployed.plan.servers
    body = server(deployed)
    assert {key: value for key, value in body["spec"].items() if key != "template"} == {
        "replicas": 1,
        "selector": {"matchLabels": MATCH},
        "progressDeadlineSeconds": plan.timing.progress_deadline_s,
        "revisionHistoryLimit": 3,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
    }
    assert body["metadata"] == {
        "name": "vllm-small",
        "namespace": "llm-serving",
        "labels": LABELS,
        "annotations": {"pulumi.com/patchFieldManager": "llm-stack-test"},
    }
    assert body["spec"]["template"]["metadata"] == {
        "labels": LABELS,
        "annotations": {
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
            "karpenter.sh/do-not-disrupt": "true",
        },
    }


TOP = "noParent=True"


@pytest.mark.parametrize(
    ("replaces", "alias", "first"),
    [("old", (TOP, f"name=vllm-old,{TOP}", "name=vllm-old"), True), (None, (TOP,), None)],
)
def test_a_server_in_the_place_of_another_starts_after_it(replaces, alias, first):
    """The engine knows it as the other, also where that was at the top, and deletes it before it makes this one."""
    deployed = stack(minimal(models={"small": {"replaces": replaces}}))
    assert deployed.component("vllm-small").options.aliases == alias
    assert deployed.manifest("Deployment", "vllm-small").options.delete_before_replace is first


def test_on_a_full_pool_pods_are_replaced_in_place():
    """With one GPU for one replica no pod is started beside the old one."""
    rolling = server(stack(minimal(gpuPools={"l4": {"nodes": 1}})))["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxSurge": 0, "maxUnavailable": 1}


def test_the_engine_waits_as_long_as_planned():
    """Create and update may take the planned time, and the server comes after nodes, weights and what leads to it."""
    deployed = stack(minimal())
    (plan,) = deployed.plan.servers
    timeout = f"{plan.timing.await_timeout_s}s"
    assert deployed.manifest("Deployment", "vllm-small").options.timeouts == {"create": timeout, "update": timeout}
    assert deployed.depends_on("Deployment", "vllm-small") == {
        "ConfigMap/vllm-small-prewarm",
        "Job/l4-verify",
        "Job/weights-qwen--qwen3-0-6b-c1899de2",
        "Namespace/llm-serving",
        "NetworkPolicy/vllm-small",
        "PersistentVolumeClaim/weights-qwen--qwen3-0-6b-c1899de2",
        "Service/vllm-small",
        "ServiceAccount/vllm-small",
    }


# --- the pod ----------------------------------------------------------------------------------------------------------


def test_the_container_is_told_what_was_planned():
    """Arguments, image, port and environment; the key from a Secret, no internet, caches on the writable volume."""
    deployed = stack(minimal())
    (plan,) = deployed.plan.servers
    container = container_of(server(deployed))
    assert container["args"] == list(plan.args)
    assert container["image"] == "docker.io/vllm/vllm-openai:v0.33.0"
    assert container["ports"] == [{"name": "http", "containerPort": 8000, "protocol": "TCP"}]
    assert environment(container) == {
        "HF_HUB_OFFLINE": "1",
        "HOME": "/cache",
        "LOGNAME": "vllm",
        "TORCHINDUCTOR_CACHE_DIR": "/cache/torchinductor",
        "TRITON_CACHE_DIR": "/cache/triton",
        "VLLM_API_KEY": "secret:llm-keys/vllm-small",
        "VLLM_CACHE_ROOT": "/cache/vllm",
        "VLLM_ENGINE_READY_TIMEOUT_S": str(plan.timing.startup_budget_s),
        "VLLM_MAX_N_SEQUENCES": "64",
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "XDG_CACHE_HOME": "/cache/xdg",
    }


def test_arguments_and_environment_of_the_user_come_last():
    """What a user adds stands behind what was planned, in the order given."""
    model = {"args": ["--enable-log-requests", "--seed=7"], "env": {"VLLM_LOGGING_LEVEL": "WARNING"}}
    container = container_of(server(stack(minimal(models={"small": model}))))
    assert container["args"][-2:] == ["--enable-log-requests", "--seed=7"]
    assert environment(container)["VLLM_LOGGING_LEVEL"] == "WARNING"


def test_probes_leave_a_loading_server_alone():
    """The startup probe holds the load budget; ready and live are asked only after it has answered once."""
    deployed = stack(minimal())
    timing = deployed.plan.servers[0].timing
    container = container_of(server(deployed))
    health, hung = {"httpGet": {"path": "/health", "port": "http"}}, {"terminationGracePeriodSeconds": 30}
    assert {name: container[name] for name in container if name.endswith("Probe")} == {
        "startupProbe": {
            **health,
            "periodSeconds": timing.startup_period_s,
            "failureThreshold": timing.startup_failures,
            "timeoutSeconds": 5,
            **hung,
        },
        "readinessProbe": {**health, "periodSeconds": 5, "failureThreshold": 3, "timeoutSeconds": 5},
        "livenessProbe": {**health, "periodSeconds": 30, "failureThreshold": 4, "timeoutSeconds": 10, **hung},
    }


def test_a_stopping_server_finishes_what_it_has_begun():
    """15 s to leave the endpoints, then the drain vLLM was told, all within the grace period."""
    deployed = stack(minimal(models={"small": {"drainTimeoutS": 90}}))
    spec = server(deployed)["spec"]["template"]["spec"]
    assert container_of(server(deployed))["lifecycle"] == {"preStop": {"sleep": {"seconds": 15}}}
    assert "--shutdown-timeout=90" in container_of(server(deployed))["args"]
    assert spec["terminationGracePeriodSeconds"] == 15 + 90 + 15


def test_the_pod_gets_planned_resources_and_volumes():
    """CPU and disk without a limit, memory with one, one GPU in both; shared memory, caches and scratch with sizes."""
    deployed = stack(minimal())
    resources = deployed.plan.servers[0].resources
    body = server(deployed)
    assert container_of(body)["resources"] == {
        "requests": {
            "cpu": str(resources.cpus),
            "memory": f"{resources.memory_gib}Gi",
            "ephemeral-storage": f"{(20 + 2) * 1024 + 64}Mi",
            "nvidia.com/gpu": "1",
        },
        "limits": {"memory": f"{resources.memory_limit_gib}Gi", "nvidia.com/gpu": "1"},
    }
    volumes = named(body["spec"]["template"]["spec"]["volumes"])
    assert volumes["shm"] == {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}
    assert volumes["cache"] == {"name": "cache", "emptyDir": {"sizeLimit": "20Gi"}}
    assert volumes["tmp"] == {"name": "tmp", "emptyDir": {"sizeLimit": "2Gi"}}
    assert {mount["name"]: mount["mountPath"] for mount in container_of(body)["volumeMounts"]} == {
        "models": "/models",
        "cache": "/cache",
        "tmp": "/tmp",
        "shm": "/dev/shm",
    }


def test_the_init_container_checks_and_warms_the_weights():
    """It runs our script on the server's image, is told the manifest to expect, and gets no GPU."""
    deployed = stack(minimal())
    (prewarm,) = server(deployed)["spec"]["template"]["spec"]["initContainers"]
    checkpoint = deployed.plan.servers[0].checkpoint
    assert environment(prewarm) == {
        "MODEL_DIR": checkpoint.source.argument,
        "MODEL_REPO": "Qwen/Qwen3-0.6B",
        "MODEL_REVISION": checkpoint.revision,
        "PREWARM": "true",
    }
    assert prewarm["command"] == ["python3", "/scripts/prewarm_weights.py"]
    assert "nvidia.com/gpu" not in prewarm["resources"]["limits"]
    assert "def main" in deployed.object("ConfigMap", "vllm-small-prewarm-auto")["data"]["prewarm_weights.py"]
    assert deployed.object("ConfigMap", "vllm-small-prewarm-auto")["immutable"] is True


def claim_of(checkpoint: CheckpointPlan) -> str:
    """The claim its servers mount."""
    assert isinstance(checkpoint.source.volume, ClaimVolume)
    return checkpoint.source.volume.claim_name


def beside(server: ServerPlan, claim: str) -> ServerPlan:
    """The server with a second checkpoint that is loaded beside its own."""
    base = server.checkpoint
    volume = ClaimVolume(claim, "/models" if claim == claim_of(base) else "/beside")
    directory = f"{volume.mount_path}/x"
    source = replace(base.source, argument=directory, directory=directory, volume=volume, prewarm=False)
    other = replace(base, name="x", model="example/x", revision="main", source=source)
    return replace(server, checkpoints=(base, other))


@pytest.mark.parametrize(("claim", "mounts"), [("other", ["models", "models-1"]), ("", ["models"])])
def test_what_is_loaded_beside_the_weights_is_mounted_and_checked(claim, mounts):
    """Each claim is mounted once, in all containers, and each checkpoint is checked on its own."""
    plan = stack(minimal()).plan
    base = plan.servers[0]
    both = beside(base, claim or claim_of(base.checkpoint))
    spec = pod_spec(both, plan.pools[base.pool], {"script": "script", "account": "account"}, {"name": "KEY"})
    first, second = spec["initContainers"]
    assert [first["name"], second["name"]] == ["prewarm", "prewarm-1"]
    assert environment(second) == {
        "MODEL_DIR": both.checkpoints[1].source.argument,
        "MODEL_REPO": "example/x",
        "MODEL_REVISION": "main",
        "PREWARM": "false",
    }
    claims = {
        item["name"]: item["persistentVolumeClaim"]["claimName"]
        for item in spec["volumes"]
        if "persistentVolumeClaim" in item
    }
    assert list(claims) == mounts
    assert claims[mounts[-1]] == claim_of(both.checkpoints[1])
    for container in (first, second, *spec["containers"]):
        assert [item["name"] for item in container["volumeMounts"] if item["name"] in claims] == mounts


def test_a_server_waits_for_all_that_it_loads():
    """For the Job of each of its checkpoints."""
    plan = stack(minimal()).plan
    server = beside(plan.servers[0], "other")
    gates: Any = SimpleNamespace(gates={one.name: [one.model] for one in server.checkpoints})
    pool: Any = SimpleNamespace(gates=[])
    args = wiring.server_args(plan, server, "n", {server.pool: pool}, gates, cast("Any", {}), cast("Any", None))
    assert list(args.get("after", [])) == ["Qwen/Qwen3-0.6B", "example/x"]


def test_warming_can_be_left_out():
    """weights.prewarm: false still checks the manifest but reads no weights."""
    (prewarm,) = server(stack(minimal(weights={"prewarm": False})))["spec"]["template"]["spec"]["initContainers"]
    assert environment(prewarm)["PREWARM"] == "false"


def test_replicas_are_spread_softly_and_per_revision():
    """Over nodes and zones where possible, counting pods of the same revision only."""
    constraints = server(stack(minimal()))["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert constraints == [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": MATCH},
            "matchLabelKeys": ["pod-template-hash"],
        }
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]


# --- how it is reached ------------------------------------------------------------------------------------------------


def test_service_budget_and_network_rule():
    """A named port that is not awaited, one disruption at a time, and the gateway as only client."""
    deployed = stack(minimal())
    service = deployed.object("Service", "vllm-small")
    assert service["spec"] == {
        "selector": MATCH,
        "ports": [{"name": "http", "port": 8000, "targetPort": "http", "protocol": "TCP"}],
    }
    assert service["metadata"]["annotations"] == {
        "pulumi.com/patchFieldManager": "llm-stack-test",
        "pulumi.com/skipAwait": "true",
    }
    assert deployed.object("PodDisruptionBudget", "vllm-small")["spec"] == {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": MATCH},
    }
    gateway = {"app.kubernetes.io/name": "litellm", "app.kubernetes.io/instance": "litellm"}
    assert deployed.object("NetworkPolicy", "vllm-small")["spec"] == {
        "podSelector": {"matchLabels": MATCH},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [{"podSelector": {"matchLabels": gateway}}],
                "ports": [{"port": 8000, "protocol": "TCP"}],
            }
        ],
    }


def test_a_server_hands_on_url_name_and_labels():
    """What the gateway and a monitor need."""
    assert stack(minimal()).registered("vllm-small") == {
        "url": "http://vllm-small.llm-serving.svc:8000",
        "model_name": "small",
        "metrics_selector": MATCH,
    }


# --- keys -------------------------------------------------------------------------------------------------------------


def test_with_an_existing_secret_no_key_is_made():
    """The server reads the entry `vllm-<model>` of the Secret the configuration names."""
    deployed = stack(minimal())
    assert deployed.objects("Secret") == []
    assert environment(container_of(server(deployed)))["VLLM_API_KEY"] == "secret:llm-keys/vllm-small"


def test_keys_are_derived_from_the_master_key():
    """Each model's key is the same at every run, unlike the others, and says nothing about the master key."""
    models = {"other": {"model": "Qwen/Qwen3-0.6B", "pool": "l4", "contextTokens": 4096}}
    one, again = stack(own_keys(models=models)), stack(own_keys(models=models, gateway={"replicas": 3}))
    keys = {name: one.secret(f"{name}-key")["api-key"] for name in ("vllm-small", "vllm-other")}
    assert {name: again.secret(f"{name}-key")["api-key"] for name in keys} == keys
    assert len({*keys.values(), MASTER_KEY, *one.secret("gateway-keys").values()}) == 5
    assert all(key.startswith("sk-") and len(key) == 67 for key in keys.values())
    assert environment(container_of(server(one)))["VLLM_API_KEY"] == "secret:vllm-small-key-auto/api-key"


def test_another_master_key_makes_other_keys():
    """Changing the master key changes every derived key."""
    other = own_keys(gatewayMasterKey="sk-another-master-key-0001")
    assert stack(other).secret("vllm-small-key") != stack(own_keys()).secret("vllm-small-key")


# --- scaling ----------------------------------------------------------------------------------------------------------


def test_keda_scales_on_the_queue():
    """The ScaledObject has the planned limits, asks Prometheus for the queue, holds still when it gets no answer."""
    deployed = stack(minimal(models=AUTOSCALED))
    (plan,) = deployed.plan.servers
    assert plan.scaling
    one_pod = {"type": "Pods", "value": 1, "periodSeconds": 120}
    assert deployed.object("ScaledObject", "vllm-small")["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "vllm-small"},
        "pollingInterval": 15,
        "cooldownPeriod": plan.scaling.cooldown_s,
        "minReplicaCount": 1,
        "maxReplicaCount": 2,
        "fallback": {"failureThreshold": 4, "replicas": 1, "behavior": "currentReplicasIfHigher"},
        "advanced": {
            "restoreToOriginalReplicaCount": False,
            "horizontalPodAutoscalerConfig": {
                "name": "keda-hpa-vllm-small",
                "behavior": {
                    "scaleUp": {"stabilizationWindowSeconds": 60, "policies": [one_pod]},
                    "scaleDown": {"stabilizationWindowSeconds": 300, "policies": [one_pod]},
                },
            },
        },
        "triggers": [
            {
                "type": "prometheus",
                "name": signal.name,
                "metricType": "AverageValue",
                "metadata": {
                    "serverAddress": "http://kube-prometheus-stack-prometheus.monitoring.svc:9090",
                    "query": signal.query,
                    "threshold": signal.threshold,
                    "activationThreshold": "0",
                    "ignoreNullValues": "false",
                },
            }
            for signal in plan.scaling.signals
        ],
    }
    assert deployed.children("vllm-small")[-1] == ("ScaledObject", "vllm-small", "vllm-small")


def test_the_autoscaler_owns_the_replicas():
    """An autoscaled server is declared with its floor, which the engine then leaves alone; a fixed one is not."""
    scaled, fixed = stack(minimal(models=AUTOSCALED)), stack(minimal())
    assert server(scaled)["spec"]["replicas"] == server(fixed)["spec"]["replicas"] == 1
    assert scaled.manifest("Deployment", "vllm-small").options.ignore_changes == ("spec.replicas",)
    assert fixed.manifest("Deployment", "vllm-small").options.ignore_changes == ()


def test_the_autoscaler_comes_last():
    """It waits for its operator and for the server it scales."""
    waits = stack(minimal(models=AUTOSCALED)).depends_on("ScaledObject", "vllm-small")
    assert {"Deployment/vllm-small", "Release/keda"} < waits


def test_scaling_settings_reach_the_autoscaler():
    """Target, windows, periods and limits are the user's."""
    model = {
        "replicas": {"min": 2, "max": 3},
        "scaling": {"targetWaiting": 4, "scaleUpAfterS": 30, "scaleUpPeriodS": 90, "scaleDownAfterS": 900},
    }
    spec = stack(minimal(models={"small": model}, gpuPools={"l4": {"nodes": 3}})).object("ScaledObject", "vllm-small")[
        "spec"
    ]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"], spec["fallback"]["replicas"]) == (2, 3, 2)
    assert spec["triggers"][0]["metadata"]["threshold"] == "4"
    assert behavior == {
        way: {"stabilizationWindowSeconds": window, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 90}]}
        for way, window in (("scaleUp", 30), ("scaleDown", 900))
    }


def test_at_zero_the_gateway_wakes_the_server():
    """At zero an unreported queue counts as 0, as wanted; requests at the gateway bring the first replica only."""
    deployed = stack(minimal(models={"small": {"replicas": {"min": 0, "max": 2}}}))
    spec = deployed.object("ScaledObject", "vllm-small")["spec"]
    waiting, wake = spec["triggers"][0]["metadata"], spec["triggers"][-1]["metadata"]
    assert spec["minReplicaCount"] == 0
    assert server(deployed)["spec"]["replicas"] == 1
    wanted = 'max(kube_deployment_spec_replicas{deployment="vllm-small",namespace="llm-serving"})'
    assert waiting["query"] == f"{WAITING} or ({wanted} == 0)"
    nobody = '0 * (sum(up{job="litellm",namespace="llm-serving"}) > 0)'
    matchers = '{namespace="llm-serving",requested_model="small",status_code!~"401|403"}'
    asked = f"litellm_proxy_total_requests_metric_total{matchers}"
    assert wake["query"] == (
        f"(sum(rate({asked}[2m])) or {nobody}) + (count({asked} unless {asked} offset 2m) or {nobody})"
    )
    assert (wake["threshold"], wake["activationThreshold"]) == ("1000000", "0")
    assert spec["cooldownPeriod"] >= deployed.plan.servers[0].timing.cold_start_s


def test_off_peak_hours_have_a_floor_around_them():
    """A cron trigger holds the floor from the end of off-peak to its start, in the given time zone."""
    off_peak = {"timezone": "Europe/Berlin", "start": "0 20 * * 1-5", "end": "30 7 * * 1-5"}
    model = {"replicas": {"min": 1, "max": 2}, "scaling": {"offPeak": off_peak}}
    spec = stack(minimal(models={"small": model})).object("ScaledObject", "vllm-small")["spec"]
    assert [trigger["name"] for trigger in spec["triggers"]] == [
        "waiting",
        "full",
        "rest",
        "proven",
        "wake",
        "floor",
    ]
    assert spec["triggers"][-1] == {
        "type": "cron",
        "name": "floor",
        "metadata": {
            "timezone": "Europe/Berlin",
            "start": "30 7 * * 1-5",
            "end": "0 20 * * 1-5",
            "desiredReplicas": "1",
        },
    }
    assert spec["minReplicaCount"] == 0


def test_the_hpa_driver_scales_on_the_adapter_metric():
    """An HPA on the pods' queue with the same behaviour, after the adapter, and no KEDA anywhere."""
    deployed = stack(minimal(models=AUTOSCALED, autoscaling={"driver": "hpa"}))
    one_pod = {"type": "Pods", "value": 1, "periodSeconds": 120}
    assert deployed.object("HorizontalPodAutoscaler", "vllm-small")["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "vllm-small"},
        "minReplicas": 1,
        "maxReplicas": 2,
        "metrics": [
            {
                "type": "Pods",
                "pods": {"metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": average}},
            }
            for name, average in (
                ("vllm_num_requests_waiting", "10"),
                ("llm_serving_vllm_small_full", "800m"),
                ("llm_serving_vllm_small_rest", "1"),
                ("llm_serving_vllm_small_proven", "1"),
            )
        ],
        "behavior": {
            "scaleUp": {"stabilizationWindowSeconds": 60, "policies": [one_pod]},
            "scaleDown": {"stabilizationWindowSeconds": 300, "policies": [one_pod]},
        },
    }
    # KEDA lets a ScaledObject be made beside it, for a switch of the driver on a running stack
    metadata = deployed.object("HorizontalPodAutoscaler", "vllm-small")["metadata"]
    assert metadata["annotations"]["validations.keda.sh/hpa-ownership"] == "false"
    assert "Release/prometheus-adapter" in deployed.depends_on("HorizontalPodAutoscaler", "vllm-small")
    assert deployed.objects("ScaledObject") == []
    assert deployed.manifest("Deployment", "vllm-small").options.ignore_changes == ("spec.replicas",)


# --- canaries ---------------------------------------------------------------------------------------------------------


def canary(weight: int, **changes: Any) -> Deployed:
    """`minimal` with a twin that has another context length."""
    return stack(minimal(models={"small": {"canary": {"weight": weight, "contextTokens": 4096, **changes}}}))


def test_a_canary_is_a_server_of_its_own():
    """The twin has the same children under its own name, another track, and selects only its own pods."""
    deployed = canary(10)
    children = [(kind, logical.replace("-canary", ""), name.replace("-canary", "")) for kind, logical, name in
                deployed.children("vllm-small-canary")]  # fmt: skip
    assert children == deployed.children("vllm-small")
    body = server(deployed, "vllm-small-canary")
    assert body["metadata"]["labels"]["llm-stack.io/track"] == "canary"
    assert body["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"] == "vllm-small-canary"


def test_a_canary_answers_to_the_same_name_with_the_same_key():
    """Clients and gateway see one model: name and key are the first server's, the change is the only difference."""
    deployed = canary(10)
    first, twin = (container_of(server(deployed, name)) for name in ("vllm-small", "vllm-small-canary"))
    assert environment(first) == environment(twin)
    assert set(first["args"]) ^ set(twin["args"]) == {
        "--max-model-len=8192",
        "--max-model-len=4096",
        "--shutdown-timeout=410",
        "--shutdown-timeout=205",
    }


def test_a_canary_is_not_autoscaled():
    """Only the first server has an autoscaler; the twin keeps its number of replicas."""
    model = {**AUTOSCALED["small"], "canary": {"weight": 10, "contextTokens": 4096, "replicas": 2}}
    deployed = stack(minimal(models={"small": model}, gpuPools={"l4": {"nodes": 4}}))
    assert [body["metadata"]["name"] for body in deployed.objects("ScaledObject")] == ["vllm-small"]
    assert server(deployed, "vllm-small-canary")["spec"]["replicas"] == 2
    assert deployed.manifest("Deployment", "vllm-small-canary").options.ignore_changes == ()


# --- groups over nodes ------------------------------------------------------------------------------------------------


def test_a_replica_over_two_nodes_is_a_group():
    """DeepSeek-R1 on 2 × 8 H100: one LeaderWorkerSet of two pods, eight GPUs each, restarted as a whole."""
    deployed = stack(two_nodes())
    body = deployed.object("LeaderWorkerSet", "vllm-r1")
    (plan,) = deployed.plan.servers
    assert (plan.parallelism.tensor, plan.parallelism.pipeline, plan.nodes_per_replica) == (8, 2, 2)
    template = body["spec"]["leaderWorkerTemplate"]
    assert (body["spec"]["replicas"], template["size"], template["restartPolicy"]) == (
        1,
        2,
        "RecreateGroupOnPodRestart",
    )
    assert [pod.spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] for pod in pods(deployed) if
            pod.kind == "LeaderWorkerSet"] == ["8", "8"]  # fmt: skip
    assert body["spec"]["rolloutStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdateConfiguration": {"maxSurge": 0, "maxUnavailable": 1},
    }
    assert deployed.objects("Deployment")[0]["metadata"]["name"] == "litellm-redis"


def test_the_engine_waits_for_the_group():
    """The condition and the planned timeout are on the object, the same timeout in the options, after its operator."""
    deployed = stack(two_nodes())
    (plan,) = deployed.plan.servers
    manifest = deployed.manifest("LeaderWorkerSet", "vllm-r1")
    assert manifest.body["metadata"]["annotations"] == {
        "pulumi.com/patchFieldManager": "llm-stack-test",
        "pulumi.com/waitFor": "condition=Available",
        "pulumi.com/timeoutSeconds": str(plan.timing.await_timeout_s),
    }
    timeout = f"{plan.timing.await_timeout_s}s"
    assert manifest.options.timeouts == {"create": timeout, "update": timeout}
    assert "Release/lws" in deployed.depends_on("LeaderWorkerSet", "vllm-r1")


def test_only_the_leader_answers():
    """Workers run headless, without port and probes; the Service selects leaders."""
    deployed = stack(two_nodes())
    template = deployed.object("LeaderWorkerSet", "vllm-r1")["spec"]["leaderWorkerTemplate"]
    leader, worker = (template[role]["spec"]["containers"][0] for role in ("leaderTemplate", "workerTemplate"))
    assert set(leader) - set(worker) == {"startupProbe", "readinessProbe", "livenessProbe", "ports"}
    assert worker["args"] == [*leader["args"], "--headless"]
    assert environment(leader)["VLLM_HOST_IP"] == environment(worker)["VLLM_HOST_IP"] == "field:status.podIP"
    assert deployed.object("Service", "vllm-r1")["spec"]["selector"] == {
        "app.kubernetes.io/name": "vllm",
        "app.kubernetes.io/instance": "vllm-r1",
        "leaderworkerset.sigs.k8s.io/name": "vllm-r1",
        "leaderworkerset.sigs.k8s.io/worker-index": "0",
    }


def test_groups_are_scaled_as_groups():
    """The autoscaler targets the LeaderWorkerSet, whose replicas the engine then leaves alone."""
    config = two_nodes(gpuPools={"h100": {"nodes": 4}}, models={"r1": {"replicas": {"min": 1, "max": 2}}})
    deployed = stack(config)
    assert deployed.object("ScaledObject", "vllm-r1")["spec"]["scaleTargetRef"] == {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "name": "vllm-r1",
    }
    assert deployed.manifest("LeaderWorkerSet", "vllm-r1").options.ignore_changes == ("spec.replicas",)


def test_pods_of_a_group_have_what_their_network_needs():
    """Cards and huge pages at the engine alone, what NCCL is told, a place to itself; no capability, as everywhere."""
    deployed = stack(over_efa())
    body = deployed.object("LeaderWorkerSet", "vllm-r1")
    assert body["metadata"]["annotations"]["leaderworkerset.sigs.k8s.io/exclusive-topology"] == "example.com/rack"
    template = body["spec"]["leaderWorkerTemplate"]
    asked = {"vpc.amazonaws.com/efa": "32", "hugepages-2Mi": "5120Mi"}
    for role in ("leaderTemplate", "workerTemplate"):
        spec = template[role]["spec"]
        (container,) = spec["containers"]
        amounts = container["resources"]
        assert [{name: amounts[part].get(name) for name in asked} for part in ("requests", "limits")] == [asked, asked]
        assert [set(asked) & set(opening["resources"]["limits"]) for opening in spec["initContainers"]] == [set()]
        told = {key: value for key, value in environment(container).items() if key.startswith(("NCCL_", "FI_"))}
        assert told == {"NCCL_NET": "AWS Libfabric", "FI_PROVIDER": "efa"}
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


# --- CPU servers ------------------------------------------------------------------------------------------------------


def test_a_cpu_server_asks_for_no_gpu():
    """CPU image, no device, no GPU arguments, its KV cache as an environment variable in GiB."""
    deployed = stack(on_cpu())
    container = container_of(server(deployed, "vllm-tiny"))
    (plan,) = deployed.plan.servers
    assert container["image"] == "docker.io/vllm/vllm-openai-cpu:v0.33.0"
    assert set(container["resources"]["requests"]) == {"cpu", "memory", "ephemeral-storage"}
    assert environment(container)["VLLM_CPU_KVCACHE_SPACE"] == f"{plan.memory.kv_cache_gib:g}"
    assert "--dtype=bfloat16" in container["args"]
    assert [
        argument for argument in container["args"] if argument.startswith(("--gpu-memory", "--tensor-parallel"))
    ] == []


def test_a_gpu_server_has_no_cpu_cache():
    """The variable of the CPU engine is not set on a GPU."""
    assert "VLLM_CPU_KVCACHE_SPACE" not in environment(container_of(server(stack(minimal()))))


# --- images -----------------------------------------------------------------------------------------------------------


def test_every_image_comes_from_the_mirror():
    """images.mirror replaces the registry of every image, init containers and Jobs included."""
    deployed = stack(minimal(images={"mirror": "registry.example.com/mirror"}))
    images = {container["image"] for pod in pods(deployed) for container in pod.containers}
    versions = {name: image.version for name, image in load_catalog().images.items()}
    assert images == {
        f"registry.example.com/mirror/vllm/vllm-openai:{versions['vllm']}",
        f"registry.example.com/mirror/vllm/vllm-openai-cpu:{versions['vllm-cpu']}",
        f"registry.example.com/mirror/berriai/litellm-non_root:{versions['litellm']}",
        f"registry.example.com/mirror/library/redis:{versions['redis']}",
        f"registry.example.com/mirror/library/python:{versions['python']}",
    }


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("docker.io/vllm/vllm-openai:v0.33.1", "docker.io/vllm/vllm-openai:v0.33.1"),
        (f"docker.io/mine/vllm@sha256:{'a' * 64}", f"docker.io/mine/vllm@sha256:{'a' * 64}"),
    ],
)
def test_a_model_may_have_an_image_of_its_own(image: str, expected: str):
    """The model's image runs the server and its init container, by version or by digest."""
    told = {} if ":v" in image else {"engineVersion": "0.33.0"}
    spec = server(stack(minimal(models={"small": {"image": image, **told}})))["spec"]["template"]["spec"]
    assert {container["image"] for container in [*spec["initContainers"], *spec["containers"]]} == {expected}


@pytest.mark.parametrize(("platform", "expected"), [("generic", None), ("k3s", "nvidia")])
def test_pods_with_gpus_have_a_runtime_class_where_it_is_not_the_default(platform: str, expected: str | None):
    """Those of servers, and no other: what asks for no GPU needs none."""
    deployed = stack(minimal(cluster={"platform": platform}))
    given = {pod.owner: pod.spec.get("runtimeClassName") for pod in pods(deployed)}
    assert {owner: name for owner, name in given.items() if name} == (
        {"Deployment vllm-small": expected} if expected else {}
    )


# --- claims -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("config", "count"), [(minimal(), 1), (two_nodes(), 8)])
def test_pods_claim_their_gpus_by_a_template_of_their_server(config: dict[str, Any], count: int):
    """Every pod that serves, of a group its workers too, has a claim of its own and asks for no number of GPUs."""
    for pool in config["gpuPools"].values():
        pool["claims"] = {"selectors": ["device.driver != 'x'"]}
    deployed = stack(config)
    (template,) = [manifest for manifest in deployed.manifests if manifest.kind == "ResourceClaimTemplate"]
    claim = next(iter(deployed.plan.servers)).resources.claim
    assert claim is not None
    assert template.name == f"{deployed.plan.servers[0].name}-gpus-{claim.mark}"
    exactly = {
        "deviceClassName": "gpu.nvidia.com",
        "allocationMode": "ExactCount",
        "count": count,
        "selectors": [{"cel": {"expression": expression}} for expression in claim.selectors],
    }
    assert template.body["spec"] == {"spec": {"devices": {"requests": [{"name": "gpus", "exactly": exactly}]}}}
    serving = [pod for pod in pods(deployed) if pod.labels.get("app.kubernetes.io/name") == "vllm"]
    for pod in serving:
        container = pod.spec["containers"][0]
        assert pod.spec["resourceClaims"] == [{"name": "gpus", "resourceClaimTemplateName": template.name}]
        assert container["resources"]["claims"] == [{"name": "gpus"}]
        assert list(container["resources"]["limits"]) == ["memory"]
    assert len(serving) == (1 if count == 1 else 2)
