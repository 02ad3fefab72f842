"""Way of the gateway's pods to its database: the URL and the Secrets it is in, and to whom they may connect."""

from typing import Any

import pulumi

from components import _k8s
from components.keys import ExistingSecret, Keys, MasterKey, own_secret
from planning.plan.stores import (
    CLUSTER_PODS,
    DATABASE,
    GATEWAY_POSTGRES,
    OWNER_ROLE,
    SERVING_ROLE,
    BundledDatabase,
    CloudNativePgDatabase,
    DatabasePlan,
    ExistingDatabase,
)

APP = "postgres"
# Of the Secret of somebody else's Postgres.
URL_ENTRY = "database-url"
# End of the name of the rule that leads to one of ours: another one while one follows the other.
ENDS = {BundledDatabase: "postgres", CloudNativePgDatabase: "database"}
# Of what the URL is composed of.
PASSWORD = "POSTGRES_PASSWORD"  # noqa: S105 - the name of a variable
# Of the Secret with the keys: of the role that serves, and of the one that may change the schema.
SERVING_ENTRY, OWNER_ENTRY = "database-password", "database-owner-password"
# As components/pod_scripts/start_postgres.sh makes them.
ROLES = {SERVING_ENTRY: SERVING_ROLE, OWNER_ENTRY: OWNER_ROLE}
# Of a Secret for one role, as Kubernetes and CloudNativePG spell them.
BASIC_AUTH, USER_ENTRY, PASSWORD_ENTRY = "kubernetes.io/basic-auth", "username", "password"


def passwords(
    name: str, database: DatabasePlan | None, keys: Keys, metadata: Any, opts: pulumi.ResourceOptions
) -> pulumi.Input[str]:
    """Name of the Secret with the passwords of our own Postgres, of the role that serves at least; empty without one.

    It is not that of the gateway's other keys, so that none of these starts Postgres anew.
    """
    match database and database.source, keys:
        case BundledDatabase(), ExistingSecret(name=existing):
            return existing
        case BundledDatabase(), MasterKey() as master:
            entries = {entry: master.derived(entry) for entry in ROLES}
            return own_secret(name, metadata, entries, opts)
        case CloudNativePgDatabase(password_secret=str(existing)), _:
            return existing
        case CloudNativePgDatabase(), MasterKey() as master:
            entries = {
                USER_ENTRY: pulumi.Output.from_input(SERVING_ROLE),
                PASSWORD_ENTRY: master.derived(SERVING_ENTRY),
            }
            return own_secret(name, metadata, entries, opts, BASIC_AUTH)
        case _:
            return ""


def url(database: DatabasePlan, secret: pulumi.Input[str], entry: str = SERVING_ENTRY) -> list[dict[str, Any]]:
    """The variable `DATABASE_URL` of a role; `secret`: that of `passwords`."""
    match database.source:
        case ExistingDatabase(secret=serving, migration_secret=owner):
            return [_k8s.secret_env("DATABASE_URL", serving if entry == SERVING_ENTRY else owner, URL_ENTRY)]
        case BundledDatabase(host=host):
            return _composed(f"{host}:{database.port}/{DATABASE}", entry, _k8s.secret_env(PASSWORD, secret, entry))
        case CloudNativePgDatabase(host=host, owner_secret=owner):
            # encrypted, and nobody's name proven: the operator makes its authority anew while our pods run, and
            # Prisma reads one when it starts (docs/adr/0033-standbys-by-cloudnativepg.md)
            place = f"{host}:{database.port}/{DATABASE}?sslmode=require"
            held = secret if entry == SERVING_ENTRY else owner
            return _composed(place, entry, _k8s.secret_env(PASSWORD, held, PASSWORD_ENTRY))


def _composed(place: str, entry: str, password: dict[str, Any]) -> list[dict[str, Any]]:
    """The URL of a role behind its password, which Kubernetes puts in: it expands what stands before."""
    return [password, {"name": "DATABASE_URL", "value": f"postgresql://{ROLES[entry]}:$({PASSWORD})@{place}"}]


def egress(database: DatabasePlan) -> list[dict[str, Any]]:
    """Rules towards it."""
    match database.source:
        case ExistingDatabase(egress=rules):
            return _k8s.egress(rules)
        case BundledDatabase():
            peer = _k8s.pods(_k8s.selector(APP, GATEWAY_POSTGRES))
            return [{"to": [peer], "ports": _k8s.tcp(database.port)}]
        case CloudNativePgDatabase():
            return [{"to": [_k8s.pods(CLUSTER_PODS)], "ports": _k8s.tcp(database.port)}]
