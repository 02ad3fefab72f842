"""Fixtures of the tests of simulated clusters, which start no control plane."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.workshop.simcluster.dry_cluster import WAITS, Dry
from workshop.simcluster.processes import Process, start, stop


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, so that no test sees the user's clusters."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "llm-stack" / "simcluster"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Process]:
    """A process that only waits."""
    process = start([sys.executable, "-c", WAITS], tmp_path / "log")
    yield process
    stop(process)


@pytest.fixture
def dry(monkeypatch: pytest.MonkeyPatch) -> Dry:
    """Such a cluster."""
    monkeypatch.setattr("workshop.simcluster.cluster.install_definitions", lambda _api: None)
    return Dry()
