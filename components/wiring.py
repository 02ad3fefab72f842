"""From the plan to the arguments of the components: the one place that knows both shapes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import pulumi

from components import _k8s
from components._vllm_pod import APP as VLLM_APP
from components.gpu_node_pool import GpuNodePool, GpuNodePoolArgs
from components.llm_gateway import LlmGatewayArgs, ServerRef
from components.model_weights import CheckpointArgs, ModelWeights, ModelWeightsArgs
from components.observability import AlertArgs, ObservabilityArgs
from components.operators import ReleaseArgs
from components.vllm_server import ScalingArgs, VllmServer, VllmServerArgs
from planning.gateway.routing import METRICS_PORT
from planning.plan import GATEWAY, Plan, PoolPlan, ServerPlan
from planning.server.arguments import PORT
from planning.server.servers import CACHE_ROOT
from planning.stack.weights import TOKEN_VARIABLES

# Labels of the pods of every server.
SERVER_PODS = {"app.kubernetes.io/name": VLLM_APP, "app.kubernetes.io/part-of": _k8s.PART_OF}


def release_args(plan: Plan) -> dict[str, ReleaseArgs]:
    """Chart → release."""
    return {chart: cast("ReleaseArgs", asdict(release)) for chart, release in plan.releases.items()}


def _affinity(pool: PoolPlan) -> list[Mapping[str, Any]]:
    return [{"key": key, "operator": operator, "values": list(values)} for key, operator, values in pool.node_affinity]


def pool_args(
    plan: Plan, name: str, namespace: pulumi.Input[str], operators: Mapping[str, pulumi.Resource]
) -> GpuNodePoolArgs:
    """One node pool; it waits for the GPU Operator."""
    pool = plan.pools[name]
    image = next((image for image in plan.images if image.name == "python"), None)
    return {
        "namespace": namespace,
        "provisioning": pool.provisioning,
        "gpu": pool.gpu,
        "nodes": pool.nodes,
        "gpus_per_node": pool.gpus_per_node,
        "node_selector": pool.node_selector,
        "node_affinity": _affinity(pool),
        "tolerations": pool.tolerations,
        "taints": pool.taints,
        "node_labels": pool.node_labels,
        "resource_name": pool.resource_name,
        "expected_gpu_memory_mib": pool.expected_gpu_memory_mib,
        "needed": pool.needed,
        "verify": pool.verify,
        "verify_timeout_s": pool.verify_timeout_s,
        "image": image.reference if image else "",
        "uid": image.uid if image else 0,
        "after": [operators["gpu-operator"]] if "gpu-operator" in operators and pool.resource_name else [],
    }


def weights_args(plan: Plan, namespace: pulumi.Input[str], token: pulumi.Output[str] | None) -> ModelWeightsArgs:
    """The checkpoints and their claims."""
    weights = plan.weights
    return {
        "namespace": namespace,
        "existing_claim": weights.existing_claim,
        "storage_class": weights.storage_class,
        "mount_path": weights.mount_path,
        "hub_kind": weights.hub_kind,
        "hub_endpoint": weights.hub_endpoint,
        "egress": weights.egress,
        "token": token,
        "token_secret": weights.token_secret,
        "image": weights.image.reference if weights.image else "",
        "uid": weights.image.uid if weights.image else 0,
        "gid": weights.image.gid if weights.image else 0,
        "token_variable": TOKEN_VARIABLES[weights.hub_kind],
        "client_env": weights.client_env,
        "memory_gib": weights.memory_gib,
        "memory_limit_gib": weights.memory_limit_gib,
        "checkpoints": [cast("CheckpointArgs", asdict(item)) for item in weights.checkpoints],
    }


def server_args(
    plan: Plan,
    server: ServerPlan,
    namespace: pulumi.Input[str],
    pools: Mapping[str, GpuNodePool],
    weights: ModelWeights,
    operators: Mapping[str, pulumi.Resource],
    master_key: pulumi.Output[str] | None,
) -> VllmServerArgs:
    """One server; it waits for its nodes, its weights and the operators whose objects it declares."""
    pool, resources, timing = plan.pools[server.pool], server.resources, server.timing
    needed = ["lws"] if server.nodes_per_replica > 1 else []
    needed += ["keda", "prometheus-adapter"] if server.scaling else []
    return {
        "namespace": namespace,
        "model_name": server.model_name,
        "model": server.model,
        "revision": server.checkpoint.revision,
        "directory": server.checkpoint.directory,
        "image": server.image.reference,
        "uid": server.image.uid,
        "gid": server.image.gid,
        "args": server.args,
        "env": server.env,
        "cache_root": CACHE_ROOT,
        "nodes_per_replica": server.nodes_per_replica,
        "gpus": resources.gpus,
        "resource_name": pool.resource_name,
        "cpus": resources.cpus,
        "memory_gib": resources.memory_gib,
        "memory_limit_gib": resources.memory_limit_gib,
        "scratch": server.scratch,
        "claim_name": weights.claims[server.checkpoint.directory],
        "mount_path": plan.weights.mount_path,
        "prewarm": plan.weights.prewarm,
        "node_selector": pool.node_selector,
        "node_affinity": _affinity(pool),
        "tolerations": pool.tolerations,
        "startup_period_s": timing.startup_period_s,
        "startup_failures": timing.startup_failures,
        "pre_stop_s": timing.pre_stop_s,
        "termination_grace_s": timing.termination_grace_s,
        "probe_grace_s": timing.probe_grace_s,
        "canary": server.canary,
        "replaces": server.replaces,
        "replicas": server.replicas,
        "max_surge": server.rollout.max_surge,
        "max_unavailable": server.rollout.max_unavailable,
        "progress_deadline_s": timing.progress_deadline_s,
        "await_timeout_s": timing.await_timeout_s,
        "scaling": cast("ScalingArgs", asdict(server.scaling)) if server.scaling else None,
        "clients": [_k8s.pods(_k8s.selector("litellm", GATEWAY))],
        "master_key": master_key,
        "existing_secret": plan.gateway.existing_secret,
        "after": [
            *pools[server.pool].gates,
            *(job for directory, job in weights.jobs.items() if directory == server.checkpoint.directory),
            *(operators[chart] for chart in needed if chart in operators),
        ],
    }


def gateway_args(
    plan: Plan,
    namespace: pulumi.Input[str],
    servers: Mapping[str, VllmServer],
    master_key: pulumi.Output[str] | None,
) -> LlmGatewayArgs:
    """The gateway in front of the servers that get traffic."""
    refs: dict[str, ServerRef] = {
        route.server: {
            "url": servers[route.server].url,
            "key_secret": servers[route.server].key_secret,
            "key_entry": servers[route.server].key_entry,
        }
        for route in plan.gateway.routes
    }
    return {
        "namespace": namespace,
        "plan": plan.gateway,
        "servers": refs,
        "server_pods": SERVER_PODS,
        "server_port": PORT,
        "after": [servers[server.name].workload for server in plan.servers if server.canary],
        "master_key": master_key,
    }


def observability_args(
    plan: Plan,
    namespace: pulumi.Input[str],
    gateway_selector: pulumi.Input[Mapping[str, str]],
    operators: Mapping[str, pulumi.Resource],
) -> ObservabilityArgs:
    """Monitors for all servers and the gateway; they wait for the release that brings their CRDs."""
    watched = plan.observability
    after: Sequence[pulumi.Resource] = (
        [operators["kube-prometheus-stack"]] if "kube-prometheus-stack" in operators else []
    )
    return {
        "namespace": namespace,
        "release": watched.release,
        "scrape_interval_s": watched.scrape_interval_s,
        "runbook_url": watched.runbook_url,
        "servers": SERVER_PODS,
        "gateway": gateway_selector,
        "reader": watched.namespace,
        "ports": [PORT, METRICS_PORT],
        "alerts": [cast("AlertArgs", asdict(alert)) for alert in watched.alerts],
        "dashboard": watched.dashboard,
        "adapter_rules": watched.adapter_rules,
        "after": after,
    }
