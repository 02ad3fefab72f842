"""Access from outside: an HTTPRoute, an Ingress or Routes that let streams live, to the gateway for inference only.

What the controller behind them is told stands in the plan, as annotations and as objects beside them. The paths are
listed one by one; everything else of LiteLLM (keys, users, files, configuration, metrics) stays inside the cluster.
Headers that name addresses inside are taken away by the gateway itself, so that every edge is the same.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from planning.gateway.routing import PORT
from planning.gateway.surface import VERSION, routed
from planning.plan.edges import EdgeObject
from planning.plan.gateway import Exposure, GatewayPlan, HostRoute, HttpRoute, Ingress
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


def service_annotations(exposure: Exposure | None) -> Mapping[str, str]:
    """Annotations of the Service that a route leads to."""
    return {**_k8s.SKIP_AWAIT, **(exposure.edge.service_annotations if exposure else {})}


def route(name: str, metadata: Any, exposure: Exposure, backend: Backend, opts: pulumi.ResourceOptions) -> None:
    """Declare the route of one host to one Service, and what its controller needs beside it."""
    match exposure:
        case HttpRoute() as http_route:
            _http_route(name, metadata, http_route, backend, opts)
        case Ingress() as ingress:
            _ingress(name, metadata, ingress, backend, opts)
        case HostRoute() as host_route:
            _host_routes(name, metadata, host_route, backend, opts)
    for policy in exposure.edge.objects:
        _policy(name, metadata, policy, opts)


def _policy(name: str, metadata: Any, policy: EdgeObject, opts: pulumi.ResourceOptions) -> None:
    """Declare an object of a controller's own kind."""
    k8s.apiextensions.CustomResource(
        f"{name}-{policy.kind.lower()}",
        api_version=policy.api_version,
        kind=policy.kind,
        metadata=metadata,
        spec=dict(policy.spec),
        opts=opts,
    )


def _http_route(name: str, metadata: Any, route: HttpRoute, backend: Backend, opts: pulumi.ResourceOptions) -> None:
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": route.gateway_name}
    if route.gateway_namespace:
        parent["namespace"] = route.gateway_namespace
    if route.section_name:
        parent["sectionName"] = route.section_name
    paths = [{"path": {"type": "PathPrefix" if below else "Exact", "value": path}} for path, below in backend.paths]
    to_service = {"group": "", "kind": "Service", "name": backend.service, "port": backend.port, "weight": 1}
    timeout = gep_2257(backend.timeout_s)
    rule: dict[str, Any] = {"matches": paths, "backendRefs": [to_service]}
    if route.edge.route_timeouts:
        # some gateways cut every exchange after 15 s unless told otherwise; others accept no route that says so
        rule["timeouts"] = {"request": timeout, "backendRequest": timeout}
    k8s.apiextensions.CustomResource(
        f"{name}-route",
        api_version="gateway.networking.k8s.io/v1",
        kind="HTTPRoute",
        metadata=metadata,
        spec={"parentRefs": [parent], "hostnames": [route.host], "rules": [rule]},
        opts=opts,
    )


def _ingress(name: str, metadata: Any, ingress: Ingress, backend: Backend, opts: pulumi.ResourceOptions) -> None:
    # an Ingress may wait for an address for ever; the gateway's own readiness is what counts
    annotations = {**_k8s.SKIP_AWAIT, **ingress.edge.annotations}
    if issuer := ingress.edge.issuer:
        annotations["llm-stack.io/issuer"] = f"{issuer.kind} {issuer.name}"
    to_service = {"service": {"name": backend.service, "port": {"name": "http"}}}
    paths = [
        {"path": path, "pathType": "Prefix" if below else "Exact", "backend": to_service}
        for path, below in backend.paths
    ]
    spec: Any = {"rules": [{"host": ingress.host, "http": {"paths": paths}}]}
    if ingress.class_name:
        spec["ingressClassName"] = ingress.class_name
    if ingress.tls_secret:
        spec["tls"] = [{"hosts": [ingress.host], "secretName": ingress.tls_secret}]
    k8s.networking.v1.Ingress(f"{name}-route", metadata=_k8s.annotated(metadata, annotations), spec=spec, opts=opts)


def _host_routes(name: str, metadata: Any, route: HostRoute, backend: Backend, opts: pulumi.ResourceOptions) -> None:
    """Declare a Route for each path, with all below it: they know no other way, and the gateway refuses the rest."""
    for path, _ in backend.paths:
        end = re.sub(r"[^a-z0-9]+", "-", path).rstrip("-")
        k8s.apiextensions.CustomResource(
            f"{name}-route{end}",
            api_version="route.openshift.io/v1",
            kind="Route",
            metadata=_k8s.annotated(_k8s.named(metadata, f"{metadata['name']}{end}"), route.edge.annotations),
            spec={
                "host": route.host,
                "path": path,
                "port": {"targetPort": "http"},
                "tls": {"termination": "edge", "insecureEdgeTerminationPolicy": "Redirect"},
                "to": {"kind": "Service", "name": backend.service, "weight": 100},
            },
            opts=opts,
        )
