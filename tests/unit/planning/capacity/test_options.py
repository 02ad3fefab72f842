"""Arguments as the engine's parser reads them: spellings, negatives, parts of JSON, and which of several counts.

The parser itself is asked in `tests/vllm/test_options.py`.
"""

import pytest

from planning.capacity.options import Setting, plain, read_options
from tests.unit.small_stack import CATALOG

ENGINE = CATALOG.vllm


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), []),
        (("--seed=1",), ["--seed=1"]),
        (("--seed", "-1"), ["--seed=-1"]),
        (("-q", "fp8"), ["--quantization=fp8"]),
        (("-q=fp8",), ["--quantization=fp8"]),
        (("--cpu_offload_gb=4", "--cpu-offload-gb", "0"), ["--cpu-offload-gb=0"]),
        (("-O3",), ["--optimization-level=3"]),
        (("-O", "0"), ["--optimization-level=0"]),
        (("-O=1",), ["--optimization-level=1"]),
        # the last of a flag and its negatives counts
        (("--enforce-eager", "--no-enforce-eager"), ["--no-enforce-eager"]),
        (("--no-enable-prefix-caching",), ["--no-enable-prefix-caching"]),
        (("--disable-prefix-caching", "--enable-prefix-caching"), ["--enable-prefix-caching"]),
        # JSON, whole and in parts, which stand in place of the whole one
        (("--hf-overrides", '{"a":1}'), ['--hf-overrides={"a": 1}']),
        (("-sc.method=mtp", "--speculative_config.method", "ngram"), ['--speculative-config={"method": "ngram"}']),
        (("-sc.method", "ngram", "-sc.num_speculative_tokens=3"),
         ['--speculative-config={"method": "ngram", "num_speculative_tokens": 3}']),
        (("--speculative-config.method=mtp", "--speculative-config", "{}"), ['--speculative-config={"method": "mtp"}']),
        (("--compilation-config.cudagraph_capture_sizes+", "1,2", "--compilation_config.mode", "0"),
         ['--compilation-config={"cudagraph_capture_sizes": ["1", "2"], "mode": 0}']),
        (("--hf-overrides.a.b=1", "--hf-overrides.a.c=x"), ['--hf-overrides={"a": {"b": 1, "c": "x"}}']),
        # lists, and what is given more than once
        (("--lora-modules", "a=/x", "b=/y", "--seed=1"), ["--lora-modules=a=/x b=/y", "--seed=1"]),
        (("--middleware", "a.b", "--middleware=c.d"), ["--middleware=a.b c.d"]),
        (("--hf-token",), ["--hf-token=true"]),
        # what is wrong is reported elsewhere
        (("--sede=1", "--seed", "--seed.x=1", "1"), []),
    ],
)  # fmt: skip
def test_every_spelling_is_one_option_with_its_last_value(args, expected):
    """As argparse and what vLLM puts before it read them."""
    assert plain(read_options(args, ENGINE), ENGINE) == expected


def test_an_option_knows_where_it_was_written():
    """The word that decided, by its position and as it was written."""
    read = read_options(["--seed=1", "-q", "fp8", "--seed=2"], ENGINE)
    assert read == {
        "--seed": Setting("--seed", "2", 3, "--seed"),
        "--quantization": Setting("--quantization", "fp8", 1, "-q"),
    }
