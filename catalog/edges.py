"""The shape of what is known about edges: what each controller is told so that streams live, in its own terms.

Texts may hold `<name>` and the like, which the plan fills in (`PLACES`). A value that is one number of `NUMBERS` alone
stays a number within an object.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from catalog.entry import Entry

EdgeKind = Literal["gatewayApi", "ingress", "route"]
TlsKind = Literal["secret", "issuer", "certificate", "managed"]
# Silence that the edge must bear in seconds, in minutes rounded up and as a duration of the Gateway API; how long what
# runs may go on when a pod leaves; what a body may have; the workload's port.
NUMBERS = ("timeoutS", "timeoutMin", "drainS", "bodyMib", "port")
PLACES = (*NUMBERS, "timeout", "name", "host", "healthPath", "issuer", "issuerKind", "certificates")


class PolicyObject(Entry):
    """An object beside the route, of the same name and namespace."""

    api_version: str
    kind: str
    spec: Mapping[str, Any]


class EdgeTls(Entry):
    """One way to certificates: what says so, whether they are in a Secret, and what their names look like."""

    secret: bool = False
    annotations: Mapping[str, str] = Field(default_factory=dict)
    objects: tuple[PolicyObject, ...] = ()
    like: str | None = None
    example: str | None = None


class Edge(Entry):
    """One controller of one kind of route.

    `classes`: names that its IngressClass has of itself, on the platforms of `classes_on`, which is all of them where
    there are none. `platforms`: those that bring it themselves, where it is meant unless another is named.
    `class_annotation`: says the class where the controller does not read it in its field. `route_timeouts`: whether an
    HTTPRoute may have timeouts. `longest_s`: the longest silence it can be told to bear, and the longest drain.
    `annotations` are those of the route, `service` those of the Service. `needs`: what only who runs it can set.
    """

    name: str
    classes: tuple[str, ...] = ()
    classes_on: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    class_annotation: str | None = None
    route_timeouts: bool = True
    longest_s: int | None = None
    longest_drain_s: int | None = None
    annotations: Mapping[str, str] = Field(default_factory=dict)
    service: Mapping[str, str] = Field(default_factory=dict)
    objects: tuple[PolicyObject, ...] = ()
    tls: Mapping[TlsKind, EdgeTls] = Field(default_factory=dict)
    needs: tuple[str, ...] = ()
    sources: Annotated[list[str], Field(min_length=1)]
