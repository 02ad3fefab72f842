"""Arguments are read as vLLM's own parser reads them: spellings, negatives, parts of JSON, the last of several.

The parser is that of the CPU build, whose version is one older than the engine file's; options are those of both.
"""

import json
from pathlib import Path

import pytest

from catalog import load_catalog
from planning.capacity.options import read_options
from tests.vllm.conftest import Vllm

pytestmark = [pytest.mark.vllm, pytest.mark.sample]

ENGINE = load_catalog().vllm
LISTS = [
    ["--seed", "-1"],
    ["-q", "fp8", "--seed=1", "--seed=2"],
    ["--cpu_offload_gb=4", "--cpu-offload-gb", "0"],
    ["--enforce-eager", "--no-enforce-eager"],
    ["--no-enforce-eager", "--enforce-eager"],
    ["--enable-prefix-caching", "--no-enable-prefix-caching"],
    ["--no-enable-log-requests"],
    ["-O3"],
    ["-O", "0"],
    ["-O=1"],
    ["-sc.method", "ngram", "-sc.num_speculative_tokens=3"],
    ["-sc.method=mtp", "--speculative-config.method", "ngram"],
    ["--speculative_config.method=mtp", "-sc.method=ngram", "--speculative-config.num_speculative_tokens=2"],
    ["--speculative-config.method=mtp", "--speculative-config", '{"method":"ngram"}'],
    ["--speculative-config", '{"method":"ngram"}', "--speculative-config", '{"method":"mtp"}'],
    ["--hf-overrides.a.b=1", "--hf-overrides.a.c=x", "--hf-overrides.d+", "1,2"],
    ["--hf-overrides.a=80m", "--hf-overrides.b", "1K", "--hf-overrides.c=1.5k", "--hf-overrides.d=1.5K"],
    ["--hf-overrides.a=1_000", "--hf-overrides.b= 7 ", "--hf-overrides.c=-3", "--hf-overrides.d=1k,2k"],
    ["--hf-overrides.a.c=2", '--hf-overrides.a={"b":1,"c":3}', "--hf-overrides.a.d+=x"],
    ["--hf-overrides", '{"rope_parameters":{"factor":4.0}}'],
    ["--limit-mm-per-prompt.image=0", "--limit-mm-per-prompt.video", "0"],
    ["--middleware", "a.b", "--middleware=c.d"],
    ["--logits-processors", "a:b", "c:d", "--seed=1"],
    ["--hf-token"],
]


@pytest.fixture(scope="module")
def parsed(vllm: Vllm) -> list[dict[str, object] | None]:
    """Every list as the real parser reads it."""
    lines = "".join(json.dumps(args) + "\n" for args in LISTS)
    printed = vllm.run(Path(__file__).with_name("parser.py"), text=lines)
    return [json.loads(line) for line in printed if line[:1] in "{n"]


def as_text(value: object) -> str:
    """A parsed value as we write it."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return json.dumps(value)
        case list():
            return " ".join(map(str, value))
        case float():
            return f"{value:g}"
        case _:
            return str(value)


@pytest.mark.parametrize("position", range(len(LISTS)), ids=lambda position: " ".join(LISTS[position]))
def test_arguments_are_read_as_by_the_real_parser(parsed: list[dict[str, object] | None], position: int):
    """The value of every option that a list names."""
    answer, mine = parsed[position], read_options(LISTS[position], ENGINE)
    assert (answer is None, mine != {}) == (False, True)
    assert answer is not None
    theirs = {name: as_text(answer[name.removeprefix("--").replace("-", "_")]) for name in mine}
    assert {name: setting.value for name, setting in mine.items()} == theirs
