"""All that is wrong with a stack is told at once, and nothing that only follows from something told.

Does not prove that the list of faults below has every kind; each is told alone, and beside any others.
"""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings import validate
from settings.doubt import WHOLE, Doubt, Judging, doubts, in_doubt, judge
from settings.problems import Problem
from settings.schema import ReplicaSettings
from tests.unit.small_stack import ROOT, properties, refusals, stack

SHA = "0123456789abcdef0123456789abcdef01234567"
QWEN = "Qwen/Qwen3-8B"
MEASURED = {"weightsGibPerGpu": 15.3, "kvTokens": 40000, "gpus": 1}
# Of vLLM 0.32 alone.
MEDUSA = "--spec-method=medusa"
LONG = {"model": "Qwen/Qwen3-30B-A3B-Instruct-2507", "pool": "h100", "contextTokens": 200_000}
MIRROR = {"endpoint": "https://hf-mirror.com"}
# Less than any start takes.
HELD = {"atZero": "hold", "holdS": 1}


def whole() -> dict[str, Any]:
    """A stack of many parts with nothing wrong in it."""
    return stack(
        gpuPools={
            "a10": {"gpu": "nvidia-a10", "nodes": 4, "gpusPerNode": 2},
            "h100": {"gpu": "nvidia-h100", "nodes": 2, "gpusPerNode": 8},
            "spare": {"gpu": "nvidia-l4", "nodes": 1, "gpusPerNode": 1, "provisioning": {"kind": "labelled"}},
            "cpu": {"gpu": "none", "nodes": 2, "cpusPerNode": 32, "memoryGibPerNode": 128},
        },
        models={
            "chat": {"model": "Qwen/Qwen3-14B", "pool": "a10", "contextTokens": 8192, "fallbacks": ["small"]},
            "small": {"model": QWEN, "pool": "a10", "contextTokens": 8192, "replicas": {"min": 1, "max": 2}},
            "large": {
                "model": "Qwen/Qwen3-32B",
                "pool": "h100",
                "args": ["--enable-lora"],
                "adapters": {"sql": {"repo": "acme/sql", "revision": SHA, "rank": 16}},
            },
            "tested": {
                "model": QWEN,
                "pool": "h100",
                "env": {"VLLM_LOGGING_LEVEL": "INFO"},
                "canary": {"weight": 10, "maxNumSeqs": 64},
            },
            "slow": {"model": "Qwen/Qwen3-0.6B", "pool": "cpu"},
        },
        gateway={
            "existingSecret": "llm-keys",
            "database": {"kind": "bundled"},
            "teams": {"apps": {"models": ["chat"], "keys": ["app"], "existingSecret": "apps-keys"}},
        },
        images={"overrides": {"python": {"digest": f"sha256:{'0' * 64}"}}},
    )


# Where, what is written there, and the paths of what is told. Of one place of the first column there is one fault, and
# of those that feed the same sum one is a fault of the shape, or one of the sum.
FAULTS: dict[str, tuple[str, Any, list[str]]] = {
    # values of a wrong shape
    "replicas": ("models.chat.replicas", 3, ["models.chat.replicas"]),
    "most replicas": ("models.large.replicas", {"max": "many"}, ["models.large.replicas.max"]),
    "fewest and most": ("models.tested.replicas", {"min": 3, "max": 2}, ["models.tested.replicas"]),
    "unknown key": ("models.chat.gpuz", 1, ["models.chat.gpuz"]),
    "context": ("models.chat.contextTokens", "many", ["models.chat.contextTokens"]),
    "misspelt": ("models.tested.tensorParalel", 3, ["models.tested.tensorParalel"]),
    "scaling": ("models.small.scaling", [], ["models.small.scaling"]),
    "limit": ("models.small.requestsPerMinute", 0, ["models.small.requestsPerMinute"]),
    "hash": ("models.large.manifestSha256", "x", ["models.large.manifestSha256"]),
    "price of nodes": ("gpuPools.a10.pricePerNodeHourUsd", "cheap", ["gpuPools.a10.pricePerNodeHourUsd"]),
    "nodes": ("gpuPools.spare.nodes", 0, ["gpuPools.spare.nodes"]),
    "nodes of CPUs": ("gpuPools.cpu.cpusPerNode", "all", ["gpuPools.cpu.cpusPerNode"]),
    "kind of nodes": ("gpuPools.spare.provisioning", {"kind": "rented"}, ["gpuPools.spare.provisioning"]),
    "read rate": ("weights.readMibPerS", -5, ["weights.readMibPerS"]),
    "retries": ("gateway.retries", "often", ["gateway.retries"]),
    "gateway": ("gateway.memoryGib", [], ["gateway.memoryGib"]),
    "team": ("gateway.teams.apps.requestsPerMinute", 0, ["gateway.teams.apps.requestsPerMinute"]),
    "weight": ("models.tested.canary.weight", 200, ["models.tested.canary.weight"]),
    "digest": ("images.overrides.python.digest", "x", ["images.overrides.python.digest"]),
    "mirror": ("images.mirror", 5, ["images.mirror"]),
    "alert": ("observability.alerts", {"kvCacheUsage": 7}, ["observability.alerts.kvCacheUsage"]),
    "version": ("cluster.kubernetes", "new", ["cluster.kubernetes"]),
    "entry": ("models.other", 5, ["models.other"]),
    "pool entry": ("gpuPools.other", None, ["gpuPools.other"]),
    "name": ("models.Bad Name", {"model": "acme/none", "pool": "a10"}, ["models.Bad Name", "models.Bad Name.model"]),
    # faults of the plan
    "does not fit": ("models.small.tensorParallel", 16, ["models.small"]),
    "unknown model": ("models.slow.model", "acme/none", ["models.slow.model"]),
    "wrong argument": ("models.chat.args", ["--no-such-option"], ["models.chat.args[0]"]),
    "secret": ("models.chat.env", {"HF_TOKEN": "x"}, ["models.chat.env.HF_TOKEN"]),
    "decided": ("models.tested.env", {"VLLM_API_KEY": "x"}, ["models.tested.env.VLLM_API_KEY"]),
    "unknown pool": ("models.slow.pool", "cpus", ["models.slow.pool"]),
    "rank": ("models.large.args", ["--max-lora-rank=8"], ["models.large.args"]),
    "fallback": ("models.small.fallbacks", ["nobody"], ["models.small.fallbacks[0]"]),
    "dtype": ("models.large.kvCacheDtype", "int3", ["models.large.kvCacheDtype"]),
    "unknown GPU": ("gpuPools.spare.gpu", "nvidia-a11", ["gpuPools.spare.gpu"]),
    "model of a team": ("gateway.teams.apps.models", ["nobody"], ["gateway.teams.apps.models[0]"]),
    "platform": ("cluster.platform", "nowhere", ["cluster.platform"]),
    "chart": ("charts", {"kube-prometheus-stack": {"version": "x"}}, ["charts.kube-prometheus-stack.version"]),
    "floating": ("images.overrides.redis", {"version": "latest"}, ["images.overrides.redis"]),
    "namespace": ("observability.namespace", "kube-system", ["observability.namespace"]),
}
# Of each pair, the second is judged by what the first has broken.
DEPENDENT = [
    {"unknown model", "nodes of CPUs"},
    {"platform", "version"},
    {"nodes", "unknown GPU"},
    {"nodes", "kind of nodes"},
    # what has no shape may have an adapter of that name
    {"entry", "fallback"},
]


def broken(names: set[str]) -> dict[str, Any]:
    """The stack with these faults."""
    raw = whole()
    for name in names:
        path, value, _ = FAULTS[name]
        *holders, key = path.split(".")
        holder = raw
        for step in holders:
            holder = holder.setdefault(step, {})
        holder[key] = deepcopy(value)
    return raw


def paths(raw: dict[str, Any]) -> list[str]:
    """Paths of all that is told."""
    return sorted(line.partition(": ")[0] for line in refusals(raw))


def test_the_stack_of_these_tests_has_no_fault():
    """What is told below is of the faults alone."""
    assert refusals(whole()) == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_alone(name):
    """Nothing follows from a fault of one place that a reader would have to mend as well."""
    assert paths(broken({name})) == sorted(FAULTS[name][2])


def independent(names: list[str]) -> set[str]:
    """As many of the faults as are at places of their own, and none that another keeps from being judged."""
    chosen: set[str] = set()
    for name in names:
        taken = {FAULTS[other][0] for other in chosen}
        if FAULTS[name][0] not in taken and not any({name, other} in DEPENDENT for other in chosen):
            chosen.add(name)
    return chosen


@given(st.lists(st.sampled_from(sorted(FAULTS)), min_size=2, max_size=len(FAULTS), unique=True).map(independent))
@properties(150)
def test_faults_of_several_places_are_all_told_at_once(names):
    """Each as when it is alone, whatever else is wrong, and no other."""
    assert paths(broken(names)) == sorted(path for name in names for path in FAULTS[name][2])


@pytest.mark.parametrize("other", sorted(FAULTS))
def test_every_fault_is_told_beside_all_that_do_not_touch_it(other):
    """The most that one file can have wrong in it."""
    names = independent([other, *FAULTS])
    assert paths(broken(names)) == sorted(path for name in names for path in FAULTS[name][2])


# --- what follows from something broken -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # of a length that is not known there is no sum; with the default it would not fit
        ({"models.small": {"model": QWEN, "pool": "a10", "maxNumSeqs": "x", "tensorParallel": 16}}, ["maxNumSeqs"]),
        # what a pool lacks is no fault of its models
        ({"gpuPools.a10": {"gpu": "nvidia-a10", "nodes": 4, "gpusPerNode": "two"}}, ["gpusPerNode"]),
        (
            {"gpuPools.a10": {"gpu": "none", "nodes": 4, "cpusPerNode": 4, "memoryGibPerNode": "x"}},
            ["memoryGibPerNode"],
        ),
        ({"gpuPools.a10": []}, ["a10"]),
        # an image that is not known has an engine that is not known
        ({"models.chat.image": 5, "models.chat.args": ["--no-such-option"]}, ["image", "args[0]"]),
        ({"models.chat.engineVersion": "0.33.0"}, ["engineVersion"]),
        ({"models.chat.engineVersion": "0.33.0", "models.chat.image": 5}, ["image"]),
        # guesses and adapters are part of the sum
        ({"models.small.speculative": {"method": "ngram"}, "models.small.tensorParallel": 16}, ["tokens"]),
        ({"models.small.adapters": {"x": {"repo": "a/x", "rank": 0}}, "models.small.tensorParallel": 16}, ["rank"]),
        # rules of what is broken
        ({"models.tested.canary": {"weight": 10, "contextTokens": "x"}}, ["contextTokens"]),
        ({"models.tested.scaling": {"offPeak": {"start": "x", "end": "0 8 * * *"}}}, ["start"]),
        ({"models.tested.replicas": {"min": 0, "max": "x"}, "models.tested.scaling": {"atZero": "hold"}}, ["max"]),
        ({"gateway.expose": {"kind": "ingress", "className": "UP"}}, ["className"]),
        ({"gateway.database": {"kind": "files"}}, ["database"]),
        ({"gateway.exsitingSecret": "x", "gateway.teams": {}}, ["exsitingSecret"]),
        ({"weights": {"kind": "objectStore", "url": 5}}, ["url"]),
        ({"weights": {"kind": "objectStore", "url": "az://a-bucket", "region": "x"}}, ["weights"]),
        # a key that is probably meant has another value than its default
        ({"gpuPools.a10": {"gpu": "nvidia-a10", "nodes": 4, "gpusPerNod": 2}}, ["gpusPerNod"]),
        ({"models.small.fallbacks": [3, 4, "nobody"]}, ["fallbacks[0]", "fallbacks[1]", "fallbacks[2]"]),
        # words around one that may be an option or a value
        ({"models.chat.args": ["--seed", None, "8", "--seed"]}, ["args[1]", "args[3]"]),
        # elements of what stands in for a list
        ({"gateway.teams.apps.models": 5}, ["models"]),
        # a name that is none, of which another was probably meant
        ({"models.large.adapters": {"Sql": {"repo": "a/x"}}, "models.small.fallbacks": ["sql"]}, ["Sql"]),
        ({"gateway.providres": {"p": {}}, "models.small.fallbacks": ["gpt"]}, ["providres"]),
        # a word that one version of the engine has, where nobody knows which one runs
        ({"models.small.image": 5, "models.small.measured": MEASURED, "models.small.args": [MEDUSA]}, ["image"]),
        # sums over a pool that a server of unknown size is on
        ({"gpuPools.a10.nodes": 1, "models.chat.args": [3]}, ["args[0]"]),
        ({"gpuPools.a10.nodes": 1, "models.chat.podLabels": {"a": 3}}, ["a", "nodes"]),
        ({"gpuPools.a10.nodes": 1, "models.large.revision": "x"}, ["nodes", "revision"]),
        ({"weights.hub": MIRROR, "models.chat.weights": {"storageClass": "nfs", "hub": {"endpoint": 5}}}, ["endpoint"]),
        # a canary of another model
        ({"models.tested": {**LONG, "canary": {"weight": 1, "model": QWEN, "contextTokens": 0}}}, ["contextTokens"]),
        # a wait that the rate of weights decides
        (
            {"weights.readMibPerS": 0, "models.small.replicas.min": 0, "models.small.scaling": HELD},
            ["readMibPerS"],
        ),
        (
            {"weights.readMibPerS": 0, "models.small.scaling": HELD},
            ["readMibPerS", "atZero"],
        ),
        ({"models": 5}, ["models", "models[0]"]),
        ({"gpuPools": {}}, ["gpuPools"]),
    ],
)
def test_what_follows_from_a_broken_value_is_not_told(changes, expected):
    """The last words of the paths that are told."""
    raw = whole()
    for path, value in changes.items():
        *holders, key = path.split(".")
        holder = raw
        for step in holders:
            holder = holder[step]
        holder[key] = value
    assert sorted(path.rpartition(".")[2] for path in paths(raw)) == sorted(expected)


def test_rules_of_one_section_are_told_together():
    """Each looks at values of its own, and none waits until another is kept."""
    raw = whole()
    raw["gpuPools"]["spare"] |= {"gpusPerNode": 2, "gpuShare": {"slices": 2}, "nodes": 2}
    raw["gpuPools"]["spare"]["provisioning"] = {"kind": "existing", "nodeNames": ["n"]}
    assert refusals(raw) == [
        "gpuPools.spare: gpuShare needs nodes of one GPU (gpusPerNode: 1): of several, slices are handed out of any",
        "gpuPools.spare: provisioning.nodeNames names 1 nodes, nodes says 2",
    ]


def test_every_contradiction_of_a_section_is_a_rule():
    """A validator of another kind would say nothing of the keys that it looks at."""
    schema = (ROOT / "settings" / "schema.py").read_text(encoding="utf-8")
    assert schema.count("model_validator(") == 1


# --- doubt ------------------------------------------------------------------------------------------------------------


def test_reading_a_value_in_doubt_is_noted_and_others_are_not():
    """Whatever is read before or after, and of copies as well."""
    section = in_doubt(ReplicaSettings(min=1, max=2), {"max": WHOLE})
    with Judging() as outer:
        assert section.min == 1
        with Judging() as inner:
            assert section.model_copy(update={"max": 3}).max == 3
    doubt = Doubt("ReplicaSettings.max", "max", WHOLE)
    assert (inner.doubts, outer.doubts, outer.read) == ({doubt}, set(), {doubt})
    assert (isinstance(section, ReplicaSettings), section.model_dump()) == (True, {"min": 1, "max": 2})


def test_problems_of_a_check_that_read_something_in_doubt_are_kept_back():
    """Those of a check inside it that read nothing of that are kept."""
    section, sure, unsure = in_doubt(ReplicaSettings(), {"max": WHOLE}), Problem("a", "sure"), Problem("b", "unsure")

    def check() -> list[Problem]:
        return [*judge(lambda: [sure]), *([unsure] if section.max else [])]

    assert judge(check) == [sure]


def test_a_default_that_sections_share_is_in_doubt_for_one_of_them():
    """Settings of another model have the same section, and know what it says."""
    settings, _ = validate(
        stack(models={"a": {"model": QWEN, "pool": "a10", "replicas": 3}, "b": {"model": QWEN, "pool": "a10"}})
    )
    assert settings is not None
    assert [doubts(model) for model in settings.models.values()] == [{"replicas": WHOLE}, {}]
    assert doubts(ReplicaSettings()) == {}
