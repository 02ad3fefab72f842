"""The gate before every configuration: what does not pass, what does, and that nothing it says can do harm.

Does not prove what YAML becomes; that is `test_engine_yaml.py`.
"""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings import validate
from settings.gate import LONGEST_KEY, LONGEST_TEXT, MOST_ENTRIES, MOST_LEVELS, MOST_VALUES, copy_checked
from settings.problems import MOST_PROBLEMS, Problem, Refused, nearest
from tests.unit.small_stack import CATALOG, MODEL, properties, refusals, serving, stack, stack_file

NOT_HAD = "which no setting may have"
SEEN = "which everybody who reads the stack would see"
POD = "a pod's specification is readable; servers get their keys from Secrets that are made for them"
STACKS = ("prod", "dev", "local", "sim")


def deep(levels: int) -> Any:
    """A list in a list, so many times."""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def said(raw: dict[str, Any]) -> list[str]:
    """What settings say against a configuration."""
    return [str(problem) for problem in validate(raw)[1]]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"models": deep(40)}, f"models[0][0]: is nested deeper than {MOST_LEVELS} levels"),
        ({"x": deep(100_000)}, f"x[0][0]: is nested deeper than {MOST_LEVELS} levels"),
        ({"models": {"m": {"args": ["a"] * (MOST_ENTRIES + 1)}}}, "models.m.args: has 5,001 entries; at most 5,000"),
        ({"x": [[0] * 400] * 200}, f"x: the configuration has more than {MOST_VALUES:,} values"),
    ],
)
def test_a_configuration_that_is_too_much_is_refused_as_a_whole(raw, expected):
    """Nobody would find the one mistake in it, and looking on would take long."""
    assert said(raw) == [expected]


def test_what_contains_itself_is_too_deep():
    """A program may hand over a mapping that it has put into itself."""
    raw = stack()
    raw["models"]["m"] = raw["models"]
    assert said(raw) == [f"models.m.m: is nested deeper than {MOST_LEVELS} levels"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (serving(model="Qwen/\x1b[31mred"), f"models.m.model: holds the character U+001B at position 6, {NOT_HAD}"),
        (serving(pool="a10\n"), f"models.m.pool: holds the character U+000A at position 4, {NOT_HAD}"),
        (serving(env={"A": "x\0y"}), f"models.m.env.A: holds the character U+0000 at position 2, {NOT_HAD}"),
        (serving(args=["a\ud800"]), f"models.m.args[0]: holds the character U+D800 at position 2, {NOT_HAD}"),
        (serving(image="v\u202ea"), f"models.m.image: holds the character U+202E at position 2, {NOT_HAD}"),
        (serving(env={"A": "\x9b31m"}), f"models.m.env.A: holds the character U+009B at position 1, {NOT_HAD}"),
        (
            serving(env={"A\nB": "x"}),
            f"models.m.env.A\\nB: the key holds the character U+000A at position 2, {NOT_HAD}",
        ),
        (serving(model="q" * (LONGEST_TEXT + 1)), "models.m.model: has 65,537 characters; at most 65,536"),
        (
            stack(models={"m": {**MODEL, "k" * 300_000: 1}}),
            f"models.m.{'k' * 288}…: the key has 300,000 characters; at most {LONGEST_KEY}",
        ),
        (serving(contextTokens=10**5000), "models.m.contextTokens: is too large a number"),
        (serving(env={"A": 10**5000}), "models.m.env.A: is too large a number"),
        (serving(env={"A": b"x"}), "models.m.env.A: is of a kind that no setting has (bytes)"),
        (serving(env={"A": {1, 2}}), "models.m.env.A: is of a kind that no setting has (set)"),
        ({**stack(), 10**5000: 1}, "…: the key must be text; put it in quotes"),
    ],
)
def test_a_value_that_nobody_could_use_is_refused_with_its_path(raw, expected):
    """Characters that a terminal obeys or that hide, too long a text or key, a number that is none."""
    assert refusals(raw) == [expected]


@pytest.mark.parametrize("where", ["env", "args", "annotations"])
def test_lines_may_be_broken_where_texts_have_lines(where):
    """A snippet of an Ingress controller, a template, JSON on several lines."""
    text = "line one\n\tline two"
    assert copy_checked({"models": {"m": {where: {"k": text}}}}).refusals == []
    assert copy_checked({"models": {"m": {where: [text]}}}).refusals == []
    assert len(copy_checked({"models": {"m": {"model": text}}}).refusals) == 1


def test_everything_is_still_said_at_once():
    """What does not pass is told beside a misspelt key and a model that does not fit."""
    raw = serving(contextTokens=10**6, replicaz="x")
    raw["cluster"]["context"] = "a\x1bb"
    assert [line.partition(":")[0] for line in refusals(raw)] == [
        "cluster.context",
        "models.m.replicaz",
        *(["models.m"] * len(refusals(serving(contextTokens=10**6)))),
    ]


@pytest.mark.parametrize(
    ("section", "broken"),
    [
        ("cluster", {"context": "c", "identifier": "i", "kubernetes": "new"}),
        ("cluster", {"context": "c"}),
        ("cluster", 5),
        ("weights", {"storageClass": "UP"}),
        ("weights", None),
        ("weights", {"kind": "existingClaim"}),
        ("gateway", {"existingSecret": "k", "replicas": 0}),
        ("gateway", {"existingSecret": "k", "host": "UP", "expose": {"kind": "ingress", "className": "n"}}),
        ("gateway", {"existingSecret": "k", "expose": {"kind": "nodePort"}}),
        ("observability", {"alerts": {"kvCacheUsage": 7}}),
        ("images", {"overrides": {"vllm": {"digest": "x"}}}),
    ],
)
def test_a_broken_section_does_not_hide_what_planning_finds(section, broken):
    """One value of cluster, weights or gateway is mended at the same time as a model that does not fit."""
    raw = {**serving(contextTokens=10**6), section: broken}
    lines = refusals(raw)
    assert lines[0].startswith(section)
    assert lines[1:] == refusals(serving(contextTokens=10**6))


PROVIDER = {
    "kind": "openAi",
    "existingSecret": "o",
    "models": {
        "gpt": {"model": "gpt-5", "contextTokens": 400_000, "priceUsdPerMillionTokens": {"input": 1, "output": 2}}
    },
}


@pytest.mark.parametrize(
    ("broken", "paths"),
    [
        ({"chatUi": {"host": "c.example.com"}}, ["chatUi.team", "chatUi.key", "chatUi.oidc", "chatUi.existingSecret"]),
        ({"callbacks": {"otel": {"endpoint": "x", "existingSecret": "k"}}}, ["callbacks.otel.endpoint"]),
        ({"expose": {"kind": "gatewayApi"}}, ["expose.gatewayName"]),
        (
            {"teams": {"t": {"models": ["m"], "keys": ["k"], "perModel": {"m": {"requestsPerMinute": 0}}}}},
            # who names a Secret for all keys names one for each team
            ["teams.t.perModel.m.requestsPerMinute", "teams.t.existingSecret"],
        ),
    ],
)
def test_a_broken_part_of_a_section_leaves_the_others(broken, paths):
    """A fallback that a provider serves is known, whatever else of the gateway is not."""
    gateway = {"existingSecret": "k", "providers": {"openai": PROVIDER}, "database": {"kind": "bundled"}}
    raw = {**serving(fallbacks=["gpt"], dataPolicy="mayLeave"), "gateway": gateway}
    assert refusals(raw) == []
    lines = refusals({**raw, "gateway": {**gateway, **broken}})
    assert [line.partition(": ")[0] for line in lines] == [f"gateway.{path}" for path in paths]


def test_what_follows_from_a_broken_section_is_not_said():
    """A number of replicas that is none is not taken for the default, which would be one too many without a Redis."""
    raw = stack(gateway={"existingSecret": "k", "replicas": 0, "redis": {"kind": "none"}})
    assert refusals(raw) == ["gateway.replicas: 0 must be at least 1"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (serving(env={"MYKEY": "sk-abcdef0123456789"}), f"models.m.env.MYKEY: holds an API key, {SEEN}; {POD}"),
        (
            serving(args=["--x=hf_AbCdEf0123456789xyz"]),
            f"models.m.args[0]: holds a token of Hugging Face, {SEEN}; {POD}",
        ),
        (
            stack(weights={"storageClass": "nfs", "hub": {"endpoint": "https://m.corp/x?token=abc"}}),
            (
                f"weights.hub.endpoint: holds a secret in a query, {SEEN}; the hub's token is the config secret "
                "huggingFaceToken, or a Secret in weights.hub.tokenSecret"
            ),
        ),
        (
            stack(gateway={"existingSecret": "k", "redis": {"kind": "existing", "host": "redis://:PW@h"}}),
            (
                f"gateway.redis.host: holds a password in a URL, {SEEN}; a Redis' password is the entry redis-password "
                "of gateway.existingSecret or gateway.redis.passwordSecret"
            ),
        ),
        (
            stack(gateway={"database": {"existingSecret": "postgres://u:PW@h/db"}}),
            (
                f"gateway.database.existingSecret: holds a password in a URL, {SEEN}; a database's URL is the entry "
                "database-url of gateway.database.existingSecret"
            ),
        ),
        (
            stack(images={"mirror": "u:PW@mirror.corp"}),
            (
                f"images.mirror: holds a password before a host, {SEEN}; nodes log in to a registry by a pull secret "
                "or their own configuration"
            ),
        ),
        (
            stack(models={"sk-abcdef0123456789": MODEL}),
            (
                "models.<hidden>: the key holds an API key; secrets are the config secrets gatewayMasterKey and "
                "huggingFaceToken, or Secrets that exist"
            ),
        ),
        (
            serving(args=[{"u:PW@mirror.corp": 0}]),
            (
                "models.m.args[0].u:<hidden>@mirror.corp: the key holds a password before a host; secrets are the "
                "config secrets gatewayMasterKey and huggingFaceToken, or Secrets that exist"
            ),
        ),
    ],
)
def test_a_secret_is_refused_where_it_does_not_belong(raw, expected):
    """With the place where it belongs, and without saying it."""
    assert said(raw)[0] == expected


def test_what_the_stacks_of_this_repository_say_is_no_secret():
    """Nor is anything the catalogue knows by name."""
    assert [copy_checked(stack_file(name)).refusals for name in STACKS] == [[]] * len(STACKS)
    names = [*CATALOG.models, *CATALOG.gpus, *CATALOG.instances, *(i.repository for i in CATALOG.images.values())]
    revisions = [model.revision for model in CATALOG.models.values() if model.revision]
    assert copy_checked({"x": [*names, *revisions]}).refusals == []


LEAF = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**80), 10**80),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(["sk-abcdef0123456789", "postgres://u:PW@h", "\x1b[31m", "\ud800", "a\nb"]),
)
TREE = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
)


@properties(300)
@given(st.dictionaries(st.sampled_from([*stack(), "extra"]), TREE, max_size=4))
def test_whatever_is_handed_over_is_accepted_or_refused(raw):
    """No exception but a refusal, each line short, printable and without what was secret in it."""
    before = repr(raw)
    for line in refusals({**stack(), **raw}):
        assert len(line.encode()) < 2000
        assert line.isprintable()
        assert "0123456789" not in line
        assert ":PW@" not in line
    assert repr(raw) == before


@pytest.mark.parametrize(
    ("path", "message", "expected"),
    [
        ("a\nb", "c\x1b[31md", "a\\nb: c\\x1b[31md"),
        ("a", "\ud800", "a: \\ud800"),
        ("p" * 400, "x", f"{'p' * 297}…: x"),
        ("p", "ü" * 2000, f"p: {'ü' * 798}…"),
        ("p", '"postgres://u:PW@h" is bad', 'p: "postgres://<hidden>@h" is bad'),
    ],
)
def test_a_problem_is_fit_to_be_shown_whatever_is_put_into_it(path, message, expected):
    """One line, printable, short, nothing secret: also where somebody forgets to think of it."""
    assert str(Problem(path, message)) == expected


def test_of_very_many_problems_the_first_are_said():
    """And how many there are besides."""
    found = Refused(Problem(f"p{number}", "x") for number in range(200)).problems
    assert (len(found), str(found[-1])) == (MOST_PROBLEMS + 1, "…: and 150 more")


def test_a_long_word_is_not_compared_with_every_known_one():
    """300 kB against a list takes no time, and offers the list."""
    began = time.process_time()
    assert nearest("x" * 300_000, ["abc"]) == "; known: abc"
    assert time.process_time() - began < 0.5


def test_more_models_or_pools_than_can_be_planned_are_refused():
    """With the most there may be; 3,000 of them at once, in no time."""
    pools = {f"p{number}": {"gpu": "nvidia-a10", "nodes": 4, "gpusPerNode": 2} for number in range(3000)}
    models = {f"m{number}": {**MODEL, "pool": f"p{number}"} for number in range(3000)}
    began = time.process_time()
    lines = refusals(stack(gpuPools=pools, models=models))
    assert lines == ["gpuPools: has 3,000 entries; at most 64", "models: has 3,000 entries; at most 200"]
    assert time.process_time() - began < 5
