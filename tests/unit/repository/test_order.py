"""An order that Python draws anew in every process reaches no output: sentences, objects and files keep theirs.

Read from the source. What this file does not prove: that a set which was bound to a name first is sorted before use.
"""

import ast
from collections.abc import Iterator

import pytest

from tests.harness import ROOT
from tests.unit.repository.test_words import FILES

# What these make is the same in any order.
ORDERLESS = {"set", "frozenset", "any", "all", "sorted", "sum", "max", "min", "len"}
SET_OPERATORS = (ast.BitAnd, ast.BitOr, ast.Sub, ast.BitXor)
MAKES_SETS = {"set", "frozenset"}


def _is_set(node: ast.expr) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.BinOp(op=op):
            return isinstance(op, SET_OPERATORS)
        case ast.Call(func=ast.Name(id=name)):
            return name in MAKES_SETS
        case _:
            return False


def _walked(node: ast.AST) -> list[ast.expr]:
    """Expressions whose order becomes that of what this node does or makes."""
    match node:
        case ast.For(iter=iterated):
            return [iterated]
        case ast.ListComp(generators=generators) | ast.GeneratorExp(generators=generators):
            return [generator.iter for generator in generators]
        case ast.DictComp(generators=generators):
            return [generator.iter for generator in generators]
        case ast.Call(func=ast.Name(id="list" | "tuple") | ast.Attribute(attr="join"), args=[argument, *_]):
            return [argument]
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [element.value for element in elements if isinstance(element, ast.Starred)]
        case _:
            return []


def unordered(tree: ast.AST) -> Iterator[int]:
    """Lines that walk a set where an order comes out."""
    orderless = set[ast.AST]()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name), args=arguments) if name in ORDERLESS:
                orderless.update(arguments)
            case _:
                pass
        if node not in orderless:
            yield from (walked.lineno for walked in _walked(node) if _is_set(walked))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("for x in a.keys() & b: pass", [1]),
        ("for x in sorted(a & b): pass", []),
        ("y = [x for x in {1, 2}]", [1]),
        ("y = any(x for x in {*a, *b})", []),
        ("y = ', '.join(set(a))", [1]),
        ("y = [*(a - b)]", [1]),
        ("y = {x: 1 for x in a | b}", [1]),
        ("y = {x for x in a | b}", []),
    ],
)
def test_a_walk_over_a_set_is_seen(text, lines):
    """Wherever an order comes out of it, and only there."""
    assert list(unordered(ast.parse(text))) == lines


def test_no_output_has_the_order_of_a_set():
    """It would differ from one preview of the same file to the next."""
    places = {f"{file}:{line}" for file in FILES for line in unordered(ast.parse((ROOT / file).read_text()))}
    assert places == set()
