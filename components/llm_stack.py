"""`LlmStack`: everything a stack file describes, as one component for programs in any language.

Owns the provider, the operators, the namespace and the five components, and in which order they come. What it takes is
the stack file itself; everything else follows from it, or is refused before anything is declared.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as k8s

from components import _contract, wiring
from components._overrides import overridden_by
from components.claim import claim, waiting_for
from components.compile_cache import declare_compile_cache
from components.gpu_node_pool import GpuNodePool
from components.llm_gateway import LlmGateway
from components.model_weights import ModelWeights
from components.observability import Observability
from components.operators import install
from components.ownership import owned_by
from components.parts import plan_from_catalog
from components.pre_pull import declare_pre_pulls
from components.serving_namespace import bare_namespace, closed
from components.vllm_server import VllmServer
from planning.parts import plan_stack
from planning.plan import Plan
from settings import Problem
from settings.load import owner


class LlmStackArgs(TypedDict):
    """A stack file, and the secrets beside it."""

    settings: Mapping[str, Any]
    """The sections of a stack file: cluster, gpuPools, weights, models, gateway, …"""
    gateway_master_key: NotRequired[pulumi.Input[str]]
    """Secret key that opens the gateway; without it, `gateway.existingSecret` names a Secret with all keys."""
    hugging_face_token: NotRequired[pulumi.Input[str]]
    """Secret token of the hub, where `weights.hub.tokenSecret` names no Secret with one."""


class LlmStack(pulumi.ComponentResource):
    """A serving platform: GPU nodes, weights, servers, gateway, monitoring. One of them for each Pulumi stack."""

    endpoint: pulumi.Output[str]
    """URL of the OpenAI-compatible API."""
    admin_url: pulumi.Output[str]
    """Address of the gateway inside of the cluster."""
    models: pulumi.Output[Mapping[str, str]]
    """Public name of each model → its repository."""
    dashboards: pulumi.Output[Sequence[str]]
    """Titles of the Grafana dashboards."""
    alerts: pulumi.Output[Sequence[str]]
    """Names of the alerts."""

    def __init__(
        self,
        name: str,
        args: LlmStackArgs,
        opts: pulumi.ResourceOptions | None = None,
        *,
        problems: Sequence[Problem] = (),
    ) -> None:
        """`problems`: what was wrong when the settings were read; it is refused together with what is wrong in them."""
        self.plan = _plan(name, args, problems)
        changed = [owned_by(owner(), take_over=self.plan.takes_over), *overridden_by(self.plan.overrides)]
        owned = pulumi.ResourceOptions(transformations=changed)
        super().__init__("llm-stack:index:LlmStack", name, None, pulumi.ResourceOptions.merge(opts, owned))
        plan, child = self.plan, self._former()
        provider = self._cluster(plan, child)
        child = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(provider=provider))
        place = bare_namespace(plan.namespace, child)
        waits = waiting_for(claim(plan.namespace, place.metadata.name, owner(), provider, child))
        child = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(transformations=[waits]))
        operators = install(plan.releases, child)
        namespace = closed(place, plan.namespace, child, plan.dns)
        keys = wiring.keys(plan, _secret(args.get("gateway_master_key")))
        pools = {
            pool: GpuNodePool(pool, wiring.pool_args(plan, pool, namespace, operators), child) for pool in plan.pools
        }
        token = _secret(args.get("hugging_face_token"))
        weights = ModelWeights("weights", wiring.weights_args(plan, namespace, token), child)
        cache_claims = [declare_compile_cache(plan.compile_cache, namespace, child)] if plan.compile_cache else []
        declare_pre_pulls(plan.pre_pulls, namespace, child)
        servers = {
            server.name: VllmServer(
                server.name,
                wiring.server_args(plan, server, namespace, pools, weights, operators, keys, cache_claims),
                pulumi.ResourceOptions.merge(child, self._former(server.replaces)) if server.replaces else child,
            )
            for server in plan.servers
        }
        gateway = LlmGateway("gateway", wiring.gateway_args(plan, namespace, servers, operators, keys, owner()), child)
        observability = Observability(
            "observability", wiring.observability_args(plan, namespace, gateway.metrics_selector, operators), child
        )
        self.endpoint, self.admin_url = gateway.endpoint, gateway.admin_url
        self.models = pulumi.Output.from_input(
            {
                name: checkpoint.model
                for server in plan.servers
                if not server.canary
                for name, checkpoint in {server.public_name: server.checkpoint, **server.adapters}.items()
            }
        )
        self.dashboards, self.alerts = observability.dashboards, observability.alert_names
        self.register_outputs(
            {
                "endpoint": self.endpoint,
                "admin_url": self.admin_url,
                "models": self.models,
                "dashboards": self.dashboards,
                "alerts": self.alerts,
            }
        )

    def _former(self, name: str | None = None) -> pulumi.ResourceOptions:
        """Options of a child; what was deployed before there was this component stood at the top (as `name`)."""
        top = pulumi.ROOT_STACK_RESOURCE
        alias = pulumi.Alias(name=name, parent=top) if name else pulumi.Alias(parent=top)
        return pulumi.ResourceOptions(parent=self, aliases=[alias])

    def _cluster(self, plan: Plan, opts: pulumi.ResourceOptions) -> pulumi.ProviderResource:
        """The caller's Kubernetes provider, or one that talks to the context of the settings and nothing else."""
        provider = self.get_provider("kubernetes:core/v1:Namespace")
        if provider is not None:
            return provider
        return k8s.Provider(
            "cluster",
            # found as kubectl finds it, on every machine: otherwise the path in KUBECONFIG would be part of the state
            kubeconfig="",
            context=plan.context,
            cluster_identifier=plan.cluster_identifier,
            # the dashboard keeps its name and is updated in place; content that must roll its pods is marked immutable
            enable_config_map_mutable=True,
            # what a killed `up` has made, and what a former stack has left, is taken over: components/ownership.py
            upsert_existing_objects=True,
            opts=opts,
        )


def _plan(name: str, args: LlmStackArgs, problems: Sequence[Problem]) -> Plan:
    """Raises `ConfigError`, which lists everything that is wrong."""
    _contract.check("LlmStack", name, args, LlmStackArgs)
    if not isinstance(args["settings"], Mapping):
        kind = type(args["settings"]).__name__
        raise pulumi.RunError(
            f"LlmStack '{name}': settings must be the sections of a stack file as plain values, not a {kind}"
        )
    return plan_from_catalog(
        args["settings"],
        lambda named, known: plan_stack(
            named,
            known,
            problems,
            has_master_key=args.get("gateway_master_key") is not None,
            has_hub_token=args.get("hugging_face_token") is not None,
        ),
    )


def _secret(value: pulumi.Input[str] | None) -> pulumi.Output[str] | None:
    """A secret stays one, and becomes one that was handed over in clear."""
    return None if value is None else pulumi.Output.secret(value)
