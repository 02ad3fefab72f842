"""Whatever a stack file holds, it is accepted or refused: quickly, without a traceback, and never with broken objects.

`make fuzz` tries 10,000 files, `make test` 500 of them. Does not prove what a cluster does with an accepted stack.
"""

import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from preview.rendering.manifests import collect_manifests
from preview.rendering.render import Rendering, render
from preview.rendering.stackfile import read_project
from preview.reporting.report import print_report
from settings.problems import MOST_PROBLEMS
from tests.fuzzing import HANDWRITTEN, PASSWORD, RUBBISH, as_yaml, texts, typed_stacks, untyped_stacks
from tests.harness import ROOT
from tests.schemas import faults

CASES = int(os.environ.get("FUZZ_CASES", "500"))
# Of the stacks that are accepted, one in so many is looked at object by object; the rest only has to be planned.
LOOKED_AT = 1 if CASES > 500 else 4
# A stack file is accepted or refused in 5 s on a machine that does nothing else; processor time is the same on any.
MOST_S, MOST_MIB = 5, 500
# Without explaining: a case may take a second, and its bytes say enough.
PHASES = (Phase.generate, Phase.shrink)


# Parts of one kind, each with a seed of its own, so that several processes share the work.
PARTS = pytest.mark.parametrize("part", range(1 if CASES <= 500 else 10))


def explore(strategy: st.SearchStrategy[Any], share: float, part: int, tries: Callable[[Any], None]) -> None:
    """Tries this part's share of all cases, the same in every run."""
    count = max(1, int(CASES * share) // (1 if CASES <= 500 else 10))
    checks: list[Any] = list(HealthCheck)
    options = settings(max_examples=count, deadline=None, database=None, suppress_health_check=checks, phases=PHASES)
    seed(part)(options(given(strategy)(tries)))()


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project of this program, with one stack to be written."""
    folder = tmp_path_factory.mktemp("fuzz")
    shutil.copy(ROOT / "Pulumi.yaml", folder)
    with (folder / "Pulumi.yaml").open("a") as file:
        file.write(f"\nmain: {ROOT}\n")
    return folder


def tried(project: Path, data: bytes) -> Rendering:
    """What becomes of a stack file with these bytes, and that it took neither time nor memory."""
    (project / "Pulumi.fuzz.yaml").write_bytes(data)
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rendering = render(read_project(project), "fuzz")
    used_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert (time.process_time() - began < MOST_S, used_mib < MOST_MIB) == (True, True)
    return rendering


def check(rendering: Rendering, data: bytes, *, look: bool = False) -> None:
    """A refusal is fit to be read; what is accepted would be taken by a cluster, and its report can be printed."""
    lines = [str(problem) for problem in rendering.refused]
    assert len(lines) <= MOST_PROBLEMS + 1
    for problem, line in zip(rendering.refused, lines, strict=True):
        assert problem.path
        assert line.isprintable()
        assert len(line.encode()) < 2000
        assert PASSWORD not in line
    if lines:
        return
    assert rendering.plan is not None
    if not look and int.from_bytes(sha256(data).digest()[:4]) % LOOKED_AT:
        return
    found = collect_manifests(rendering.records)
    assert [fault for item in found for fault in faults(item, rendering.plan.kubernetes)] == []
    print_report(rendering, found)


@PARTS
def test_values_of_the_right_kind(project, capsys, part):
    """Numbers, names and texts at and beyond the ends of what a field takes."""
    explore(typed_stacks().map(as_yaml), 0.5, part, lambda data: check(tried(project, data), data))
    assert printable(capsys)


@PARTS
def test_values_of_any_kind(project, capsys, part):
    """Anything in the place of anything."""
    explore(untyped_stacks().map(as_yaml), 0.25, part, lambda data: check(tried(project, data), data))
    assert printable(capsys)


@PARTS
def test_damaged_text(project, capsys, part):
    """Lines lost and said twice, and what YAML reads as something else."""
    explore(texts(), 0.15, part, lambda data: check(tried(project, data), data))
    assert printable(capsys)


@PARTS
def test_rubbish(project, part):
    """Bytes that are no stack file at all."""
    explore(RUBBISH, 0.1, part, lambda data: check(tried(project, data), data))


@pytest.mark.parametrize("name", HANDWRITTEN)
def test_bytes_somebody_has_thought_of(project, capsys, name):
    """Bombs, odd encodings, ten megabytes: each is refused, and with a place where there is one."""
    rendering = tried(project, HANDWRITTEN[name])
    check(rendering, HANDWRITTEN[name], look=True)
    assert rendering.refused
    assert printable(capsys)


def printable(capsys) -> bool:
    """Whether nothing a terminal would obey was printed."""
    return all(line.isprintable() for line in _lines(capsys.readouterr()))


def _lines(captured: tuple[str, str]) -> Iterator[str]:
    for stream in captured:
        yield from stream.split("\n")
