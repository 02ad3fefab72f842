"""The cluster, asked through kubectl: it knows every way to log in, and the words of the kubeconfig.

Of Secrets only the names of their entries leave kubectl. A dry run is asked of the API server, which keeps nothing of
it (https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run).
"""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

from settings.problems import sanitize

TIMEOUT_S = 20
# Manager of the fields in a dry run.
ASKING = "llm-stack-preflight"
# What kubectl gets on top of its own timeout, for programs that log in.
PATIENCE_S = 40
# Bytes of a complaint of kubectl that are repeated.
LONGEST = 500
NAMES_OF_ENTRIES = '{{range $key, $value := .data}}{{$key}}{{"\\n"}}{{end}}'
NOT_FOUND = ("(NotFound)", "the server could not find the requested resource")
FORBIDDEN = ("(Forbidden)", "is forbidden")
UNAVAILABLE = ("(ServiceUnavailable)", "unable to handle the request")
# Words of RBAC, in what admission refuses they are not.
NOT_ALLOWED = re.compile(r'User ".*" cannot \w+ resource')
# Words of a request that reached nobody who could judge it.
NOBODY = ("connection to the server", "Unable to connect", "context deadline exceeded", "i/o timeout", "no such host")


class Unreachable(Exception):
    """No answer that says anything about the cluster: no kubectl, no such context, nobody at home."""


class Forbidden(Exception):
    """Whoever the kubeconfig is of may not read this."""


class Refusal(Exception):
    """The API server would not take an object; in its words."""


class Unavailable(Exception):
    """The cluster passes this on to a server that does not answer, as the one of metrics."""


class Cluster(Protocol):
    """Anything that answers as an API server does."""

    def get(self, path: str) -> Mapping[str, Any] | None:
        """The answer to GET `path`; None where there is no such thing. Raises `Forbidden` and `Unreachable`."""
        ...

    def entries(self, namespace: str, secret: str) -> frozenset[str] | None:
        """Names of the entries of a Secret; None where there is none. Raises as above."""
        ...

    def admits(self, body: Mapping[str, Any], *, create: bool) -> str:
        """The reason why an object would be refused, by a dry run of its creation or of an apply; empty: it is let in.

        Raises `Forbidden` where nobody but the user was judged.
        """
        ...


def items(cluster: Cluster, path: str, **parameters: str) -> Sequence[Mapping[str, Any]]:
    """All objects of a list; none where the cluster does not know the kind. Raises as `Cluster.get`."""
    query = "&".join(f"{key}={quote(value, safe='')}" for key, value in parameters.items())
    answer = cluster.get(f"{path}?{query}" if query else path)
    return answer["items"] if answer else ()


def has_namespace(cluster: Cluster, name: str) -> bool:
    """Whether it is there. Raises as `Cluster.get`."""
    return cluster.get(f"/api/v1/namespaces/{name}") is not None


def condition(body: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The condition of this type in an object's status; empty: it has none."""
    states = body.get("status", {}).get("conditions") or ()
    return next((state for state in states if state["type"] == kind), {})


@dataclass(frozen=True)
class Kubectl:
    """A cluster by the name of its context. What was asked once is not asked again."""

    context: str
    program: str = "kubectl"
    known: dict[tuple[str, ...], Mapping[str, Any] | None] = field(default_factory=dict)

    def get(self, path: str) -> Mapping[str, Any] | None:
        """See `Cluster`."""
        words = ("get", "--raw", path)
        if words not in self.known:
            text = self._run(*words)
            try:
                self.known[words] = None if text is None else json.loads(text)
            except ValueError as error:
                raise Unreachable(f"{path} was answered with no JSON") from error
        return self.known[words]

    def entries(self, namespace: str, secret: str) -> frozenset[str] | None:
        """See `Cluster`."""
        text = self._run("--namespace", namespace, "get", "secret", secret, "-o", f"go-template={NAMES_OF_ENTRIES}")
        return None if text is None else frozenset(text.split())

    def admits(self, body: Mapping[str, Any], *, create: bool) -> str:
        """See `Cluster`. What is there already is judged as an update by somebody who may take its fields."""
        way = ("create",) if create else ("apply", "--server-side", "--force-conflicts", f"--field-manager={ASKING}")
        done = self._ended(*way, "--dry-run=server", "-o", "name", "-f", "-", stdin=json.dumps(body))
        if not done.returncode:
            return ""
        if NOT_ALLOWED.search(done.stderr):
            raise Forbidden
        complaint = _last_line(done)
        if any(sign in done.stderr for sign in NOBODY):
            raise Unreachable(complaint)
        return complaint

    def create(self, body: Mapping[str, Any]) -> None:
        """Makes an object. Raises `Refusal` with the words of the API server, and `Forbidden`."""
        done = self._ended("create", "-o", "name", "-f", "-", stdin=json.dumps(body))
        if done.returncode:
            raise Forbidden if NOT_ALLOWED.search(done.stderr) else Refusal(_last_line(done))

    def pod(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """A pod as it is now; None where it is gone. Raises as `get`."""
        text = self._run("--namespace", namespace, "get", "pod", name, "-o", "json")
        return None if text is None else json.loads(text)

    def delete_pod(self, namespace: str, name: str) -> None:
        """Deletes a pod, and waits for nothing."""
        self._run("--namespace", namespace, "delete", "pod", name, "--ignore-not-found", "--wait=false")

    def _run(self, *words: str) -> str | None:
        done = self._ended(*words)
        if not done.returncode:
            return done.stdout
        if any(sign in done.stderr for sign in NOT_FOUND):
            return None
        if any(sign in done.stderr for sign in FORBIDDEN):
            raise Forbidden
        if any(sign in done.stderr for sign in UNAVAILABLE):
            raise Unavailable
        raise Unreachable(_last_line(done))

    def _ended(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        program = shutil.which(self.program)
        if program is None:
            raise Unreachable("kubectl is not on PATH")
        command = [program, "--context", self.context, f"--request-timeout={TIMEOUT_S}s", *words]
        try:
            return subprocess.run(  # noqa: S603 - the words are ours, the context is the stack's
                command, capture_output=True, text=True, timeout=TIMEOUT_S + PATIENCE_S, check=False, input=stdin
            )
        except subprocess.TimeoutExpired as error:
            raise Unreachable(f"kubectl has not answered for {TIMEOUT_S + PATIENCE_S} s") from error
        except OSError as error:
            raise Unreachable(f"kubectl could not be started: {error.strerror}") from error


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return sanitize(lines[-1], LONGEST) if lines else f"kubectl ended with {done.returncode}"
