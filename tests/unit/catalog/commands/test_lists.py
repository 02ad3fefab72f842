"""`python -m catalog` and its lists: the table of commands, the rows, the words that choose among them.

Does not prove the facts; `tests/unit/catalog` does.
"""

import json
from importlib import import_module

import pytest

from catalog import load_catalog
from catalog.__main__ import COMMANDS, main
from planning.questions.listings import LISTINGS, cell

CATALOG = load_catalog()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_two_functions(name: str):
    """A row of the table names a module that adds options and answers."""
    module = import_module(f"catalog.commands.{COMMANDS[name].module}")
    assert [callable(getattr(module, function)) for function in ("add_options", "answer")] == [True, True]


def test_the_page_of_help_names_every_command(capsys: pytest.CaptureFixture[str]):
    """`--help` lists the table."""
    assert main(["--help"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert listed == list(COMMANDS)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 64, "python -m catalog: a command is missing"),
        (["model"], 64, "python -m catalog: no command 'model'; did you mean 'models'?"),
        (["gpus", "--jsn"], 64, "python -m catalog: unrecognized arguments: --jsn"),
        (["gpus", "nvidia-h10"], 0, ""),
    ],
)
def test_wrong_words_are_wrong_usage(words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]):
    """Exit code 64, and the message first."""
    assert (main(words), capsys.readouterr().err.partition("\n")[0]) == (code, message)


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("models", list(CATALOG.models)),
        ("gpus", list(CATALOG.gpus)),
        ("instances", list(CATALOG.instances)),
        ("platforms", list(CATALOG.platforms)),
    ],
)
def test_a_list_has_every_entry(name: str, ids: list[str], capsys: pytest.CaptureFixture[str]):
    """As JSON and as a table with a line of its own for each, in the order of the catalogue."""
    assert main([name, "--json"]) == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == ids
    assert main([name]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == ids


@pytest.mark.parametrize("name", LISTINGS)
def test_every_column_is_a_key_of_every_row(name: str):
    """What the table shows programs get, too; rows of a list have the same keys."""
    listing = LISTINGS[name](CATALOG)
    assert {frozenset(row) for row in listing.rows} == {frozenset(listing.rows[0])}
    assert set(listing.columns) <= set(listing.rows[0])


def test_words_choose_rows_together(capsys: pytest.CaptureFixture[str]):
    """All of them must stand in the row, wherever and in whichever case."""
    main(["models", "qwen2.5-7b", "AWQ", "--json"])
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == ["Qwen/Qwen2.5-7B-Instruct-AWQ"]


def test_the_row_of_a_model_says_what_it_needs(capsys: pytest.CaptureFixture[str]):
    """Figures are those of the planner: a card that shows this much serves the model, one with less does not."""
    main(["models", "Qwen/Qwen3-8B-AWQ", "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["format"], row["task"], row["context_tokens"], row["weights_gib"]) == (
        "awq-int4",
        "generate",
        40960,
        5.68,
    )
    assert 9 < row["gpu_gib"] < 12


def test_a_model_that_nobody_can_compute_has_no_figure(capsys: pytest.CaptureFixture[str]):
    """None in JSON, a dash in the table."""
    main(["models", "deepseek-ai/DeepSeek-V4-Flash-0731", "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["kv_profile"], row["gpu_gib"], cell(row["gpu_gib"])) == ("unknown", None, "–")
