"""Names and docstrings of the product, read from the source.

Scripts of pods are left out: their bytes are part of running stacks, and a new name would run Jobs or pods again. What
this file does not prove: that a name which is allowed is a good one.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import ROOT

FOLDERS = ("catalog", "settings", "planning", "components", "preview", "workshop", "benchmarks")
FILES = [
    path.relative_to(ROOT)
    for path in [ROOT / "__main__.py", *sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]
    if "pod_scripts" not in path.parts
]
# Participles and pronouns for things that have a noun: a problem, a model, a message, an option, a checkpoint.
PRONOUNS = {"found", "given", "item", "one", "said", "told", "wanted"}
QUESTION = re.compile(r"(What|How|Where|Who|Whose|Why|Which)\b")
# Its docstrings are the sentences of docs/configuration.md.
DOCUMENTED = "settings/schema.py"


def _pronouns(tree: ast.AST) -> Iterator[str]:
    """Line and name of every parameter and variable that a pronoun stands for; fields of classes are not meant."""
    fields = {field for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for field in node.body}
    targets = {field.target for field in fields if isinstance(field, ast.AnnAssign)}
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg=name) | ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                pass
            case ast.Name(id=name, ctx=ast.Store()) if node not in targets:
                pass
            case _:
                continue
        if name in PRONOUNS:
            yield f"{node.lineno}: {name}"


def _questions(tree: ast.AST) -> Iterator[str]:
    """Line and first word of every docstring that asks instead of naming what a function returns."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            word = QUESTION.match(ast.get_docstring(node) or "")
            if word:
                yield f"{getattr(node, 'lineno', 1)}: {word[1]}"


def _tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_things_have_the_names_of_their_field(path: Path):
    """No parameter and no variable of the product is called found, item, said or the like."""
    assert list(_pronouns(_tree(path))) == []


@pytest.mark.parametrize("path", [path for path in FILES if path.as_posix() != DOCUMENTED], ids=str)
def test_docstrings_say_what_is_returned(path: Path):
    """No docstring of the product begins with What, How, Where, Who, Why or Which."""
    assert list(_questions(_tree(path))) == []


def test_pronouns_and_questions_are_really_found():
    """Parameters, loops, patterns and handlers are seen, fields and calls are not; so are all kinds of docstrings."""
    tree = ast.parse(
        '"""What a module is."""\n'
        "class A:\n"
        '    """How it is."""\n'
        "    given: int = 0\n"
        "def f(wanted, *, item=1):\n"
        '    """Where it is."""\n'
        "    for said in g(found=1): pass\n"
        "    match h:\n"
        "        case [told]: pass\n"
        "    return [one for one in wanted]\n"
        "def whether():\n"
        '    """Whether it is; What is inside is not asked."""\n'
    )
    assert sorted(_pronouns(tree)) == ["10: one", "5: item", "5: wanted", "7: said", "9: told"]
    assert sorted(_questions(tree)) == ["1: What", "2: How", "5: Where"]
