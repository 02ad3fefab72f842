"""`LlmGateway`: one OpenAI-compatible endpoint (LiteLLM) in front of all servers.

Owns the proxy, its configuration, keys, Redis (unless there is none), exposure and network rules. The configuration
holds names of environment variables only; every key comes from a Secret.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as k8s
import yaml

from components import _additions, _contract, _database, _exposure, _k8s
from components._account import service_account
from components._chat_ui import AskedGateway, chat_ui
from components._cloud_native_pg import cloud_native_pg
from components._gateway_workload import workload
from components._litellm_pod import MASTER_ENTRY, SALT_ENTRY, container, pod_spec
from components._migration import APP as MIGRATION_APP
from components._migration import migration
from components._policies import policies
from components._postgres import postgres
from components._redis import redis
from components._redis_access import PASSWORD_ENTRY as REDIS_ENTRY
from components._teams import ToldGateway, teams
from components.keys import ExistingSecret, Keys, MasterKey, own_secret
from components.pod_scripts import source
from components.vllm_server import ServerRef
from planning.gateway.at_zero import AT_ZERO_FILE, at_zero_file
from planning.gateway.beside import data_files, modules
from planning.gateway.litellm import litellm_config
from planning.gateway.routing import PORT
from planning.plan.gateway import GatewayPlan
from planning.plan.pods import EgressRule
from planning.plan.stores import (
    GATEWAY_REDIS,
    BundledDatabase,
    BundledRedis,
    CloudNativePgDatabase,
    ExistingDatabase,
    ExistingRedis,
    SentinelRedis,
)
from planning.tasks import VERSION

APP = "litellm"


class LlmGatewayArgs(TypedDict):
    """The gateway, and what is behind it."""

    namespace: pulumi.Input[str]
    """Namespace of the gateway."""
    gateway: GatewayPlan
    """Routes, limits, timeouts and sizes."""
    servers: Mapping[str, ServerRef]
    """Servers by name; every route names one of them."""
    server_pods: Mapping[str, str]
    """Labels of the pods of all servers, also of those that get no traffic, or no longer."""
    keys: Keys
    """What its own keys are derived from, or the Secret that has them."""
    after: NotRequired[Sequence[pulumi.Resource]]
    """What must serve before it gets traffic: canaries."""
    database_after: NotRequired[Sequence[pulumi.Resource]]
    """What must run before its database is declared: an operator."""
    owner: NotRequired[str]
    """Whose its teams and keys are, among all gateways that share its database; by default the component's name."""


class LlmGateway(pulumi.ComponentResource):
    """The public endpoint; `endpoint` is its URL for clients, `admin_url` the address inside the cluster."""

    endpoint: pulumi.Output[str]
    admin_url: pulumi.Output[str]
    metrics_selector: pulumi.Output[Mapping[str, str]]

    def __init__(self, name: str, args: LlmGatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        _contract.check("LlmGateway", name, args, LlmGatewayArgs)
        super().__init__("llm-stack:index:LlmGateway", name, None, opts)
        plan, child = args["gateway"], pulumi.ResourceOptions(parent=self)
        match = _k8s.selector(APP, plan.name)
        labels = _k8s.labels(APP, "gateway", plan.name)
        metadata: Any = {"namespace": args["namespace"], "labels": labels}
        named: Any = {**metadata, "name": plan.name}
        keys = _keys(f"{name}-keys", plan, args["keys"], metadata, child)
        after: list[pulumi.Resource] = [*args.get("after", ())]
        if isinstance(plan.redis, BundledRedis):
            password = _k8s.secret_env("REDIS_PASSWORD", keys, REDIS_ENTRY)
            after += redis(f"{name}-redis", args["namespace"], plan.redis, password, match, child)
        after += policies(name, metadata, plan.name, _network(args, match), child)
        account = service_account(name, _additions.account_metadata(named, plan.additions), plan.image, child)
        config = _config(f"{name}-config", plan, args["servers"], metadata, child)
        passwords = _database.passwords(f"{name}-database", plan.database, args["keys"], metadata, child)
        proxy = container(plan, args["servers"], keys, passwords)
        pod = pod_spec(plan, proxy, account.metadata.name, config, match)
        after += _database_gates(name, args, passwords, account.metadata.name, match, self)
        template = {"metadata": _additions.template_metadata(plan.additions, labels, _outside(plan)), "spec": pod}
        deployment = workload(name, named, plan, match, template, after, self)
        service = k8s.core.v1.Service(
            name,
            metadata=_k8s.annotated(named, _exposure.service_annotations(plan.exposure)),
            spec=_k8s.service_spec(match, "http", PORT),
            opts=child,
        )
        k8s.policy.v1.PodDisruptionBudget(name, metadata=named, spec=_k8s.disruption_spec(match), opts=child)
        exposed = _exposure.expose(name, named, plan, service.metadata.name, child)
        self.admin_url = pulumi.Output.concat("http://", service.metadata.name, ".", args["namespace"], f".svc:{PORT}")
        if plan.teams:
            reached = ToldGateway(
                self.admin_url, match, args["keys"], keys, plan.image, account.metadata.name, [deployment, service]
            )
            registered = teams(f"{name}-teams", metadata, plan, plan.teams, args.get("owner", name), reached, self)
            if plan.chat_ui:
                url, ready = pulumi.Output.concat(self.admin_url, VERSION), [service, registered]
                asked = AskedGateway(url, match, args["keys"], plan.route_timeout_s, ready)
                chat_ui(f"{name}-chat-ui", args["namespace"], plan.chat_ui, asked, self)
        self.endpoint = pulumi.Output.from_input(exposed) if exposed else pulumi.Output.concat(self.admin_url, "/v1")
        self.metrics_selector = pulumi.Output.from_input(match)
        self.register_outputs(
            {"endpoint": self.endpoint, "admin_url": self.admin_url, "metrics_selector": self.metrics_selector}
        )


def _database_gates(
    name: str,
    args: LlmGatewayArgs,
    passwords: pulumi.Input[str],
    account: pulumi.Input[str],
    match: Mapping[str, str],
    parent: pulumi.Resource,
) -> list[pulumi.Resource]:
    """Declare Postgres, if it is ours, and then the migration Job; returns what the gateway waits for."""
    plan, namespace = args["gateway"], args["namespace"]
    database = plan.database
    if database is None:
        return []
    port, clients = database.port, [match, _k8s.selector(MIGRATION_APP, plan.name)]
    match database.source:
        case BundledDatabase() as own:
            stores = postgres(f"{name}-postgres", namespace, own, port, passwords, clients, parent)
        case CloudNativePgDatabase() as own:
            operator = args.get("database_after", ())
            stores = cloud_native_pg(f"{name}-cluster", namespace, own, port, passwords, clients, parent, operator)
        case ExistingDatabase():
            stores = []
    job = migration(f"{name}-migrate", namespace, plan, database, passwords, account, parent, stores)
    return [*stores, job]


def _keys(name: str, plan: GatewayPlan, keys: Keys, metadata: Any, opts: pulumi.ResourceOptions) -> pulumi.Input[str]:
    """Name of the Secret with the gateway's own keys: one that exists, or ours."""
    match keys:
        case ExistingSecret(name=existing):
            return existing
        case MasterKey() as master:
            own = isinstance(plan.redis, BundledRedis)
            redis_key = {REDIS_ENTRY: master.derived("redis")} if own else {}
            entries = {MASTER_ENTRY: master.strong, **redis_key, SALT_ENTRY: master.derived("salt")}
            return own_secret(name, metadata, entries, opts)


def _config(
    label: str, plan: GatewayPlan, servers: Mapping[str, ServerRef], metadata: Any, opts: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """Declare LiteLLM's file and our modules beside it; returns the name, another one for other content."""
    urls = pulumi.Output.all(**{server: ref["url"] for server, ref in servers.items()})
    beside = {f"{module}.py": source(module) for module in modules(plan)}
    beside |= {name: _json(data) for name, data in data_files(plan).items()}
    return k8s.core.v1.ConfigMap(
        label,
        metadata=metadata,
        immutable=True,
        data={
            "config.yaml": urls.apply(lambda known: _yaml(litellm_config(plan, known))),
            **({AT_ZERO_FILE: urls.apply(lambda known: _json(at_zero_file(plan, known)))} if plan.at_zero else {}),
            **beside,
        },
        opts=opts,
    ).metadata.name


def _outside(plan: GatewayPlan) -> dict[str, str]:
    """Annotations of the pods: only its Secret says where a database is, so another port would start no others."""
    return {"llm-stack.io/database-port": str(plan.database.port)} if plan.database else {}


def _json(data: Mapping[str, object]) -> str:
    return json.dumps(data, indent=1)


def _yaml(data: Mapping[str, object]) -> str:
    return yaml.safe_dump(data, sort_keys=False, width=120)


def _network(args: LlmGatewayArgs, match: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Anybody may ask (every request needs a key); the gateway itself reaches servers, Redis and Postgres only.

    End of the name → spec, one for each destination, because rules add up: what only the former configuration needs is
    an object that goes last, after the last pod of that configuration, and no update takes anything from a running pod.
    """
    plan = args["gateway"]
    servers = {"to": [_k8s.pods(args["server_pods"])], "ports": _k8s.tcp(*plan.server_ports)}
    policies = {"": _k8s.network_policy(match, ingress=[{"ports": _k8s.tcp(PORT)}], egress=[servers])}
    elsewhere: dict[int, tuple[EgressRule, ...]] = {}
    if database := plan.database:
        match database.source:
            case ExistingDatabase(egress=rules):
                elsewhere[database.port] = rules
            case own:
                policies[f"-to-{_database.ENDS[type(own)]}"] = _k8s.network_policy(
                    match, egress=_database.egress(database)
                )
    match plan.redis:
        case BundledRedis(port=port):
            to_redis = {"to": [_k8s.pods(_k8s.selector("redis", GATEWAY_REDIS))], "ports": _k8s.tcp(port)}
            policies["-to-redis"] = _k8s.network_policy(match, egress=[to_redis])
        case ExistingRedis(egress=by_port) | SentinelRedis(egress=by_port):
            for port, rules in by_port.items():
                elsewhere[port] = (*elsewhere.get(port, ()), *rules)
        case None:
            pass
    for port, rules in sorted(elsewhere.items()):
        policies[f"-to-{port}"] = _k8s.network_policy(match, egress=_k8s.egress(dict.fromkeys(rules)))
    for place, rules in plan.outside.egress.items():
        policies[f"-to-{place}"] = _k8s.network_policy(match, egress=_k8s.egress(dict.fromkeys(rules)))
    if flows := plan.additions.flows:
        ways = {"ingress": _additions.ingress(flows), "egress": _additions.egress(flows)}
        policies["-yours"] = _k8s.network_policy(match, **ways)
    return policies
