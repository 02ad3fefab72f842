"""Words of a command line and lines of a log that nobody would write: said back harmlessly, or read as nothing.

Does not prove what a command answers to sensible words; that is with the command.
"""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.__main__ import main as planning
from planning.questions import calibrate, comparison_text, startup_log
from preview.__main__ import main as preview
from settings import Refused
from tests.unit.small_stack import CATALOG, properties, refusals, serving

WORDS = (
    "\x1b[31mred",
    "x" * 100_000,
    "a\nb\x07",
    "\udcff",
    "sk-abcdef0123456789",
    "[/x]",
    "{{x}}",
    "9" * 5000,
    "--",
    "",
    " ",
)
START = """INFO vLLM API server version 0.33.0
INFO non-default args: {'model': 'Qwen/Qwen3-14B', 'tensor_parallel_size': 2}
INFO device_name=NVIDIA_A10
"""
PIECES = [
    "Model loading took ", " GiB", "GPU KV cache size: ", " tokens", "Available KV cache memory: ",
    "'max_num_seqs': ",
    "non-default args: {'model': 'Qwen/Qwen3-14B', 'tensor_parallel_size': ", "'max_model_len': ",
    "device_name=NVIDIA_A10",
    "'kv_cache_dtype': 'zzz'", "'gpu_memory_utilization': ", "\n", "9", "0", "-", ".", ",", "(", ")", "}", "'",
    "1e9", "x",
    "Maximum concurrency for ", " tokens per request: ", "Desired GPU memory utilization (", " GiB for peak activation",
    "Chunked prefill is enabled with max_num_batched_tokens=", "9" * 400, "16384", "None", "\x1b[31m",
]  # fmt: skip


@pytest.mark.parametrize("word", WORDS, ids=lambda word: repr(word)[:20])
@pytest.mark.parametrize(
    ("command", "words"),
    [
        (planning, ["--model", "WORD", "--gpu", "nvidia-a10", "--gpus", "1"]),
        (planning, ["--model", "Qwen/Qwen3-14B", "--gpu", "WORD", "--gpus", "1"]),
        (planning, ["--model", "Qwen/Qwen3-14B", "--gpu", "nvidia-a10", "--gpus", "WORD"]),
        (planning, ["--model", "Qwen/Qwen3-14B", "--gpu", "nvidia-a10", "--gpus", "1", "--kv-cache-dtype", "WORD"]),
        (planning, ["calibrate", "--log", "WORD"]),
        (planning, ["WORD"]),
        (preview, ["--stack", "WORD"]),
        (preview, ["--project", "WORD"]),
        (preview, ["diff", "--base", "WORD"]),
        (preview, ["WORD"]),
    ],
)
def test_a_word_is_said_back_harmlessly(capsys, command, words, word):
    """No traceback, nothing that a terminal obeys, no line of 2,000 bytes, nothing that looks like a secret."""
    # no name of a folder is the one we are in
    assert command([word if each == "WORD" else each for each in words]) in (2, 64, *([0] if not word.strip() else []))
    for text in capsys.readouterr():
        for line in text.encode("utf-8", "surrogateescape").split(b"\n"):
            assert len(line) < 2000
            assert line.decode().isprintable()
            assert b"abcdef0123456789" not in line


@pytest.mark.parametrize(
    "argument",
    [
        "--hf-overrides=" + '{"a":' * 9_000 + "1" + "}" * 9_000,
        '--hf-overrides={"max_position_embeddings": ' + "9" * 5000 + "}",
        "--speculative-config=" + "9" * 5000,
        "--speculative-config=" + "[" * 20_000,
        "--max-loras=" + "9" * 5000,
        "--max-loras=٣",
        "--seed=" + "9" * 60_000,
        "--swap-space=" + "9" * 60_000,
        "--" + "x" * 60_000,
    ],
    ids=lambda argument: argument[:24],
)
def test_an_argument_of_a_server_is_refused_in_a_moment(argument):
    """JSON deeper than Python reads, numbers that it does not print, digits of other scripts."""
    began = time.process_time()
    # what is neither JSON nor refused by vLLM's parser is no reason for a traceback
    assert refusals(serving(args=["--hf-overrides=" + "[" * 20_000])) == []
    lines = refusals(serving(args=["--enable-lora", argument]))
    assert [line.partition(":")[0] for line in lines] == ["models.m.args[1]"]
    assert (len(lines[0].encode()) < 2000, time.process_time() - began < 2) == (True, True)


@properties(400)
@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_any_log_is_compared_or_refused(pieces):
    """Whatever stands where figures should."""
    log = startup_log.read((START + "".join(pieces)).split("\n"))
    try:
        said = comparison_text.as_text(calibrate.compare(log, calibrate.Given(), CATALOG)) if log.telling else ""
    except Refused as refused:
        said = str(refused)
    assert all(line.isprintable() for line in said.split("\n"))


@pytest.mark.parametrize(
    "line",
    [
        "Model loading took " + "9" * 300_000 + " GiB",
        "9" * 1_000_000 + " GiB",
        "Free memory on device " * 20_000,
        "non-default args: {" + "'model': " * 40_000,
    ],
    ids=["digits", "only digits", "beginnings", "options"],
)
def test_a_line_of_a_log_takes_no_time(line):
    """Numbers are read from their beginning, once, and lines have an end."""
    began = time.process_time()
    startup_log.read([line])
    assert time.process_time() - began < 2


def test_a_log_of_figures_alone_is_read_to_an_end():
    """A start has some hundred lines of interest; what has a million is none."""
    lines = iter(["Model loading took 1 GiB"] * 1_000_000)
    startup_log.read(lines)
    assert sum(1 for _ in lines) == 1_000_000 - startup_log.MOST_LINES
