"""What is declared for each controller in front of the gateway: routes, annotations and objects, whole.

Policies are held to their published schemas where those are beside the checkout. Does not prove that a controller, or a
load balancer of a cloud, does as it is told.
"""

import re
from typing import Any

import pytest

from catalog import load_catalog
from planning.gateway.surface import routed
from preview.rendering.edges import expectations
from tests.harness import CHAT_UI, CRDS, Config, Deployed, merged, minimal, own_keys, stack
from tests.schemas import crd_schemas

EDGES = [(kind, key) for kind, edges in load_catalog().edges.items() for key in edges]
HOST = "llm.example.com"
ARN = "arn:aws:acm:eu-west-1:111122223333:certificate/12345678-1234-1234-1234-123456789012"
HEALTH = "/health/liveliness"
# Of the stacks below: how long a request may take with all tries, in seconds and in minutes, and how long it drains.
T, MINUTES, DRAIN = 1846, 31, 1856
PLATFORMS = {"gke": "gke", "gce": "gke", "alb": "eks", "openshift": "openshift"}
SKIPS = {"pulumi.com/patchFieldManager": "llm-stack-test", "pulumi.com/skipAwait": "true"}
NGINX, ALB, HAPROXY = "nginx.ingress.kubernetes.io", "alb.ingress.kubernetes.io", "haproxy-ingress.github.io"
ROUTE_REF = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "litellm"}
SERVICE_REF = {"group": "", "kind": "Service", "name": "litellm"}
# Annotations of the route.
ROUTES: dict[tuple[str, str], dict[str, str]] = {
    ("ingress", "nginx"): {
        f"{NGINX}/proxy-body-size": "64m",
        f"{NGINX}/proxy-buffering": "off",
        f"{NGINX}/proxy-next-upstream": "off",
        f"{NGINX}/proxy-read-timeout": f"{T}",
        f"{NGINX}/proxy-request-buffering": "off",
        f"{NGINX}/proxy-send-timeout": f"{T}",
    },
    ("ingress", "alb"): {
        f"{ALB}/healthcheck-path": HEALTH,
        f"{ALB}/load-balancer-attributes": f"idle_timeout.timeout_seconds={T}",
        f"{ALB}/success-codes": "200",
        f"{ALB}/target-group-attributes": f"stickiness.enabled=false,deregistration_delay.timeout_seconds={DRAIN}",
        f"{ALB}/target-type": "ip",
    },
    ("ingress", "gce"): {"kubernetes.io/ingress.class": "gce"},
    ("ingress", "haproxy"): {"haproxy.org/check-http": HEALTH, "haproxy.org/timeout-server": f"{T}s"},
    ("ingress", "haproxyIngress"): {
        f"{HAPROXY}/health-check-uri": HEALTH,
        f"{HAPROXY}/proxy-body-size": "64m",
        f"{HAPROXY}/timeout-server": f"{T}s",
    },
    ("ingress", "higress"): {"higress.io/proxy-next-upstream": "off", "higress.io/timeout": f"{T}"},
    ("route", "openshift"): {
        "haproxy.router.openshift.io/balance": "leastconn",
        "haproxy.router.openshift.io/disable_cookies": "true",
        "haproxy.router.openshift.io/timeout": f"{T}s",
    },
}
SERVICES: dict[tuple[str, str], dict[str, str]] = {
    ("ingress", "gce"): {
        "cloud.google.com/backend-config": '{"default": "litellm"}',
        "cloud.google.com/neg": '{"ingress": true}',
    }
}
# (apiVersion, kind) → spec of what is beside the route.
OBJECTS: dict[tuple[str, str], dict[tuple[str, str], Any]] = {
    ("gatewayApi", "envoy"): {
        ("gateway.envoyproxy.io/v1alpha1", "BackendTrafficPolicy"): {
            "targetRefs": [ROUTE_REF],
            "timeout": {"http": {"streamIdleTimeout": f"{T}s"}},
        }
    },
    ("gatewayApi", "gke"): {
        ("networking.gke.io/v1", "HealthCheckPolicy"): {
            "default": {"config": {"type": "HTTP", "httpHealthCheck": {"requestPath": HEALTH}}},
            "targetRef": SERVICE_REF,
        },
        ("networking.gke.io/v1", "GCPBackendPolicy"): {
            "default": {
                "timeoutSec": T,
                "connectionDraining": {"drainingTimeoutSec": DRAIN},
                "sessionAffinity": {"type": "NONE"},
            },
            "targetRef": SERVICE_REF,
        },
    },
    ("gatewayApi", "aws"): {
        ("gateway.k8s.aws/v1beta1", "TargetGroupConfiguration"): {
            "targetReference": {"kind": "Service", "name": "litellm"},
            "defaultConfiguration": {
                "targetType": "ip",
                "healthCheckConfig": {
                    "healthCheckPath": HEALTH,
                    "healthCheckProtocol": "HTTP",
                    "matcher": {"httpCode": "200"},
                },
                "targetGroupAttributes": [
                    {"key": "stickiness.enabled", "value": "false"},
                    {"key": "deregistration_delay.timeout_seconds", "value": f"{DRAIN}"},
                ],
            },
        }
    },
    ("gatewayApi", "nginx"): {
        ("gateway.nginx.org/v1alpha1", "ClientSettingsPolicy"): {
            "targetRef": ROUTE_REF,
            "body": {"maxSize": "64m"},
        },
        ("gateway.nginx.org/v1alpha1", "ProxySettingsPolicy"): {
            "targetRefs": [ROUTE_REF],
            "buffering": {"disable": True},
            "timeout": {"read": f"{MINUTES}m", "send": f"{MINUTES}m"},
        },
    },
    ("ingress", "gce"): {
        ("cloud.google.com/v1", "BackendConfig"): {
            "timeoutSec": T,
            "connectionDraining": {"drainingTimeoutSec": DRAIN},
            "healthCheck": {"type": "HTTP", "requestPath": HEALTH, "port": 4000},
            "sessionAffinity": {"affinityType": "NONE"},
        }
    },
}
# They do not accept a route with timeouts, or say that they do not have them.
WITHOUT_TIMEOUTS = {"gke", "aws", "nginx"}
ROUTE = ("route", "openshift", "route.openshift.io/v1", "Route")
POLICIES = sorted({ROUTE, *((*edge, *policy) for edge, policies in OBJECTS.items() for policy in policies)})


def config(kind: str, key: str, **expose: Any) -> Config:
    """The smallest stack behind this edge, named by what is certain of it or by its name."""
    platform = PLATFORMS.get(key, "generic")
    by_class = {"className": key if key in ("gce", "alb", "nginx", "traefik", "higress") else "internal"}
    more = {"gatewayApi": {"gatewayName": "public"}, "ingress": by_class, "route": {}}[kind]
    certain = key in ("gke", "openshift") or (kind == "ingress" and key == by_class["className"])
    named = {} if certain else {"controller": key}
    return minimal(
        cluster={"platform": platform},
        gpuOperator={"install": False},
        gateway={"host": HOST, "expose": {"kind": kind, **more, **named, **expose}},
    )


def policies(deployed: Deployed) -> dict[tuple[str, str], Any]:
    """(apiVersion, kind) → spec of the objects of the gateway that are nobody else's kinds."""
    kinds = {kind for policies in OBJECTS.values() for _, kind in policies} | {"ManagedCertificate"}
    items = [item for item in deployed.manifests if item.kind in kinds]
    assert {(item.name, item.namespace) for item in items} <= {("litellm", "llm-serving")}
    return {(item.api_version, item.kind): item.body["spec"] for item in items}


def annotations(body: Any) -> dict[str, str]:
    """Those that are not the engine's."""
    return {key: value for key, value in body["metadata"].get("annotations", {}).items() if key not in SKIPS}


@pytest.mark.parametrize(("kind", "key"), EDGES)
def test_every_controller_is_told_what_streams_need_in_its_own_terms(kind: str, key: str):
    """Annotations of the route and of the Service, and the objects beside them: all of them, and no others."""
    deployed = stack(config(kind, key))
    plan = deployed.plan.gateway
    assert (plan.route_timeout_s, plan.termination_grace_s) == (T, DRAIN)
    routes = [body for route in ("HTTPRoute", "Ingress", "Route") for body in deployed.objects(route)]
    told = [annotations(body) for body in routes]
    assert told == [ROUTES.get((kind, key), {})] * (len(routed()) if kind == "route" else 1)
    assert annotations(deployed.object("Service", "litellm")) == SERVICES.get((kind, key), {})
    assert policies(deployed) == OBJECTS.get((kind, key), {})


@pytest.mark.parametrize("key", [key for kind, key in EDGES if kind == "gatewayApi"])
def test_a_route_has_timeouts_where_they_are_accepted(key: str):
    """Some controllers do not accept a route that has them, so the policy beside it says them alone."""
    (rule,) = stack(config("gatewayApi", key)).object("HTTPRoute", "litellm")["spec"]["rules"]
    timeouts = {"request": f"{T}s", "backendRequest": f"{T}s"}
    assert rule.get("timeouts") == (None if key in WITHOUT_TIMEOUTS else timeouts)


@pytest.mark.parametrize("key", [key for kind, key in EDGES if kind == "ingress"])
def test_the_class_is_where_its_controller_reads_it(key: str):
    """In its field, or in an annotation, and then nobody looks for an IngressClass."""
    deployed = stack(config("ingress", key))
    spec = deployed.object("Ingress", "litellm")["spec"]
    own = {"alb", "nginx", "traefik", "higress"}
    assert spec.get("ingressClassName") == (None if key == "gce" else key if key in own else "internal")
    classes = [item.name for item in expectations(deployed.manifests, None) if item.kind == "IngressClass"]
    assert classes == ([] if key == "gce" else [spec["ingressClassName"]])


def test_routes_of_a_platform():
    """One for each path, which end TLS at the router and send whoever comes in clear to it."""
    deployed = stack(config("route", "openshift"))
    specs = {body["metadata"]["name"]: body["spec"] for body in deployed.objects("Route")}
    slugs = [re.sub(r"[^a-z0-9]+", "-", path) for path, _ in routed()]
    assert specs == {
        f"litellm{slug}": {
            "host": HOST,
            "path": path,
            "port": {"targetPort": "http"},
            "tls": {"termination": "edge", "insecureEdgeTerminationPolicy": "Redirect"},
            "to": {"kind": "Service", "name": "litellm", "weight": 100},
        }
        for slug, (path, _) in zip(slugs, routed(), strict=True)
    }
    assert deployed.registered("gateway")["endpoint"] == f"https://{HOST}/v1"
    chat = merged(CHAT_UI, {"expose": None})
    page = stack(merged(config("route", "openshift"), {"gateway": {**chat, "expose": {"kind": "route"}}}))
    (spec,) = [body["spec"] for body in page.objects("Route") if body["metadata"]["name"] == "open-webui"]
    assert (spec["host"], spec["path"], spec["to"]["name"]) == ("chat.example.com", "/", "open-webui")


CERTIFICATES: list[tuple[str, Any, dict[str, str], Any, str | None]] = [
    ("alb", {"kind": "certificate", "names": [ARN, ARN]}, {f"{ALB}/certificate-arn": f"{ARN},{ARN}"}, {}, None),
    ("alb", {"kind": "managed"}, {f"{ALB}/listen-ports": '[{"HTTPS": 443}]'}, {}, None),
    (
        "gce",
        {"kind": "certificate", "names": ["llm", "chat"]},
        {"ingress.gcp.kubernetes.io/pre-shared-cert": "llm,chat"},
        {},
        None,
    ),
    (
        "gce",
        {"kind": "managed"},
        {"networking.gke.io/managed-certificates": "litellm"},
        {("networking.gke.io/v1", "ManagedCertificate"): {"domains": [HOST]}},
        None,
    ),
    (
        "nginx",
        {"kind": "issuer", "name": "letsencrypt"},
        {"cert-manager.io/cluster-issuer": "letsencrypt", "llm-stack.io/issuer": "ClusterIssuer letsencrypt"},
        {},
        "ClusterIssuer letsencrypt: of cert-manager, which makes the Secret litellm-tls",
    ),
    (
        "traefik",
        {"kind": "issuer", "name": "ca", "scope": "namespace"},
        {
            "cert-manager.io/issuer": "ca",
            "llm-stack.io/issuer": "Issuer ca",
            "traefik.ingress.kubernetes.io/router.tls": "true",
        },
        {},
        "Issuer ca in llm-serving: of cert-manager, which makes the Secret litellm-tls",
    ),
]


@pytest.mark.parametrize(("key", "tls", "told", "objects", "expected"), CERTIFICATES)
def test_certificates_from_elsewhere(key: str, tls: Any, told: dict[str, str], objects: Any, expected: str | None):
    """Annotations and objects that say where; nobody has to make a Secret that an issuer makes."""
    deployed = stack(config("ingress", key, tls=tls))
    ingress = deployed.object("Ingress", "litellm")
    assert annotations(ingress) == {**ROUTES.get(("ingress", key), {}), **told}
    assert policies(deployed) == {**OBJECTS.get(("ingress", key), {}), **objects}
    in_secret = [{"hosts": [HOST], "secretName": "litellm-tls"}] if expected else None
    assert ingress["spec"].get("tls") == in_secret
    found = expectations(deployed.manifests, deployed.plan)
    assert [str(item) for item in found if "ssuer" in item.kind] == ([expected] if expected else [])
    assert [item.name for item in found if item.kind == "Secret" and "tls" in item.name] == []
    assert deployed.registered("gateway")["endpoint"] == f"https://{HOST}/v1"


def test_the_page_to_chat_with_has_policies_of_its_own():
    """For its own Service and route, with its own health and drain."""
    deployed = stack(merged(config("gatewayApi", "gke"), {"gateway": CHAT_UI}))
    page = {
        item.kind: item.body["spec"]
        for item in deployed.manifests
        if item.name == "open-webui" and "Policy" in item.kind
    }
    assert page["HealthCheckPolicy"] == {
        "default": {"config": {"type": "HTTP", "httpHealthCheck": {"requestPath": "/health"}}},
        "targetRef": {**SERVICE_REF, "name": "open-webui"},
    }
    backend = page["GCPBackendPolicy"]["default"]
    assert (backend["timeoutSec"], backend["connectionDraining"]) == (
        deployed.plan.gateway.route_timeout_s,
        {"drainingTimeoutSec": 30},
    )


@pytest.mark.parametrize(("kind", "key"), EDGES)
def test_health_checks_and_edges_reach_the_gateway_from_anywhere(kind: str, key: str):
    """Load balancers ask from outside of the cluster, so its rule names no source; keys decide who is answered."""
    rules = stack(config(kind, key)).object("NetworkPolicy", "litellm")["spec"]["ingress"]
    assert rules == [{"ports": [{"port": 4000, "protocol": "TCP"}]}]


@pytest.mark.parametrize(("kind", "key", "version", "policy"), POLICIES)
def test_policies_meet_the_schemas_of_their_definitions(kind: str, key: str, version: str, policy: str):
    """No unknown field and no wrong type, where the definition is beside the checkout."""
    validator = crd_schemas().get((version, policy)) if CRDS.is_dir() else None
    if validator is None:
        pytest.skip(f"no definition of {policy} in the folder ../shared/crds: {key}'s was not checked")
    bodies = stack(config(kind, key)).objects(policy)
    assert bodies
    assert [f"{error.json_path}: {error.message}" for body in bodies for error in validator.iter_errors(body)] == []


@pytest.mark.parametrize(("kind", "key"), EDGES)
def test_the_preview_names_the_edge_what_it_needs_and_its_kinds(kind: str, key: str):
    """Everything that only who runs the controller can set, and each API that it brings."""
    deployed = stack(config(kind, key))
    exposure = deployed.plan.gateway.exposure
    assert exposure is not None
    found = expectations(deployed.manifests, deployed.plan)
    edge = [(item.name, item.note) for item in found if item.kind == "Edge"]
    assert edge == [(exposure.edge.name, need) for need in exposure.edge.needs or ("",)]
    assert not any("<" in need for _, need in edge)
    groups = {item.name for item in found if item.kind == "API"}
    assert {version for version, _ in OBJECTS.get((kind, key), {})} <= groups


def test_an_edge_that_nobody_names_is_expected_of_nobody():
    """A warning lists what it needs."""
    exposed = own_keys(gateway={"host": HOST, "expose": {"kind": "ingress", "className": "x", "tlsSecret": "t"}})
    deployed = stack(exposed)
    assert [item for item in expectations(deployed.manifests, deployed.plan) if item.kind == "Edge"] == []
    (line,) = [line for line in deployed.plan.warnings if "which controller" in line]
    assert line.startswith("gateway: nothing says which controller serves it")
