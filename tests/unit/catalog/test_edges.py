"""Controllers in front of the gateway are named in the catalogue alone, and what is known of each can be filled in.

Does not prove the facts.
"""

import ast
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from catalog import load_catalog
from catalog.edges import NUMBERS, PLACES, Edge

ROOT = Path(__file__).parents[3]
CATALOG = load_catalog()
EDGES = [(kind, key) for kind, edges in CATALOG.edges.items() for key in edges]
# A word of every page: whoever is not in the list.
COMMON = {"other"}
# What labels of nodes begin with, too.
SHARED = {"cloud.google.com", "cert-manager.io"}
NAMES = sorted({key for _, key in EDGES} - COMMON)
# Between dots and hyphens stand domains and identifiers.
NAMED = re.compile(rf"(?<![\w.:/-])({'|'.join(NAMES)})(?![\w:./-])")


def prefixes() -> set[str]:
    """What the controllers' own annotations begin with, and the groups of their objects."""
    found = set()
    for kind, key in EDGES:
        edge = CATALOG.edges[kind][key]
        ways = [edge, *edge.tls.values()]
        keys = [*edge.service, *(name for way in ways for name in way.annotations)]
        found |= {name.partition("/")[0] for name in keys}
        found |= {policy.api_version.partition("/")[0] for way in ways for policy in way.objects}
    return found


KINDS = {policy.kind for kind, key in EDGES for policy in CATALOG.edges[kind][key].objects}
OWN = re.compile("|".join(sorted(map(re.escape, (prefixes() - SHARED) | KINDS))))


def named(text: str) -> Iterator[str]:
    """Controllers, annotations and objects that a Python text names in its strings."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from NAMED.findall(node.value)
            yield from OWN.findall(node.value)


@pytest.mark.parametrize("folder", ["settings", "planning", "components", "preview"])
def test_no_controller_is_named_outside_of_the_catalogue(folder: str):
    """What a controller is told is a row, so that a new one is an entry and no code."""
    found = {
        path.relative_to(ROOT).as_posix(): words
        for path in (ROOT / folder).rglob("*.py")
        if (words := [*named(path.read_text("utf-8"))])
    }
    assert found == {}


def test_names_of_controllers_are_really_noticed():
    """As a word, as an annotation and as an object; not within a domain."""
    text = 'A = {"envoy"}; B = "told to alb at once"; C = "haproxy.org/x", "BackendConfig"; D = "a.envoy.io"'
    assert sorted(named(text)) == ["BackendConfig", "alb", "envoy", "haproxy.org"]


def texts(value: Any) -> Iterator[str]:
    """Every text in an entry, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for pair in value.items() for part in pair for text in texts(part))
    elif isinstance(value, list | tuple):
        yield from (text for part in value for text in texts(part))


@pytest.mark.parametrize(("kind", "key"), EDGES)
def test_every_place_is_one_that_the_plan_fills_in(kind: str, key: str):
    """A misspelt one would reach the cluster as it stands."""
    places = [
        place for text in texts(CATALOG.edges[kind][key].model_dump()) for place in re.findall(r"<(#?\w*)>", text)
    ]
    assert {place for place in places if place.removeprefix("#") not in PLACES} == set()
    assert {place for place in places if place.startswith("#") and place[1:] not in NUMBERS} == set()


@pytest.mark.parametrize(("kind", "key"), EDGES)
def test_what_is_known_of_an_edge_is_of_platforms_that_there_are(kind: str, key: str):
    """A misspelt platform would be a fact of nobody."""
    edge = CATALOG.edges[kind][key]
    assert {*edge.platforms, *edge.classes_on} - {*CATALOG.platforms} == set()


@pytest.mark.parametrize("kind", CATALOG.edges)
def test_one_class_or_platform_means_one_controller(kind: str):
    """On every platform; otherwise the order of the file would decide."""

    def meant(edge: Edge) -> set[tuple[str, str]]:
        on = edge.classes_on or tuple(CATALOG.platforms)
        return {(name, platform) for name in edge.classes for platform in on} | {("", name) for name in edge.platforms}

    pairs = combinations(CATALOG.edges[kind].values(), 2)
    assert [(one.name, other.name) for one, other in pairs if meant(one) & meant(other)] == []


def test_the_page_has_a_row_for_each_controller():
    """In the order of the catalogue."""
    page = (ROOT / "docs" / "edges.md").read_text("utf-8")
    rows = re.findall(r"^\| (\w+) \| `(\w+)` \|", page, re.MULTILINE)
    assert rows[1:] == EDGES
