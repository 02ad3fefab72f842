"""A small client of the Kubernetes API: JSON over one kept connection, with a client certificate."""

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
    """Address of a server on loopback, and the files that prove who is calling."""

    port: int
    authority: Path
    certificate: Path
    key: Path


class Api:
    """One caller of one API server, in one thread; `patience_s`: how long one that does not answer is asked again."""

    def __init__(self, endpoint: Endpoint, patience_s: float = 0) -> None:
        self._endpoint, self._patience_s = endpoint, patience_s
        self._context = ssl.create_default_context(cafile=str(endpoint.authority))
        self._context.load_cert_chain(endpoint.certificate, endpoint.key)
        self._connection: http.client.HTTPSConnection | None = None
        # (apiVersion, kind) → prefix of the path, plural, whether namespaced
        self._served: dict[tuple[str, str], tuple[str, str, bool]] = {}

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
                return self._once(method, target, data, headers)
            except Unreachable:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(POLL_S)

    def _once(self, method: str, target: str, data: str | None, headers: Mapping[str, str]) -> Any:
        status, answer = self._exchange(method, target, data, headers)
        if status == http.HTTPStatus.SERVICE_UNAVAILABLE:
            # while it starts, also for paths that it will serve: to be asked again, not a refusal
            raise Unreachable(f"the API server on port {self._endpoint.port} is not ready: {_error(status, answer)}")
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise _error(status, answer)
        try:
            return json.loads(answer) if answer else None
        except ValueError:
            return answer.decode(errors="replace")  # /readyz speaks plain text

    def _exchange(self, method: str, target: str, data: str | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        connection, port = self._connection, self._endpoint.port
        self._connection = connection or http.client.HTTPSConnection(
            LOOPBACK, port, timeout=REQUEST_TIMEOUT_S, context=self._context
        )
        try:
            self._connection.request(method, target, data, dict(headers))
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if connection and isinstance(error, (ConnectionError, ssl.SSLEOFError)):
                # it was closed meanwhile, which says nothing about the server
                return self._exchange(method, target, data, headers)
            raise Unreachable(f"the API server on port {port} does not answer: {error}") from error

    def close(self) -> None:
        """Drops the connection; the next request makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def path(self, api_version: str, kind: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Path of a kind, an object or a subresource. Raises `ApiError` with 404 when the kind is not served."""
        if (api_version, kind) not in self._served:
            prefix = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
            for served in self.request("GET", prefix)["resources"]:
                if "/" not in served["name"]:
                    self._served[api_version, served["kind"]] = prefix, served["name"], served["namespaced"]
        if (api_version, kind) not in self._served:
            raise ApiError(NOT_FOUND, "NotFound", f"the server serves no {kind} of {api_version}")
        prefix, plural, namespaced = self._served[api_version, kind]
        inside = ["namespaces", quote(namespace)] if namespaced and namespace else []
        return "/".join(part for part in (prefix, *inside, plural, quote(name), subresource) if part)

    def path_of(self, body: Mapping[str, Any], subresource: str = "") -> str:
        """The path of the object that `body` describes."""
        metadata = body["metadata"]
        namespace = metadata.get("namespace") or "default"
        return self.path(body["apiVersion"], body["kind"], namespace, metadata["name"], subresource)

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Object | None:
        """One object; None when it does not exist."""
        return self.current(
            {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}}
        )

    def current(self, body: Mapping[str, Any]) -> Object | None:
        """The object that `body` describes, as it is now; None when it does not exist."""
        with unless(NOT_FOUND):
            return self.request("GET", self.path_of(body))
        return None

    def items(
        self, api_version: str, kind: str, namespace: str = "", selector: str = "", fields: str = ""
    ) -> list[Object]:
        """All objects of a kind, in one namespace or in all of them, with their kind filled in."""
        query = {name: value for name, value in (("labelSelector", selector), ("fieldSelector", fields)) if value}
        answer = self.request("GET", self.path(api_version, kind, namespace), **query)
        return [{"apiVersion": api_version, "kind": kind, **body} for body in answer["items"]]

    def create(self, body: Mapping[str, Any]) -> Object | None:
        """Creates an object; None when one of this name exists already."""
        path = self.path(body["apiVersion"], body["kind"], body["metadata"].get("namespace", "default"))
        with unless(CONFLICT, "AlreadyExists"):
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
        how = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation, **options}
        with unless(NOT_FOUND):
            self.request("DELETE", self.path_of(body), how)
            return True
        return False


@contextmanager
def unless(status: int, reason: str = "") -> Iterator[None]:
    """Passes over a refusal of this status, and of this reason if one is given."""
    try:
        yield
    except ApiError as error:
        if error.status != status or reason not in ("", error.reason):
            raise


def _error(status: int, answer: bytes) -> ApiError:
    try:
        refusal = json.loads(answer)
        return ApiError(status, refusal.get("reason", ""), refusal.get("message", ""))
    except (ValueError, AttributeError):
        return ApiError(status, "", answer.decode(errors="replace").strip())


def wait_until(look: Callable[[], T], timeout_s: float, event: str, every_s: float = 0.1) -> T:
    """The first true answer of `look`, asked again and again. Raises `Impossible` with `event` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (answer := look()):
        if time.monotonic() > deadline:
            raise Impossible(f"{event}: not within {timeout_s:.0f} s")
        time.sleep(every_s)
    return answer
