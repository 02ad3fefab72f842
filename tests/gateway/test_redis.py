"""Redis, where limits are counted, stopped or frozen: answers go on, and what is counted for all comes back with it.

Does not prove what a Redis does that fails over to another.
"""

from collections.abc import Iterator
from functools import partial
from statistics import median

import pytest

from tests.gateway import stacks
from tests.gateway.backing import Redis
from tests.gateway.client import at_once, chat, early_in_a_minute
from tests.gateway.fake_vllm import Fakes, wait_for
from tests.gateway.proxies import Proxy

pytestmark = pytest.mark.gateway
Pair = tuple[Proxy, Proxy]
# A request waits for a Redis that does not answer a few times, until it is left alone.
FIRST_S, USUAL_S = 8, 2.5
# 10 s after the last failure, for each connection of before.
BACK_S = 60
LATER = 6
# Of a burst of requests, at most; a whole minute, of which nothing may be over.
BURST_S, MINUTE_S = 15, 60


def allowed(pair: Pair, model: str, times: int) -> int:
    """How many of so many requests to a limited model pass, one replica and the other in turn; none waits for long."""
    answers = [chat(pair[turn % 2].url, model, stacks.MASTER) for turn in range(times)]
    assert max(answer.took_s for answer in answers) < FIRST_S
    statuses = [answer.status for answer in answers]
    assert set(statuses) <= {200, 429}
    return statuses.count(200)


@pytest.fixture
def there(pair: Pair, redis: Redis) -> Iterator[Redis]:
    """Redis is there before, and after."""
    yield redis
    redis.thaw()
    redis.stop()
    redis.start()
    wait_for(lambda: all(counts(proxy, redis) for proxy in pair), BACK_S, "both replicas count in Redis again")


def counts(proxy: Proxy, redis: Redis) -> bool:
    """Whether a replica counts requests in Redis."""
    redis.command("FLUSHALL")
    assert chat(proxy.url, "rpm", stacks.MASTER).status in (200, 429)
    return any(key.startswith("vllm-rpm:") for key in redis.command("KEYS", "*:rpm:*").split())


@pytest.mark.parametrize("away", ["stopped", "frozen"])
def test_without_redis_answers_go_on_and_each_replica_counts_for_itself(
    pair: Pair,
    there: Redis,
    fakes: Fakes,  # noqa: ARG001 - as new
    away: str,
):
    """No request fails, and few wait; two replicas let twice the limit through, and no more."""
    there.command("FLUSHALL")
    if away == "stopped":
        there.stop()
    else:
        there.freeze()
    first = at_once([partial(chat, proxy.url, "plain", stacks.MASTER) for proxy in pair for _ in range(2)])
    assert [answer.status for answer in first] == [200] * 4
    assert max(answer.took_s for answer in first) < FIRST_S
    later = [chat(pair[turn % 2].url, "plain", stacks.MASTER) for turn in range(LATER)]
    assert [answer.status for answer in later] == [200] * LATER
    # now and then one finds out whether Redis is back
    assert median(answer.took_s for answer in later) < USUAL_S
    # what was asked before, to see whether Redis counts, may have used up this minute's requests
    early_in_a_minute(MINUTE_S)
    # one that waited for a frozen Redis is not counted: no more than one of each replica in this time
    more = allowed(pair, "rpm", 2 * stacks.REQUESTS + 4) - 2 * stacks.REQUESTS
    assert 0 <= more <= (len(pair) if away == "frozen" else 0)


def test_limits_are_shared_again_soon_after_redis_is_back(pair: Pair, there: Redis, fakes: Fakes):  # noqa: ARG001 - as new
    """Within seconds both replicas count together, and the limit is exact."""
    there.stop()
    for turn in range(12):
        assert chat(pair[turn % 2].url, "plain", stacks.MASTER).status == 200
    there.start()
    wait_for(lambda: all(counts(proxy, there) for proxy in pair), BACK_S, "both replicas count in Redis again")
    early_in_a_minute(BURST_S)
    # of a model that nobody asked while each counted for itself
    assert allowed(pair, "rpm-burst", stacks.SHARED_REQUESTS + 5) == stacks.SHARED_REQUESTS
