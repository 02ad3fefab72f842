"""The cluster, asked through kubectl: it knows every way to log in, and the words of the kubeconfig.

Of Secrets only the names of their entries leave kubectl.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

from settings.problems import sanitize

TIMEOUT_S = 20
# What kubectl gets on top of its own timeout, for programs that log in.
PATIENCE_S = 40
# Bytes of a complaint of kubectl that are repeated.
LONGEST = 500
NAMES_OF_ENTRIES = '{{range $key, $value := .data}}{{$key}}{{"\\n"}}{{end}}'
NOT_FOUND = ("(NotFound)", "the server could not find the requested resource")
FORBIDDEN = ("(Forbidden)", "is forbidden")


class Unreachable(Exception):
    """No answer that says anything about the cluster: no kubectl, no such context, nobody at home."""


class Forbidden(Exception):
    """Whoever the kubeconfig is of may not read this."""


class Cluster(Protocol):
    """Anything that answers as an API server does."""

    def get(self, path: str) -> Mapping[str, Any] | None:
        """The answer to GET `path`; None where there is no such thing. Raises `Forbidden` and `Unreachable`."""
        ...

    def entries(self, namespace: str, secret: str) -> frozenset[str] | None:
        """Names of the entries of a Secret; None where there is none. Raises as above."""
        ...


def items(cluster: Cluster, path: str, **parameters: str) -> Sequence[Mapping[str, Any]]:
    """All objects of a list; none where the cluster does not know the kind. Raises as `Cluster.get`."""
    query = "&".join(f"{key}={quote(value, safe='')}" for key, value in parameters.items())
    answer = cluster.get(f"{path}?{query}" if query else path)
    return answer["items"] if answer else ()


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

    def _run(self, *words: str) -> str | None:
        program = shutil.which(self.program)
        if program is None:
            raise Unreachable("kubectl is not on PATH")
        command = [program, "--context", self.context, f"--request-timeout={TIMEOUT_S}s", *words]
        try:
            done = subprocess.run(  # noqa: S603 - the words are ours, the context is the stack's
                command, capture_output=True, text=True, timeout=TIMEOUT_S + PATIENCE_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise Unreachable(f"kubectl has not answered for {TIMEOUT_S + PATIENCE_S} s") from error
        except OSError as error:
            raise Unreachable(f"kubectl could not be started: {error.strerror}") from error
        if not done.returncode:
            return done.stdout
        if any(sign in done.stderr for sign in NOT_FOUND):
            return None
        if any(sign in done.stderr for sign in FORBIDDEN):
            raise Forbidden
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise Unreachable(sanitize(lines[-1], LONGEST) if lines else f"kubectl ended with {done.returncode}")
