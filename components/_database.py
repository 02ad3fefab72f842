"""Way of the gateway's pods to its database: the URL and the Secrets it is in, and to whom they may connect."""

from typing import Any

import pulumi

from components import _k8s
from components.keys import ExistingSecret, Keys, MasterKey, own_secret
from planning.plan.stores import GATEWAY_POSTGRES, BundledDatabase, DatabasePlan, ExistingDatabase

APP = "postgres"
# Of the Secret of somebody else's Postgres.
URL_ENTRY = "database-url"
# Of the Secret with the keys: of the role that serves, and of the one that may change the schema.
SERVING_ENTRY, OWNER_ENTRY = "database-password", "database-owner-password"
# As components/pod_scripts/start_postgres.sh makes them.
DATABASE, ROLES = "litellm", {SERVING_ENTRY: "litellm", OWNER_ENTRY: "litellm_owner"}


def passwords(
    name: str, database: DatabasePlan | None, keys: Keys, metadata: Any, opts: pulumi.ResourceOptions
) -> pulumi.Input[str]:
    """Name of the Secret with the passwords of our own Postgres; empty without one.

    It is not that of the gateway's other keys, so that none of these starts Postgres anew.
    """
    if not database or not isinstance(database.source, BundledDatabase):
        return ""
    match keys:
        case ExistingSecret(name=existing):
            return existing
        case MasterKey() as master:
            entries = {entry: master.derived(entry) for entry in ROLES}
            return own_secret(name, metadata, entries, opts)


def url(database: DatabasePlan, secret: pulumi.Input[str], entry: str = SERVING_ENTRY) -> list[dict[str, Any]]:
    """The variable `DATABASE_URL` of a role; `secret`: that of `passwords`."""
    match database.source:
        case ExistingDatabase(secret=serving, migration_secret=owner):
            return [_k8s.secret_env("DATABASE_URL", serving if entry == SERVING_ENTRY else owner, URL_ENTRY)]
        case BundledDatabase(host=host):
            address = f"postgresql://{ROLES[entry]}:$(POSTGRES_PASSWORD)@{host}:{database.port}/{DATABASE}"
            return [
                _k8s.secret_env("POSTGRES_PASSWORD", secret, entry),
                {"name": "DATABASE_URL", "value": address},
            ]


def egress(database: DatabasePlan) -> list[dict[str, Any]]:
    """Rules towards it."""
    match database.source:
        case ExistingDatabase(egress=rules):
            return _k8s.egress(rules)
        case BundledDatabase():
            peer = _k8s.pods(_k8s.selector(APP, GATEWAY_POSTGRES))
            return [{"to": [peer], "ports": _k8s.tcp(database.port)}]
