"""The stores that the gateway's replicas share: Redis for counts of limits, Postgres for keys and spend."""

from collections.abc import Mapping
from dataclasses import dataclass

from planning.plan.access import CaBundle
from planning.plan.observe import Metrics
from planning.plan.pods import DnsPlan, EgressRule, ImagePlan, JobLimits, Probes

# Names of the objects of our own, which rules and policies name too.
GATEWAY_REDIS = "litellm-redis"
GATEWAY_POSTGRES = "litellm-postgres"
# Not the same: an operator has names of its own for what is in it, and both are there while one follows the other.
GATEWAY_CLUSTER = "litellm-database"
# Labels of all its pods: its instances, and the Jobs that make their data (cloudnative-pg v1.30.0 pkg/specs/jobs.go).
CLUSTER_PODS = {"cnpg.io/cluster": GATEWAY_CLUSTER}
# Where an instance says how it is, to the operator and to the others, and what Prometheus reads (docs/src/security.md).
CLUSTER_STATUS_PORT, CLUSTER_METRICS = 8000, Metrics(CLUSTER_PODS, "metrics", 9187)
# The database in it, the role that serves, and the one that owns the schema.
DATABASE, SERVING_ROLE, OWNER_ROLE = "litellm", "litellm", "litellm_owner"


@dataclass(frozen=True)
class BundledRedis:
    """Our own Redis, where limits are counted."""

    host: str
    port: int
    image: ImagePlan
    probes: Probes


@dataclass(frozen=True)
class RedisTls:
    """TLS to a Redis; `authorities` None: those of the image."""

    authorities: CaBundle | None


@dataclass(frozen=True)
class ExistingRedis:
    """Somebody else's Redis, and by its port where it may be. `secret` has its password; None: it asks for none."""

    host: str
    port: int
    egress: Mapping[int, tuple[EgressRule, ...]]
    secret: str | None
    username: str | None = None
    tls: RedisTls | None = None


@dataclass(frozen=True)
class SentinelRedis:
    """Somebody else's Redis, of which Sentinels (host, port) know where its master is.

    `egress`: by port, to them and to what they may name. `sentinel_secret` has their own password; None: they ask for
    none.
    """

    sentinels: tuple[tuple[str, int], ...]
    master_name: str
    egress: Mapping[int, tuple[EgressRule, ...]]
    secret: str | None
    sentinel_secret: str | None
    tls: RedisTls | None


RedisPlan = BundledRedis | ExistingRedis | SentinelRedis


@dataclass(frozen=True)
class ExistingDatabase:
    """Somebody else's Postgres, whose host only its Secret knows, and where it may be.

    `migration_secret`: of the role that may change the schema, which may be the same.
    """

    secret: str
    migration_secret: str
    egress: tuple[EgressRule, ...]


@dataclass(frozen=True)
class BundledDatabase:
    """Our own Postgres: one pod, and a claim that outlives it. `storage_class` None: the cluster's default."""

    host: str
    image: ImagePlan
    storage_class: str | None
    gib: int
    connections: int
    """The most that all replicas take, those of a rollout included."""
    probes: Probes
    grace_s: int
    """What it may take to write down what it holds when it is stopped."""
    await_timeout_s: int
    instances: int = 1


@dataclass(frozen=True)
class CloudNativePgDatabase:
    """A Postgres with standbys, of CloudNativePG: a claim each, which outlive us. `storage_class` as above.

    `password_secret` None: that of the serving role is derived. The owner's is the operator's own, in `owner_secret`.
    """

    host: str
    image: ImagePlan
    instances: int
    storage_class: str | None
    gib: int
    connections: int
    password_secret: str | None
    owner_secret: str
    operator_namespace: str
    dns: DnsPlan
    await_timeout_s: int
    """The longest until all instances have started, one after the other."""
    shutdown_s: int
    """How long Postgres waits, when it is stopped, for clients that never go by themselves."""

    @property
    def copies(self) -> int:
        """Standbys that have an answer on their disk before a client has it, as long as there are so many."""
        return min(self.instances - 1, 1)


@dataclass(frozen=True)
class DatabasePlan:
    """Postgres of the gateway, and the Job that brings it up to the gateway's image.

    `admits_everyone`: without checking keys, while it is away.
    """

    source: ExistingDatabase | BundledDatabase | CloudNativePgDatabase
    port: int
    migration_memory_gib: int
    migration: JobLimits
    schema_check_s: int
    """How long LiteLLM may compare its schema before it serves."""
    admits_everyone: bool
