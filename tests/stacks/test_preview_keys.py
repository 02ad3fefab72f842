"""`python -m preview keys`, end to end: where each key of a stack is, and what a stack's page says of its teams.

Does not prove that a Secret holds what it should: no value is known here.
"""

import json

import pytest

from preview.__main__ import main
from tests.stacks.test_preview import STACK, project  # noqa: F401 - a fixture

TEAMS = """
  llm-stack:gatewayMasterKey: {secure: v1:abc:def}
  llm-stack:gateway:
    database: {existingSecret: llm-database}
    teams:
      search:
        models: [small]
        requestsPerMinute: 600
        perModel: {other: {tokensPerMinute: 5000}}
        monthlyBudgetUsd: 500
        keys: {app: {generations: [1, 2]}, batch: {}}
      ads: {models: [other], keys: [web], existingSecret: ads-keys}
"""
WITH_TEAMS = (
    STACK.replace("contextTokens: 8192}", "contextTokens: 8192, fallbacks: [other]}, other: {model: Qwen/Qwen3-0.6B, "
                  "pool: l4, contextTokens: 8192}")
    .replace("  llm-stack:gateway: {existingSecret: llm-keys}\n", "")
    .rstrip("\n")
    + TEAMS
)  # fmt: skip


@pytest.fixture
def preview(capsys, project, monkeypatch):  # noqa: F811 - the fixture
    """A function that runs a command line on a project with one stack: exit code, stdout, stderr."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(text: str, *words: str) -> tuple[int, str, str]:
        code = main([*words, "--project", str(project(one=text)), "--stack", "one"])
        return code, *capsys.readouterr()

    return run


def test_every_key_has_its_place(preview):
    """Teams with what they may, their Secrets, entries and names; the gateway's own keys and those of servers."""
    code, output, errors = preview(WITH_TEAMS, "keys")
    assert (code, errors) == (0, "")
    assert output.splitlines() == [
        "llm-stack · one: keys, all in namespace llm-serving",
        "",
        "Teams",
        "  ads: other",
        "    Secret ads-keys, yours",
        "      key  generation  entry  called in logs and metrics",
        "      web  1           web-1  ads-web-1",
        (
            "  search: small (and, as fallback, other); 600 requests a minute; of other 5,000 tokens a minute; $500.00 "
            "a month"
        ),
        "    Secret llm-team-search, derived from gatewayMasterKey",
        "      key    generation  entry    called in logs and metrics",
        "      app    1           app-1    search-app-1",
        "      app    2           app-2    search-app-2",
        "      batch  1           batch-1  search-batch-1",
        "",
        "  To read one:",
        "    kubectl get secret ads-keys -n llm-serving -o jsonpath='{.data.web-1}' | base64 -d",
        "",
        "The gateway's own",
        "  workload  variable            Secret/entry",
        "  litellm   LITELLM_MASTER_KEY  gateway-keys-<drawn>/master-key",
        "  litellm   REDIS_PASSWORD      gateway-keys-<drawn>/redis-password",
        "  litellm   LITELLM_SALT_KEY    gateway-keys-<drawn>/salt-key",
        "  litellm   DATABASE_URL        llm-database/database-url",
        "  litellm   KEY_VLLM_OTHER      vllm-other-key-<drawn>/api-key",
        "  litellm   KEY_VLLM_SMALL      vllm-small-key-<drawn>/api-key",
        "",
        "Servers",
        "  workload    variable      Secret/entry",
        "  vllm-other  VLLM_API_KEY  vllm-other-key-<drawn>/api-key",
        "  vllm-small  VLLM_API_KEY  vllm-small-key-<drawn>/api-key",
        "",
        "<drawn>: the engine draws the end of these names; kubectl get secrets shows them",
    ]


def test_machines_get_the_same(preview):
    """Fallbacks that were added stand apart from the models that were named."""
    code, output, _ = preview(WITH_TEAMS, "keys", "--json")
    document = json.loads(output)
    assert (code, document["stack"], document["refused"], document["namespace"]) == (0, "one", [], "llm-serving")
    assert document["teams"]["search"] == {
        "models": ["small"],
        "fallbacks": ["other"],
        "requests_per_minute": 600,
        "tokens_per_minute": None,
        "per_model": {"other": {"requests_per_minute": None, "tokens_per_minute": 5000}},
        "monthly_budget_usd": 500,
        "secret": "llm-team-search",
        "derived": True,
        "keys": [
            {"key": "app", "generation": 1, "alias": "search-app-1", "entry": "app-1"},
            {"key": "app", "generation": 2, "alias": "search-app-2", "entry": "app-2"},
            {"key": "batch", "generation": 1, "alias": "search-batch-1", "entry": "batch-1"},
        ],
    }
    assert [(place["workload"], place["entry"]) for place in document["servers"]] == [
        ("vllm-other", "api-key"),
        ("vllm-small", "api-key"),
    ]
    assert document["gateway"][0] == {
        "workload": "litellm",
        "variable": "LITELLM_MASTER_KEY",
        "secret": "gateway-keys-<drawn>",
        "entry": "master-key",
    }


def test_a_stack_without_teams_says_how_to_get_some(preview):
    """The other keys are listed all the same."""
    code, output, _ = preview(STACK, "keys")
    lines = output.splitlines()
    assert (code, lines[3]) == (0, "  none: gateway.teams says who may ask what, and gives each its keys")
    assert "  litellm   LITELLM_MASTER_KEY  llm-keys/master-key" in lines
    assert "  vllm-small  VLLM_API_KEY  llm-keys/vllm-small" in lines


def test_what_is_refused_has_no_keys(preview):
    """The reason on stderr, and for machines in the document too."""
    broken = WITH_TEAMS.replace("models: [other]", "models: [othr]")
    reason = "no model 'othr' is served; did you mean 'other'?"
    assert preview(broken, "keys") == (2, "", f"gateway.teams.ads.models[0]: {reason}\n")
    _, output, _ = preview(broken, "keys", "--json")
    refused = [{"path": "gateway.teams.ads.models[0]", "message": reason}]
    assert json.loads(output) == {"stack": "one", "refused": refused}


def test_the_page_of_a_stack_shows_its_teams(preview):
    """With the fallbacks that were added; of very many the first."""
    _, output, _ = preview(WITH_TEAMS)
    page = " ".join(output.split())
    assert "• team ads: other; 1 key in Secret ads-keys • team search: small (and, as fallback, other); 600" in page
    teams = "".join(f"\n      t{n:02}: {{models: [other], keys: [a]}}" for n in range(30))
    _, output, _ = preview(WITH_TEAMS.partition("      search:")[0].rstrip() + teams + "\n")
    assert "• team t19: other; 1 key in Secret llm-team-t19\n" in output
    assert "• and 10 teams more; python -m preview keys lists all\n" in output
    _, output, _ = preview(WITH_TEAMS.partition("    teams:")[0] + "    teams: {}\n")
    assert "• no team: all keys that the stack has made end\n" in output


PAGE = """
    host: llm.example.com
    expose: {kind: gatewayApi, gatewayName: public}
    chatUi:
      host: chat.example.com
      team: ads
      key: web
      existingSecret: chat-ui
      oidc: {endpoint: "https://login.example.com", clientId: chat, allowedDomains: [example.com, example.org]}
"""


def test_the_page_to_chat_with_reads_its_teams_key_and_entries_of_its_own(preview):
    """By their places, for people and machines; the page of the stack says where it is, and for whom."""
    with_page = WITH_TEAMS.rstrip("\n") + PAGE
    _, output, _ = preview(with_page, "keys")
    lines = output.splitlines()
    start = lines.index("The page to chat with")
    assert lines[start + 2 : start + 6] == [
        "  open-webui  OPENAI_API_KEY        ads-keys/web-1",
        "  open-webui  OAUTH_CLIENT_SECRET   chat-ui/client-secret",
        "  open-webui  WEBUI_ADMIN_PASSWORD  chat-ui/admin-password",
        "  open-webui  WEBUI_SECRET_KEY      chat-ui/session-key",
    ]
    _, output, _ = preview(with_page, "keys", "--json")
    assert json.loads(output)["chat_ui"][0]["entry"] == "web-1"
    _, output, _ = preview(with_page)
    assert (
        "• chat page https://chat.example.com (Open WebUI v0.12.4) with the key ads-web-1 for other; people of "
        "example.com, example.org sign in at https://login.example.com, without an administrator"
    ) in " ".join(output.split())
    assert output.count("• Gateway public in llm-serving\n") == 1
    _, output, _ = preview(with_page, "--json")
    assert json.loads(output)["gateway"]["chat_ui"] == {
        "url": "https://chat.example.com",
        "team": "ads",
        "key": "ads-web-1",
        "models": ["other"],
        "issuer": "https://login.example.com",
        "domains": ["example.com", "example.org"],
        "admin": None,
    }
