"""How the gateway is reached from outside: an HTTPRoute or an Ingress that lets streams live, for inference only.

Paths are listed one by one; everything else of LiteLLM (keys, users, files, configuration, metrics) stays inside the
cluster. Headers that name addresses inside are taken away by the gateway itself, so that every edge is the same.
"""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from planning.gateway.routing import PORT
from planning.gateway.surface import VERSION, routed
from planning.plan import GatewayPlan


def expose(
    name: str, metadata: Any, plan: GatewayPlan, service: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> str | None:
    """Declare the route the plan asks for; returns the public URL, None inside the cluster only."""
    match plan.exposure["kind"]:
        case "gatewayApi":
            _http_route(name, metadata, plan, service, opts)
            return f"https://{plan.host}{VERSION}"
        case "ingress":
            _ingress(name, metadata, plan, service, opts)
            scheme = "https" if plan.exposure.get("tls_secret") else "http"
            return f"{scheme}://{plan.host}{VERSION}"
        case _:
            return None


def _http_route(
    name: str, metadata: Any, plan: GatewayPlan, service: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> None:
    parent: dict[str, Any] = {
        "group": "gateway.networking.k8s.io",
        "kind": "Gateway",
        "name": plan.exposure["gateway_name"],
    }
    if plan.exposure.get("gateway_namespace"):
        parent["namespace"] = plan.exposure["gateway_namespace"]
    if plan.exposure.get("section_name"):
        parent["sectionName"] = plan.exposure["section_name"]
    paths = [{"path": {"type": "PathPrefix" if below else "Exact", "value": path}} for path, below in routed()]
    rule = {
        "matches": paths,
        "backendRefs": [{"group": "", "kind": "Service", "name": service, "port": PORT, "weight": 1}],
        # some gateways cut every exchange after 15 s unless told otherwise
        "timeouts": {"request": _duration(plan.route_timeout_s), "backendRequest": _duration(plan.route_timeout_s)},
    }
    k8s.apiextensions.CustomResource(
        f"{name}-route",
        api_version="gateway.networking.k8s.io/v1",
        kind="HTTPRoute",
        metadata=metadata,
        spec={"parentRefs": [parent], "hostnames": [plan.host], "rules": [rule]},
        opts=opts,
    )


def _duration(seconds: int) -> str:
    """As the Gateway API writes it, which takes five digits at most of every unit (GEP-2257)."""
    return f"{seconds}s" if seconds < 100_000 else f"{seconds // 3600}h{seconds % 3600}s"


def _ingress(
    name: str, metadata: Any, plan: GatewayPlan, service: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> None:
    timeout = str(plan.route_timeout_s)
    prefix = "nginx.ingress.kubernetes.io"
    extra: Any = plan.exposure.get("annotations", {})
    annotations = {
        f"{prefix}/proxy-body-size": "64m",
        f"{prefix}/proxy-buffering": "off",
        f"{prefix}/proxy-next-upstream": "off",
        f"{prefix}/proxy-read-timeout": timeout,
        f"{prefix}/proxy-request-buffering": "off",
        f"{prefix}/proxy-send-timeout": timeout,
        # an Ingress may wait for an address for ever; the gateway's own readiness is what counts
        "pulumi.com/skipAwait": "true",
        **extra,
    }
    backend = {"service": {"name": service, "port": {"name": "http"}}}
    paths = [{"path": path, "pathType": "Prefix" if below else "Exact", "backend": backend} for path, below in routed()]
    spec: Any = {
        "ingressClassName": plan.exposure["class_name"],
        "rules": [{"host": plan.host, "http": {"paths": paths}}],
    }
    if plan.exposure.get("tls_secret"):
        spec["tls"] = [{"hosts": [plan.host], "secretName": plan.exposure["tls_secret"]}]
    k8s.networking.v1.Ingress(f"{name}-route", metadata=_k8s.annotated(metadata, annotations), spec=spec, opts=opts)
