"""The router between the gateway and the replicas of one server: it finds their pods by the API server."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s
from components._account import service_account
from components._policies import policies
from planning.plan.router import ROUTER_APP, RouterPlan
from planning.plan.servers import Requests
from planning.server.scratch import quantity
from planning.stack.network import API_SERVER_PORTS


def pods(plan: RouterPlan) -> dict[str, str]:
    """Labels of its pods."""
    return _k8s.selector(ROUTER_APP, plan.name)


def router(
    name: str,
    namespace: pulumi.Input[str],
    plan: RouterPlan,
    servers: Mapping[str, str],
    server_port: int,
    clients: Sequence[Mapping[str, str]],
    key: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
) -> k8s.core.v1.Service:
    """Declare it; returns the Service that clients ask.

    `servers`: labels of the pods it leads to; `key`: the variable with their key, in Kubernetes' spelling.
    """
    match = pods(plan)
    metadata: Any = {"namespace": namespace, "labels": _k8s.labels(ROUTER_APP, "router", plan.name)}
    named: Any = _k8s.named(metadata, plan.name)
    account = service_account(name, named, plan.image, opts)
    _may_see_pods(name, named, opts)
    policies(name, metadata, plan.name, _network(plan, match, servers, server_port, clients), opts)
    pod = {
        **_k8s.restricted_pod(account.metadata.name, plan.image, [_container(plan, namespace, servers, key)], []),
        # it asks the API server for the pods of its servers
        "automountServiceAccountToken": True,
        "affinity": _k8s.off_gpu_nodes(),
        "terminationGracePeriodSeconds": plan.termination_grace_s,
        "topologySpreadConstraints": _k8s.spread(match),
    }
    spec: Any = {
        "replicas": plan.replicas,
        "selector": {"matchLabels": match},
        "revisionHistoryLimit": 3,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {"metadata": {"labels": metadata["labels"]}, "spec": pod},
    }
    k8s.apps.v1.Deployment(name, metadata=named, spec=spec, opts=opts)
    k8s.policy.v1.PodDisruptionBudget(name, metadata=named, spec=_k8s.disruption_spec(match), opts=opts)
    return k8s.core.v1.Service(
        name,
        metadata=_k8s.annotated(named, _k8s.SKIP_AWAIT),
        spec=_k8s.service_spec(match, "http", plan.port),
        opts=opts,
    )


def _container(
    plan: RouterPlan, namespace: pulumi.Input[str], servers: Mapping[str, str], key: Mapping[str, Any]
) -> dict[str, Any]:
    labels = [f"{key}={value}" for key, value in servers.items()]
    alive = {"httpGet": {"path": plan.alive_path, "port": "http"}}
    return {
        "name": "router",
        "image": plan.image.reference,
        "command": ["vllm-router"],
        # the kubelet puts the key in: what it hands on as it came is chats and completions only
        "args": [
            *plan.args,
            f"--api-key=$({key['name']})",
            "--service-discovery-namespace",
            namespace,
            "--selector",
            *labels,
        ],
        "env": [key],
        "ports": [{"name": "http", "containerPort": plan.port, "protocol": "TCP"}],
        "resources": {
            "requests": _k8s.requests(Requests(plan.cpu_millis, plan.memory_mib, plan.disk_mib)),
            "limits": {"memory": quantity(plan.memory_limit_mib)},
        },
        "securityContext": _k8s.DROP_ALL,
        # not by the servers it knows: without one it says so to who asks
        **_k8s.probes(plan.probes, alive, grace_s=plan.probe_grace_s),
        "lifecycle": {"preStop": {"sleep": {"seconds": plan.pre_stop_s}}},
    }


def _may_see_pods(name: str, metadata: Any, opts: pulumi.ResourceOptions) -> None:
    """The one right of the account, in its namespace: the watcher asks for all pods, and looks at labels itself."""
    role = k8s.rbac.v1.Role(
        name,
        metadata=metadata,
        rules=[{"api_groups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}],
        opts=opts,
    )
    k8s.rbac.v1.RoleBinding(
        name,
        metadata=metadata,
        role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": role.metadata.name},
        subjects=[{"kind": "ServiceAccount", "name": metadata["name"], "namespace": metadata["namespace"]}],
        opts=opts,
    )


def _network(
    plan: RouterPlan,
    match: Mapping[str, str],
    servers: Mapping[str, str],
    server_port: int,
    clients: Sequence[Mapping[str, str]],
) -> dict[str, dict[str, Any]]:
    """End of the name → spec: clients reach it, and it reaches its servers and the API server."""
    port = _k8s.tcp(plan.port)
    to_servers = {"to": [_k8s.pods(servers)], "ports": _k8s.tcp(server_port)}
    to_api = {"ports": _k8s.tcp(*API_SERVER_PORTS)}
    ingress = [{"from": [_k8s.pods(labels) for labels in clients], "ports": port}] if clients else []
    policies = {"": _k8s.network_policy(match, ingress=ingress, egress=[to_servers, to_api])}
    for number, labels in enumerate(clients):
        end = f"-from-{labels.get('app.kubernetes.io/name', number)}"
        policies[end] = _k8s.network_policy(labels, egress=[{"to": [_k8s.pods(match)], "ports": port}])
    return policies
