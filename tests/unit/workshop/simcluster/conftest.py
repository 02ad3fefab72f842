"""Fixtures of the tests of simulated clusters, which start no control plane."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.unit.workshop.simcluster.dry_cluster import WAITS, Dry
from workshop.process import start, stop
from workshop.simcluster.cluster import Cluster


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, so that no test sees the user's clusters."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "llm-stack" / "simcluster"


@pytest.fixture
def running(own_cache: Path, tmp_path: Path) -> Iterator[psutil.Process]:
    """A process that only waits: by its mark, kwok of cluster x."""
    del own_cache
    mark = f"{Cluster('x').paths.root}/kwok"
    child = start([sys.executable, "-c", WAITS], tmp_path / "log", mark, cwd=tmp_path, env=os.environ)
    process = psutil.Process(child.pid)
    yield process
    stop(process)


@pytest.fixture
def dry(monkeypatch: pytest.MonkeyPatch) -> Dry:
    """Such a cluster."""
    monkeypatch.setattr("workshop.simcluster.cluster.install_definitions", lambda _api: None)
    return Dry()
