"""Access from outside: an HTTPRoute or an Ingress that lets streams live, to the gateway for inference only.

Its paths are listed one by one; everything else of LiteLLM (keys, users, files, configuration, metrics) stays inside
the cluster. Headers that name addresses inside are taken away by the gateway itself, so that every edge is the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from planning.gateway.routing import PORT
from planning.gateway.surface import LARGEST_BODY_MIB, VERSION, routed
from planning.plan.gateway import GatewayPlan, HttpRoute, Ingress
from planning.stack.timing import gep_2257


@dataclass(frozen=True)
class Backend:
    """The Service that is reached, its port (by name `http`), and of its paths those, (path, with all below it)."""

    service: pulumi.Input[str]
    port: int
    paths: Sequence[tuple[str, bool]]
    timeout_s: int


def expose(
    name: str, metadata: Any, plan: GatewayPlan, service: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> str | None:
    """Declare the route the plan asks for; returns the public URL, None inside the cluster only."""
    if plan.exposure is None:
        return None
    route(name, metadata, plan.exposure, Backend(service, PORT, routed(), plan.route_timeout_s), opts)
    return f"{plan.exposure.url}{VERSION}"


def route(
    name: str, metadata: Any, exposure: HttpRoute | Ingress, backend: Backend, opts: pulumi.ResourceOptions
) -> None:
    """Declare the route of one host to one Service."""
    match exposure:
        case HttpRoute() as http_route:
            _http_route(name, metadata, http_route, backend, opts)
        case Ingress() as ingress:
            _ingress(name, metadata, ingress, backend, opts)


def _http_route(name: str, metadata: Any, route: HttpRoute, backend: Backend, opts: pulumi.ResourceOptions) -> None:
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": route.gateway_name}
    if route.gateway_namespace:
        parent["namespace"] = route.gateway_namespace
    if route.section_name:
        parent["sectionName"] = route.section_name
    paths = [{"path": {"type": "PathPrefix" if below else "Exact", "value": path}} for path, below in backend.paths]
    to_service = {"group": "", "kind": "Service", "name": backend.service, "port": backend.port, "weight": 1}
    timeout = gep_2257(backend.timeout_s)
    rule = {
        "matches": paths,
        "backendRefs": [to_service],
        # some gateways cut every exchange after 15 s unless told otherwise
        "timeouts": {"request": timeout, "backendRequest": timeout},
    }
    k8s.apiextensions.CustomResource(
        f"{name}-route",
        api_version="gateway.networking.k8s.io/v1",
        kind="HTTPRoute",
        metadata=metadata,
        spec={"parentRefs": [parent], "hostnames": [route.host], "rules": [rule]},
        opts=opts,
    )


def _ingress(name: str, metadata: Any, ingress: Ingress, backend: Backend, opts: pulumi.ResourceOptions) -> None:
    timeout = str(backend.timeout_s)
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
    to_service = {"service": {"name": backend.service, "port": {"name": "http"}}}
    paths = [
        {"path": path, "pathType": "Prefix" if below else "Exact", "backend": to_service}
        for path, below in backend.paths
    ]
    spec: Any = {
        "ingressClassName": ingress.class_name,
        "rules": [{"host": ingress.host, "http": {"paths": paths}}],
    }
    if ingress.tls_secret:
        spec["tls"] = [{"hosts": [ingress.host], "secretName": ingress.tls_secret}]
    k8s.networking.v1.Ingress(f"{name}-route", metadata=_k8s.annotated(metadata, annotations), spec=spec, opts=opts)
