"""Stores of what the gateway's replicas share: counts of limits in Redis, keys and spend in Postgres."""

from collections.abc import Mapping
from math import ceil

from catalog.load import Catalog
from catalog.schema import Networks
from planning.gateway.cloud_native_pg import cluster_problems, cluster_warnings, plan_cluster
from planning.gateway.litellm import POOL_CONNECTIONS
from planning.plan.access import CaBundle
from planning.plan.pods import EgressRule, ImagePlan
from planning.plan.stores import (
    GATEWAY_POSTGRES,
    GATEWAY_REDIS,
    BundledDatabase,
    BundledRedis,
    DatabasePlan,
    ExistingDatabase,
    ExistingRedis,
    RedisPlan,
    RedisTls,
    SentinelRedis,
)
from planning.stack.network import anywhere
from planning.stack.timing import MIGRATION, POSTGRES, REDIS_PROBES, SCHEMA_CHECK_S
from settings import schema
from settings.problems import Problem
from settings.schema import (
    ClusterOnly,
    ExistingRedisSettings,
    GatewaySettings,
    ModelSettings,
    NoRedis,
    RedisTlsSettings,
    SentinelRedisSettings,
    StackSettings,
)

REDIS_PORT, SENTINEL_PORT, POSTGRES_PORT = 6379, 26379, 5432
# LiteLLM's import takes 0.5 GiB, Prisma's Node program and schema engine beside it less.
MIGRATION_MEMORY_GIB = 2
# What one replica takes at most (litellm.py), and as many again while it looks at its schema.
CONNECTIONS_EACH, CONNECTIONS_STEP = 2 * POOL_CONNECTIONS, 500


def plan_database(
    settings: StackSettings, images: Mapping[str, ImagePlan], catalog: Catalog, replicas: int
) -> DatabasePlan | None:
    """Our own Postgres, somebody else's, or none. `replicas`: the most there may be."""
    # in steps that are seldom left: another number starts it anew
    connections = CONNECTIONS_STEP * ceil(CONNECTIONS_EACH * (replicas + 1) / CONNECTIONS_STEP)
    match database := settings.gateway.database:
        case None:
            return None
        case schema.ExistingDatabaseSettings(existing_secret=secret, migration_secret=owner, port=port):
            source = ExistingDatabase(secret, owner or secret, anywhere(catalog.networks, port))
        case schema.BundledDatabaseSettings(storage_class=storage_class, gib=gib):
            port = POSTGRES_PORT
            source = BundledDatabase(
                host=f"{GATEWAY_POSTGRES}.{settings.cluster.namespace}.svc",
                image=images["postgres"],
                storage_class=storage_class,
                gib=gib,
                connections=connections,
                probes=POSTGRES.probes,
                grace_s=POSTGRES.grace_s,
                await_timeout_s=POSTGRES.await_timeout_s,
            )
        case schema.CloudNativePgDatabaseSettings() as cluster:
            port = POSTGRES_PORT
            source = plan_cluster(settings, cluster, images["cloudnative-pg-postgres"], connections, catalog)
    return DatabasePlan(
        source=source,
        port=port,
        migration_memory_gib=MIGRATION_MEMORY_GIB,
        migration=MIGRATION,
        schema_check_s=SCHEMA_CHECK_S,
        admits_everyone=database.when_away == "admitEveryone",
    )


def database_warnings(gateway: GatewaySettings) -> list[str]:
    """Warnings about a Postgres of our own: what it has not, of standbys and backups."""
    if isinstance(gateway.database, schema.CloudNativePgDatabaseSettings):
        return list(cluster_warnings(gateway.database))
    if not isinstance(gateway.database, schema.BundledDatabaseSettings):
        return []
    gone = "keys and spend are lost with its claim (docs/operations.md, The database of the gateway)"
    return [f"gateway: its Postgres is one pod, without a standby and without backups; {gone}"]


def database_problems(gateway: GatewaySettings) -> list[Problem]:
    """Passwords that nobody gives, and admitting everyone from outside the cluster."""
    problems = list(cluster_problems(gateway))
    if (
        gateway.database is None
        or gateway.database.when_away != "admitEveryone"
        or isinstance(gateway.expose, ClusterOnly)
    ):
        return problems
    return [
        *problems,
        Problem(
            "gateway.database.whenAway",
            f"admitEveryone would let anybody in through {gateway.host} while Postgres is away; use refuse, or "
            "gateway.expose: {kind: none}",
        ),
    ]


def plan_redis(settings: StackSettings, images: Mapping[str, ImagePlan], networks: Networks) -> RedisPlan | None:
    """Our own Redis, somebody else's, or none."""
    keys = settings.gateway.existing_secret
    match redis := settings.gateway.redis:
        case NoRedis():
            return None
        case ExistingRedisSettings(host=host, port=port, username=username):
            rules = {port: anywhere(networks, port, host)}
            return ExistingRedis(host, port, rules, _password_secret(redis, keys), username, _tls(redis.tls))
        case SentinelRedisSettings(sentinels=sentinels, master_name=name, port=port):
            addresses = tuple(_address(sentinel) for sentinel in sentinels)
            rules_by_port: dict[int, tuple[EgressRule, ...]] = {port: anywhere(networks, port)}
            for host, at in addresses:
                rules_by_port[at] = tuple(dict.fromkeys((*rules_by_port.get(at, ()), *anywhere(networks, at, host))))
            own = (redis.password_secret or keys) if redis.sentinels_ask_password else None
            return SentinelRedis(addresses, name, rules_by_port, _password_secret(redis, keys), own, _tls(redis.tls))
        case schema.BundledRedisSettings():
            host = f"{GATEWAY_REDIS}.{settings.cluster.namespace}.svc"
            return BundledRedis(host, REDIS_PORT, images["redis"], REDIS_PROBES)


def _password_secret(redis: ExistingRedisSettings | SentinelRedisSettings, keys: str | None) -> str | None:
    return None if redis.passwordless else redis.password_secret or keys


def _tls(tls: RedisTlsSettings | None) -> RedisTls | None:
    if tls is None:
        return None
    bundle = tls.ca_bundle
    return RedisTls(CaBundle(bundle.kind, bundle.name, bundle.key) if bundle else None)


def _address(sentinel: str) -> tuple[str, int]:
    host, _, port = sentinel.partition(":")
    return host, int(port or SENTINEL_PORT)


def _password_problems(gateway: GatewaySettings) -> list[Problem]:
    """Passwords of a Redis that exists, which nothing here may make up."""
    redis = gateway.redis
    if not isinstance(redis, ExistingRedisSettings | SentinelRedisSettings):
        return []
    asks = not redis.passwordless or (isinstance(redis, SentinelRedisSettings) and redis.sentinels_ask_password)
    if not asks or redis.password_secret or gateway.existing_secret:
        return []
    why = (
        "is missing: the password of a Redis that exists is nobody's to make up; name a Secret with redis-password, or"
    )
    return [Problem("gateway.redis.passwordSecret", f"{why} say passwordless: true")]


def redis_problems(gateway: GatewaySettings) -> list[Problem]:
    """Several replicas without a Redis, each of which would count for itself, or a password that nobody has given."""
    if problems := _password_problems(gateway):
        return problems
    most = gateway.replicas.max or gateway.replicas.min or 1
    if most == 1 or not isinstance(gateway.redis, NoRedis):
        return []
    return [
        Problem(
            "gateway.redis",
            f"kind none with {most} replicas: each would count limits for itself; use gateway.replicas: 1, "
            "or gateway.redis: {kind: bundled}",
        )
    ]


def counted_in_memory(models: Mapping[str, ModelSettings]) -> str:
    """The warning about limits that are counted without Redis."""
    limited = [name for name, model in models.items() if model.requests_per_minute or model.tokens_per_minute]
    if not limited:
        return "none: one replica shares its counts with nobody"
    return f"none: limits of {', '.join(limited)} are counted in the one replica's memory and start anew with its pod"
