"""What the tests of this tier share: fakes, Redis and proxies, each started once, when it is first asked for."""

import shutil
from collections.abc import Iterator

import pytest

from local.toolchain import VENV, is_ready
from tests.gateway import stacks
from tests.gateway.backing import Redis
from tests.gateway.fake_vllm import Fakes
from tests.gateway.proxies import Proxy, proxy, rendered, start


@pytest.fixture(scope="session", autouse=True)
def real_programs() -> None:
    """LiteLLM and Redis are there."""
    if not is_ready(VENV):
        pytest.skip("no LiteLLM here, nothing was run: run `make gateway-test`")
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server here, nothing was run: on Debian and Ubuntu, apt-get install redis-server")


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


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    """A Redis of this session."""
    server = Redis(stacks.KEYS["redis-password"])
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def pair(all_fakes: Fakes, redis: Redis) -> Iterator[tuple[Proxy, Proxy]]:
    """Two replicas of a gateway without a database that share a Redis."""
    config = stacks.limited()
    addresses = stacks.addresses(config, all_fakes, redis)
    proxies = (proxy(rendered(config), stacks.KEYS, addresses), proxy(rendered(config), stacks.KEYS, addresses))
    try:
        start(*proxies)
        yield proxies
    finally:
        for item in proxies:
            item.stop()
