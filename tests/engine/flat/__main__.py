"""The program as it was before `LlmStack`: everything at the top of the stack, under the names of then."""

import sys
from pathlib import Path

import pulumi
import pulumi_kubernetes as k8s

sys.path.insert(0, str(Path(__file__).parents[3]))

from catalog import load_catalog
from components import GpuNodePool, LlmGateway, ModelWeights, Observability, VllmServer, wiring
from components.operators import install
from components.ownership import owned_by
from components.serving_namespace import serving_namespace
from planning.parts import plan_stack
from settings.load import load, owner

config = load()
plan = plan_stack(config.values, load_catalog(), has_master_key="gateway_master_key" in config.secrets)
provider = k8s.Provider(
    "cluster",
    kubeconfig="",
    context=plan.context,
    cluster_identifier=plan.cluster_identifier,
    enable_config_map_mutable=True,
    upsert_existing_objects=True,
)
opts = pulumi.ResourceOptions(provider=provider)
pulumi.runtime.register_stack_transformation(owned_by(owner()))
operators = install(plan.releases, opts)
namespace = serving_namespace(plan.namespace, opts)
keys = wiring.keys(plan, config.secrets.get("gateway_master_key"))
pools = {name: GpuNodePool(name, wiring.pool_args(plan, name, namespace, operators), opts) for name in plan.pools}
weights = ModelWeights("weights", wiring.weights_args(plan, namespace, None), opts)
servers = {
    server.name: VllmServer(
        server.name, wiring.server_args(plan, server, namespace, pools, weights, operators, keys), opts
    )
    for server in plan.servers
}
gateway = LlmGateway("gateway", wiring.gateway_args(plan, namespace, servers, operators, keys, "flat"), opts)
Observability("observability", wiring.observability_args(plan, namespace, gateway.metrics_selector, operators), opts)
