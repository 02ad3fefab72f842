"""The router's right on a real API server: it finds the pods of its server there, and may ask for nothing else.

The router is the real one, as a process beside the cluster. Pods here answer nobody, so what it does with a pod that it
has found is in tests/gateway/test_prefix.py.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.world import NAMESPACE, SOON_S, World, variant
from tests.gateway import router
from tests.gateway.client import request
from tests.gateway.fake_vllm import LOOPBACK, Fakes, Server
from tests.gateway.proxies import free_port
from workshop.local.toolchain import VENV, is_ready
from workshop.simcluster.api import wait_until

SERVER = "vllm-qwen3-8b"
NAME = f"{SERVER}-router"
KINDS = ("ServiceAccount", "Role", "RoleBinding")
BESIDE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": f"{SERVER}-beside", "namespace": NAMESPACE},
}


@dataclass(frozen=True)
class Account:
    """The router's account on the cluster of `dev`, and its rendered container."""

    world: World
    container: Mapping[str, Any]

    def may(self, verb: str, resource: str, namespace: str = NAMESPACE, group: str = "") -> bool:
        """What the API server says of a request of its."""
        whole, _, part = resource.partition("/")
        attributes = {"namespace": namespace, "verb": verb, "resource": whole, "subresource": part, "group": group}
        spec = {"user": f"system:serviceaccount:{NAMESPACE}:{NAME}", "resourceAttributes": attributes}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": spec}
        return self.world.api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)["status"][
            "allowed"
        ]

    def kubeconfig(self, folder: Path) -> str:
        """A file with a token of it, as the kubelet mounts one."""
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{NAME}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
        token = self.world.api.request("POST", path, body)["status"]["token"]
        config = yaml.safe_load(self.world.cluster.paths.kubeconfig.read_text(encoding="utf-8"))
        for user in config["users"]:
            user["user"] = {"token": token}
        (folder / "kubeconfig").write_text(json.dumps(config), encoding="utf-8")
        return str(folder / "kubeconfig")


@pytest.fixture
def account(dev: World, tmp_path: Path) -> Iterator[Account]:
    """Made as it is rendered, and gone afterwards."""

    def routed(config: dict[str, Any]) -> None:
        config["llm-stack:gpuPools"]["a10"]["nodes"] = 2
        config["llm-stack:models"]["qwen3-8b"] |= {"replicas": {"min": 1, "max": 2}, "routing": "prefix"}

    bodies = [dict(target.body) for target in variant("dev", tmp_path, routed).targets]
    ours = [body for body in bodies if body["kind"] in KINDS and body["metadata"]["name"] == NAME]
    assert sorted(body["kind"] for body in ours) == sorted(KINDS)
    (deployment,) = [body for body in bodies if (body["kind"], body["metadata"]["name"]) == ("Deployment", NAME)]
    for body in ours:
        dev.api.apply(body)
    yield Account(dev, deployment["spec"]["template"]["spec"]["containers"][0])
    for body in ours:
        dev.api.delete(body)


def test_it_may_list_and_watch_pods_of_its_namespace(account: Account):
    """And nothing else that anybody may ask for."""
    verbs = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
    resources = ("pods", "pods/log", "pods/exec", "secrets", "configmaps", "services", "serviceaccounts/token")
    asked = [(verb, resource, NAMESPACE, "") for verb in verbs for resource in resources]
    asked += [
        ("list", resource, namespace, "") for resource in ("pods", "secrets") for namespace in ("", "kube-system")
    ]
    asked += [("list", "deployments", NAMESPACE, "apps"), ("create", "tokenreviews", "", "authentication.k8s.io")]
    allowed = [one for one in asked if account.may(*one)]
    assert allowed == [("list", "pods", NAMESPACE, ""), ("watch", "pods", NAMESPACE, "")]


@pytest.fixture
def beside(dev: World) -> Iterator[Server]:
    """A server on loopback, and a pod of the stack's server that says it is there; no node has it."""
    fakes = Fakes()
    server = fakes.server(SERVER)
    template = dev.deployment(SERVER)["spec"]["template"]
    metadata = {**BESIDE["metadata"], "labels": template["metadata"]["labels"]}
    dev.api.create({**BESIDE, "metadata": metadata, "spec": {**template["spec"], "schedulerName": "nobody"}})
    ready = [{"type": "Ready", "status": "True"}]
    here = {"phase": "Running", "podIP": LOOPBACK, "podIPs": [{"ip": LOOPBACK}], "conditions": ready}
    dev.api.patch(BESIDE, {"status": here}, "status")
    yield server
    dev.api.delete(BESIDE)
    fakes.close()


def test_it_finds_the_pods_of_its_server(account: Account, beside: Server, tmp_path: Path):
    """With a token of its account and the rendered arguments."""
    if not is_ready(VENV):
        pytest.skip("no vllm-router here, nothing was asked: run `make local-test`")
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"

    def workers() -> list[str]:
        return request(url, "/list_workers").json["urls"]

    with router.running(
        router.arguments(port, beside.port, account.container), KUBECONFIG=account.kubeconfig(tmp_path)
    ):
        wait_until(lambda: workers() == [beside.url], SOON_S, "the router has found the pod")
