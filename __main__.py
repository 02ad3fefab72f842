"""The program: configuration → plan → provider → five components → outputs."""

import gc

import pulumi
import pulumi_kubernetes as k8s

from catalog import load_catalog
from components import GpuNodePool, LlmGateway, ModelWeights, Observability, VllmServer, wiring
from components.operators import install
from components.ownership import owned_by
from components.serving_namespace import serving_namespace
from planning import resolve
from settings import Refused
from settings.load import ConfigError, load

# Little of what a program makes is garbage before its end; looking for it every 700 objects takes a tenth of a preview.
gc.set_threshold(200_000)
config = load()
try:
    has_token = config.secrets.hugging_face_token is not None
    plan = resolve(config.settings, load_catalog(), config.problems, has_hub_token=has_token)
except Refused as refused:
    raise ConfigError(refused.problems) from None
secrets = config.secrets

provider = k8s.Provider(
    "cluster",
    # found as kubectl finds it, on every machine: otherwise the path in KUBECONFIG would be part of the state
    kubeconfig="",
    context=plan.context,
    cluster_identifier=plan.cluster_identifier,
    # the dashboard keeps its name, so it is updated in place; content that must roll its pods is marked immutable
    enable_config_map_mutable=True,
    # what an `up` that was killed has made, and what a former stack has left, is taken over (components/ownership.py)
    upsert_existing_objects=True,
)
opts = pulumi.ResourceOptions(provider=provider)
pulumi.runtime.register_stack_transformation(owned_by(config.owner))

operators = install(plan.releases, opts)
namespace = serving_namespace(plan.namespace, opts)
pools = {name: GpuNodePool(name, wiring.pool_args(plan, name, namespace, operators), opts) for name in plan.pools}
keys = wiring.keys(plan, secrets.gateway_master_key)
weights = ModelWeights("weights", wiring.weights_args(plan, namespace, secrets.hugging_face_token), opts)
servers = {
    server.name: VllmServer(
        server.name,
        wiring.server_args(plan, server, namespace, pools, weights, operators, keys),
        opts,
    )
    for server in plan.servers
}
gateway = LlmGateway("gateway", wiring.gateway_args(plan, namespace, servers, keys), opts)
observability = Observability(
    "observability", wiring.observability_args(plan, namespace, gateway.metrics_selector, operators), opts
)

pulumi.export("endpoint", gateway.endpoint)
pulumi.export("adminUrl", gateway.admin_url)
pulumi.export("models", {server.model_name: server.model for server in plan.servers if not server.canary})
pulumi.export("dashboards", observability.dashboards)
pulumi.export("alerts", observability.alert_names)
