"""The files of vLLM's versions are what the real parsers and registries say, and what we accept they accept.

Metrics, defaults and effects are not asked for here.
"""

import ast
import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from catalog import load_catalog
from catalog.commands.engine_file import changes
from catalog.engine import Effect, Engine, Option
from planning.capacity.options import effects, read_options
from planning.server.arguments import check_args
from tests.vllm.conftest import Vllm
from tests.vllm.versions import built, facts, parse

pytestmark = [pytest.mark.vllm, pytest.mark.sample]

VERSIONS = load_catalog().versions["vllm"]
# Lists that are parsed at once: a process of its own for each would take a day.
LISTS = 400
# Values of types: most keys have these.
LIKELY = {"bool": True, "int": 3, "float": 0.5, "str": "text", "list": ["x"], "dict": {"x": "y"}}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_file_says_what_the_program_says(vllm: Vllm, version: str):
    """Options with their kinds, types, choices, spellings and defaults, parsers, formats: to the last word."""
    assert changes(VERSIONS[version], facts(vllm, version)) == {}


def values(option: Option, content: object) -> st.SearchStrategy[str]:
    """Values that an option may be given: those its file knows, and others of its type, well formed or nearly."""
    words = st.sampled_from([str(choice) for choice in option.choices or option.suggested or ["auto", "x/y", "1"]])
    numbers = st.integers(-3, 10**6).map(str)
    of_type = {
        "int": numbers,
        "float": numbers | st.floats(0, 9, allow_nan=False).map(str),
        "size": numbers | st.sampled_from(["1k", "2K", "1.5m", "3g", "10G"]),
        "size-or-auto": numbers | st.sampled_from(["1k", "auto", "-1"]),
        "json": inside(content).map(json.dumps),
        "json-units": inside(content).map(json.dumps)
        | inside(content).map(lambda value: re.sub(r"\b\d+\b(?!\.)", r"\g<0>k", json.dumps(value))),
        "json-or-str": inside(content).map(json.dumps)
        | st.sampled_from(['{"rope_theta": 1.5}', "name=path", "{", "null"]),
    }.get(option.type, words)
    return of_type | words if option.choices else of_type


def inside(content: object) -> st.SearchStrategy[object]:
    """What JSON of an option may hold: what its file says, or anything else."""
    anything = st.sampled_from(
        [None, True, 0, 1, -2, 2.5, "", "x", "7", [], ["x"], [1], [None], {}, {"x": 1}, {"x": {}}]
    )
    match content:
        case dict():
            known: dict[str, object] = content
            keys = st.sampled_from([*known, "x"]) if known else st.just("x")
            pairs = keys.flatmap(lambda key: st.tuples(st.just(key), inside(known.get(key, "Any"))))
            # more often what may be right than what cannot
            objects = st.lists(pairs, max_size=3).map(dict)
            return st.one_of(objects, objects, objects, anything)
        case list():
            return st.one_of([inside(part) for part in content])
        case str():
            words: list[object] = [ast.literal_eval(word) for word in re.findall(r"'[^']*'", content)]
            likely = [value for type_, value in LIKELY.items() if re.search(rf"\b{type_}\b", content)]
            return st.sampled_from([*words, *likely]) | anything if words or likely else anything
        case _:
            return anything


def arguments(engine: Engine) -> st.SearchStrategy[list[str]]:
    """A few options in any of their spellings, with values of their own or with `=`."""

    def written(name: str) -> st.SearchStrategy[list[str]]:
        option = engine.options[name]
        spelling = st.sampled_from([name, name.replace("-", "_").replace("__", "--", 1), *option.spellings])
        if option.kind == "flag":
            return spelling.map(lambda word: [word])
        value = values(option, engine.contents.get(name))
        parts = st.tuples(spelling, value)
        return parts.map(lambda pair: [f"{pair[0]}={pair[1]}"]) | parts.map(list)

    return st.lists(st.sampled_from([*engine.options]).flatmap(written), max_size=4).map(
        lambda lists: [word for words in lists for word in words]
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_accepted_starts_the_parser_of_its_version(vllm: Vllm, version: str):
    """Any list of arguments that no check has anything against; and most lists are not refused."""
    engine, accepted, made = VERSIONS[version], [], 0

    @settings(
        max_examples=4 * LISTS, database=None, deadline=None, phases=[Phase.generate], derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )  # fmt: skip
    @given(arguments(engine))
    def collect(args: list[str]) -> None:
        nonlocal made
        made += 1
        # what needs files or the network no stack may have
        refused = {case.effect for _, case in effects(read_options(args, engine), engine)} & {
            Effect.FILES,
            Effect.NETWORK,
        }
        if args and not refused and not check_args(args, engine, "args"):
            accepted.append(args)

    collect()
    unique: list[list[str]] = [json.loads(text) for text in dict.fromkeys(map(json.dumps, accepted))][:LISTS]
    refused = [args for args, answer in zip(unique, parse(vllm, version, unique), strict=True) if answer is None]
    assert refused == []
    assert len(unique) > made / 20


# JSON that a class reads: sizes in it, words for classes of it, and parts under two spellings.
JSON = [
    ['--quantization-config={"linear": "fp8_per_tensor"}'],
    ['--quantization-config={"linear": "mxfp4", "moe": null}'],
    ['--quantization-config={"moe": "int8_per_channel_weight_only"}'],
    ['--quantization-config={"linear": "int8_per_channel_weight_only"}'],
    ['--quantization-config={"linear": "fp8"}'],
    ['--quantization-config={"targets": {"a": "mxfp8"}, "linear": "mxfp8"}'],
    ['--quantization-config={"targets": {"a": "mxfp8"}}'],
    ["--quantization-config.linear=fp8_per_block"],
    ['--eplb-config={"window_size": 1k}'],
    ['--eplb-config={"window_size": 1.5k, "step_interval": 2K}'],
    ['--eplb-config={"window_size": 1.5K}'],
    ['--eplb-config={"window_size": "1k"}'],
    ['--eplb-config={"window_size": 1x}'],
    ["--eplb-config.window_size=1k"],
    ["--eplb-config.window_size=1.5K"],
    ['--override-generation-config={"top_k": 1k}'],
    ["-cc.max_cudagraph_capture_size=1k", "--compilation-config.debug_dump_path=x"],
    ["-cc.no_such_key=1", "--compilation-config.max_cudagraph_capture_size=8"],
    ["--compilation-config.max_cudagraph_capture_size=8", "-cc.no_such_key=1"],
    ['-cc={"no_such_key": 1}', "--compilation-config.max_cudagraph_capture_size=8"],
    ["--max-num-scheduled-tokens=1.5k"],
    ["--max-num-scheduled-tokens=1.5K"],
    ["--max-num-scheduled-tokens=1.5"],
]


@pytest.mark.parametrize("version", VERSIONS)
def test_json_is_taken_where_the_parser_takes_it(vllm: Vllm, version: str):
    """Neither refused what it reads, nor taken what it refuses."""
    answers = parse(vllm, version, JSON)
    mine = [check_args(args, VERSIONS[version], "args") == [] for args in JSON]
    assert [
        args for args, answer, taken in zip(JSON, answers, mine, strict=True) if (answer is not None) != taken
    ] == []
    assert {answer is None for answer in answers} == {True, False}


def test_a_wrong_list_is_refused_by_the_parser(vllm: Vllm):
    """The question can be answered with no."""
    wrong: list[list[str]] = [["--seed=x"], ["--no-such-option"], ["--dtype=int4"], ["--enforce-eager=1"]]
    answers: list[Any] = parse(vllm, built(), wrong)
    assert answers == [None] * 4
