"""`python -m catalog engine-diff`: its words, what it prints, how it ends.

Does not prove what differs; `tests/unit/planning/questions/test_engine_diff.py` does.
"""

import json
from pathlib import Path

import pytest

from catalog.__main__ import main

ROOT = Path(__file__).parents[4]
ELSE = "only of 0.32.0 and 0.33.0; docs/adding-an-engine-version.md says how to add another"
RAG = ["--stack", "rag", "--project", str(ROOT / "examples" / "rag")]


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Standard output of a command that ends well."""
    assert main(["engine-diff", *words]) == 0
    return capsys.readouterr().out


def test_a_table_has_a_row_for_each(capsys: pytest.CaptureFixture[str]):
    """Versions are written with or without a v; every row is one line."""
    lines = printed(capsys, "0.32.0", "v0.33.0").splitlines()
    assert lines[:4] == [
        "vLLM 0.32.0 → 0.33.0: 81 differences",
        "of                 name                                      change",
        "option             --gdn-prefill-backend                     choices + sycl",
        "option             --tool-strict-level                       default auto → –",
    ]
    assert len(lines) == 83


def test_a_stack_sees_its_own_first(capsys: pytest.CaptureFixture[str]):
    """Back from 0.33.0: an option that only writers read is about the one model that writes."""
    lines = printed(capsys, "0.33.0", "0.32.0", *RAG).splitlines()
    assert lines[:6] == [
        "vLLM 0.33.0 → 0.32.0: 81 differences, 3 of them about rag, which runs 0.33.0",
        "concerns     of                 name                                      change",
        "chat         option             --tool-strict-level                       default – → auto",
        "every model  option             --mamba-cache-mode                        default – → none",
        "every model  default            batch                                     1.except.compute_capability − 12.1",
        "–            option             --gdn-prefill-backend                     choices − sycl",
    ]


def test_the_same_version_has_none(capsys: pytest.CaptureFixture[str]):
    """With a stack or without."""
    assert printed(capsys, "0.33.0", "0.33.0") == "vLLM 0.33.0 → 0.33.0: no difference\n"
    assert printed(capsys, "0.33.0", "v0.33.0", *RAG) == "vLLM 0.33.0 → 0.33.0: no difference\n"


def test_programs_get_one_document(capsys: pytest.CaptureFixture[str]):
    """The same rows, with both values."""
    document = json.loads(printed(capsys, "0.32.0", "0.33.0", "--json", *RAG))
    assert [document[key] for key in ("from", "to", "stack")] == ["0.32.0", "0.33.0", "rag"]
    assert document["differences"][0] == {
        "section": "option",
        "name": "--tool-strict-level",
        "change": "changed",
        "text": "default auto → –",
        "before": {**document["differences"][0]["after"], "default": "auto"},
        "after": document["differences"][0]["after"],
        "concerns": ["chat"],
    }
    assert len(document["differences"]) == 81


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (
            ["0.31.0", "next"],
            2,
            f"A: nothing is known of vLLM '0.31.0', {ELSE}\nB: nothing is known of vLLM 'next', {ELSE}\n",
        ),
        (["0.32.0", "0.33.0", "--project", "."], 64, "python -m catalog: --project needs --stack\n"),
        (
            ["0.32.0", "0.33.0", "--stack", "rug", "--project", str(ROOT / "examples" / "rag")],
            64,
            "python -m catalog: no stack 'rug'; stacks: rag\n",
        ),
    ],
)
def test_wrong_words_are_refused(words: list[str], code: int, error: str, capsys: pytest.CaptureFixture[str]):
    """A version that nobody knows with exit code 2 and the known ones; a stack that is not there is wrong usage."""
    assert (main(["engine-diff", *words]), capsys.readouterr()) == (code, ("", error))


def test_a_stack_that_is_refused_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Nothing can be said of what cannot be planned."""
    rag = ROOT / "examples" / "rag"
    project = (rag / "Pulumi.yaml").read_text("utf-8").replace("main: ../..", f"main: {ROOT}")
    (tmp_path / "Pulumi.yaml").write_text(project, "utf-8")
    (tmp_path / "Pulumi.x.yaml").write_text("config: {llm-stack:models: {}}\n", "utf-8")
    assert main(["engine-diff", "0.32.0", "0.33.0", "--stack", "x", "--project", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert (captured.out, "cluster: " in captured.err) == ("", True)
