"""`VllmServer`: one vLLM server of one model, from its pods to its autoscaler.

Owns the workload (a Deployment, or a LeaderWorkerSet when a replica spans nodes), its Service, key, budget for
disruptions, scaling and network rules. Every number comes from the plan; nothing is computed here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s, _scaling
from components._leader_worker_set import leader_worker_set
from components._vllm_pod import APP, PodArgs, ScriptRef, pod_spec
from planning.server.arguments import PORT

KEY_ENTRY = "api-key"


class ScalingArgs(TypedDict):
    """How replicas are added and removed."""

    driver: str
    """keda or hpa."""
    min_replicas: int
    """Fewest replicas; 0: scales to zero."""
    max_replicas: int
    """Most replicas."""
    signals: Sequence[Mapping[str, Any]]
    """What is looked at: name, query, threshold, quantity, pod_metric."""
    wake_query: str | None
    """PromQL that is above 0 while a server at zero is wanted."""
    floor: Mapping[str, Any] | None
    """Hours (timezone, start, end as cron) in which `replicas` run at least."""
    scale_up_after_s: int
    """How long the queue must stand."""
    scale_up_period_s: int
    """At most one more replica in this time."""
    scale_down_after_s: int
    """How long it must be quiet."""
    cooldown_s: int
    """How long it must be quiet before the last replica goes."""
    prometheus_url: str
    """Prometheus the queries are asked of."""


class VllmServerArgs(PodArgs):
    """One server: its pod, and how it is replicated, reached and updated."""

    canary: bool
    """Whether it is the twin of another server of the same public name."""
    replaces: str | None
    """Name of the server that has to go first; None: none has."""
    replicas: int
    """Replicas, or what a new server starts with when it is autoscaled."""
    max_surge: int | str
    """Pods above the wanted number during an update."""
    max_unavailable: int | str
    """Pods below the wanted number during an update."""
    progress_deadline_s: int
    """How long a new pod may take to be ready."""
    await_timeout_s: int
    """How long the engine waits for it."""
    scaling: ScalingArgs | None
    """Autoscaling; None: a fixed number of replicas."""
    clients: Sequence[Mapping[str, Any]]
    """Network peers that may connect."""
    master_key: NotRequired[pulumi.Output[str] | None]
    """Secret master key the server's own key is derived from."""
    existing_secret: NotRequired[str | None]
    """Existing Secret with the entry `vllm-<model>` instead."""
    after: NotRequired[Sequence[pulumi.Resource]]
    """What must exist first: nodes, weights, the autoscaler's operator."""


class VllmServer(pulumi.ComponentResource):
    """One model server; `url` and `model_name` are what a gateway needs, `metrics_selector` what a monitor needs."""

    url: pulumi.Output[str]
    model_name: pulumi.Output[str]
    metrics_selector: pulumi.Output[Mapping[str, str]]

    def __init__(self, name: str, args: VllmServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        # known under its name to the engine, that server's objects become this one's, and go as the options below say
        former = [pulumi.Alias(name=args["replaces"])] if args["replaces"] else None
        aliased = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(aliases=former))
        super().__init__("llm-stack:index:VllmServer", name, None, aliased)
        child = pulumi.ResourceOptions(parent=self)
        role = {"llm-stack.io/track": "canary" if args["canary"] else "stable"}
        labels = _k8s.labels(APP, "server", name, **{_k8s.MODEL_LABEL: args["model_name"]}, **role)
        match = _k8s.selector(APP, name)
        metadata: Any = {"namespace": args["namespace"], "labels": labels}
        named: Any = {**metadata, "name": name}
        account = k8s.core.v1.ServiceAccount(name, metadata=named, automount_service_account_token=False, opts=child)
        key_secret, key_entry = self._key(name, args, metadata)
        script = ScriptRef(name, metadata, child)
        policy = k8s.networking.v1.NetworkPolicy(
            name,
            metadata=named,
            spec=_network(name, args, match),  # pyright: ignore[reportArgumentType] - checked against its schema in tests
            opts=child,
        )
        service = k8s.core.v1.Service(
            name,
            metadata=_k8s.annotated(named, _k8s.SKIP_AWAIT),
            spec=_k8s.service_spec(_service_selector(name, args, match), "http", PORT),
            opts=child,
        )
        key = _k8s.secret_env("VLLM_API_KEY", key_secret, key_entry)
        pod = pod_spec(args, account.metadata.name, script.config_map, key, match)
        # what leads to the pods is there before them, and goes after them
        after = [*args.get("after", []), policy, service]
        self.workload = self._workload(name, args, named, labels, match, pod, after)
        """What serves, to depend on."""
        k8s.policy.v1.PodDisruptionBudget(
            name,
            metadata=named,
            spec=_k8s.disruption_spec(match),
            opts=child,
        )
        if args["scaling"]:
            target = _scaling.Target(name, "LeaderWorkerSet" if args["nodes_per_replica"] > 1 else "Deployment")
            scales = pulumi.ResourceOptions(parent=self, depends_on=[*args.get("after", []), self.workload])
            _scaling.autoscaler(target, named, args["scaling"], scales)
        self.url = pulumi.Output.concat("http://", service.metadata.name, ".", args["namespace"], f".svc:{PORT}")
        self.model_name = pulumi.Output.from_input(args["model_name"])
        self.metrics_selector = pulumi.Output.from_input(match)
        self.key_secret = pulumi.Output.from_input(key_secret)
        """Name of the Secret that holds the server's key."""
        self.key_entry = key_entry
        """Its entry there."""
        self.register_outputs(
            {"url": self.url, "model_name": self.model_name, "metrics_selector": self.metrics_selector}
        )

    def _key(self, name: str, args: VllmServerArgs, metadata: Any) -> tuple[pulumi.Input[str], str]:
        """(Secret, entry) of the key the gateway uses; a canary shares its model's."""
        purpose = f"vllm-{args['model_name']}"
        existing, master = args.get("existing_secret"), args.get("master_key")
        if existing:
            return existing, purpose
        assert master is not None, "settings demand one of the two"
        secret = k8s.core.v1.Secret(
            f"{name}-key",
            metadata=metadata,
            string_data={KEY_ENTRY: _k8s.derived_key(master, purpose)},
            opts=pulumi.ResourceOptions(parent=self),
        )
        return secret.metadata.name, KEY_ENTRY

    def _workload(
        self,
        name: str,
        args: VllmServerArgs,
        metadata: Any,
        labels: dict[str, str],
        match: dict[str, str],
        pod: dict[str, Any],
        after: Sequence[pulumi.Resource],
    ) -> pulumi.Resource:
        timeout = f"{args['await_timeout_s']}s"
        opts = pulumi.ResourceOptions(
            parent=self,
            depends_on=after,
            custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout),
            # its GPUs are needed: otherwise the new server would wait for them, and the engine for the new server
            delete_before_replace=True if args["replaces"] else None,
            # the autoscaler owns the number of replicas from the moment the server exists
            ignore_changes=["spec.replicas"] if args["scaling"] else None,
        )
        template: Any = {"metadata": {"labels": labels, "annotations": UNDISTURBED}, "spec": pod}
        if args["nodes_per_replica"] > 1:
            return leader_worker_set(name, args, metadata, template, opts)
        spec: Any = {
            "replicas": args["replicas"],
            "selector": {"matchLabels": match},
            "progressDeadlineSeconds": args["progress_deadline_s"],
            "revisionHistoryLimit": 3,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": args["max_surge"], "maxUnavailable": args["max_unavailable"]},
            },
            "template": template,
        }
        return k8s.apps.v1.Deployment(name, metadata=metadata, spec=spec, opts=opts)


# A pod that takes minutes to load is not moved to pack nodes better.
UNDISTURBED = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}


def _service_selector(name: str, args: VllmServerArgs, match: Mapping[str, str]) -> dict[str, str]:
    """Pods that answer requests: all of a Deployment, the leaders of a LeaderWorkerSet."""
    if args["nodes_per_replica"] == 1:
        return dict(match)
    return {**match, "leaderworkerset.sigs.k8s.io/name": name, "leaderworkerset.sigs.k8s.io/worker-index": "0"}


def _network(name: str, args: VllmServerArgs, match: Mapping[str, str]) -> dict[str, Any]:
    """Clients reach the port; the pods of a group reach each other; nobody reaches the internet from here."""
    ingress = [{"from": [dict(peer) for peer in args["clients"]], "ports": _k8s.tcp(PORT)}]
    if args["nodes_per_replica"] == 1:
        return _k8s.network_policy(match, ingress=ingress)
    group = _k8s.pods({"leaderworkerset.sigs.k8s.io/name": name})
    return _k8s.network_policy(match, ingress=[*ingress, {"from": [group]}], egress=[{"to": [group]}])
