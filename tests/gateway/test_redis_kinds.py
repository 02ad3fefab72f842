"""A Redis that exists, by its kinds: TLS of a company's own authority, a user, Sentinels and a failover.

One replica reaches the master by its name, the other asks Sentinels for it: they count in the same Redis, or the limits
of a model would not hold over both. Does not prove a Redis cluster, which the program does not offer.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.gateway import secured_redis, stacks
from tests.gateway.client import chat, early_in_a_minute
from tests.gateway.fake_vllm import Fakes, wait_for
from tests.gateway.proxies import Proxy, proxy, rendered, running
from tests.gateway.secured_redis import SecuredRedis

pytestmark = pytest.mark.gateway
MODEL, AFTER, LIMIT, TAKES_S = "rpm", "rpm-after", 6, 15


@dataclass(frozen=True)
class Both:
    """A replica of each kind, and their Redis."""

    by_name: Proxy
    by_sentinels: Proxy
    redis: SecuredRedis


@pytest.fixture(scope="module")
def both(all_fakes: Fakes) -> Iterator[Both]:
    """Two gateways of the same models that share a Redis, each as its stack file says."""
    redis = SecuredRedis()
    try:
        redis.start()
        tls = {"caBundle": {"kind": "secret", "name": "redis-ca"}}
        existing = {"kind": "existing", "host": secured_redis.HOST, "port": redis.master, "tls": tls}
        sentinels = [f"{secured_redis.HOST}:{port}" for port in redis.sentinels]
        kinds = (
            {**existing, "username": secured_redis.USER, "passwordSecret": "redis"},
            {"kind": "sentinel", "sentinels": sentinels, "masterName": secured_redis.MASTER, "port": redis.master,
             "sentinelsAskPassword": True, "passwordSecret": "redis", "tls": tls},
        )  # fmt: skip
        passwords = (secured_redis.PASSWORD, secured_redis.DEFAULT_PASSWORD)
        first, second = (_replica(all_fakes, redis, *pair) for pair in zip(kinds, passwords, strict=True))
        with running(first, second):
            yield Both(first, second, redis)
    finally:
        redis.close()


def _replica(fakes: Fakes, redis: SecuredRedis, kind: dict, password: str) -> Proxy:
    config = stacks.serving({name: {"requestsPerMinute": LIMIT} for name in (MODEL, AFTER)}, replicas=1, redis=kind)
    here = f"{secured_redis.HOST}:{redis.master}"
    # it notes the keys of the servers, too
    addresses = {**stacks.addresses(config, fakes, None), here: here}
    keys = {**stacks.KEYS, "redis-password": password, "redis-sentinel-password": secured_redis.SENTINEL_PASSWORD}
    return proxy(rendered(config), keys, addresses, {"REDIS_SSL_CA_CERTS": str(redis.authority)})


def test_limits_hold_over_a_replica_by_name_and_one_by_sentinels(both: Both):
    """Over TLS, as a user and with the password of Sentinels: they count in one Redis."""
    early_in_a_minute(TAKES_S)
    both.redis.ask(both.redis.master, "FLUSHALL")
    urls = [both.by_name.url, both.by_sentinels.url]
    found = [chat(urls[turn % 2], MODEL, stacks.MASTER).status for turn in range(LIMIT + 3)]
    assert found == [200] * LIMIT + [429] * 3


def test_after_a_failover_the_new_master_counts(both: Both):
    """Who asks Sentinels goes on with what is the master then; who has one name waits for that."""
    both.redis.kill_master()
    wait_for(lambda: _counts(both), 60, "the new master counts")
    early_in_a_minute(TAKES_S)
    found = [chat(both.by_sentinels.url, AFTER, stacks.MASTER).status for _ in range(LIMIT + 2)]
    assert found == [200] * LIMIT + [429] * 2


def _counts(both: Both) -> bool:
    chat(both.by_sentinels.url, MODEL, stacks.MASTER)
    return both.redis.ask(both.redis.replica, "DBSIZE").strip() not in ("", "0")
