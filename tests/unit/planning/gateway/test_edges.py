"""Whose edge it is, what is refused and what is warned of; the objects are in tests/components/test_edges.py.

Does not prove that a controller does as its documentation says.
"""

from typing import Any

import pytest

from planning.plan.edges import EdgePlan
from planning.plan.gateway import Ingress
from tests.harness import merged
from tests.unit.small_stack import planned, refusals, stack

ARN = "arn:aws:acm:eu-west-1:111122223333:certificate/12345678-1234-1234-1234-123456789012"
GATEWAY_API = {"kind": "gatewayApi", "gatewayName": "public"}
ROUTE = {"kind": "route"}


def raw(expose: dict[str, Any], platform: str = "generic", **gateway: Any) -> dict[str, Any]:
    """A stack that is exposed so, on such a cluster."""
    cluster = {"context": "c", "identifier": "i", "platform": platform}
    return stack(
        cluster=cluster,
        gateway={"existingSecret": "k", "host": "llm.example.com", "expose": expose, **gateway},
        gpuOperator={"install": False},
    )


def ingress(class_name: str, **more: Any) -> dict[str, Any]:
    """An Ingress of this class."""
    return {"kind": "ingress", "className": class_name, **more}


def edge(expose: dict[str, Any], platform: str = "generic") -> EdgePlan:
    """What the plan says of it."""
    exposure = planned(raw(expose, platform)).gateway.exposure
    assert exposure is not None
    return exposure.edge


def warnings(expose: dict[str, Any], platform: str = "generic", **gateway: Any) -> list[str]:
    """What is said of the gateway's edge."""
    every = planned(raw(expose, platform, **gateway)).warnings
    return [line.removeprefix("gateway: ") for line in every if line.startswith("gateway: ")]


@pytest.mark.parametrize(
    ("expose", "platform", "expected"),
    [
        (GATEWAY_API, "generic", None),
        (GATEWAY_API, "gke", "gke"),
        ({**GATEWAY_API, "controller": "envoy"}, "gke", "envoy"),
        ({**GATEWAY_API, "controller": "other"}, "gke", "other"),
        (ingress("nginx"), "generic", "nginx"),
        (ingress("webapprouting.kubernetes.azure.com"), "aks", "nginx"),
        (ingress("traefik"), "k3s", "traefik"),
        (ingress("higress"), "ack", "higress"),
        (ingress("alb"), "eks", "alb"),
        (ingress("alb"), "eksAuto", "alb"),
        (ingress("alb"), "ack", None),
        (ingress("gce"), "gke", "gce"),
        (ingress("gce-internal"), "gke", "gce"),
        (ingress("gce"), "generic", None),
        (ingress("haproxy"), "generic", None),
        (ingress("internal"), "generic", None),
        (ingress("internal", controller="haproxy"), "generic", "haproxy"),
        (ROUTE, "openshift", "openshift"),
    ],
)
def test_the_controller_is_that_which_is_certain(expose: dict[str, Any], platform: str, expected: str | None):
    """The one that is named, else that of the platform or of a well-known class there; none where it may be another."""
    assert edge(expose, platform).controller == expected


PATH = "gateway.expose"
NO_SECRET = "AWS Load Balancer Controller, or that of EKS Auto Mode takes no certificate from a Secret"
ALB_WAYS = f"{PATH}.tls: {{kind: certificate}} or {PATH}.tls: {{kind: managed}}"
SECRET_OR_ISSUER = f"{PATH}.tlsSecret or {PATH}.tls: {{kind: issuer}}"
NAME_IT = f"; give {PATH}.controller where it is one of alb, gce"
KNOWN = "alb, gce, haproxy, haproxyIngress, higress, nginx, other, traefik"


@pytest.mark.parametrize(
    ("expose", "platform", "expected"),
    [
        (
            ingress("x", controller="nginks"),
            "generic",
            f"{PATH}.controller: 'nginks' is no controller of kind ingress; did you mean 'nginx'?",
        ),
        (
            ingress("x", controller="zzz"),
            "generic",
            f"{PATH}.controller: 'zzz' is no controller of kind ingress; known: {KNOWN}",
        ),
        (
            ingress("x", controller="envoy"),
            "generic",
            f"{PATH}.controller: 'envoy' is no controller of kind ingress; it has kind: gatewayApi",
        ),
        (
            {**GATEWAY_API, "controller": "alb"},
            "eks",
            f"{PATH}.controller: 'alb' is no controller of kind gatewayApi; it has kind: ingress",
        ),
        (
            ROUTE,
            "generic",
            f"{PATH}.kind: no router is known on 'generic'; use ingress or gatewayApi; known on: openshift",
        ),
        (ingress("alb", tlsSecret="tls"), "eks", f"{PATH}.tlsSecret: {NO_SECRET}; use {ALB_WAYS}"),
        (
            ingress("nginx", tls={"kind": "managed"}),
            "generic",
            f"{PATH}.tls.kind: ingress-nginx has no 'managed'; use {PATH}.tlsSecret or {PATH}.tls: {{kind: issuer}}",
        ),
        (
            ingress("x", tls={"kind": "certificate", "names": [ARN]}),
            "generic",
            f"{PATH}.tls.kind: another Ingress controller has no 'certificate'; use {SECRET_OR_ISSUER}{NAME_IT}",
        ),
        (
            ingress("alb", tls={"kind": "certificate", "names": ["mine"]}),
            "eks",
            f"{PATH}.tls.names[0]: 'mine' is none there; it looks like {ARN}",
        ),
        (
            ingress("nginx", tlsSecret="a", tls={"kind": "issuer", "name": "b"}),
            "generic",
            f"{PATH}: tlsSecret must be left out with tls.kind issuer, which says it already",
        ),
    ],
)
def test_what_a_controller_cannot_do_is_refused(expose: dict[str, Any], platform: str, expected: str):
    """With the path, the value, and what can be written instead."""
    assert refusals(raw(expose, platform)) == [expected]


NEEDS = (
    "idle and request timeouts of 1846 s or more; no buffering of answers, and no other ends of streams; request "
    "bodies of 64 MiB; health checks, where it has its own, of /health/liveliness at port 4000, as / answers 401; no "
    "stickiness"
)
NOBODY = "nothing says which controller serves it, so none is told what streams need"


def test_of_an_unknown_controller_everything_that_must_be_set_is_listed():
    """Figures included, with the fix; none of it where somebody says that it is set."""
    assert planned(raw(GATEWAY_API)).gateway.route_timeout_s == 1846
    expected = f"{NOBODY}: {NEEDS}; give expose.controller: "
    assert warnings(GATEWAY_API) == [
        f"{expected}envoy, istio, gke, aws, cilium, traefik, nginx, or other where all of that is set"
    ]
    assert warnings(ingress("x", tlsSecret="tls")) == [
        f"{expected}nginx, traefik, alb, gce, haproxy, haproxyIngress, higress, or other where all of that is set"
    ]
    assert warnings({**GATEWAY_API, "controller": "other"}) == []
    assert "; ".join(edge({**GATEWAY_API, "controller": "other"}).needs) == NEEDS


def test_what_is_cut_all_the_same_is_told():
    """Where the edge cannot be told to wait as long as a request may take; it is told to wait as long as it can."""
    long = {"requestTimeoutS": 3600, "firstTokenTimeoutS": 600, "retries": 1}
    (line,) = warnings(ingress("alb", tls={"kind": "managed"}), "eks", **long)
    assert line.startswith(
        "AWS Load Balancer Controller, or that of EKS Auto Mode cuts what is silent for 4000 s at most, and a whole "
        "answer may take "
    )
    exposure = planned(raw(ingress("alb", tls={"kind": "managed"}), "eks", **long)).gateway.exposure
    assert exposure is not None
    told = exposure.edge.annotations["alb.ingress.kubernetes.io/load-balancer-attributes"]
    assert told == "idle_timeout.timeout_seconds=4000"


ROUTER = "haproxy.router.openshift.io/timeout"
TIMEOUT = "nginx.ingress.kubernetes.io/proxy-read-timeout"


def test_annotations_of_the_user_win_and_a_clash_is_told():
    """Another value of one that streams need is named with both; the same value, and others, are not."""
    timeout_s = planned(raw(ingress("nginx"))).gateway.route_timeout_s
    annotations = {TIMEOUT: "60", "example.com/a": "b", "nginx.ingress.kubernetes.io/proxy-buffering": "off"}
    expose = ingress("nginx", tlsSecret="tls", annotations=annotations)
    assert warnings(expose) == [f"expose.annotations replace {TIMEOUT}: {timeout_s}, which ingress-nginx needs, by 60"]
    assert {key: edge(expose).annotations[key] for key in annotations} == annotations
    assert warnings({**ROUTE, "annotations": {ROUTER: "30s"}}, "openshift") == [
        f"expose.annotations replace {ROUTER}: {timeout_s}s, which router of OpenShift needs, by 30s"
    ]


@pytest.mark.parametrize(
    ("expose", "platform", "secret", "url"),
    [
        (ingress("nginx", tlsSecret="tls"), "generic", "tls", "https"),
        (ingress("nginx", tls={"kind": "issuer", "name": "letsencrypt"}), "generic", "litellm-tls", "https"),
        (ingress("internal", tls={"kind": "issuer", "name": "letsencrypt"}), "generic", "litellm-tls", "https"),
        (ingress("alb", tls={"kind": "certificate", "names": [ARN]}), "eks", None, "https"),
        (ingress("alb", tls={"kind": "managed"}), "eks", None, "https"),
        (ingress("alb", annotations={"alb.ingress.kubernetes.io/certificate-arn": ARN}), "eks", None, "https"),
        (ingress("gce", tls={"kind": "managed"}), "gke", None, "https"),
        (ingress("gce", annotations={"networking.gke.io/managed-certificates": "a"}), "gke", None, "https"),
        (ingress("alb", annotations={"alb.ingress.kubernetes.io/listen-ports": '[{"HTTP": 80}]'}), "eks", None, "http"),
        (ingress("nginx"), "generic", None, "http"),
    ],
)
def test_tls_is_told_right(expose: dict[str, Any], platform: str, secret: str | None, url: str):
    """A certificate from anywhere is TLS, also by the user's own annotation; who has none is warned."""
    exposure = planned(raw(expose, platform)).gateway.exposure
    assert isinstance(exposure, Ingress)
    assert (exposure.tls_secret, exposure.url) == (secret, f"{url}://llm.example.com")
    told = [line for line in warnings(expose, platform) if "no TLS" in line]
    assert bool(told) == (url == "http")


def test_a_warning_of_no_tls_names_the_ways_of_that_controller():
    """None that it does not have."""
    ways = "expose.tls: {kind: certificate} or expose.tls: {kind: managed}"
    assert warnings(ingress("alb"), "eks") == [f"the Ingress declares no TLS; give {ways}, or end TLS in front of it"]


def test_an_issuer_may_be_one_of_the_namespace():
    """By another annotation, and into a Secret of the route's name."""
    found = edge(ingress("nginx", tls={"kind": "issuer", "name": "ca", "scope": "namespace"}))
    annotations = {key: value for key, value in found.annotations.items() if key.startswith("cert-manager.io")}
    assert annotations == {"cert-manager.io/issuer": "ca"}
    assert found.issuer is not None
    assert (found.issuer.kind, found.issuer.name, found.issuer.secret) == ("Issuer", "ca", "litellm-tls")


def test_a_page_to_chat_with_has_a_certificate_as_the_gateway_has():
    """Of the same issuer, in a Secret of its own; one from a Secret is refused where the edge takes none."""
    page = {
        "host": "chat.example.com",
        "team": "staff",
        "key": "chat",
        "existingSecret": "chat-ui",
        "oidc": {"endpoint": "https://login.example.com/x", "clientId": "chat", "allowedDomains": ["example.com"]},
    }
    gateway = {
        "database": {"existingSecret": "db"},
        "teams": {"staff": {"models": ["m"], "keys": ["chat"], "existingSecret": "staff-keys"}},
        "chatUi": page,
    }
    by_issuer = planned(raw(ingress("nginx", tls={"kind": "issuer", "name": "le"}), **gateway)).gateway.chat_ui
    assert by_issuer is not None
    assert isinstance(by_issuer.exposure, Ingress)
    assert (by_issuer.exposure.tls_secret, by_issuer.exposure.url) == ("open-webui-tls", "https://chat.example.com")
    wrong = raw(ingress("alb", tls={"kind": "managed"}), "eks", **merged(gateway, {"chatUi": {"tlsSecret": "a"}}))
    assert refusals(wrong) == [f"gateway.chatUi.tlsSecret: {NO_SECRET}; use {ALB_WAYS}"]
