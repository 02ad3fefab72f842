"""`VllmServer`: one vLLM server of one model, from its pods to its autoscaler.

Owns the workload (a Deployment, or a LeaderWorkerSet when a replica spans nodes), its Service, key, budget for
disruptions, scaling and network rules. Every number comes from the plan; nothing is computed here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as k8s

from components import _additions, _contract, _gpu_claim, _k8s, _kept_cache, _router, _scaling, _script
from components._account import service_account
from components._leader_worker_set import leader_worker_set
from components._vllm_pod import APP, PROOF, pod_spec
from components.keys import ExistingSecret, Keys, MasterKey, own_secret
from planning.plan.pools import PoolPlan
from planning.plan.servers import ServerPlan
from planning.server.servers import server_name
from planning.stack.additions import UNDISTURBED

KEY_ENTRY = "api-key"


class VllmServerArgs(TypedDict):
    """One server, and what is around it."""

    namespace: pulumi.Input[str]
    """Namespace of the server."""
    server: ServerPlan
    """Its pods, and how they are replicated, reached and updated."""
    pool: PoolPlan
    """Where its pods run."""
    keys: Keys
    """What its own key is derived from, or the Secret with the entry `vllm-<model>`."""
    clients: NotRequired[Sequence[Mapping[str, str]]]
    """Labels of the pods of the namespace that may connect, kind by kind; without it none may."""
    after: NotRequired[Sequence[pulumi.Resource]]
    """What must exist first: nodes, weights, the autoscaler's operator."""


class ServerRef(TypedDict):
    """Parts of a server that a gateway needs."""

    url: pulumi.Input[str]
    """Base URL."""
    key_secret: pulumi.Input[str]
    """Secret with its API key."""
    key_entry: str
    """Entry of that Secret."""


class VllmServer(pulumi.ComponentResource):
    """One model server; `url` and `model_name` are what a gateway needs, `metrics_selector` what a monitor needs."""

    url: pulumi.Output[str]
    model_name: pulumi.Output[str]
    metrics_selector: pulumi.Output[Mapping[str, str]]

    def __init__(self, name: str, args: VllmServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        _contract.check("VllmServer", name, args, VllmServerArgs)
        server = args["server"]
        # known under its name to the engine, that server's objects become this one's, and go as the options below say
        former = [pulumi.Alias(name=server.replaces)] if server.replaces else None
        aliased = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(aliases=former))
        super().__init__("llm-stack:index:VllmServer", name, None, aliased)
        child = pulumi.ResourceOptions(parent=self)
        role = {"llm-stack.io/track": "canary" if server.canary else "stable"}
        labels = _k8s.labels(APP, "server", server.name, **{_k8s.MODEL_LABEL: server.model_name}, **role)
        match = _k8s.selector(APP, server.name)
        metadata: Any = {"namespace": args["namespace"], "labels": labels}
        named: Any = _k8s.named(metadata, server.name)
        source = server.checkpoint.source
        account = service_account(name, _account(named, server), server.image, child)
        key_secret, key_entry = _key(f"{name}-key", server, args["keys"], metadata, child)
        verb = source.script.partition("_")[0]
        script = _script.config_map(f"{name}-{verb}", metadata, source.script, child, *_scripts(server))
        policy = k8s.networking.v1.NetworkPolicy(
            name,
            metadata=named,
            spec=_network(server, _clients(server, args), match),  # pyright: ignore[reportArgumentType] - checked against its schema in tests
            opts=child,
        )
        service = k8s.core.v1.Service(
            name,
            metadata=_k8s.annotated(named, _k8s.SKIP_AWAIT),
            spec=_k8s.service_spec(_service_selector(server, match), "http", server.endpoint.port),
            opts=child,
        )
        key = _k8s.secret_env(server.endpoint.key_variable, key_secret, key_entry)
        claim = _claim(name, metadata, server, child)
        mounts = {"account": account.metadata.name, "script": script.metadata.name, **claim}
        pod = pod_spec(server, args["pool"], mounts, key)
        template: Any = {"metadata": _template_metadata(server, labels), "spec": pod}
        # what leads to the pods is there before them, and goes after them
        after = [*args.get("after", ()), policy, service]
        self.workload = _workload(name, server, named, template, self, after)
        """What serves, to depend on."""
        k8s.policy.v1.PodDisruptionBudget(
            name,
            metadata=named,
            spec=_k8s.disruption_spec(match),
            opts=child,
        )
        if server.scaling:
            scales = pulumi.ResourceOptions(parent=self, depends_on=[*args.get("after", ()), self.workload])
            _scaling.autoscaler(name, named, server, server.scaling, scales)
        front, port = _front(name, args, service, match, key, child)
        self.url = pulumi.Output.concat("http://", front.metadata.name, ".", args["namespace"], f".svc:{port}")
        self.model_name = pulumi.Output.from_input(server.model_name)
        self.metrics_selector = pulumi.Output.from_input(match)
        self.reference: ServerRef = {"url": self.url, "key_secret": key_secret, "key_entry": key_entry}
        """How a gateway finds it, and the key it asks with."""
        self.register_outputs(
            {"url": self.url, "model_name": self.model_name, "metrics_selector": self.metrics_selector}
        )


def _front(
    name: str,
    args: VllmServerArgs,
    service: k8s.core.v1.Service,
    match: Mapping[str, str],
    key: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
) -> tuple[k8s.core.v1.Service, int]:
    """(Service, port) that clients ask: the server's own, or that of the router before it."""
    server, plan = args["server"], args["server"].router
    if plan is None:
        return service, server.endpoint.port
    clients = args.get("clients", ())
    front = _router.router(f"{name}-router", args["namespace"], plan, match, server.endpoint.port, clients, key, opts)
    return front, plan.port


def _claim(name: str, metadata: Any, server: ServerPlan, opts: pulumi.ResourceOptions) -> dict[str, pulumi.Input[str]]:
    """The name of the template of its pods' claims, where they claim their GPUs."""
    if server.resources.claim is None:
        return {}
    return {"claim": _gpu_claim.template(name, server.name, metadata, server.resources.claim, opts).metadata.name}


def _clients(server: ServerPlan, args: VllmServerArgs) -> list[Mapping[str, str]]:
    """Pods that connect to its pods."""
    return [*args.get("clients", ()), *([_router.pods(server.router)] if server.router else [])]


def _scripts(server: ServerPlan) -> list[str]:
    """Those beside the one that looks at the weights."""
    proves = any(checkpoint.proof for checkpoint in server.checkpoints)
    scripts = {checkpoint.source.script for checkpoint in server.checkpoints}
    others = sorted(script for script in scripts if script != server.checkpoint.source.script)
    return [*others, *([PROOF] if proves else []), *_kept_cache.scripts(server)]


def _account(metadata: Any, server: ServerPlan) -> Any:
    """Metadata of the ServiceAccount, with who it is to the platform's store."""
    identity = server.checkpoint.source.identity
    return _additions.account_metadata(metadata, server.additions, identity.annotations if identity else {})


def _template_metadata(server: ServerPlan, labels: Mapping[str, str]) -> dict[str, Any]:
    identity = server.checkpoint.source.identity
    known = {**labels, **(identity.pod_labels if identity else {})}
    return _additions.template_metadata(server.additions, known, UNDISTURBED)


def _key(
    name: str, server: ServerPlan, keys: Keys, metadata: Any, opts: pulumi.ResourceOptions
) -> tuple[pulumi.Input[str], str]:
    """(Secret, entry) of the key the gateway uses; a canary shares its model's."""
    purpose = server_name(server.model_name, canary=False)
    match keys:
        case ExistingSecret(name=existing):
            return existing, purpose
        case MasterKey() as master:
            return own_secret(name, metadata, {KEY_ENTRY: master.derived(purpose)}, opts), KEY_ENTRY


def _workload(
    name: str,
    server: ServerPlan,
    metadata: Any,
    template: Any,
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource],
) -> pulumi.Resource:
    timeout = f"{server.timing.await_timeout_s}s"
    opts = pulumi.ResourceOptions(
        parent=parent,
        depends_on=after,
        custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout),
        # its GPUs are needed: otherwise the new server would wait for them, and the engine for the new server
        delete_before_replace=True if server.replaces else None,
        # the autoscaler owns the number of replicas from the moment the server exists
        ignore_changes=["spec.replicas"] if server.scaling else None,
    )
    if server.nodes_per_replica > 1:
        return leader_worker_set(name, server, metadata, template, opts)
    rolling = {"maxSurge": server.rollout.max_surge, "maxUnavailable": server.rollout.max_unavailable}
    spec: Any = {
        "replicas": server.replicas,
        "selector": {"matchLabels": _k8s.selector(APP, server.name)},
        "progressDeadlineSeconds": server.timing.progress_deadline_s,
        "revisionHistoryLimit": 3,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        "template": template,
    }
    return k8s.apps.v1.Deployment(name, metadata=metadata, spec=spec, opts=opts)


def _service_selector(server: ServerPlan, match: Mapping[str, str]) -> dict[str, str]:
    """Pods that answer requests: all of a Deployment, the leaders of a LeaderWorkerSet."""
    if server.nodes_per_replica == 1:
        return dict(match)
    return {**match, "leaderworkerset.sigs.k8s.io/name": server.name, "leaderworkerset.sigs.k8s.io/worker-index": "0"}


def _network(server: ServerPlan, clients: Sequence[Mapping[str, str]], match: Mapping[str, str]) -> dict[str, Any]:
    """Clients reach the port, pods of a group each other, and all what their weights come from, and the user's ways."""
    source = _k8s.egress(server.checkpoint.source.egress)
    ingress = (
        [{"from": [_k8s.pods(labels) for labels in clients], "ports": _k8s.tcp(server.endpoint.port)}]
        if clients
        else []
    )
    ingress += _additions.ingress(server.additions.flows)
    source += _additions.egress(server.additions.flows)
    if server.nodes_per_replica == 1:
        return _k8s.network_policy(match, ingress=ingress, egress=source)
    group = _k8s.pods({"leaderworkerset.sigs.k8s.io/name": server.name})
    return _k8s.network_policy(match, ingress=[*ingress, {"from": [group]}], egress=[{"to": [group]}, *source])
