"""`LlmGateway` with a Postgres of its own: what is declared, who reaches it, in which order, and what outlives it.

Does not prove that Postgres starts by the script (tests/unit/pod_scripts, tests/local) or that a claim is kept on a
cluster (tests/engine).
"""

from typing import Any

import pytest

from tests.harness import MASTER_KEY, container_of, environment, merged, minimal, own_keys, stack

OURS = {"database": {"kind": "bundled", "storageClass": "ssd", "gib": 50}}
NAME, MIGRATION = "litellm-postgres", "litellm-migration"


def labels(app: str, instance: str) -> dict[str, Any]:
    """A peer of a network rule."""
    match = {"app.kubernetes.io/name": app, "app.kubernetes.io/instance": instance}
    return {"podSelector": {"matchLabels": match}}


POSTGRES, GATEWAY, JOB = labels("postgres", NAME), labels("litellm", "litellm"), labels(MIGRATION, "litellm")
PORTS = [{"port": 5432, "protocol": "TCP"}]


def test_it_is_one_pod_whose_claim_is_kept():
    """A claim of its own, so that it may grow, which the engine never deletes and which no stack owns for itself."""
    deployed = stack(own_keys(gateway=OURS))
    workload, claim = (deployed.object(kind, NAME) for kind in ("StatefulSet", "PersistentVolumeClaim"))
    assert (workload["spec"]["replicas"], workload["spec"]["podManagementPolicy"]) == (1, "Parallel")
    assert "volumeClaimTemplates" not in workload["spec"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": NAME}} in workload["spec"]["template"]["spec"][
        "volumes"
    ]
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "ssd",
        "resources": {"requests": {"storage": "50Gi"}},
    }
    assert claim["metadata"]["annotations"] == {
        "pulumi.com/patchFieldManager": "llm-stack",
        "pulumi.com/skipAwait": "true",
    }
    assert deployed.record("PersistentVolumeClaim", "gateway-postgres").options.retain_on_delete is True


def test_without_a_storage_class_the_cluster_chooses():
    """No class is named, not an empty one, which would mean none."""
    claim = stack(own_keys(gateway={"database": {"kind": "bundled"}})).object("PersistentVolumeClaim", NAME)
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}}


def test_its_pod_is_closed():
    """A numeric user, nothing writable but its claim and two emptyDirs, no privilege."""
    spec = stack(own_keys(gateway=OURS)).object("StatefulSet", NAME)["spec"]["template"]["spec"]
    container = spec["containers"][0]
    assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsNonRoot"]) == (999, True)
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"/var/lib/postgresql", "/tmp", "/dev/shm"}
    assert container["command"] == ["sh", "/scripts/start_postgres.sh"]
    assert environment(container)["PGDATA"].startswith("/var/lib/postgresql/")


def test_gateway_and_migration_alone_reach_it():
    """By its port, each by a rule of its own; it reaches nobody."""
    deployed = stack(own_keys(gateway=OURS))
    assert deployed.object("NetworkPolicy", NAME)["spec"] == {
        "podSelector": POSTGRES["podSelector"],
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [GATEWAY, JOB], "ports": PORTS}],
    }
    towards = {"policyTypes": ["Egress"], "egress": [{"to": [POSTGRES], "ports": PORTS}]}
    assert deployed.object("NetworkPolicy", "litellm-to-postgres")["spec"] == {**GATEWAY, **towards}
    assert deployed.object("NetworkPolicy", MIGRATION)["spec"] == {**JOB, **towards}


def test_it_comes_before_the_migration_and_that_before_the_gateway():
    """Postgres, then tables, then pods that serve."""
    deployed = stack(own_keys(gateway=OURS))
    assert "StatefulSet/gateway-postgres" in deployed.depends_on("Job", "gateway-migrate")
    assert {"StatefulSet/gateway-postgres", "Job/gateway-migrate"} <= set(deployed.depends_on("Deployment", "gateway"))


def test_each_role_has_its_own_password():
    """Pods that serve do not know the owner's, the Job does not know theirs, and neither is in an object in clear."""
    deployed = stack(own_keys(gateway=OURS))
    (secret,) = [body for body in deployed.objects("Secret") if "database-password" in body["stringData"]]
    name = secret["metadata"]["name"]
    assert set(secret["stringData"]) == {"database-password", "database-owner-password"}
    found = {
        kind: environment(container_of(deployed.object(kind, owner)))
        for kind, owner in (("Deployment", "litellm"), ("Job", MIGRATION))
    }
    address = "postgresql://%s:$(POSTGRES_PASSWORD)@litellm-postgres.llm-serving.svc:5432/litellm"
    assert [(values["POSTGRES_PASSWORD"], values["DATABASE_URL"]) for values in found.values()] == [
        (f"secret:{name}/database-password", address % "litellm"),
        (f"secret:{name}/database-owner-password", address % "litellm_owner"),
    ]
    for kind in ("Deployment", "Job"):
        owner = "litellm" if kind == "Deployment" else MIGRATION
        names = [item["name"] for item in container_of(deployed.object(kind, owner))["env"]]
        # Kubernetes expands what stands before
        assert names.index("POSTGRES_PASSWORD") < names.index("DATABASE_URL")
    assert MASTER_KEY not in str([manifest.body for manifest in deployed.manifests])


def test_with_a_secret_that_exists_its_entries_are_read():
    """The same passwords by name, and no Secret of ours."""
    deployed = stack(minimal(gateway=OURS))
    values = environment(container_of(deployed.object("StatefulSet", NAME)))
    assert values["OWNER_PASSWORD"] == "secret:llm-keys/database-owner-password"
    assert values["SERVING_PASSWORD"] == "secret:llm-keys/database-password"
    assert deployed.objects("Secret") == []


@pytest.mark.parametrize(
    "change",
    [
        {"models": {"other": {"model": "Qwen/Qwen3-0.6B", "pool": "l4", "contextTokens": 4096}}},
        {"gateway": {"redis": {"kind": "none"}, "replicas": 1}},
        {"gateway": {"replicas": 3, "memoryGib": 8}},
    ],
)
def test_nothing_else_starts_it_anew(change: Any):
    """Another model, another Redis, other sizes: its pods and its Secret stay to the letter."""

    def template(config: Any) -> Any:
        return stack(config).object("StatefulSet", NAME)["spec"]["template"]

    config = own_keys(gateway=OURS)
    assert template(config) == template(merged(config, change))
