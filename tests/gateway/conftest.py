"""What the tests of this tier share: fakes, Redis, Postgres, proxies; each started once, when it is first asked for."""

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.gateway import database, stacks
from tests.gateway.backing import Redis
from tests.gateway.database import Postgres
from tests.gateway.fake_vllm import Fakes
from tests.gateway.proxies import Proxy, proxy, rendered, revive, running
from tests.harness import Config
from workshop.local.toolchain import VENV, is_ready

# Files whose tests ask replicas with keys, some of them others too; files that ask those without; and files that start
# what they ask, with those that take a Redis away.
TOGETHER = (
    ("audit", "database", "endpoints", "every_key", "load", "providers", "secrets", "streams", "teams"),
    ("at_zero", "callbacks", "context", "limits", "parameters", "rollout", "time"),
    ("alerts", "migration", "prefix", "redis", "redis_kinds", "surface"),
)


class ByReplicas(LoadScopeScheduling):
    """Sends tests that share replicas to the same process, so that these are started once."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0]).stem
        return next((files[0] for files in TOGETHER if file.removeprefix("test_") in files), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByReplicas:
    """As xdist has it for whole files, but by replicas."""
    return ByReplicas(config, log)


@pytest.fixture(scope="session", autouse=True)
def real_programs() -> None:
    """LiteLLM and Redis are there."""
    if not is_ready(VENV):
        pytest.skip("no LiteLLM here, nothing was run: run `make gateway-test`")
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server here, nothing was run: on Debian and Ubuntu, apt-get install redis-server")


@pytest.fixture(autouse=True)
def alive() -> None:
    """All replicas that tests share run, whatever became of them in the test before; who crashed is told of."""
    for end in revive():
        warnings.warn(end, stacklevel=1)


@pytest.fixture(scope="session")
def all_fakes() -> Iterator[Fakes]:
    """The thread of the fake servers."""
    fakes = Fakes()
    yield fakes
    fakes.close()


@pytest.fixture
def fakes(all_fakes: Fakes) -> Fakes:
    """The fake servers, as new."""
    all_fakes.forget()
    return all_fakes


@contextmanager
def running_redis() -> Iterator[Redis]:
    """A Redis, until the block ends."""
    server = Redis(stacks.KEYS["redis-password"])
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    """The Redis of the replicas without a database."""
    with running_redis() as server:
        yield server


@dataclass(frozen=True)
class Databased:
    """Two replicas of a gateway with a database, and the database."""

    proxies: tuple[Proxy, Proxy]
    postgres: Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A Postgres of this session with LiteLLM's tables."""
    lacking = database.missing()
    if lacking:
        pytest.skip(f"no Postgres for LiteLLM here, nothing was run: needs {', '.join(lacking)}")
    server = Postgres()
    try:
        server.create()
        yield server
    finally:
        server.close()


def replicas(config: Config, fakes: Fakes, redis: Redis, postgres: Postgres | None, count: int) -> tuple[Proxy, ...]:
    """Pods of a stack's gateway, not started."""
    addresses = stacks.addresses(config, fakes, redis)
    keys = {**stacks.KEYS, **({"database-url": postgres.url} if postgres else {})}
    more = database.environment(postgres.url) if postgres else {}
    return tuple(proxy(rendered(config), keys, addresses, more) for _ in range(count))


@pytest.fixture(scope="session")
def pair(all_fakes: Fakes, redis: Redis) -> Iterator[tuple[Proxy, Proxy]]:
    """Two replicas of a gateway without a database that share a Redis."""
    first, second = replicas(stacks.everything(), all_fakes, redis, None, 2)
    with running(first, second):
        yield first, second


@pytest.fixture(scope="session")
def databased(all_fakes: Fakes, postgres: Postgres) -> Iterator[Databased]:
    """Two replicas of a gateway with virtual keys that share a Postgres, and a Redis that nobody stops.

    A replica that lost Redis counts for itself, and hears of changed keys, up to a minute after Redis is back only
    (LiteLLM 1.109.1, auth_cache_invalidation_pubsub.py).
    """
    with running_redis() as redis:
        first, second = replicas(stacks.with_database(), all_fakes, redis, postgres, 2)
        with running(first, second):
            yield Databased((first, second), postgres)
