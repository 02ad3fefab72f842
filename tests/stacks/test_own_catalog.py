"""A stack with a catalogue of its own, from files to objects: by the real program, the calculator and the lists.

Does not prove what each entry may say; that is `tests/unit/planning/test_own_catalog.py`.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from catalog.__main__ import main as ask_catalog
from planning.__main__ import main as ask_planning
from preview.__main__ import main as preview
from tests.harness import ROOT

STACK = """
config:
  llm-stack:cluster: {context: test, identifier: test-1}
  llm-stack:catalog:
    files: [mine/cards.yaml]
    prices: {acme-30gb: 0.5}
  llm-stack:gpuPools: {acme: {gpu: acme-30gb, nodes: 2, gpusPerNode: 1}}
  llm-stack:weights: {storageClass: rwx}
  llm-stack:models:
    support: {model: mine/support.yaml, pool: acme, contextTokens: 8192, canary: {model: acme/Support-AWQ, weight: 10}}
  llm-stack:gateway: {existingSecret: llm-keys}
"""
CARDS = """
gpus:
  acme-30gb: {like: nvidia-l4, name: Acme 30 GB, productLabels: [ACME-30GB], memoryMib: 30720, cudaGib: null}
models:
  acme/Support-AWQ: {like: acme/Support, checkpoint: {format: awq-int4, groupSize: 128}}
"""
SUPPORT = """
models:
  acme/Support:
    like: Qwen/Qwen3-8B
    revision: "0123456789abcdef0123456789abcdef01234567"
"""


@pytest.fixture
def project(tmp_path) -> Path:
    """A project of the real program with a catalogue of its own."""
    folder = tmp_path / "project"
    (folder / "mine").mkdir(parents=True)
    described = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump({**described, "main": os.path.relpath(ROOT, folder)}))
    (folder / "Pulumi.dev.yaml").write_text(STACK)
    (folder / "mine" / "cards.yaml").write_text(CARDS)
    (folder / "mine" / "support.yaml").write_text(SUPPORT)
    return folder


def shown(capsys, project: Path, *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the preview of the stack."""
    code = preview(["--project", str(project), "--stack", "dev", *words])
    return code, *capsys.readouterr()


def test_a_fine_tune_on_a_card_of_ones_own_is_rendered(project, capsys, tmp_path):
    """The pods are on nodes with the card's label, serve that commit, and cost what the user pays."""
    code, output, errors = shown(capsys, project, "--json", "--out", str(tmp_path / "out"))
    assert (code, errors) == (0, "")
    model = json.loads(output)["models"]["support"]
    assert (model["fits"], model["usd_per_hour"], round(model["weights_gib_per_gpu"], 1)) == (True, 0.5, 15.3)
    texts = "\n".join(file.read_text() for file in (tmp_path / "out").iterdir())
    for words in ("ACME-30GB", "acme/Support", "acme/Support-AWQ", "0123456789abcdef0123456789abcdef01234567"):
        assert words in texts


def test_everything_wrong_is_told_at_once(project, capsys):
    """In the files and in the stack file, with lines of the former, and nothing that only follows."""
    (project / "mine" / "cards.yaml").write_text(CARDS.replace("cudaGib: null", "cudaGib: 40, foo: 1"))
    (project / "mine" / "support.yaml").write_text(SUPPORT.replace("Qwen/Qwen3-8B", "Qwen/Qwen3-8C"))
    (project / "Pulumi.dev.yaml").write_text(STACK.replace("acme-30gb: 0.5", "acme-30gb: 0").replace("rwx", ""))
    code, output, errors = shown(capsys, project)
    assert (code, output) == (2, "")
    lines = [line.split(": ") for line in errors.splitlines()]
    assert [line[0] if line[0].startswith(("weights", "catalog")) else line[:2] for line in lines] == [
        "weights.storageClass",
        "catalog.prices.acme-30gb",
        ["mine/support.yaml:4", "models.acme/Support.like"],
        ["mine/cards.yaml:3", "gpus.acme-30gb.foo"],
        ["mine/cards.yaml:3", "gpus.acme-30gb.cudaGib"],
    ]


def test_calculator_and_lists_take_the_same_files(project, capsys):
    """The stack file, or the files of entries themselves."""
    stack = str(project / "Pulumi.dev.yaml")
    words = ["--model", "acme/Support", "--gpu", "acme-30gb", "--gpus", "1", "--context", "8192", "--json"]
    assert ask_planning([*words, "--catalog", stack]) == 0
    assert round(json.loads(capsys.readouterr().out)["weights_gib_per_gpu"], 1) == 15.3
    files = [word for name in ("cards", "support") for word in ("--catalog", str(project / "mine" / f"{name}.yaml"))]
    assert ask_catalog(["models", "acme/", "--json", *files]) == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == ["acme/Support-AWQ", "acme/Support"]
    assert ask_catalog(["gpus", "acme", "--json", "--catalog", stack]) == 0
    assert [row["usd_per_hour"] for row in json.loads(capsys.readouterr().out)] == [0.5]
    assert ask_planning([*words, "--catalog", str(project / "mine" / "cards.yaml")]) == 2
    assert "cards.yaml:5: models.acme/Support-AWQ.like: there is no entry 'acme/Support'" in capsys.readouterr().err


def test_a_comparison_reads_each_side_s_own_files(project, capsys):
    """A card that changes in a file changes the stack, though its own file stays."""
    git = ["git", "-C", str(project), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    (project / "mine" / "support.yaml").write_text(SUPPORT.replace('567"', '568"'))
    assert preview(["diff", "--project", str(project), "--stack", "dev", "--base", "HEAD"]) == 0
    assert "0123456789abcdef0123456789abcdef01234568" in capsys.readouterr().out
