"""Platforms are named in the catalogue alone, and what is known of each is of one that is named.

Does not prove the facts.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog import load_catalog
from planning.parts import dns_of_any_cluster, plan_dns
from planning.plan.pods import DnsPlan

ROOT = Path(__file__).parents[3]
CATALOG = load_catalog()
# Words of every page: no platform, and a key of the stack file.
COMMON = {"generic", "kind"}
NAMES = "|".join(sorted({*CATALOG.platforms} - COMMON))
# Between dots and hyphens stand domains and identifiers, such as arn:aws:eks and example.gke.io.
NAMED = re.compile(rf"(?<![\w.:-])({NAMES})(?![\w:.-])")


def named(text: str) -> Iterator[str]:
    """Platforms that a Python text names in its strings, those of its documentation included."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from NAMED.findall(node.value)


@pytest.mark.parametrize("folder", ["settings", "planning", "components", "preview"])
def test_no_platform_is_named_outside_of_the_catalogue(folder: str):
    """Who decides by platform reads a fact of it, so that a new one is an entry and no code."""
    files = [path for path in (ROOT / folder).rglob("*.py") if path.name != "__init__.py"]
    assert {path.relative_to(ROOT).as_posix(): [*named(path.read_text("utf-8"))] for path in files} == {
        path.relative_to(ROOT).as_posix(): [] for path in files
    }


def test_names_of_platforms_are_really_noticed():
    """In a set, in a sentence, and not as a part of another word."""
    text = 'A = {"gke"}; B = "pods of eks need"; C = "arn:aws:eks:x", "cloud.google.com/gke-nodepool"'
    assert sorted(named(text)) == ["eks", "gke"]


def test_a_program_of_ones_own_has_dns_of_any_cluster_unless_it_says_otherwise():
    """Without a word of the cluster that of the first platform, else that of its own, with its addresses."""
    sections = {"cluster": {"context": "c", "identifier": "i", "platform": "openshift", "dnsAddresses": ["10.0.0.53"]}}
    pools = {"gpuPools": {"l4": {"gpu": "nvidia-l4", "nodes": 1, "gpusPerNode": 1}}}
    assert dns_of_any_cluster(CATALOG) == DnsPlan(("kube-system",), ("169.254.20.10/32",), 53)
    assert plan_dns({**sections, **pools}, CATALOG) == DnsPlan(("openshift-dns",), ("10.0.0.53/32",), 5353)


def test_what_is_known_of_a_platform_is_of_one_that_there_is():
    """A misspelt name would be a fact of nobody; the first of them is any cluster."""
    assert {*CATALOG.workload_identity, *CATALOG.disk_readers} - {*CATALOG.platforms} == set()
    assert next(iter(CATALOG.platforms)) == "generic"
