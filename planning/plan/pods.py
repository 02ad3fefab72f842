"""Parts that pods of every room have: images, tries of a Job, probes, where a connection may lead."""

from dataclasses import dataclass

# In place of a version where a digest alone names the image.
BY_DIGEST = "by digest"


@dataclass(frozen=True)
class ImagePlan:
    """One container image. `reference` is complete; `pinned` says whether it carries a digest.

    `upstream` is the reference before a mirror took its host's place, `pull_secrets` existing Secrets to pull it with,
    `engine` the version of the catalogue's facts that it is checked by, where it has an engine, `own_user` whether its
    pods run as the user of the image, and not as one that the cluster gives their namespace.
    """

    name: str
    reference: str
    version: str
    uid: int
    gid: int
    pinned: bool
    upstream: str
    pull_secrets: tuple[str, ...] = ()
    engine: str = ""
    own_user: bool = True


@dataclass(frozen=True)
class JobLimits:
    """Limits of a Job: how often it tries again, when it gives up, and how much longer the engine waits to hear why."""

    retries: int
    deadline_s: int
    await_timeout_s: int


@dataclass(frozen=True)
class Probe:
    """Rhythm of the kubelet's checks: period, time for an answer, failures allowed; None: Kubernetes' default."""

    period_s: int
    failures: int | None = None
    timeout_s: int | None = None


@dataclass(frozen=True)
class Probes:
    """All that is asked of one container. Until `startup` has succeeded once, nothing else looks at it."""

    ready: Probe
    live: Probe
    startup: Probe | None = None


@dataclass(frozen=True)
class AddressBlock:
    """Addresses that a connection may lead to: a CIDR block, less others inside of it."""

    cidr: str
    excluded: tuple[str, ...]


@dataclass(frozen=True)
class EveryNamespace:
    """All namespaces of the cluster, those that do not exist yet included."""


@dataclass(frozen=True)
class DnsPlan:
    """The far side of questions for names: pods of namespaces and addresses, on the port that they listen on."""

    namespaces: tuple[str, ...]
    addresses: tuple[str, ...]
    port: int


@dataclass(frozen=True)
class EgressRule:
    """Targets that pods may connect to: addresses outside of the cluster, pods of namespaces.

    `ports` are those that the far side listens on, which behind a Service are its pods'; empty: all.
    """

    blocks: tuple[AddressBlock, ...] = ()
    namespaces: tuple[str, ...] | EveryNamespace = ()
    ports: tuple[int, ...] = ()
