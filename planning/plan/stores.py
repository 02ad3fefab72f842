"""The stores that the gateway's replicas share: Redis for counts of limits, Postgres for keys and spend."""

from dataclasses import dataclass

from planning.plan.pods import EgressRule, ImagePlan, JobLimits, Probes

# Names of the objects of our own, which rules and policies name too.
GATEWAY_REDIS = "litellm-redis"
GATEWAY_POSTGRES = "litellm-postgres"


@dataclass(frozen=True)
class BundledRedis:
    """Our own Redis, where limits are counted."""

    host: str
    port: int
    image: ImagePlan
    probes: Probes


@dataclass(frozen=True)
class ExistingRedis:
    """Somebody else's Redis, and where it may be."""

    host: str
    port: int
    egress: tuple[EgressRule, ...]


RedisPlan = BundledRedis | ExistingRedis


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


@dataclass(frozen=True)
class DatabasePlan:
    """Postgres of the gateway, and the Job that brings it up to the gateway's image.

    `admits_everyone`: without checking keys, while it is away.
    """

    source: ExistingDatabase | BundledDatabase
    port: int
    migration_memory_gib: int
    migration: JobLimits
    schema_check_s: int
    """How long LiteLLM may compare its schema before it serves."""
    admits_everyone: bool
