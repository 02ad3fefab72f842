"""Every list of vLLM arguments against the options of the version that its image has, as the catalogue has them frozen.

Names, kinds, choices, numbers and parser names are checked the way vLLM's own parser and start-up check them; what the
engine makes of a combination is not proved here.
"""

import re

import pytest

from catalog import load_catalog
from catalog.engine import Engine
from tests.harness import VARIANTS, Pod, computable, every_stack, faulty, pods, rendered, stack, whole_catalog_plan

CATALOG = load_catalog()
ENGINE = CATALOG.vllm
NUMBERS = {"int": r"-?\d+", "float": r"-?\d*\.?\d+", "size": r"\d+[kKmMgG]?", "size-or-auto": r"\d+[kKmMgG]?|auto|-1"}
# Fields with the values that the engine checks after parsing.
LISTED = {
    "--reasoning-parser": "reasoning_parsers",
    "--tool-call-parser": "tool_call_parsers",
    "--load-format": "load_formats",
    "--kv-cache-dtype": "kv_cache_dtypes",
    "--tokenizer-mode": "tokenizer_modes",
}
# The LeaderWorkerSet operator puts these into the environment, the kubelet into the arguments.
FILLED_IN = {"--node-rank": "$(LWS_WORKER_INDEX)", "--master-addr": "$(LWS_LEADER_ADDRESS)"}

# Stacks that choose another version than the one that is pinned.
OTHER_VERSIONS = {"local": "0.32.0", "teams": "0.32.0"}


def spellings(engine: Engine) -> dict[str, tuple[str, bool]]:
    """Every accepted spelling → (long name, whether it takes a value)."""
    found = {}
    for name, option in engine.options.items():
        takes = option.kind != "flag"
        found |= dict.fromkeys((name, *option.aliases), (name, takes))
        found |= {spelling: (name, False) for spelling in (option.negative, *option.hidden) if spelling}
    return found


# Mounts, and what the streamer reads (vllm/transformers_utils/runai_utils.py, SUPPORTED_SCHEMES).
PLACES = ("/models/", "/copy/", "s3://", "gs://", "az://")


def joined(options: list[str], engine: Engine) -> list[str]:
    """The same with the words after an option that takes several as its value."""
    several, words = {name for name, option in engine.options.items() if option.nargs == "+"}, []
    for word in options:
        first = words[-1].partition("=")[0] if words else ""
        if first in several and not word.startswith("-"):
            words[-1] += f"{' ' if '=' in words[-1] else '='}{word}"
        else:
            words.append(word)
    return words


def faults(args: list[str], engine: Engine = ENGINE) -> list[str]:
    """What this vLLM would refuse in a list of arguments after `vllm serve`."""
    model, *options = args
    found = [] if model.startswith(PLACES) else [f"{model} is nowhere weights are"]
    known, seen = spellings(engine), set()
    for argument in joined(options, engine):
        spelling, has_value, value = argument.partition("=")
        if spelling not in known:
            found.append(f"{spelling}: no such option")
            continue
        name, takes = known[spelling]
        if name in seen:
            found.append(f"{spelling}: given twice")
        seen.add(name)
        if takes != bool(has_value):
            found.append(f"{argument}: {'needs a value' if takes else 'takes no value'}")
        elif takes and value != FILLED_IN.get(name):
            found += _value_faults(engine, name, value)
    return found


def _value_faults(engine: Engine, name: str, value: str) -> list[str]:
    option = engine.options[name]
    if option.choices and value not in [str(choice) for choice in option.choices]:
        return [f"{name}={value}: not one of {option.choices}"]
    pattern = NUMBERS.get(option.type)
    if pattern and not re.fullmatch(pattern, value):
        return [f"{name}={value}: not of type {option.type}"]
    if name in LISTED and value not in getattr(engine, LISTED[name]):
        return [f"{name}={value}: not known to the engine"]
    return [] if value else [f"{name}: empty"]


def version_of(pod: Pod) -> str:
    """The version of vLLM that the tag of a pod's image says."""
    return pod.spec["containers"][0]["image"].rpartition(":")[2].removeprefix("v")


@pytest.mark.parametrize("name", every_stack())
def test_every_server_of_every_stack_starts_with_known_arguments(name: str):
    """Each vLLM container's arguments, of leaders and workers too, are accepted by the version of its image."""
    found = {
        f"{pod.owner} {index}": faults(pod.spec["containers"][0]["args"], CATALOG.versions["vllm"][version_of(pod)])
        for index, pod in enumerate(pods(rendered(name)))
        if pod.labels["app.kubernetes.io/name"] == "vllm"
    }
    assert faulty(found) == {}


def test_every_model_of_the_catalogue_gets_known_arguments():
    """No model, whatever its parsers and KV cache, is served with an argument the pinned version does not have."""
    servers = whole_catalog_plan().servers
    assert faulty({server.model: faults(list(server.args)) for server in servers}) == {}
    assert {server.model for server in servers} == set(computable().values())


@pytest.mark.parametrize("name", every_stack())
def test_a_server_runs_the_version_its_arguments_were_checked_for(name: str):
    """The image of every vLLM container is of a known version, and nobody has to be warned."""
    version = OTHER_VERSIONS.get(name, ENGINE.version)
    servers = [pod for pod in pods(rendered(name)) if pod.labels["app.kubernetes.io/name"] == "vllm"]
    assert {version_of(pod) for pod in servers} == {version}
    plan = rendered(name).plan
    assert {server.image.engine for server in plan.servers} == {version}
    assert [text for text in plan.warnings if "its arguments were checked against" in text] == []


@pytest.mark.parametrize(
    ("argument", "fault"),
    [
        ("--swap-space=4", "--swap-space: no such option"),
        ("--max-num-seq=4", "--max-num-seq: no such option"),
        ("--max-num-seqs", "--max-num-seqs: needs a value"),
        ("--max-num-seqs=many", "--max-num-seqs=many: not of type int"),
        ("--enable-prefix-caching=true", "--enable-prefix-caching=true: takes no value"),
        ("--dtype=int4", "--dtype=int4: not one of ['auto', 'bfloat16', 'float', 'float16', 'float32', 'half']"),
        ("--tool-call-parser=qwen", "--tool-call-parser=qwen: not known to the engine"),
        ("--port=1", "--port: given twice"),
    ],
)
def test_a_wrong_argument_is_really_noticed(argument: str, fault: str):
    """Removed, abbreviated, unknown, doubled and ill-typed arguments are each found."""
    assert faults(["/models/a", "--port=8000", argument]) == [fault]


def test_leader_and_workers_differ_in_one_word():
    """A worker has the leader's arguments and `--headless`; both learn rank and address from their operator."""
    leader, worker = (
        pod.spec["containers"][0]["args"] for pod in pods(stack(VARIANTS["two-nodes"])) if pod.kind == "LeaderWorkerSet"
    )
    assert worker == [*leader, "--headless"]
    assert leader[-3:] == ["--nnodes=2", "--node-rank=$(LWS_WORKER_INDEX)", "--master-addr=$(LWS_LEADER_ADDRESS)"]
