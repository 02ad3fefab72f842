"""A small client of the Kubernetes API: JSON over one kept connection, with a client certificate.

Owns requests, and the mapping of kinds to paths as the server's discovery tells it. Knows no stack and no simulation.
"""

import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from workshop.kubernetes import Object
from workshop.ports import LOOPBACK
from workshop.problems import Impossible

T = TypeVar("T")
FIELD_MANAGER = "simcluster"
REQUEST_TIMEOUT_S, POLL_S = 30, 0.1
# the contents of a patch decide what it means
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
NOT_FOUND, CONFLICT, INVALID = 404, 409, 422


class ApiError(Impossible):
    """The API server refused a request; `status` is the HTTP code, the message is the server's own."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class Unreachable(Impossible):
    """Nobody answers, or a server that is still starting."""


@dataclass(frozen=True)
class Endpoint:
    """Where a server listens on loopback, and the files that prove who is calling."""

    port: int
    authority: Path
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Resource:
    """One kind as the server serves it."""

    prefix: str
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of a collection, an object or a subresource. A namespaced kind without a namespace: all of them."""
        parts = [self.prefix]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace)]
        parts += [self.plural, quote(name) if name else "", subresource]
        return "/".join(part for part in parts if part)


class Api:
    """One caller of one API server. Not for several threads at once.

    `patience_s`: how long one that does not answer is asked again. What is asked must then be fit to be asked twice.
    """

    def __init__(self, endpoint: Endpoint, patience_s: float = 0) -> None:
        self._endpoint, self._patience_s = endpoint, patience_s
        self._context = ssl.create_default_context(cafile=str(endpoint.authority))
        self._context.load_cert_chain(endpoint.certificate, endpoint.key)
        self._connection: http.client.HTTPSConnection | None = None
        self._resources: dict[tuple[str, str], Resource] = {}

    def patient(self, patience_s: float) -> "Api":
        """Another caller, who waits for a server that is away."""
        return Api(self._endpoint, patience_s)

    def request(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", **query: str
    ) -> Any:
        """The decoded answer. Raises `ApiError` for a refusal and `Unreachable` when nobody answers."""
        target = f"{path}?{urlencode(query)}" if query else path
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                status, answer = self._once(method, target, data, headers)
                break
            except Unreachable:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(POLL_S)
        if status >= http.client.BAD_REQUEST:
            raise _error(status, answer)
        try:
            return json.loads(answer) if answer else None
        except ValueError:
            return answer.decode(errors="replace")  # /readyz speaks plain text

    def _once(self, method: str, target: str, data: str | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        status, answer = self._exchange(method, target, data, headers)
        if status == http.HTTPStatus.SERVICE_UNAVAILABLE:
            # while it starts, also for paths that it will serve: to be asked again, not a refusal
            raise Unreachable(f"the API server on port {self._endpoint.port} is not ready: {_error(status, answer)}")
        return status, answer

    def _exchange(self, method: str, target: str, data: str | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        # a kept connection may have been closed meanwhile: that is noticed at the first try, and says nothing
        for attempt in (1, 2):
            fresh = self._connection is None
            connection = self._connection = self._connection or self._connect(REQUEST_TIMEOUT_S)
            try:
                connection.request(method, target, data, dict(headers))
                response = connection.getresponse()
                return response.status, response.read()
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if fresh or attempt == 2 or not isinstance(error, http.client.RemoteDisconnected | ConnectionError):
                    raise Unreachable(
                        f"the API server on port {self._endpoint.port} does not answer: {error}"
                    ) from error
        raise AssertionError("the loop returns or raises")

    def _connect(self, timeout_s: float) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(LOOPBACK, self._endpoint.port, timeout=timeout_s, context=self._context)

    def close(self) -> None:
        """Drops the connection; the next request makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def resource(self, api_version: str, kind: str) -> Resource:
        """Where a kind is served. Raises `ApiError` with 404 when it is not."""
        if (api_version, kind) not in self._resources:
            prefix = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
            for found in self.request("GET", prefix)["resources"]:
                if "/" not in found["name"]:
                    resource = Resource(prefix, found["name"], found["namespaced"])
                    self._resources[api_version, found["kind"]] = resource
        if (api_version, kind) not in self._resources:
            raise ApiError(NOT_FOUND, "NotFound", f"the server serves no {kind} of {api_version}")
        return self._resources[api_version, kind]

    def path_of(self, body: Mapping[str, Any], subresource: str = "") -> str:
        """The path of the object that `body` describes."""
        metadata = body["metadata"]
        resource = self.resource(body["apiVersion"], body["kind"])
        return resource.path(metadata.get("namespace", "default"), metadata["name"], subresource)

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Object | None:
        """One object; None when it does not exist."""
        with _unless(NOT_FOUND):
            return self.request("GET", self.resource(api_version, kind).path(namespace or "default", name))
        return None

    def items(
        self, api_version: str, kind: str, namespace: str = "", selector: str = "", fields: str = ""
    ) -> list[Object]:
        """All objects of a kind, in one namespace or in all of them, with their kind filled in."""
        query = {name: value for name, value in (("labelSelector", selector), ("fieldSelector", fields)) if value}
        found = self.request("GET", self.resource(api_version, kind).path(namespace), **query)
        return [{"apiVersion": api_version, "kind": kind, **item} for item in found["items"]]

    def create(self, body: Mapping[str, Any]) -> Object | None:
        """Creates an object; None when one of this name exists already."""
        path = self.resource(body["apiVersion"], body["kind"]).path(body["metadata"].get("namespace", "default"))
        with _unless(CONFLICT, "AlreadyExists"):
            return self.request("POST", path, body, fieldValidation="Strict")
        return None

    def apply(self, body: Mapping[str, Any], subresource: str = "", manager: str = FIELD_MANAGER) -> Object:
        """Server-side apply: unknown and doubled fields are errors, and conflicts are ours to win."""
        query = {"fieldManager": manager, "fieldValidation": "Strict", "force": "true"}
        return self.request("PATCH", self.path_of(body, subresource), body, APPLY, **query)

    def patch(self, body: Mapping[str, Any], change: Mapping[str, Any], subresource: str = "") -> Object:
        """A merge patch of the object that `body` describes."""
        return self.request("PATCH", self.path_of(body, subresource), change, MERGE)

    def delete(self, body: Mapping[str, Any], propagation: str = "Background", **options: Any) -> bool:
        """Deletes an object; False when it was not there."""
        wanted = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation, **options}
        with _unless(NOT_FOUND):
            self.request("DELETE", self.path_of(body), wanted)
            return True
        return False


@contextmanager
def _unless(status: int, reason: str = "") -> Iterator[None]:
    """Passes over a refusal of this status, and of this reason if one is given."""
    try:
        yield
    except ApiError as error:
        if error.status != status or reason not in ("", error.reason):
            raise


def _error(status: int, answer: bytes) -> ApiError:
    try:
        said = json.loads(answer)
        return ApiError(status, said.get("reason", ""), said.get("message", ""))
    except (ValueError, AttributeError):
        return ApiError(status, "", answer.decode(errors="replace").strip())


def wait_until(look: Callable[[], T], timeout_s: float, what: str, every_s: float = 0.1) -> T:
    """The first true answer of `look`, asked again and again. Raises `Impossible` with `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (answer := look()):
        if time.monotonic() > deadline:
            raise Impossible(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(every_s)
    return answer
