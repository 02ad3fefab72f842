"""All that a route says beside its paths so that streams live behind its controller."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class EdgeObject:
    """An object beside the route, of its name and namespace."""

    api_version: str
    kind: str
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class Issuer:
    """The object of cert-manager that gets the certificate, and the Secret it is kept in."""

    kind: str
    name: str
    secret: str


@dataclass(frozen=True)
class EdgePlan:
    """One route in the terms of one controller; of one that is not known, nothing.

    `annotations`: of the route, those of the user included. `needs`: what only who runs the controller can set.
    `secure`: whether TLS is ended there. `route_timeouts`: whether an HTTPRoute may have timeouts.
    """

    controller: str | None = None
    name: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    service_annotations: Mapping[str, str] = field(default_factory=dict)
    objects: tuple[EdgeObject, ...] = ()
    needs: tuple[str, ...] = ()
    issuer: Issuer | None = None
    secure: bool = False
    route_timeouts: bool = True
