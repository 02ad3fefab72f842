"""Stores of what the gateway's replicas share: counts of limits in Redis, keys and spend in Postgres."""

from collections.abc import Mapping

from catalog.schema import Networks
from planning.plan.gateway import GATEWAY_REDIS, BundledRedis, DatabasePlan, ExistingRedis
from planning.plan.pods import ImagePlan
from planning.stack.network import anywhere
from planning.stack.timing import MIGRATION, REDIS_PROBES, SCHEMA_CHECK_S
from settings import schema
from settings.problems import Problem
from settings.schema import ClusterOnly, GatewaySettings, ModelSettings, NoRedis, StackSettings

REDIS_PORT = 6379
# LiteLLM's import takes 0.5 GiB, Prisma's Node program and schema engine beside it less.
MIGRATION_MEMORY_GIB = 2


def plan_database(gateway: GatewaySettings, networks: Networks) -> DatabasePlan | None:
    """Postgres, whose host only its Secret knows."""
    database = gateway.database
    if database is None:
        return None
    return DatabasePlan(
        secret=database.existing_secret,
        port=database.port,
        migration_secret=database.migration_secret or database.existing_secret,
        migration_memory_gib=MIGRATION_MEMORY_GIB,
        migration=MIGRATION,
        schema_check_s=SCHEMA_CHECK_S,
        admits_everyone=database.when_away == "admitEveryone",
        egress=anywhere(networks, database.port),
    )


def database_problems(gateway: GatewaySettings) -> list[Problem]:
    """Admitting everyone from outside the cluster."""
    if (
        gateway.database is None
        or gateway.database.when_away != "admitEveryone"
        or isinstance(gateway.expose, ClusterOnly)
    ):
        return []
    return [
        Problem(
            "gateway.database.whenAway",
            f"admitEveryone would let anybody in through {gateway.host} while Postgres is away; use refuse, or "
            "gateway.expose: {kind: none}",
        )
    ]


def plan_redis(
    settings: StackSettings, images: Mapping[str, ImagePlan], networks: Networks
) -> BundledRedis | ExistingRedis | None:
    """Our own Redis, somebody else's, or none."""
    match settings.gateway.redis:
        case NoRedis():
            return None
        case schema.ExistingRedisSettings(host=host, port=port):
            return ExistingRedis(host, port, anywhere(networks, port, host))
        case schema.BundledRedisSettings():
            host = f"{GATEWAY_REDIS}.{settings.cluster.namespace}.svc"
            return BundledRedis(host, REDIS_PORT, images["redis"], REDIS_PROBES)


def redis_problems(gateway: GatewaySettings) -> list[Problem]:
    """More than one replica without a Redis, each of which would count for itself."""
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
