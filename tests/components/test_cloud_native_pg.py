"""`LlmGateway` with a Postgres of CloudNativePG: what is declared, who reaches it, in which order, and what is kept.

Does not prove that the operator makes a Postgres of it; its definition is that of cloudnative-pg v1.30.0, against which
a simulated cluster checks the object (tests/cluster).
"""

from typing import Any

import pytest

from tests.harness import MASTER_KEY, container_of, environment, merged, minimal, own_keys, refusals, stack

STANDBYS = {"database": {"kind": "cloudNativePg", "storageClass": "ssd", "gib": 50}}
NAMED = {"database": {**STANDBYS["database"], "passwordSecret": "llm-postgres"}}
NAME, MIGRATION = "litellm-database", "litellm-migration"
PODS = {"podSelector": {"matchLabels": {"cnpg.io/cluster": NAME}}}


def tcp(*ports: int) -> list[dict[str, Any]]:
    """Ports of a rule."""
    return [{"port": port, "protocol": "TCP"} for port in ports]


def namespace(name: str) -> dict[str, Any]:
    """All pods of a namespace as a peer."""
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def client(app: str) -> dict[str, Any]:
    """Pods of the gateway's that ask it."""
    match = {"app.kubernetes.io/name": app, "app.kubernetes.io/instance": "litellm"}
    return {"podSelector": {"matchLabels": match}}


def cluster(config: Any) -> Any:
    """The Cluster that a stack declares."""
    return stack(config).object("Cluster", NAME)


def test_the_cluster_to_the_letter():
    """Three instances off the GPUs, TLS only, a serving role that owns nothing, one copy waited for."""
    spec = cluster(own_keys(gateway=STANDBYS, images={"pullSecrets": ["registry"]}))["spec"]
    later = "ALTER DEFAULT PRIVILEGES FOR ROLE litellm_owner IN SCHEMA public GRANT"
    elsewhere = {"key": "nvidia.com/gpu.present", "operator": "NotIn", "values": ["true"]}
    assert spec == {
        "instances": 3,
        "enablePDB": True,
        "imageName": "ghcr.io/cloudnative-pg/postgresql:18.6-system-trixie",
        "imagePullSecrets": [{"name": "registry"}],
        "postgresUID": 26,
        "postgresGID": 26,
        "bootstrap": {
            "initdb": {
                "database": "litellm",
                "owner": "litellm_owner",
                "dataChecksums": True,
                "postInitApplicationSQL": [
                    "CREATE ROLE litellm NOLOGIN",
                    "ALTER SCHEMA public OWNER TO litellm_owner",
                    "REVOKE ALL ON SCHEMA public FROM PUBLIC",
                    "GRANT USAGE ON SCHEMA public TO litellm",
                    f"{later} SELECT, INSERT, UPDATE, DELETE ON TABLES TO litellm",
                    f"{later} USAGE, SELECT, UPDATE ON SEQUENCES TO litellm",
                ],
            }
        },
        "managed": {"roles": [{"name": "litellm", "login": True, "passwordSecret": {"name": "gateway-database-auto"}}]},
        "postgresql": {
            "parameters": {"max_connections": "500"},
            "pg_hba": ["hostnossl all all all reject"],
            "synchronous": {"method": "any", "number": 1, "dataDurability": "preferred"},
        },
        "storage": {"size": "50Gi", "storageClass": "ssd"},
        "resources": {
            "requests": {"cpu": "300m", "memory": "768Mi", "ephemeral-storage": "128Mi"},
            "limits": {"memory": "1536Mi"},
        },
        "smartShutdownTimeout": 5,
        "affinity": {
            "topologyKey": "kubernetes.io/hostname",
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 100, "preference": {"matchExpressions": [elsewhere]}}
                ]
            },
        },
    }


def test_it_is_kept_and_waited_for():
    """No engine deletes it, whose claims would go with it, or its rules; clients wait until all instances are ready."""
    deployed = stack(own_keys(gateway=STANDBYS))
    assert deployed.object("Cluster", NAME)["metadata"]["annotations"] == {
        "pulumi.com/patchFieldManager": "llm-stack",
        "pulumi.com/timeoutSeconds": "1500",
        "pulumi.com/waitFor": "condition=Ready",
    }
    for kind in ("Cluster", "NetworkPolicy"):
        assert deployed.record(kind, "gateway-cluster").options.retain_on_delete is True


def test_one_instance_waits_for_no_copy_and_the_cluster_chooses_its_class():
    """Nothing is asked of standbys that are not there, no class is named, the wait is shorter, its node drains."""
    body = cluster(own_keys(gateway={"database": {"kind": "cloudNativePg", "instances": 1}}))
    assert (body["spec"]["instances"], body["spec"]["storage"]) == (1, {"size": "20Gi"})
    assert "synchronous" not in body["spec"]["postgresql"]
    assert body["spec"]["enablePDB"] is False
    assert body["metadata"]["annotations"]["pulumi.com/timeoutSeconds"] == "900"


def test_operator_then_cluster_then_migration_then_gateway():
    """Each waits for the one before; an operator that is there already is waited for by nobody."""
    deployed = stack(own_keys(gateway=STANDBYS))
    assert {"Release/cloudnative-pg", "NetworkPolicy/gateway-cluster"} <= set(
        deployed.depends_on("Cluster", "gateway-cluster")
    )
    assert "Cluster/gateway-cluster" in deployed.depends_on("Job", "gateway-migrate")
    assert {"Cluster/gateway-cluster", "Job/gateway-migrate"} <= set(deployed.depends_on("Deployment", "gateway"))
    there = stack(own_keys(gateway=STANDBYS, cloudNativePg={"install": False}))
    assert "Release/cloudnative-pg" not in there.depends_on("Cluster", "gateway-cluster")


@pytest.mark.parametrize(
    ("section", "installed", "of_operator"),
    [
        ({}, "cnpg-system", "cnpg-system"),
        ({"namespace": "postgres"}, "postgres", "postgres"),
        ({"install": False, "namespace": "operators"}, None, "operators"),
    ],
)
def test_the_operator_is_installed_where_it_is_said_and_let_in_from_there(
    section: Any, installed: str | None, of_operator: str
):
    """One setting for both: where its chart goes, and whose pods may see to the instances."""
    deployed = stack(own_keys(gateway=STANDBYS, cloudNativePg=section))
    releases = {body["chart"]: body["namespace"] for body in deployed.objects("Release")}
    assert releases.get("cloudnative-pg") == installed
    rules = deployed.object("NetworkPolicy", NAME)["spec"]["ingress"]
    assert rules[1]["from"][0] == namespace(of_operator)


def test_without_such_a_database_no_operator_is_installed():
    """Another kind of Postgres, or none, needs none."""
    for gateway in ({}, {"database": {"kind": "bundled"}}, {"database": {"existingSecret": "pg"}}):
        assert "cloudnative-pg" not in {body["chart"] for body in stack(own_keys(gateway=gateway)).objects("Release")}


def test_who_reaches_whom():
    """Clients by Postgres' port, operator and instances by two, Prometheus by one; instances ask the API server too."""
    deployed = stack(own_keys(gateway=STANDBYS))
    (dns,) = deployed.object("NetworkPolicy", "llm-stack-allow-dns")["spec"]["egress"]
    assert deployed.object("NetworkPolicy", NAME)["spec"] == {
        **PODS,
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": [client("litellm"), client(MIGRATION)], "ports": tcp(5432)},
            {"from": [namespace("cnpg-system"), PODS], "ports": tcp(5432, 8000)},
        ],
        "egress": [{"to": [PODS], "ports": tcp(5432, 8000)}, {"ports": tcp(443, 6443, 8443, 16443)}, dns],
    }
    towards = {"policyTypes": ["Egress"], "egress": [{"to": [PODS], "ports": tcp(5432)}]}
    assert deployed.object("NetworkPolicy", "litellm-to-database")["spec"] == {**client("litellm"), **towards}
    assert deployed.object("NetworkPolicy", MIGRATION)["spec"] == {**client(MIGRATION), **towards}
    assert deployed.object("NetworkPolicy", "postgres-metrics-from-monitoring")["spec"] == {
        **PODS,
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [namespace("monitoring")], "ports": tcp(9187)}],
    }


def test_its_instances_are_scraped():
    """By the port that the operator gives them; no other database is."""
    monitor = stack(own_keys(gateway=STANDBYS)).object("PodMonitor", "postgres")
    assert monitor["spec"]["selector"]["matchLabels"] == {"cnpg.io/cluster": NAME}
    assert [(end["port"], end.get("path")) for end in monitor["spec"]["podMetricsEndpoints"]] == [("metrics", None)]
    bundled = stack(own_keys(gateway={"database": {"kind": "bundled"}}))
    assert [body["metadata"]["name"] for body in bundled.objects("PodMonitor")] == ["vllm", "litellm"]


@pytest.mark.parametrize(
    ("config", "secret"),
    [(own_keys(gateway=STANDBYS), "gateway-database-auto"), (minimal(gateway=NAMED), "llm-postgres")],
)
def test_each_role_knows_its_own_password_and_speaks_tls(config: Any, secret: str):
    """Pods that serve read the Secret of their role, the Job that of the operator; both ask for encryption."""
    deployed = stack(config)
    values = {
        kind: environment(container_of(deployed.object(kind, owner)))
        for kind, owner in (("Deployment", "litellm"), ("Job", MIGRATION))
    }
    address = "postgresql://%s:$(POSTGRES_PASSWORD)@litellm-database-rw.llm-serving.svc:5432/litellm?sslmode=require"
    assert [(found["POSTGRES_PASSWORD"], found["DATABASE_URL"]) for found in values.values()] == [
        (f"secret:{secret}/password", address % "litellm"),
        ("secret:litellm-database-app/password", address % "litellm_owner"),
    ]
    (role,) = deployed.object("Cluster", NAME)["spec"]["managed"]["roles"]
    assert role["passwordSecret"] == {"name": secret}


def test_the_derived_password_is_a_secret_as_the_operator_wants_it():
    """Of the type with user and password, of the role that serves alone; with a Secret of the user's there is none."""
    deployed = stack(own_keys(gateway=STANDBYS))
    (secret,) = [body for body in deployed.objects("Secret") if "password" in body["stringData"]]
    assert (secret["type"], set(secret["stringData"])) == ("kubernetes.io/basic-auth", {"username", "password"})
    assert deployed.secret("gateway-database")["username"] == "litellm"
    assert deployed.secret("gateway-database")["password"] != MASTER_KEY
    assert stack(minimal(gateway=NAMED)).objects("Secret") == []


@pytest.mark.parametrize(
    "change",
    [
        {"models": {"other": {"model": "Qwen/Qwen3-0.6B", "pool": "l4", "contextTokens": 4096}}},
        {"gateway": {"redis": {"kind": "none"}, "replicas": 1}},
        {"gateway": {"replicas": 3, "memoryGib": 8}},
    ],
)
def test_nothing_else_changes_it(change: Any):
    """Another model, another Redis, other sizes: the Cluster stays to the letter."""
    config = own_keys(gateway=STANDBYS)
    assert cluster(config) == cluster(merged(config, change))


def refused(path: str, why: str) -> list[str]:
    """The one refusal."""
    return [f"{path}: {why}"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            minimal(gateway=STANDBYS),
            refused(
                "gateway.database.passwordSecret",
                "is missing: with gateway.existingSecret no password is derived; name a Secret of type "
                "kubernetes.io/basic-auth with username: litellm and a password",
            ),
        ),
        (
            minimal(gateway=merged(STANDBYS, {"database": {"passwordSecret": "llm-keys"}})),
            refused(
                "gateway.database.passwordSecret",
                '"llm-keys" is gateway.existingSecret, all of whose keys the operator could read; name a Secret of its '
                "own",
            ),
        ),
        (
            own_keys(gateway=merged(STANDBYS, {"database": {"passwordSecret": "litellm-database-app"}})),
            refused(
                "gateway.database.passwordSecret",
                '"litellm-database-app" is made by the operator, for somebody else; name a Secret of your own',
            ),
        ),
        (
            own_keys(gateway=STANDBYS, cloudNativePg={"namespace": "kube-system"}),
            refused(
                "cloudNativePg.namespace",
                '"kube-system" is a namespace of Kubernetes itself; install would label it for pods of an operator; '
                "give CloudNativePG one of its own",
            ),
        ),
        (
            own_keys(gateway=STANDBYS, cloudNativePg={"namespace": "llm-serving"}),
            refused(
                "cluster.namespace",
                '"llm-serving" is cloudNativePg.namespace; models and gateway close their namespace to everything '
                "else, so give them one of their own",
            ),
        ),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_do(config: Any, expected: list[str]):
    """A password that nobody gives or that opens more, and a namespace that is somebody's."""
    assert refusals(config) == expected
