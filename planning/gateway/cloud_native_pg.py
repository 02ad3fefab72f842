"""A Postgres with standbys, which CloudNativePG runs: its size, what it lacks, and who gives its passwords."""

from collections.abc import Iterator

from catalog.load import Catalog
from planning.plan.pods import ImagePlan
from planning.plan.stores import GATEWAY_CLUSTER, CloudNativePgDatabase
from planning.stack.cluster import dns_plan
from planning.stack.timing import CLUSTER_INSTANCE_S, CLUSTER_SHUTDOWN_S, CLUSTER_START_S
from settings.problems import Problem
from settings.schema import CloudNativePgDatabaseSettings, GatewaySettings, StackSettings

# Ends of the names of the Secrets that the operator makes of a Cluster, and keeps as it likes (cloudnative-pg v1.30.0
# api/v1/cluster_funcs.go).
OPERATOR_SECRETS = tuple(f"{GATEWAY_CLUSTER}-{end}" for end in ("app", "ca", "replication", "server", "superuser"))


def plan_cluster(
    settings: StackSettings,
    database: CloudNativePgDatabaseSettings,
    image: ImagePlan,
    connections: int,
    catalog: Catalog,
) -> CloudNativePgDatabase:
    """The cluster as it is declared. `connections`: the most that clients take of the instance that writes."""
    return CloudNativePgDatabase(
        # the Service of the instance that takes writes, as the operator calls it
        host=f"{GATEWAY_CLUSTER}-rw.{settings.cluster.namespace}.svc",
        image=image,
        instances=database.instances,
        storage_class=database.storage_class,
        gib=database.gib,
        connections=connections,
        password_secret=database.password_secret,
        # as the operator calls the Secret of the owner, which it makes itself
        owner_secret=f"{GATEWAY_CLUSTER}-app",
        operator_namespace=settings.cloud_native_pg.namespace,
        dns=dns_plan(settings.cluster, catalog),
        await_timeout_s=CLUSTER_START_S + CLUSTER_INSTANCE_S * database.instances,
        shutdown_s=CLUSTER_SHUTDOWN_S,
    )


def cluster_problems(gateway: GatewaySettings) -> Iterator[Problem]:
    """A password that nobody gives: without the master key none can be derived."""
    database = gateway.database
    if not isinstance(database, CloudNativePgDatabaseSettings):
        return
    if gateway.existing_secret and not database.password_secret:
        yield Problem(
            "gateway.database.passwordSecret",
            "is missing: with gateway.existingSecret no password is derived; name a Secret of type "
            "kubernetes.io/basic-auth with username: litellm and a password",
        )
    elif database.password_secret == gateway.existing_secret and gateway.existing_secret:
        yield Problem(
            "gateway.database.passwordSecret",
            f'"{database.password_secret}" is gateway.existingSecret, all of whose keys the operator could read; name '
            "a Secret of its own",
        )
    elif database.password_secret in OPERATOR_SECRETS:
        yield Problem(
            "gateway.database.passwordSecret",
            f'"{database.password_secret}" is made by the operator, for somebody else; name a Secret of your own',
        )


def cluster_warnings(database: CloudNativePgDatabaseSettings) -> Iterator[str]:
    """Sentences about what a cluster has not by itself."""
    page = "docs/operations.md, The database of the gateway"
    yield f"gateway: its Postgres has no backups until you declare them, and a standby repeats every mistake ({page})"
    if database.instances == 1:
        yield (
            "gateway: its Postgres is one instance, so keys that are not known from before are refused while it "
            "restarts; gateway.database.instances: 3 has two standbys"
        )
