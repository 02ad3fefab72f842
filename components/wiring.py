"""Arguments of the components of a whole stack: who waits for whom, and who may talk to whom."""

from collections.abc import Mapping, Sequence

import pulumi

from components import _k8s
from components._vllm_pod import APP as VLLM_APP
from components.gpu_node_pool import GpuNodePool, GpuNodePoolArgs
from components.keys import ExistingSecret, Keys, MasterKey
from components.llm_gateway import APP as GATEWAY_APP
from components.llm_gateway import LlmGatewayArgs
from components.model_weights import ModelWeights, ModelWeightsArgs
from components.observability import ObservabilityArgs
from components.vllm_server import VllmServer, VllmServerArgs
from planning.plan import Plan
from planning.plan.gateway import GATEWAY
from planning.plan.servers import ServerPlan

# Labels of the pods of every server.
SERVER_PODS = {"app.kubernetes.io/name": VLLM_APP, "app.kubernetes.io/part-of": _k8s.PART_OF}
# Those of the gateway's.
GATEWAY_PODS = _k8s.selector(GATEWAY_APP, GATEWAY)
Operators = Mapping[str, pulumi.Resource]


def keys(plan: Plan, master_key: pulumi.Output[str] | None) -> Keys:
    """Places of all keys of the stack: the Secret that exists, or keys derived from the one that is given."""
    if plan.gateway.existing_secret:
        return ExistingSecret(plan.gateway.existing_secret)
    assert master_key is not None, "settings demand one of the two"
    return MasterKey(master_key)


def pool_args(plan: Plan, name: str, namespace: pulumi.Input[str], operators: Operators) -> GpuNodePoolArgs:
    """A pool with GPUs waits for the GPU Operator."""
    pool = plan.pools[name]
    return {
        "namespace": namespace,
        "pool": pool,
        "after": _those(operators, "gpu-operator") if pool.resource_name else [],
    }


def weights_args(plan: Plan, namespace: pulumi.Input[str], token: pulumi.Output[str] | None) -> ModelWeightsArgs:
    """Weights wait for nobody."""
    return {"namespace": namespace, "weights": plan.weights, "token": token}


def server_args(
    plan: Plan,
    server: ServerPlan,
    namespace: pulumi.Input[str],
    pools: Mapping[str, GpuNodePool],
    weights: ModelWeights,
    operators: Operators,
    keys: Keys,
    claims: Sequence[pulumi.Resource] = (),
) -> VllmServerArgs:
    """A server waits for its nodes, its weights and the operators whose objects it declares; the gateway may ask it.

    `claims`: what it mounts besides.
    """
    needed = ["lws"] if server.nodes_per_replica > 1 else []
    needed += ["keda", "prometheus-adapter"] if server.scaling else []
    files = [gate for checkpoint in server.checkpoints for gate in weights.gates[checkpoint.name]]
    return {
        "namespace": namespace,
        "server": server,
        "pool": plan.pools[server.pool],
        "keys": keys,
        "clients": [GATEWAY_PODS],
        "after": [*pools[server.pool].gates, *files, *claims, *_those(operators, *needed)],
    }


def gateway_args(
    plan: Plan,
    namespace: pulumi.Input[str],
    servers: Mapping[str, VllmServer],
    operators: Operators,
    keys: Keys,
    owner: str,
) -> LlmGatewayArgs:
    """The gateway may ask every server, knows those that get traffic, and waits for canaries. `owner`: of its teams."""
    return {
        "namespace": namespace,
        "gateway": plan.gateway,
        "servers": {route.server: servers[route.server].reference for route in plan.gateway.routes},
        "server_pods": SERVER_PODS,
        "keys": keys,
        "owner": owner,
        "database_after": _those(operators, "cloudnative-pg"),
        "after": [servers[server.name].workload for server in plan.servers if server.canary],
    }


def observability_args(
    plan: Plan, namespace: pulumi.Input[str], gateway: pulumi.Input[Mapping[str, str]], operators: Operators
) -> ObservabilityArgs:
    """Monitors wait for the release that brings their CRDs; Prometheus may ask all servers and the gateway."""
    return {
        "namespace": namespace,
        "observability": plan.observability,
        "servers": SERVER_PODS,
        "gateway": gateway,
        "after": _those(operators, "kube-prometheus-stack"),
    }


def _those(operators: Operators, *charts: str) -> list[pulumi.Resource]:
    """The operators among these that the stack installs."""
    return [operators[chart] for chart in charts if chart in operators]
