"""What is installed is what was locked: versions, hashes, and what proposes newer ones.

Does not prove that an index still has the files: CI's `make setup` does, with hashes demanded of uv and of pip.
"""

import json
import re
import subprocess

import pytest

from catalog import load_catalog
from tests.harness import ROOT

# lock → what it is made of
LOCKS = {
    "constraints.txt": ("requirements.in", "workshop/requirements.in", "requirements-dev.in"),
    "requirements.txt": ("requirements.in",),
    "workshop/requirements.txt": ("workshop/requirements.in",),
    "tests/scan/requirements.lock": ("tests/scan/requirements.in",),
    "tests/local/requirements.lock": ("tests/local/requirements.in",),
    "tests/gateway/requirements.lock": ("tests/gateway/requirements.in",),
    "workshop/local/requirements.lock": ("workshop/local/requirements.in",),
    "benchmarks/requirements.lock": ("benchmarks/requirements.in",),
}
PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==([^ ;]+)(?: ; .+?)?((?: --hash=sha256:[0-9a-f]{64})*)")
RENOVATE = json.loads((ROOT / "renovate.json").read_text())


def pins(file: str) -> dict[str, tuple[str, int]]:
    """Name → (version, number of hashes) of every requirement; every line has to be understood."""
    text = (ROOT / file).read_text().replace(" \\\n   ", "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = [match.groups() for line in lines if (match := PIN.fullmatch(line))]
    assert len(found) == len(lines)
    return {name.lower(): (version, hashes.count("sha256:")) for name, version, hashes in found}


def renovated(pattern: str) -> re.Pattern[str]:
    """A regular expression of Renovate's, between slashes or not, as Python writes it."""
    return re.compile(pattern.removeprefix("/").removesuffix("/").replace("(?<", "(?P<"))


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_has_hashes(lock):
    """Pip and uv refuse a file whose hash is not in the lock, and a package that has none."""
    assert {name for name, (_, hashes) in pins(lock).items() if not hashes} == set()


@pytest.mark.parametrize(("lock", "sources"), LOCKS.items())
def test_a_lock_is_made_of_its_sources(lock, sources):
    """What is asked for is locked in the version asked for; `make lock` was not forgotten."""
    asked = {name: version for source in sources for name, (version, _) in pins(source).items()}
    held = {name: version for name, (version, _) in pins(lock).items()}
    assert {name: held.get(name) for name in asked} == asked


@pytest.mark.parametrize("part", ["requirements.txt", "workshop/requirements.txt"])
def test_the_smaller_locks_are_parts_of_the_whole(part):
    """Whatever is installed first is not replaced by what tests need, and has the same hashes."""
    whole = pins("constraints.txt")
    assert {name: whole.get(name) for name in pins(part)} == pins(part)


def test_set_up_demands_hashes():
    """Whatever make installs, by uv or by pip, uv itself included, is told to refuse what has no hash."""
    command = ["make", "--dry-run", "--always-make", "setup"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    installs = re.findall(r"pip install [^;|&}]*", said)
    # uv by pip, all by uv, all by pip: for what the program needs, and for the rest
    assert [("--require-hashes" in words) for words in installs] == [True] * 6


def test_renovate_finds_every_version_of_the_catalogue():
    """The expression matches each image and each chart, with its source, its name and its version."""
    (manager,) = RENOVATE["customManagers"]
    (files,), (expression,) = manager["managerFilePatterns"], manager["matchStrings"]
    found = []
    for file in ("images", "charts"):
        path = f"catalog/{file}.yaml"
        assert renovated(files).search(path)
        found += [match.groupdict() for match in renovated(expression).finditer((ROOT / path).read_text())]
    catalog = load_catalog()
    images = [
        {"datasource": "docker", "depName": image.repository, "registryUrl": None, "currentValue": image.version}
        for image in catalog.images.values()
    ]
    charts = [
        {
            "datasource": "helm" if chart.repository else "docker",
            "depName": chart.chart.removeprefix("oci://"),
            "registryUrl": chart.repository,
            "currentValue": chart.version,
        }
        for chart in catalog.charts.values()
    ]
    assert found == images + charts


def test_renovate_changes_sources_and_leaves_locks():
    """Newer packages are proposed in what people edit; what is made of it is not looked at."""
    (pattern,) = RENOVATE["pip_requirements"]["managerFilePatterns"]
    sources = {source for parts in LOCKS.values() for source in parts}
    assert {file for file in sources if renovated(pattern).search(file)} == sources
    assert LOCKS.keys() - set(RENOVATE["ignorePaths"]) == set()
    (task,) = [rule["postUpgradeTasks"] for rule in RENOVATE["packageRules"] if "postUpgradeTasks" in rule]
    assert (task["commands"], set(task["fileFilters"])) == (["make lock"], LOCKS.keys())
