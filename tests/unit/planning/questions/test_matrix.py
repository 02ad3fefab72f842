"""The model × GPU matrix, and the survey of every GPU for one model.

The golden file shows what a change of the planner or the catalogue does to the answers; it does not prove them right.
"""

import json

import pytest
import yaml

from benchmarks.matrix import SIZES, as_yaml, matrix
from catalog import load_catalog
from planning.__main__ import main
from planning.capacity.asked import Asked
from planning.questions.calculator import FitQuestion, answer, hardware
from planning.questions.survey import cheapest, survey_gpus
from tests.harness import ROOT

GOLDEN = ROOT / "tests" / "golden" / "matrix.yaml"
CATALOG = load_catalog()
MATRIX = matrix(CATALOG)


def test_the_matrix_is_the_golden_one():
    """`make golden` would write what is there; every model and GPU has one cell."""
    text = GOLDEN.read_text(encoding="utf-8")
    assert text == as_yaml(MATRIX)
    cells = yaml.safe_load(text)
    assert set(cells) == set(CATALOG.models)
    assert all(sorted(gpu for gpus in row.values() for gpu in gpus) == sorted(CATALOG.gpus) for row in cells.values())


@pytest.mark.parametrize(
    "model", ["Qwen/Qwen3-14B", "Qwen/Qwen3-8B-FP8", "deepseek-ai/DeepSeek-R1", "Qwen/Qwen3.5-27B"]
)
@pytest.mark.parametrize("gpu", ["nvidia-l4", "nvidia-h100", "nvidia-gb200", "nvidia-h200-nvl"])
def test_the_calculator_gives_the_same_numbers(model: str, gpu: str):
    """The fewest GPUs of the matrix are those for which the calculator says yes first."""
    cell = next(cell for cell, gpus in MATRIX[model].items() if gpu in gpus)
    fitting = [size for size in SIZES if answer(FitQuestion(model, gpu, size), CATALOG).fit.fits]
    assert (int(cell) if isinstance(cell, int) or cell.isdecimal() else None) == (fitting[0] if fitting else None)


def test_rows_are_cheapest_first_then_without_a_price_then_refused():
    """The order a buyer reads in."""
    rows = survey_gpus(CATALOG.models["deepseek-ai/DeepSeek-R1"], Asked(), CATALOG)
    groups = [(row.reason is not None, row.usd_per_hour is None) for row in rows]
    prices = [row.usd_per_hour for row in rows if row.usd_per_hour is not None]
    assert groups == sorted(groups)
    assert prices == sorted(prices)
    assert {row.gpu for row in rows} == set(CATALOG.gpus)


def test_a_price_is_that_of_a_machine_which_has_enough_gpus():
    """Two A10G in one machine are not had for the price of two machines with one."""
    assert cheapest(CATALOG, "nvidia-a10g", 1) == ("g5.xlarge", 1.006)
    assert cheapest(CATALOG, "nvidia-a10g", 2) == ("g5.12xlarge", 5.672 / 4)
    assert cheapest(CATALOG, "nvidia-gb200", 1) is None


def test_boards_with_fewer_gpus_than_eight_make_nodes_of_them():
    """GB200 comes by four, GH200 alone; beyond one node a number of GPUs is eights, else fours."""
    assert [(hardware(CATALOG.gpus["nvidia-gb200"], gpus).gpus_per_node) for gpus in (2, 4, 8)] == [2, 4, 4]
    assert hardware(CATALOG.gpus["nvidia-gh200"], 2).nodes == 2
    assert [hardware(CATALOG.gpus["nvidia-h100"], gpus).gpus_per_node for gpus in (3, 8, 12, 16)] == [3, 8, 4, 8]


def test_the_command_line_prints_the_table(capsys: pytest.CaptureFixture[str]):
    """Exit 0 with at least one GPU; the first row is the cheapest."""
    assert main(["--model", "Qwen/Qwen3-14B", "--gpu", "all"]) == 0
    lines = capsys.readouterr().out.splitlines()
    refused = {"nvidia-v100-16gb", "nvidia-v100-32gb"}  # the image has no kernels for them
    assert {line.split()[1].rstrip(":") for line in lines if line.startswith("  refused: ")} == refused
    served = len(CATALOG.gpus) - len(refused)
    assert lines[0] == (
        f"Qwen/Qwen3-14B: {served} of {len(CATALOG.gpus)} GPUs of the catalogue serve it, with at most 16 of them"
    )
    assert lines[1].split() == [
        "GPU",
        "GPUs",
        "spread",
        "context",
        "KV",
        "tokens",
        "at",
        "once",
        "$/h",
        "by",
        "the",
        "price",
        "of",
    ]
    assert lines[2].startswith("  nvidia-l40s")


def test_json_is_a_list(capsys: pytest.CaptureFixture[str]):
    """A program finds the same, with null for what is not known."""
    assert main(["--model", "Qwen/Qwen3-14B", "--gpu", "all", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [item["gpu"] for item in found] == [
        row.gpu for row in survey_gpus(CATALOG.models["Qwen/Qwen3-14B"], Asked(), CATALOG)
    ]
    assert {(item["usd_per_hour"], item["instance"]) for item in found if item["gpu"] == "nvidia-a10"} == {(None, None)}


def test_the_context_is_asked_for_or_chosen():
    """`--context N` needs no more GPUs than the whole, `auto` no more than that, with at least 8,192 tokens."""
    model = CATALOG.models["Qwen/Qwen3-235B-A22B-Instruct-2507"]
    whole, short, auto = (
        {row.gpu: row for row in survey_gpus(model, Asked(context_tokens=tokens), CATALOG)}
        for tokens in (None, 16_384, 0)
    )
    for gpu, row in whole.items():
        if row.reason is None:
            assert row.fit.memory is not None
            assert row.fit.memory.context_tokens == model.context.config_tokens
            assert auto[gpu].gpus <= short[gpu].gpus <= row.gpus
    tokens = [row.fit.memory.context_tokens for row in auto.values() if row.reason is None and row.fit.memory]
    assert tokens
    assert min(tokens) >= 8192


def test_what_cannot_be_computed_is_refused_once(capsys: pytest.CaptureFixture[str]):
    """Exit 2, and one line instead of one per GPU."""
    assert main(["--model", "deepseek-ai/DeepSeek-V4-Flash", "--gpu", "all"]) == 2
    assert capsys.readouterr().out.splitlines() == [
        (
            f"deepseek-ai/DeepSeek-V4-Flash: 0 of {len(CATALOG.gpus)} GPUs of the catalogue serve it, "
            "with at most 16 of them"
        ),
        (
            "  refused: all of them: its KV cache cannot be computed (kvProfile: unknown); nothing is sized "
            "automatically for it; give models.NAME.measured: {weightsGibPerGpu, kvTokens, gpus}, "
            "read from a start-up log with python -m planning calibrate"
        ),
    ]


@pytest.mark.parametrize(
    "words", [["--gpus", "2"], ["--tensor-parallel", "2"], ["--data-parallel", "2"], ["--gpu-memory-gib", "20"]]
)
def test_all_chooses_by_itself(words: list[str], capsys: pytest.CaptureFixture[str]):
    """Numbers and spreads are for one GPU type; usage is 64."""
    assert main(["--model", "Qwen/Qwen3-14B", "--gpu", "all", *words]) == 64
    assert f"--gpu all and {words[0]} exclude each other; name one GPU, or leave it out" in capsys.readouterr().err
