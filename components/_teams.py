"""The gateway's teams: a Secret for each with its keys, and the Job that tells the gateway of them.

The Job holds the master key and the keys of all teams, and reaches the gateway and nothing else.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import _k8s, _script
from components._litellm_pod import MASTER_ENTRY
from components.keys import Keys, MasterKey, own_secret
from planning.gateway.routing import PORT
from planning.gateway.teams import REFUSED_EXIT
from planning.plan.gateway import GatewayPlan
from planning.plan.pods import ImagePlan
from planning.plan.teams import TeamsPlan
from planning.server import scratch, small_pods

APP = "litellm-teams"
SCRIPT = "gateway_teams"
PLAN_FILE = "teams.json"


@dataclass(frozen=True)
class ToldGateway:
    """The gateway that serves: its address and pods, its keys, and what has to be there before it is asked."""

    url: pulumi.Input[str]
    match: Mapping[str, str]
    keys: Keys
    own_keys: pulumi.Input[str]
    """The Secret with the master key."""
    image: ImagePlan
    account: pulumi.Input[str]
    resources: Sequence[pulumi.Resource]


def teams(
    name: str,
    metadata: Any,
    plan: GatewayPlan,
    teams: TeamsPlan,
    owner: str,
    gateway: ToldGateway,
    parent: pulumi.Resource,
) -> pulumi.Resource:
    """Declare Secrets, script, network rule and Job, and return that.

    `owner`: whose teams and keys are, in the gateway's database.
    """
    metadata = {**metadata, "labels": _k8s.labels(APP, "gateway", plan.name)}
    child = pulumi.ResourceOptions(parent=parent)
    secrets = _secrets(name, teams, gateway.keys, metadata, child)
    to_gateway = {"to": [_k8s.pods(gateway.match)], "ports": _k8s.tcp(PORT)}
    policy = k8s.networking.v1.NetworkPolicy(
        name,
        metadata=_k8s.named(metadata, f"{plan.name}-teams"),
        spec=_k8s.network_policy(_k8s.selector(APP, plan.name), egress=[to_gateway]),  # pyright: ignore[reportArgumentType]
        opts=child,
    )
    files = {PLAN_FILE: json.dumps(teams.file, indent=1, sort_keys=True)}
    # what a Job mounts is called as it is: the next `up` takes over the one of an engine that was killed
    named = _k8s.named(metadata, f"{plan.name}-teams-{teams.digest}")
    script = _script.config_map(f"{name}-script", named, SCRIPT, child, files=files)
    container = _container(teams, owner, gateway, secrets)
    return _script.job(
        name,
        named["name"],
        metadata,
        _k8s.restricted_pod(gateway.account, gateway.image, [container], [_script.volume(script.metadata.name)]),
        limits=teams.job,
        parent=parent,
        after=[*gateway.resources, policy],
        named_by_content=True,
        podFailurePolicy=_script.failing_at_once("teams", REFUSED_EXIT),
    )


def _container(
    teams: TeamsPlan, owner: str, gateway: ToldGateway, secrets: Mapping[str, pulumi.Input[str]]
) -> dict[str, Any]:
    """The script with what it is told; `secrets`: team → name of its Secret, of those that are ours."""
    values = {
        "GATEWAY_URL": gateway.url,
        "MANAGED_BY": f"{_k8s.PART_OF}/{owner}",
        "PATIENCE_S": str(teams.patience_s),
        "PLAN_FILE": f"{_script.FOLDER}/{PLAN_FILE}",
    }
    return _script.container(
        "teams",
        gateway.image.reference,
        "python",
        SCRIPT,
        env=[
            *_k8s.env(values),
            _k8s.secret_env("LITELLM_MASTER_KEY", gateway.own_keys, MASTER_ENTRY),
            *(
                _k8s.secret_env(key.variable, secrets.get(team.name, team.secret), key.entry)
                for team in teams.teams
                for key in team.keys
            ),
        ],
        terminationMessagePolicy="FallbackToLogsOnError",
        resources={
            "requests": _k8s.requests(small_pods.TEAMS),
            "limits": {"memory": scratch.quantity(small_pods.TEAMS_LIMIT_MIB)},
        },
        volumeMounts=[_script.MOUNT],
    )


def _secrets(
    name: str, teams: TeamsPlan, keys: Keys, metadata: Any, opts: pulumi.ResourceOptions
) -> dict[str, pulumi.Output[str]]:
    """Team → name of its Secret, of those that are ours."""
    if not isinstance(keys, MasterKey):
        return {}
    return {
        team.name: own_secret(
            f"{name}-{team.name}",
            _k8s.named(metadata, team.secret),
            {key.entry: keys.derived(key.purpose) for key in team.keys},
            opts,
        )
        for team in teams.teams
        if team.derived
    }
