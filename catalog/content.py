"""Types of what a JSON option holds, as an engine file writes them, and the validators that are made of them.

The notation is Python's own: `int | None`, `list[str]`, `dict[str, Any]`, `Literal['a', 'b']`. Besides, a number with
limits is `int >= 0`, `Filled[...]` is not empty, and of `Name['A', 'B']` the letters may be of any case. A mapping has
keys with their types and forbids others; a list has alternatives. vLLM validates by pydantic, and so do these, with the
same conversions.
"""

import ast
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue, TypeAdapter, create_model

# Text, lists and mappings of them; anything else is no notation.
Content = JsonValue

PLAIN: Mapping[str, Any] = {"bool": bool, "int": int, "float": float, "str": str, "Any": Any}
LIMITS: Mapping[type[ast.cmpop], str] = {ast.Gt: "gt", ast.GtE: "ge", ast.Lt: "lt", ast.LtE: "le"}


class Notation(ValueError):
    """A type that this notation does not have."""


def validator(content: Content) -> TypeAdapter[Any]:
    """The validator of a content. Raises Notation."""
    return _validator(json.dumps(content))


@cache
def _validator(content: str) -> TypeAdapter[Any]:
    return TypeAdapter(_type(json.loads(content)))


def _type(content: Any) -> Any:
    """The type of a content; keys of a mapping may all be left out."""
    if isinstance(content, str):
        try:
            return _parsed(ast.parse(content, mode="eval").body)
        except SyntaxError as error:
            raise Notation(content) from error
    if isinstance(content, list):
        return Union[tuple(_type(part) for part in content)]  # noqa: UP007 - there are as many as there are
    if not isinstance(content, Mapping):
        raise Notation(json.dumps(content))
    fields: dict[str, Any] = {f"field_{n}": _field(key, part) for n, (key, part) in enumerate(content.items())}
    return create_model("Keys", __config__=ConfigDict(extra="forbid"), **fields)


def _field(key: str, content: Any) -> tuple[Any, Any]:
    """A field under the key's name, which need not be one that Python or pydantic leaves free."""
    return _type(content), Field(default=None, alias=key)


def _parsed(node: ast.expr) -> Any:
    """The type that an expression names. Raises Notation."""
    match node:
        case ast.Name(id=name) if name in PLAIN:
            return PLAIN[name]
        case ast.Constant(value=None):
            return None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _parsed(left) | _parsed(right)
        case ast.Compare(left=left, ops=ops, comparators=limits):
            bounds = {LIMITS[type(op)]: ast.literal_eval(limit) for op, limit in zip(ops, limits, strict=True)}
            return Annotated[_parsed(left), Field(**bounds)]
        case ast.Subscript(value=ast.Name(id=name), slice=inner) if name in GENERIC:
            return GENERIC[name](inner)
        case _:
            raise Notation(ast.unparse(node))


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _dict(inner: ast.expr) -> Any:
    if not isinstance(inner, ast.Tuple) or ast.unparse(inner.elts[0]) != "str":
        raise Notation(ast.unparse(inner))
    return dict[str, _parsed(inner.elts[1])]


def _literal(inner: ast.expr) -> Any:
    words = ast.literal_eval(inner)
    return Literal[words]


GENERIC: Mapping[str, Callable[[ast.expr], Any]] = {
    "list": lambda inner: list[_parsed(inner)],
    "dict": _dict,
    "Filled": lambda inner: Annotated[_parsed(inner), Field(min_length=1)],
    "Literal": _literal,
    "Name": lambda inner: Annotated[_literal(inner), BeforeValidator(_upper)],
}
