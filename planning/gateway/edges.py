"""The edge in front of the gateway: whose it is, what it is told so that streams live, and what it cannot be told."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from catalog.edges import Edge, EdgeTls, TlsKind
from catalog.load import Catalog
from planning.gateway.surface import LARGEST_BODY_MIB
from planning.plan.edges import EdgeObject, EdgePlan, Issuer
from planning.plan.gateway import Exposure, HostRoute, HttpRoute, Ingress
from planning.stack.timing import gep_2257
from settings.problems import Problem, nearest
from settings.schema import (
    CertificateTls,
    ClusterOnly,
    GatewayApiExposure,
    IngressExposure,
    IssuerTls,
    ManagedTls,
    RouteExposure,
    StackSettings,
)

PATH = "gateway.expose"
OTHER = "other"
_PLACE, _NUMBER = re.compile(r"<(\w+)>"), re.compile(r"<#(\w+)>")
Tls = IssuerTls | CertificateTls | ManagedTls


@dataclass(frozen=True)
class EdgeTarget:
    """The Service that a host leads to, by the name of both it and its route, and how and how long it answers."""

    name: str
    host: str
    port: int
    health_path: str
    timeout_s: int
    drain_s: int
    tls_secret: str | None = None
    section_name: str | None = None


class Controller(NamedTuple):
    """A controller by the name that the catalogue has for it; None: nobody says which it is."""

    key: str | None
    edge: Edge


def controller(settings: StackSettings, catalog: Catalog) -> Controller | None:
    """The one that is named, else that of the class or the platform; None: there is no route, or no such platform."""
    expose, platform = settings.gateway.expose, settings.cluster.platform
    if isinstance(expose, ClusterOnly):
        return None
    known = catalog.edges[expose.kind]
    if not isinstance(expose, RouteExposure) and expose.controller is not None:
        key = expose.controller if expose.controller in known else OTHER
        return Controller(key, known[key])
    class_name = expose.class_name if isinstance(expose, IngressExposure) else None
    for key, edge in known.items():
        if platform in edge.platforms or (class_name in edge.classes and platform in (edge.classes_on or (platform,))):
            return Controller(key, edge)
    return Controller(None, known[OTHER]) if OTHER in known else None


def plan_exposure(settings: StackSettings, catalog: Catalog, place: EdgeTarget | None) -> Exposure | None:
    """The route to a place; None: there is none."""
    chosen, expose = controller(settings, catalog), settings.gateway.expose
    if chosen is None or place is None:
        return None
    match expose:
        case GatewayApiExposure():
            edge, section = _planned(chosen, place, {}), place.section_name or expose.section_name
            return HttpRoute(place.host, expose.gateway_name, expose.gateway_namespace, section, edge)
        case IngressExposure():
            edge = _planned(chosen, place, expose.annotations, expose)
            in_secret = edge.issuer.secret if edge.issuer else place.tls_secret
            class_name = None if chosen.edge.class_annotation else expose.class_name
            return Ingress(place.host, class_name, in_secret, edge)
        case RouteExposure():
            return HostRoute(place.host, _planned(chosen, place, expose.annotations))
        case ClusterOnly():
            return None


def edge_problems(settings: StackSettings, catalog: Catalog) -> Iterator[Problem]:
    """A controller that is not known, or of another kind; a certificate that it cannot have; a platform without one."""
    expose, platform = settings.gateway.expose, settings.cluster.platform
    if isinstance(expose, ClusterOnly):
        return
    known = catalog.edges[expose.kind]
    if isinstance(expose, RouteExposure):
        if controller(settings, catalog) is None:
            have = ", ".join(name for edge in known.values() for name in edge.platforms)
            yield Problem(
                f"{PATH}.kind", f"no router is known on '{platform}'; use ingress or gatewayApi; known on: {have}"
            )
        return
    if (name := expose.controller) is not None and name not in known:
        kinds = [kind for kind, edges in catalog.edges.items() if name in edges]
        hint = f"; it has kind: {kinds[0]}" if kinds else ""
        yield Problem(
            f"{PATH}.controller", f"'{name}' is no controller of kind {expose.kind}{hint or nearest(name, known)}"
        )
    elif isinstance(expose, IngressExposure) and (chosen := controller(settings, catalog)) is not None:
        yield from _tls_problems(settings, expose, chosen, known)


def _tls_problems(
    settings: StackSettings, expose: IngressExposure, chosen: Controller, known: Mapping[str, Edge]
) -> Iterator[Problem]:
    ways, page = chosen.edge.tls, settings.gateway.chat_ui
    secrets = {f"{PATH}.tlsSecret": expose.tls_secret, "gateway.chatUi.tlsSecret": page.tls_secret if page else None}
    for path, secret in secrets.items():
        if secret is not None and "secret" not in ways:
            yield Problem(path, f"{chosen.edge.name} takes no certificate from a Secret; use {_ways(ways)}")
    if expose.tls is None:
        return
    if expose.tls.kind not in ways:
        able = [key for key, edge in known.items() if expose.tls.kind in edge.tls]
        hint = f"; give {PATH}.controller where it is one of {', '.join(able)}" if chosen.key is None else ""
        yield Problem(f"{PATH}.tls.kind", f"{chosen.edge.name} has no '{expose.tls.kind}'; use {_ways(ways)}{hint}")
    elif isinstance(expose.tls, CertificateTls):
        way = ways["certificate"]
        for position, name in enumerate(expose.tls.names):
            if way.like and not re.fullmatch(way.like, name):
                yield Problem(f"{PATH}.tls.names[{position}]", f"'{name}' is none there; it looks like {way.example}")


def _ways(ways: Mapping[TlsKind, EdgeTls]) -> str:
    written = {"secret": f"{PATH}.tlsSecret"}
    return " or ".join(written.get(kind, f"{PATH}.tls: {{kind: {kind}}}") for kind in ways)


def edge_warnings(settings: StackSettings, catalog: Catalog, place: EdgeTarget | None) -> Iterator[str]:
    """Sentences about what somebody else has to set, what is cut all the same, and what the user replaced.

    `place`: that of the gateway.
    """
    chosen, expose = controller(settings, catalog), settings.gateway.expose
    if chosen is None or place is None or isinstance(expose, ClusterOnly):
        return
    edge = chosen.edge
    if chosen.key is None:
        names = ", ".join(key for key in catalog.edges[expose.kind] if key != OTHER)
        needs = "; ".join(_texts(edge.needs, _words(edge, place, None)))
        yield (
            f"gateway: nothing says which controller serves it, so none is told what streams need: {needs}; give "
            f"expose.controller: {names}, or {OTHER} where all of that is set"
        )
    if edge.longest_s is not None and edge.longest_s < place.timeout_s:
        yield (
            f"gateway: {edge.name} cuts what is silent for {edge.longest_s} s at most, and a whole answer may take "
            f"{place.timeout_s} s with all tries; ask for long answers as streams, or lower requestTimeoutS or retries"
        )
    if isinstance(expose, IngressExposure) and not _planned(chosen, place, expose.annotations, expose).secure:
        ways = _ways(edge.tls).replace("gateway.", "")
        yield f"gateway: the Ingress declares no TLS; give {ways}, or end TLS in front of it"
    if isinstance(expose, IngressExposure | RouteExposure):
        ours = _planned(chosen, place, {}, expose if isinstance(expose, IngressExposure) else None).annotations
        for key, value in expose.annotations.items():
            if key in ours and ours[key] != value:
                yield f"gateway: expose.annotations replace {key}: {ours[key]}, which {edge.name} needs, by {value}"


def _planned(
    chosen: Controller, place: EdgeTarget, annotations: Mapping[str, str], expose: IngressExposure | None = None
) -> EdgePlan:
    """The words for the controller; `annotations`: those of the user, which win."""
    edge, tls = chosen.edge, expose.tls if expose else None
    kind: TlsKind | None = "secret" if place.tls_secret else tls.kind if tls else None
    way = edge.tls.get(kind) if kind else None
    issuer = None
    if isinstance(tls, IssuerTls) and kind == "issuer":
        issuer = Issuer("ClusterIssuer" if tls.scope == "cluster" else "Issuer", tls.name, f"{place.name}-tls")
    words = _words(edge, place, tls)
    named = {edge.class_annotation: expose.class_name} if expose and edge.class_annotation else {}
    ours = {**_filled(edge.annotations, words), **named, **_filled(way.annotations if way else {}, words)}
    objects = (*edge.objects, *(way.objects if way else ()))
    return EdgePlan(
        controller=chosen.key,
        name=edge.name if chosen.key else "",
        annotations={**ours, **annotations},
        service_annotations=_filled(edge.service, words),
        objects=tuple(EdgeObject(each.api_version, each.kind, _filled(each.spec, words)) for each in objects),
        needs=_texts(edge.needs, words) if chosen.key else (),
        issuer=issuer,
        secure=way is not None or not _naming(edge.tls).isdisjoint(annotations),
        route_timeouts=edge.route_timeouts,
    )


def _naming(ways: Mapping[TlsKind, EdgeTls]) -> set[str]:
    """Annotations that name a certificate, and so end TLS whoever writes them."""
    return {key for way in ways.values() if not way.secret for key, value in way.annotations.items() if "<" in value}


def _words(edge: Edge, place: EdgeTarget, tls: Tls | None) -> dict[str, object]:
    """Each place in the texts of the catalogue, and the word for it."""
    timeout_s = min(place.timeout_s, edge.longest_s or place.timeout_s)
    words: dict[str, object] = {
        "timeoutS": timeout_s,
        "timeoutMin": -(-timeout_s // 60),
        "timeout": gep_2257(timeout_s),
        "drainS": min(place.drain_s, edge.longest_drain_s or place.drain_s),
        "bodyMib": LARGEST_BODY_MIB,
        "port": place.port,
        "name": place.name,
        "host": place.host,
        "healthPath": place.health_path,
    }
    match tls:
        case IssuerTls(name=name, scope=scope):
            words |= {"issuer": name, "issuerKind": "cluster-issuer" if scope == "cluster" else "issuer"}
        case CertificateTls(names=names):
            words |= {"certificates": ",".join(names)}
        case _:
            pass
    return words


def _texts(texts: Sequence[str], words: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(_filled(text, words) for text in texts)


def _filled(value: Any, words: Mapping[str, object]) -> Any:
    """The same with each place filled in; what is a number alone stays one."""
    match value:
        case str():
            if number := _NUMBER.fullmatch(value):
                return words[number[1]]
            return _PLACE.sub(lambda match: str(words[match[1]]), value)
        case Mapping():
            return {_filled(key, words): _filled(inner, words) for key, inner in value.items()}
        case list() | tuple():
            return [_filled(inner, words) for inner in value]
        case _:
            return value
