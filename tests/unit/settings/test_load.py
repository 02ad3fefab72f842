"""`settings.load`: what is read from `pulumi.Config`, and how its keys and secrets are refused.

Does not prove how the engine encrypts, nor that it hands the defaults of Pulumi.yaml over.
"""

import asyncio
import contextvars
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pytest

from settings import Problem, StackSettings
from settings.keys import check
from settings.load import ConfigError, load
from tests.unit.small_stack import checked, stack

OPEN = {key: value for key, value in stack().items() if key != "gateway"}
MASTER_KEY = "sk-marker-0123456789"
COMMAND = 'pulumi config set --secret gatewayMasterKey "sk-$(openssl rand -hex 24)"'


@dataclass(frozen=True)
class Read:
    """What was loaded and checked. `keys`: of each secret, whether it is one, and its value."""

    settings: StackSettings | None
    problems: tuple[Problem, ...]
    keys: Mapping[str, tuple[bool, Any]]


NO_MODELS = (
    "models: is missing: what is served, by the name of its objects, which clients ask for too where it has no "
    "publicName"
)


def loaded(values: Mapping[str, Any], secrets: tuple[str, ...] = ()) -> Read:
    """What is loaded when the engine hands these values over, `secrets` encrypted."""

    async def run() -> Read:
        config = {f"llm-stack:{key}": value for key, value in values.items()} | {"pulumi:tags": "{}"}
        pulumi.runtime.set_all_config(config, [f"llm-stack:{key}" for key in secrets])
        found = load()
        has = {"has_master_key": "gateway_master_key" in found.secrets}
        has["has_hub_token"] = "hugging_face_token" in found.secrets
        settings, problems = check(found.values, found.problems, **has)
        keys: Mapping[str, Any] = {**found.secrets}
        known = {name: (await key.is_secret(), await key.future()) for name, key in keys.items()}
        return Read(settings, tuple(problems), known)

    # a loop and a context of its own: neither is left behind for other tests
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(run(), context=contextvars.copy_context())


@pytest.fixture(autouse=True)
def project(monkeypatch):
    """The program runs in the project whose keys are read."""
    monkeypatch.setattr("pulumi.config.get_project", lambda: "llm-stack")


def said(values: Mapping[str, Any], *secrets: str) -> list[str]:
    """The problems, as text."""
    return [str(problem) for problem in loaded(values, secrets).problems]


def as_json(values: Mapping[str, Any]) -> dict[str, str]:
    """The values as the engine hands objects over."""
    return {key: json.dumps(value) for key, value in values.items()}


@pytest.mark.parametrize("handed_over", [dict, as_json], ids=["as values", "as JSON"])
def test_objects_are_read_as_values_and_as_json(handed_over):
    """The engine hands objects over as JSON, tests as they are: both give the same settings."""
    found = loaded(handed_over(stack()))
    assert (found.settings, found.problems) == (checked(stack()), ())
    assert found.keys == {}


def test_empty_sections_are_those_left_out():
    """The defaults `{}` and "" of Pulumi.yaml, and null, mean that a key was not given."""
    empty = {"autoscaling": {}, "images": "{}", "charts": None, "observability": "null"}
    keys = {"gatewayMasterKey": "", "huggingFaceToken": ""}
    found = loaded({**stack(), **empty, **keys})
    assert (found.settings, found.problems) == (checked(stack()), ())


def test_keys_of_other_projects_are_not_ours():
    """Only this project's keys are read, whatever else the stack file sets."""
    assert said(stack()) == []


def test_keys_of_ours_in_the_name_of_another_project_are_refused(monkeypatch):
    """A copied stack file keeps the name of its project; unsaid, its gateway would be that of the defaults."""
    monkeypatch.setattr("pulumi.config.get_project", lambda: "shop")
    assert said(stack()) == [
        *(f"llm-stack:{key}: is not of this project, which is 'shop'; write shop:{key}" for key in stack()),
        "cluster: is missing: which cluster",
        "gpuPools: is missing: groups of nodes, by name",
        "weights: is missing: how model weights reach the pods; a sharedClaim unless kind says otherwise",
        NO_MODELS,
    ]


def test_a_secret_arrives_as_a_secret_output():
    """The master key is an Output that is secret and resolves to its value; it is never part of the settings."""
    found = loaded({**OPEN, "gatewayMasterKey": MASTER_KEY}, ("gatewayMasterKey",))
    assert (found.problems, found.keys) == ((), {"gateway_master_key": (True, MASTER_KEY)})
    assert MASTER_KEY not in repr(found.settings)


@pytest.mark.parametrize(
    ("values", "secrets", "message"),
    [
        ({**stack(), "gpuPool": {}}, (), "gpuPool: unknown key; did you mean 'gpuPools'?"),
        (
            {**OPEN, "gatewayMasterKay": "x", "gatewayMasterKey": "sk-x"},
            ("gatewayMasterKey", "gatewayMasterKay"),
            "gatewayMasterKay: unknown key; did you mean 'gatewayMasterKey'?",
        ),
        (
            {**OPEN, "gatewayMasterKey": MASTER_KEY},
            (),
            "gatewayMasterKey: is stored in clear; run: pulumi config set --secret gatewayMasterKey",
        ),
        (
            {**stack(), "huggingFaceToken": "hf_x"},
            (),
            "huggingFaceToken: is stored in clear; run: pulumi config set --secret huggingFaceToken",
        ),
        (
            stack(),
            ("models",),
            "models: holds a secret; secrets are the top-level keys gatewayMasterKey and huggingFaceToken",
        ),
        (
            OPEN,
            (),
            f"gatewayMasterKey: is missing; run: {COMMAND}, or name a Secret in gateway.existingSecret",
        ),
        (
            {**stack(), "gatewayMasterKey": MASTER_KEY},
            ("gatewayMasterKey",),
            "gatewayMasterKey: must be left out when gateway.existingSecret names a Secret",
        ),
        (
            {
                **stack(weights={"storageClass": "nfs", "hub": {"tokenSecret": "hub"}}),
                "huggingFaceToken": "hf_x",
            },
            ("huggingFaceToken",),
            "huggingFaceToken: must be left out when weights.hub.tokenSecret names a Secret",
        ),
        (
            {**stack(weights={"kind": "existingClaim", "claimName": "disk"}), "huggingFaceToken": "hf_x"},
            ("huggingFaceToken",),
            "huggingFaceToken: must be left out when weights.kind is existingClaim: nothing is downloaded",
        ),
        (
            {
                **stack(
                    weights={"storageClass": "nfs", "hub": {"endpoint": "https://hub.corp", "tokenSecret": "hub"}},
                    models={"m": {"model": "Qwen/Qwen3-14B", "pool": "a10", "weights": {"storageClass": "nfs"}}},
                ),
                "huggingFaceToken": "hf_x",
            },
            ("huggingFaceToken",),
            (
                "huggingFaceToken: must be left out: the hub of weights has a Secret, and a token is sent to no other "
                "one; name a Secret in tokenSecret of the hub that needs it"
            ),
        ),
        ({**stack(), "cluster": "dev"}, (), 'cluster: "dev" must be a mapping of keys'),
        ({**stack(), "cluster": "5"}, (), "cluster: 5 must be a mapping of keys"),
        ({**stack(), "gateway": "{x: 1"}, (), 'gateway: "{x: 1" must be a mapping of keys'),
        ({**stack(), "models": "{}"}, (), NO_MODELS),
    ],
)
def test_what_is_wrong_is_said_once(values, secrets, message):
    """One problem, with the key, the nearest known one, or the command that mends it."""
    assert said(values, *secrets) == [message]


def test_a_secret_that_is_no_mapping_is_not_shown():
    """A value that was encrypted never appears in a refusal, even where it makes no sense."""
    assert said({**stack(), "images": MASTER_KEY}, "images") == [
        "images: holds a secret; secrets are the top-level keys gatewayMasterKey and huggingFaceToken"
    ]


def test_problems_of_keys_secrets_and_sections_come_together():
    """Unknown keys, secrets in clear, what is inside the sections and missing keys are all said at once."""
    raw = {**OPEN, "gateways": {}, "huggingFaceToken": "hf_x", "weights": {"storageClas": "nfs", "storageClass": "nfs"}}
    assert [text.partition(":")[0] for text in said(raw)] == [
        "gateways",
        "huggingFaceToken",
        "weights.storageClas",
        "gatewayMasterKey",
    ]


def test_the_error_of_the_program_lists_the_problems():
    """What `pulumi up` prints: a count, and every problem on a line of its own."""
    first, second = Problem("a.b", "is missing"), Problem("c", "is empty")
    assert str(ConfigError([first])) == "1 problem in the stack configuration:\n  a.b: is missing"
    assert str(ConfigError([first, second])) == (
        "2 problems in the stack configuration:\n  a.b: is missing\n  c: is empty"
    )
    assert isinstance(ConfigError([first]), pulumi.RunError)
