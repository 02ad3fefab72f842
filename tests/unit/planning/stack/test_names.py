"""Public names apart from the names of objects: where each stands, and words that are two things.

That LiteLLM serves them is shown by tests/gateway/test_teams.py.
"""

from typing import Any

import pytest

from tests.unit.small_stack import planned, refusals, serving

ADAPTER: dict[str, Any] = {"legal": {"repo": "acme/legal", "publicName": "Acme/Legal-1.5"}}


def both(**other: Any) -> dict[str, Any]:
    """A model `m`, and another one."""
    config = serving()
    config["models"]["n"] = {**config["models"]["m"], **other}
    return config


def test_clients_see_public_names_and_objects_have_keys():
    """Routes, fallbacks and metrics have the former; servers, their arguments and ids in LiteLLM the latter."""
    config = serving(publicName="Qwen/Qwen3-14B", adapters=ADAPTER, fallbacks=["legal"])
    plan = planned(config)
    (server,) = plan.servers
    assert (server.name, server.model_name, server.public_name) == ("vllm-m", "m", "Qwen/Qwen3-14B")
    assert "--served-model-name=m" in server.args
    assert [(route.model_name, route.model, route.id) for route in plan.gateway.routes] == [
        ("Qwen/Qwen3-14B", "hosted_vllm/m", "vllm-m"),
        ("Acme/Legal-1.5", "hosted_vllm/legal", "vllm-m/legal"),
    ]
    assert plan.gateway.fallbacks == (("Qwen/Qwen3-14B", ("Acme/Legal-1.5",)),)
    assert plan.observability.renamed == {"m": "Qwen/Qwen3-14B"}
    died = next(rule for rule in plan.observability.alerts if rule.alert == "LLMServerDied")
    assert died.labels["model_name"] == "Qwen/Qwen3-14B"
    variables: Any = plan.observability.dashboard["templating"]
    assert [each["name"] for each in variables["list"]] == ["datasource", "model", "pod"]


def test_another_public_name_changes_nothing_of_the_server():
    """So no pod of it restarts, and nothing is fetched again."""
    before, after = planned(serving(publicName="a/B")), planned(serving(publicName="a/C"))
    assert before.servers[0].args == after.servers[0].args
    assert before.weights == after.weights


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"publicName": "m"}, "models.n.publicName: 'm' is models.m already; give it another"),
        ({"publicName": "vllm-m"}, "models.n.publicName: 'vllm-m' is what LiteLLM calls server vllm-m; use another"),
        (
            {"publicName": "hosted_vllm/m"},
            "models.n.publicName: 'hosted_vllm/' is LiteLLM's word for all servers of a kind; use another",
        ),
        (
            {"publicName": "all-proxy-models"},
            "models.n.publicName: 'all-proxy-models' means more models than one to LiteLLM; give it another",
        ),
        (
            {"publicName": "a/b", "adapters": {"x": {"repo": "a/x", "publicName": "a/b"}}},
            "models.n.adapters.x.publicName: 'a/b' is the public name of models.n already; give it another",
        ),
        ({"publicName": "a/b", "fallbacks": ["a/b"]}, "models.n.fallbacks[0]: a model cannot be its own fallback"),
    ],
)
def test_a_word_is_one_thing(model: dict[str, Any], expected: str):
    """To the stack file, and to LiteLLM."""
    assert refusals(both(**model)) == [expected]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("Qwen/Qwen3-8B", "qwen-qwen3-8b"),
        ("llama-3.1-8b", "llama-3-1-8b"),
        ("a-model-of-a-name-that-no-object-may-have.1", "a-model-of-a-name-that-no-object-may-hav"),
    ],
)
def test_a_key_that_only_clients_could_use_is_refused_with_what_works(key: str, expected: str):
    """A key and its public name, which is then taken."""
    config = serving()
    config["models"][key] = config["models"].pop("m")
    fix = f"write {expected}: {{publicName: {key}, …}}, and clients ask for {key}"
    assert refusals(config) == [f'models.{key}: "{key}" is no name of an object; {fix}']
    config["models"] = {expected: {**config["models"][key], "publicName": key}}
    assert planned(config).servers[0].public_name == key


@pytest.mark.parametrize("name", ["*", "qwen/*", "a//b", "/a", "a:b", "a b", "a|b", "a/../b", "x" * 121])
def test_names_that_somebody_reads_otherwise_are_refusals(name: str):
    """By LiteLLM, by a query or by an address."""
    assert [problem.partition(": ")[0] for problem in refusals(serving(publicName=name))] == ["models.m.publicName"]
