"""A Postgres with standbys: the `Cluster` that CloudNativePG makes pods, claims and Services of, and who may reach it.

The shape is that of postgresql.cnpg.io/v1, cloudnative-pg v1.30.0; ports and labels are from its docs/src/security.md
and labels_annotations.md.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from components._database import APP
from planning.plan.stores import (
    CLUSTER_PODS,
    CLUSTER_STATUS_PORT,
    DATABASE,
    GATEWAY_CLUSTER,
    OWNER_ROLE,
    SERVING_ROLE,
    CloudNativePgDatabase,
)
from planning.server import small_pods
from planning.server.scratch import quantity
from planning.stack.network import API_SERVER_PORTS

NEW_OBJECTS = f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER_ROLE} IN SCHEMA public"
# What start_postgres.sh does with a database of ours, as the superuser in the new database; the role that serves gets
# its password, and its right to come in, from the operator.
FIRST_SQL = (
    f"CREATE ROLE {SERVING_ROLE} NOLOGIN",
    f"ALTER SCHEMA public OWNER TO {OWNER_ROLE}",
    "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    f"GRANT USAGE ON SCHEMA public TO {SERVING_ROLE}",
    f"{NEW_OBJECTS} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {SERVING_ROLE}",
    f"{NEW_OBJECTS} GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO {SERVING_ROLE}",
)


def cloud_native_pg(
    name: str,
    namespace: pulumi.Input[str],
    plan: CloudNativePgDatabase,
    port: int,
    password: pulumi.Input[str],
    clients: Sequence[Mapping[str, str]],
    parent: pulumi.Resource,
    operator: Sequence[pulumi.Resource],
) -> list[pulumi.Resource]:
    """Declare the Cluster with its network rules; returns what a client must wait for.

    `password`: the Secret of the role that serves; `operator`: what must run first. The Cluster is kept, as its claims
    would go with it, and so are its network rules: a primary that reaches neither the others nor the API server is shut
    down (cloudnative-pg v1.30.0 docs/src/instance_manager.md), and a Postgres with keys in it is open to nobody else.
    """
    labels = _k8s.labels(APP, "database", GATEWAY_CLUSTER)
    metadata: Any = {"namespace": namespace, "name": GATEWAY_CLUSTER, "labels": labels}
    policy = k8s.networking.v1.NetworkPolicy(
        name,
        metadata=metadata,
        spec=_network(plan, port, clients),  # pyright: ignore[reportArgumentType] - checked against its schema in tests
        opts=pulumi.ResourceOptions(parent=parent, retain_on_delete=True),
    )
    waits = {"pulumi.com/waitFor": "condition=Ready", "pulumi.com/timeoutSeconds": str(plan.await_timeout_s)}
    timeout = f"{plan.await_timeout_s}s"
    cluster = k8s.apiextensions.CustomResource(
        name,
        api_version="postgresql.cnpg.io/v1",
        kind="Cluster",
        metadata=_k8s.annotated(metadata, waits),
        spec=_spec(plan, password),
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=[policy, *operator],
            retain_on_delete=True,
            custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout),
        ),
    )
    return [cluster, policy]


def _spec(plan: CloudNativePgDatabase, password: pulumi.Input[str]) -> dict[str, Any]:
    storage = {"size": f"{plan.gib}Gi", **({"storageClass": plan.storage_class} if plan.storage_class else {})}
    pulled = [{"name": secret} for secret in plan.image.pull_secrets]
    return {
        "instances": plan.instances,
        # the operator's budget keeps the one that writes where it is, and with one alone no node could be drained
        "enablePDB": plan.instances > 1,
        "imageName": plan.image.reference,
        **({"imagePullSecrets": pulled} if pulled else {}),
        "postgresUID": plan.image.uid,
        "postgresGID": plan.image.gid,
        "bootstrap": {
            "initdb": {
                "database": DATABASE,
                "owner": OWNER_ROLE,
                "dataChecksums": True,
                "postInitApplicationSQL": list(FIRST_SQL),
            }
        },
        "managed": {"roles": [{"name": SERVING_ROLE, "login": True, "passwordSecret": {"name": password}}]},
        "postgresql": {
            "parameters": {"max_connections": str(plan.connections)},
            # after the operator's own rules and before its last one, which would take a password in clear
            "pg_hba": ["hostnossl all all all reject"],
            **({"synchronous": _synchronous(plan.copies)} if plan.copies else {}),
        },
        "storage": storage,
        "resources": {
            "requests": _k8s.requests(small_pods.POSTGRES_INSTANCE),
            "limits": {"memory": quantity(small_pods.POSTGRES_INSTANCE_LIMIT_MIB)},
        },
        "smartShutdownTimeout": plan.shutdown_s,
        "affinity": {"topologyKey": "kubernetes.io/hostname", **_k8s.off_gpu_nodes()},
    }


def _synchronous(copies: int) -> dict[str, Any]:
    """A key that somebody was given is known after a failover; nobody waits for a standby that is away."""
    return {"method": "any", "number": copies, "dataDurability": "preferred"}


def _network(plan: CloudNativePgDatabase, port: int, clients: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Clients reach Postgres; the operator and the instances see to each other, and instances to the API server.

    Names are asked by a rule of their own, as that of the namespace goes with the stack.
    """
    among = _k8s.tcp(port, CLUSTER_STATUS_PORT)
    inside = _k8s.pods(CLUSTER_PODS)
    return _k8s.network_policy(
        CLUSTER_PODS,
        ingress=[
            {"from": [_k8s.pods(client) for client in clients], "ports": _k8s.tcp(port)},
            {"from": [_k8s.namespace_pods(plan.operator_namespace), inside], "ports": among},
        ],
        egress=[{"to": [inside], "ports": among}, {"ports": _k8s.tcp(*API_SERVER_PORTS)}, _k8s.dns(plan.dns)],
    )
