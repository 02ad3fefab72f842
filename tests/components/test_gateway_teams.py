"""The teams of `LlmGateway`: their Secrets, the Job that tells the gateway of them, its rule, and where values go.

LiteLLM does not run here: what it makes of teams is proved in tests/gateway/test_teams.py.
"""

import hashlib
import hmac
import json
from typing import Any

import pytest

from preview.rendering.prerequisites import find_prerequisites
from tests.harness import MASTER_KEY, Deployed, container_of, environment, merged, minimal, own_keys, stack

PRICED = {"gpuPools": {"l4": {"pricePerNodeHourUsd": 0.8}}}
SEARCH = {"models": ["small"], "keys": {"app": {"generations": [1, 2]}, "batch": {}}}
TEAMS = {"search": SEARCH, "ads": {"models": ["small"], "keys": ["web"], "existingSecret": "ads-keys"}}


def with_teams(teams: Any, **gateway: Any) -> Deployed:
    """A stack with its own master key, a database, and these teams."""
    config = own_keys(gateway={"database": {"existingSecret": "llm-database"}, "teams": teams, **gateway})
    return stack(merged(config, PRICED))


def job_of(deployed: Deployed) -> Any:
    """The Job of the teams."""
    return next(body for body in deployed.objects("Job") if body["metadata"]["name"].startswith("litellm-teams-"))


def derived(purpose: str) -> str:
    """As docs/teams.md says."""
    return "sk-" + hmac.new(MASTER_KEY.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def test_without_teams_there_is_nothing_of_them():
    """No Secret, no Job, no rule."""
    config = own_keys(gateway={"database": {"existingSecret": "llm-database"}})
    assert [item for item in stack(merged(config, PRICED)).manifests if "teams" in item.name] == []


def test_a_team_gets_a_secret_with_derived_keys():
    """An entry for each key and generation, whatever else changes; somebody's own Secret is left alone."""
    deployed = with_teams(TEAMS)
    assert deployed.secret("gateway-teams-search") == {
        entry: derived(f"team/search/{path}")
        for entry, path in (("app-1", "app/1"), ("app-2", "app/2"), ("batch-1", "batch/1"))
    }
    assert deployed.record("Secret", "gateway-teams-search").secret_paths == ("stringData",)
    assert [body["metadata"]["name"] for body in deployed.objects("Secret") if "team" in body["metadata"]["name"]] == [
        "llm-team-search"
    ]
    again = with_teams({"search": {**SEARCH, "requestsPerMinute": 5}}, replicas=4)
    assert again.secret("gateway-teams-search") == deployed.secret("gateway-teams-search")


def test_the_job_reads_values_from_secrets_and_all_else_from_a_file():
    """The plan is in its ConfigMap, whose it is and where the gateway is in its variables; it has no argument."""
    deployed = with_teams(TEAMS)
    job = job_of(deployed)
    container = container_of(job)
    assert (container["command"], container.get("args")) == (["python", "/scripts/gateway_teams.py"], None)
    assert environment(container) == {
        "GATEWAY_URL": "http://litellm.llm-serving.svc:4000",
        "MANAGED_BY": "llm-stack/llm-stack-test",
        "PATIENCE_S": "150",
        "PLAN_FILE": "/scripts/teams.json",
        "LITELLM_MASTER_KEY": "secret:gateway-keys-auto/master-key",
        "TEAM_KEY_ADS_WEB_1": "secret:ads-keys/web-1",
        "TEAM_KEY_SEARCH_APP_1": "secret:llm-team-search/app-1",
        "TEAM_KEY_SEARCH_APP_2": "secret:llm-team-search/app-2",
        "TEAM_KEY_SEARCH_BATCH_1": "secret:llm-team-search/batch-1",
    }
    files = deployed.object("ConfigMap", job["metadata"]["name"])["data"]
    assert sorted(files) == ["gateway_admin.py", "gateway_teams.py", "teams.json"]
    assert deployed.plan.gateway.teams is not None
    assert json.loads(files["teams.json"]) == deployed.plan.gateway.teams.file


def test_the_job_comes_after_the_gateway_and_is_another_for_another_plan():
    """Its name follows the plan; the former goes before it comes, so there are never two."""
    deployed = with_teams(TEAMS)
    assert {"Deployment/gateway", "Service/gateway", "NetworkPolicy/gateway-teams"} <= set(
        deployed.depends_on("Job", "gateway-teams")
    )
    assert deployed.record("Job", "gateway-teams").options.delete_before_replace is True
    names = [job_of(with_teams(teams))["metadata"]["name"] for teams in (TEAMS, dict(reversed(TEAMS.items())), {})]
    assert (names[0] == names[1], names[0] == names[2]) == (True, False)
    assert job_of(with_teams(TEAMS, replicas=5))["metadata"]["name"] == names[0]


def test_a_job_that_was_refused_is_not_tried_again():
    """Exit status 20; another one is."""
    spec = job_of(with_teams(TEAMS))["spec"]
    assert spec["podFailurePolicy"] == {
        "rules": [
            {
                "action": "FailJob",
                "onExitCodes": {"containerName": "teams", "operator": "In", "values": [20]},
            }
        ]
    }
    assert (spec["backoffLimit"], spec["template"]["spec"]["restartPolicy"]) == (6, "Never")


def test_the_job_reaches_the_gateway_and_nothing_else():
    """Names by the rule of the namespace; its pods are not the gateway's."""
    deployed = with_teams(TEAMS)
    gateway = {"app.kubernetes.io/name": "litellm", "app.kubernetes.io/instance": "litellm"}
    assert deployed.object("NetworkPolicy", "litellm-teams")["spec"] == {
        "podSelector": {"matchLabels": {**gateway, "app.kubernetes.io/name": "litellm-teams"}},
        "policyTypes": ["Egress"],
        "egress": [
            {"to": [{"podSelector": {"matchLabels": gateway}}], "ports": [{"port": 4000, "protocol": "TCP"}]},
        ],
    }
    labels = job_of(deployed)["spec"]["template"]["metadata"]["labels"]
    assert not gateway.items() <= labels.items()


def test_no_value_of_a_key_is_anywhere_but_in_secrets():
    """Neither in the plan's file nor in a name, nor in what is exported."""
    deployed = with_teams(TEAMS)
    values = set(deployed.secret("gateway-teams-search").values())
    elsewhere = [item for item in deployed.manifests if item.kind != "Secret"]
    assert [item.name for item in elsewhere if any(value in str(item.body) for value in values)] == []
    assert values <= deployed.secrets


def test_what_must_exist_is_said_with_its_command():
    """A Secret for each team where the gateway has one; what a key may be is nobody's but the user's to choose."""
    teams = {"search": {**SEARCH, "existingSecret": "search-keys"}}
    config = minimal(gateway={"database": {"existingSecret": "llm-database"}, "teams": teams}, **PRICED)
    found = {expected.name: expected for expected in find_prerequisites(stack(config).manifests)}
    assert (found["search-keys"].keys, found["search-keys"].drawn) == (("app-1", "app-2", "batch-1"),) * 2
    assert found["search-keys"].command == (
        "kubectl create secret generic search-keys -n llm-serving \\\n"
        '  --from-literal=app-1="sk-$(openssl rand -hex 24)" \\\n'
        '  --from-literal=app-2="sk-$(openssl rand -hex 24)" \\\n'
        '  --from-literal=batch-1="sk-$(openssl rand -hex 24)"'
    )


@pytest.mark.parametrize("teams", [{}, TEAMS])
def test_teams_change_nothing_of_the_gateway_itself(teams: Any):
    """Its pods do not start anew for them."""
    config = own_keys(gateway={"database": {"existingSecret": "llm-database"}})
    before, after = stack(merged(config, PRICED)), with_teams(teams)
    assert after.object("Deployment", "litellm") == before.object("Deployment", "litellm")
    assert after.object("ConfigMap", "gateway-config-auto") == before.object("ConfigMap", "gateway-config-auto")
