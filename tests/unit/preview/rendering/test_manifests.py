"""Resources as Kubernetes objects and as files, and what the objects expect to find on the cluster.

Does not prove that Kubernetes accepts them; the stack tests check their schemas.
"""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from preview.rendering.expected import Expected
from preview.rendering.manifests import Category, as_yaml, collect_manifests, foreign_files, read, write
from preview.rendering.prerequisites import find_prerequisites
from preview.rendering.recorder import deploy

POD = {"containers": [{"name": "c", "image": "i"}]}


def rendered(build):
    """The manifests of a program."""
    return collect_manifests(deploy(build))


def config_map(logical_name: str, **given: Any) -> k8s.core.v1.ConfigMap:
    """A ConfigMap with this metadata."""
    metadata: Any = given
    return k8s.core.v1.ConfigMap(logical_name, metadata=metadata, data={"a": "b"})


def deployment(name: str, pod: dict[str, Any], app: str = "own") -> k8s.apps.v1.Deployment:
    """A Deployment of this pod in the namespace `here`."""
    spec: Any = {"selector": {}, "template": {"spec": pod}}
    labels = {"app.kubernetes.io/name": app}
    return k8s.apps.v1.Deployment(name, metadata={"name": name, "namespace": "here", "labels": labels}, spec=spec)


def custom(kind: str, api_version: str, spec: dict[str, Any]) -> k8s.apiextensions.CustomResource:
    """A custom resource in the namespace `here`."""
    return k8s.apiextensions.CustomResource(
        kind.lower(), api_version=api_version, kind=kind, metadata={"name": "x", "namespace": "here"}, spec=spec
    )


def test_objects_patches_and_releases_are_told_apart():
    """Providers and components are no manifests; patches and releases are no plain objects."""

    def build() -> None:
        provider = k8s.Provider("cluster", context="c")
        component = pulumi.ComponentResource(
            "llm-stack:index:Thing", "thing", None, pulumi.ResourceOptions(provider=provider)
        )
        config_map("cm", namespace="here")
        k8s.core.v1.NodePatch("label", metadata={"name": "n1", "labels": {"a": "b"}})
        k8s.helm.v3.Release("op", name="op", chart="op", version="1.2.3", namespace="ops")
        k8s.core.v1.Namespace("owned", metadata={"name": "ns"}, opts=pulumi.ResourceOptions(parent=component))

    found = [(m.category, m.api_version, m.kind, m.namespace, m.name, m.component, m.file) for m in rendered(build)]
    assert found == [
        (Category.OBJECT, "v1", "ConfigMap", "here", "cm-auto", "", "configmap-here-cm-auto.yaml"),
        (Category.PATCH, "v1", "Node", "", "n1", "", "patch-node-n1.yaml"),
        (Category.RELEASE, "helm.sh/v3", "Release", "ops", "op", "", "release-ops-op.yaml"),
        (Category.OBJECT, "v1", "Namespace", "", "ns", "Thing/thing", "namespace-ns.yaml"),
    ]


def test_file_names_never_collide():
    """`a-b` in no namespace and `b` in namespace `a` are two files."""
    files = [m.file for m in rendered(lambda: (config_map("1", name="a-b"), config_map("2", name="b", namespace="a")))]
    assert files == ["configmap-a-b.yaml", "configmap-a-b-2.yaml"]


def test_yaml_has_a_stable_order_and_readable_text():
    """Kind and names come first, then the alphabet; text of several lines is a block."""
    body = {
        "data": {"z": "1", "run.sh": "set -e\necho hi\n", "yes": "no"},
        "metadata": {"labels": {"b": "1", "a": "2"}, "namespace": "n", "name": "m"},
        "kind": "ConfigMap",
        "apiVersion": "v1",
    }
    assert as_yaml(body) == (
        "apiVersion: v1\n"
        "kind: ConfigMap\n"
        "metadata:\n"
        "  name: m\n"
        "  labels:\n"
        "    a: '2'\n"
        "    b: '1'\n"
        "  namespace: n\n"
        "data:\n"
        "  run.sh: |\n"
        "    set -e\n"
        "    echo hi\n"
        "  'yes': 'no'\n"
        "  z: '1'\n"
    )


def test_written_files_are_read_back_and_replaced(tmp_path):
    """Files hold the bodies, their head says where from, and a second run leaves nothing of the first."""
    out = tmp_path / "deep" / "out"
    write(rendered(lambda: config_map("old", name="old")), out, "dev")
    assert (out / "configmap-old.yaml").read_text().splitlines()[0] == "# Rendered by python -m preview: stack dev"
    new = rendered(lambda: config_map("new", name="new"))
    assert foreign_files(out) == []
    write(new, out, "dev")
    assert read(out) == {"configmap-new.yaml": new[0].body}


def test_foreign_files_are_named(tmp_path):
    """A directory with anything a preview did not write is not ours, YAML or not."""
    assert foreign_files(tmp_path / "none") == []
    (tmp_path / "mine.yaml").write_text("# Rendered by python -m preview: stack dev\na: 1\n")
    (tmp_path / "theirs.yaml").write_text("a: 1\n")
    (tmp_path / "folder").mkdir()
    assert foreign_files(tmp_path) == ["folder", "theirs.yaml"]
    assert foreign_files(tmp_path / "theirs.yaml") == ["theirs.yaml"]


def reference(name: str, key: str) -> dict[str, Any]:
    """An environment variable from a Secret."""
    return {"name": "V", "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}


def test_secrets_that_nobody_declares_are_expected():
    """A Secret that pods need and the stack does not declare is expected; what our programs accept is drawn."""

    def build() -> None:
        k8s.core.v1.Secret("ours", metadata={"name": "ours", "namespace": "here"}, string_data={"k": "v"})
        env = [reference("ours", "k"), reference("keys", "master-key"), reference("keys", "database-url")]
        env[1]["name"] = "LITELLM_MASTER_KEY"
        env.append({"name": "O", "valueFrom": {"secretKeyRef": {"name": "maybe", "key": "k", "optional": True}}})
        deployment("one", {"containers": [{"name": "c", "env": env}]}, app="litellm")
        password = {**reference("keys", "redis-password"), "name": "REDIS_PASSWORD"}
        deployment("two", {"initContainers": [{"name": "c", "env": [password]}]}, app="litellm")

    namespace, secret = find_prerequisites(rendered(build))
    assert namespace == Expected("Namespace", "here", command="kubectl create namespace here")
    assert (secret.keys, secret.drawn) == (("database-url", "master-key", "redis-password"), ("master-key",))
    assert secret.command == (
        "kubectl create secret generic keys -n here \\\n"
        "  --from-literal=database-url="
        '"${DATABASE_URL:?postgresql://USER:PASSWORD@HOST:5432/NAME of your Postgres}" \\\n'
        '  --from-literal=master-key="sk-$(openssl rand -hex 24)" \\\n'
        '  --from-literal=redis-password="${REDIS_PASSWORD:?redis-password, which somebody else decides}"'
    )


@pytest.mark.parametrize(
    ("pod", "keys"),
    [
        ({"volumes": [{"name": "v", "secret": {"secretName": "s", "items": [{"key": "a", "path": "p"}]}}]}, ("a",)),
        ({"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}]}}]}, ()),
        ({"containers": [{"name": "c", "envFrom": [{"secretRef": {"name": "s"}}]}]}, ()),
        ({"imagePullSecrets": [{"name": "s"}]}, (".dockerconfigjson",)),
    ],
)
def test_secrets_are_found_wherever_a_pod_names_them(pod, keys):
    """Volumes, environment and image pulls are all places where a pod needs a Secret."""
    expected = [
        item for item in find_prerequisites(rendered(lambda: deployment("d", {**POD, **pod}))) if item.kind == "Secret"
    ]
    assert [(item.name, item.namespace, item.keys) for item in expected] == [("s", "here", keys)]


def test_a_namespace_of_expected_secrets_comes_first():
    """Where the stack adopts the namespace, somebody must create it before the Secret can be put there."""

    def build() -> None:
        k8s.core.v1.Namespace("here", metadata={"name": "here"})
        deployment("d", {"containers": [{"name": "c", "env": [reference("keys", "k")]}]})

    assert [(item.kind, item.command) for item in find_prerequisites(rendered(build))] == [
        ("Namespace", "kubectl create namespace here"),
        (
            "Secret",
            'kubectl create secret generic keys -n here \\\n  --from-literal=k="${K:?k, which somebody else decides}"',
        ),
    ]


def test_claims_that_nobody_declares_are_expected():
    """A claim that pods mount and the stack does not declare is expected, with the directories its servers want."""

    def build() -> None:
        spec: Any = {"accessModes": ["ReadWriteMany"]}
        k8s.core.v1.PersistentVolumeClaim("ours", metadata={"name": "ours", "namespace": "here"}, spec=spec)
        for name, claim, directory in (
            ("one", "disk", "a--b/1"),
            ("two", "disk", "a--b/2"),
            ("three", "ours", "a--b/3"),
        ):
            mounts = [{"name": "models", "mountPath": "/models"}]
            env = [{"name": "MODEL_DIR", "value": f"/models/{directory}"}]
            volumes = [{"name": "models", "persistentVolumeClaim": {"claimName": claim}}, {"name": "t", "emptyDir": {}}]
            check = {"name": "check", "env": env, "volumeMounts": mounts}
            serve = {"name": "serve", "volumeMounts": mounts}
            deployment(name, {"initContainers": [check], "containers": [serve], "volumes": volumes})
        other = [{"name": "data", "persistentVolumeClaim": {"claimName": "else"}}]
        deployment("four", {"containers": [{"name": "c", "env": [], "volumeMounts": []}], "volumes": other})

    assert find_prerequisites(rendered(build)) == (
        Expected("Namespace", "here", command="kubectl create namespace here"),
        Expected(
            "PersistentVolumeClaim",
            "disk",
            "here",
            note="must hold a--b/1/, a--b/2/ with manifest.json, as the weights Job publishes it",
        ),
        Expected("PersistentVolumeClaim", "else", "here"),
    )


def test_a_namespace_says_what_has_to_be_put_there():
    """Secrets, claims or both must be there before the stack that adopts their namespace."""

    def build(*pods: dict[str, Any]) -> None:
        k8s.core.v1.Namespace("here", metadata={"name": "here"})
        for position, pod in enumerate(pods):
            deployment(f"d{position}", {"containers": [{"name": "c"}], **pod})

    claim = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "disk"}}]}
    secret = {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}
    notes = [
        find_prerequisites(rendered(lambda pods=pods: build(*pods)))[0].note
        for pods in ((secret,), (claim,), (claim, secret))
    ]
    assert notes == [
        f"for the {what} below; the stack takes it over" for what in ("Secrets", "claims", "Secrets and claims")
    ]


def test_what_else_a_stack_relies_on():
    """Storage class, Gateway, Ingress class and its TLS Secret, named nodes, foreign namespaces and API groups."""

    def build() -> None:
        claim: Any = {"storageClassName": "nfs", "accessModes": ["ReadWriteMany"]}
        k8s.core.v1.PersistentVolumeClaim("c", metadata={"name": "c", "namespace": "here"}, spec=claim)
        k8s.helm.v3.Release("keda", chart="oci://registry/keda", namespace="here")
        custom("ScaledObject", "keda.sh/v1alpha1", {})
        custom("HTTPRoute", "gateway.networking.k8s.io/v1", {"parentRefs": [{"name": "public", "namespace": "edge"}]})
        tls: Any = {"ingressClassName": "nginx", "tls": [{"hosts": ["h"], "secretName": "cert"}]}
        k8s.networking.v1.Ingress("i", metadata={"name": "i", "namespace": "here"}, spec=tls)
        for node in ("n1", "n2"):
            k8s.core.v1.NodePatch(node, metadata={"name": node})

    assert [str(item) for item in find_prerequisites(rendered(build))] == [
        "Namespace here",
        "Secret cert in here",
        "StorageClass nfs: must offer ReadWriteMany",
        "Gateway public in edge",
        "IngressClass nginx",
        "Nodes n1, n2: get labels and taints",
        "API gateway.networking.k8s.io/v1: for HTTPRoute",
    ]
    commands = {item.name: item.command for item in find_prerequisites(rendered(build)) if item.kind == "Secret"}
    assert commands == {"cert": "kubectl create secret tls cert -n here --cert=<FILE> --key=<FILE>"}
