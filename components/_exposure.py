"""Access to the gateway from outside: an HTTPRoute or an Ingress that lets streams live, for inference only.

Paths are listed one by one; everything else of LiteLLM (keys, users, files, configuration, metrics) stays inside the
cluster. Headers that name addresses inside are taken away by the gateway itself, so that every edge is the same.
"""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from planning.gateway.routing import PORT
from planning.gateway.surface import LARGEST_BODY_MIB, VERSION, routed
from planning.plan.gateway import GatewayPlan, HttpRoute, Ingress
from planning.stack.timing import gep_2257


def expose(
    name: str, metadata: Any, plan: GatewayPlan, service: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> str | None:
    """Declare the route the plan asks for; returns the public URL, None inside the cluster only."""
    match plan.exposure:
        case None:
            return None
        case HttpRoute() as route:
            _http_route(name, metadata, route, plan.route_timeout_s, service, opts)
        case Ingress() as ingress:
            _ingress(name, metadata, ingress, plan.route_timeout_s, service, opts)
    return f"{plan.exposure.url}{VERSION}"


def _http_route(
    name: str,
    metadata: Any,
    route: HttpRoute,
    timeout_s: int,
    service: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> None:
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": route.gateway_name}
    if route.gateway_namespace:
        parent["namespace"] = route.gateway_namespace
    if route.section_name:
        parent["sectionName"] = route.section_name
    paths = [{"path": {"type": "PathPrefix" if below else "Exact", "value": path}} for path, below in routed()]
    rule = {
        "matches": paths,
        "backendRefs": [{"group": "", "kind": "Service", "name": service, "port": PORT, "weight": 1}],
        # some gateways cut every exchange after 15 s unless told otherwise
        "timeouts": {"request": gep_2257(timeout_s), "backendRequest": gep_2257(timeout_s)},
    }
    k8s.apiextensions.CustomResource(
        f"{name}-route",
        api_version="gateway.networking.k8s.io/v1",
        kind="HTTPRoute",
        metadata=metadata,
        spec={"parentRefs": [parent], "hostnames": [route.host], "rules": [rule]},
        opts=opts,
    )


def _ingress(
    name: str,
    metadata: Any,
    ingress: Ingress,
    timeout_s: int,
    service: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> None:
    timeout = str(timeout_s)
    prefix = "nginx.ingress.kubernetes.io"
    annotations = {
        f"{prefix}/proxy-body-size": f"{LARGEST_BODY_MIB}m",
        f"{prefix}/proxy-buffering": "off",
        f"{prefix}/proxy-next-upstream": "off",
        f"{prefix}/proxy-read-timeout": timeout,
        f"{prefix}/proxy-request-buffering": "off",
        f"{prefix}/proxy-send-timeout": timeout,
        # an Ingress may wait for an address for ever; the gateway's own readiness is what counts
        "pulumi.com/skipAwait": "true",
        **ingress.annotations,
    }
    backend = {"service": {"name": service, "port": {"name": "http"}}}
    paths = [{"path": path, "pathType": "Prefix" if below else "Exact", "backend": backend} for path, below in routed()]
    spec: Any = {
        "ingressClassName": ingress.class_name,
        "rules": [{"host": ingress.host, "http": {"paths": paths}}],
    }
    if ingress.tls_secret:
        spec["tls"] = [{"hosts": [ingress.host], "secretName": ingress.tls_secret}]
    k8s.networking.v1.Ingress(f"{name}-route", metadata=_k8s.annotated(metadata, annotations), spec=spec, opts=opts)
