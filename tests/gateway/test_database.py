"""Keys, budgets and a database that goes away: LiteLLM with a real Postgres, in every state it can be in.

Does not prove the migration Job's own command, whose engine is a binary: tables come from the same schema by psql.
"""

import http.client
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.gateway import stacks
from tests.gateway.client import Answer, at_once, chat, request
from tests.gateway.conftest import Databased
from tests.gateway.fake_vllm import Behaviour, Fakes, wait_for
from tests.gateway.proxies import Proxy, start

pytestmark = pytest.mark.gateway
MADE_UP = "sk-made-up-0123456789abcdef"
BUDGET_USD = 0.00002
LONG_S = 60
# A budget is worth so many answers; it has ended when so many in a row are refused.
BUDGET_ANSWERS, REFUSALS = 40, 10
# Of the fake's answer.
WORDS = 8
KEYS = '"LiteLLM_VerificationToken"'


def admin(databased: Databased, path: str, body: dict) -> Answer:
    """Something only the master key may do."""
    answer = request(databased.proxies[0].url, path, body, stacks.MASTER)
    assert answer.status == 200, answer.text
    return answer


def new_key(databased: Databased, name: str, **more) -> str:
    """A key of its own."""
    return admin(databased, "/key/generate", {"key_alias": name, **more}).json["key"]


def models(databased: Databased, key: str) -> Answer:
    """The list of models, which costs no server anything."""
    return request(databased.proxies[0].url, "/v1/models", key=key, timeout_s=LONG_S)


@pytest.fixture
def there(databased: Databased) -> Iterator[Databased]:
    """The database is there before, and is there again after."""
    yield databased
    # also where it is frozen: `stop` lets it go on first
    databased.postgres.stop()
    databased.postgres.start()
    databased.postgres.open_doors()
    databased.postgres.sql(f"ALTER TABLE IF EXISTS elsewhere RENAME TO {KEYS}")
    for proxy in databased.proxies:
        # LiteLLM looks for a database that was away less and less often
        wait_for(lambda url=proxy.url: _sees_keys(url), 3 * LONG_S, "the proxy sees the database again")


def _sees_keys(url: str) -> bool:
    """Whether it can read what only the database has."""
    return request(url, "/key/list", key=stacks.MASTER, timeout_s=LONG_S).status == 200


def freeze(databased: Databased) -> None:
    """A node that died: connections stay open, nothing is answered."""
    databased.postgres.freeze()


def stop(databased: Databased) -> None:
    """Nobody listens."""
    databased.postgres.stop()


def recover(databased: Databased) -> None:
    """It listens, and says that the database system is starting up, as in every failover (57P03)."""
    databased.postgres.stop()
    databased.postgres.start_recovering()


def crowd(databased: Databased) -> None:
    """All its connections are taken by others (53300)."""
    databased.postgres.start_crowded()


def close(databased: Databased) -> None:
    """It runs, and nobody may connect to this database (55000)."""
    databased.postgres.close_doors()


def lose(databased: Databased) -> None:
    """The table of keys is gone, as in a database that was made anew."""
    databased.postgres.sql(f"ALTER TABLE {KEYS} RENAME TO elsewhere")


@pytest.mark.parametrize("away", [stop, freeze, recover, crowd, close, lose])
def test_a_made_up_key_is_never_let_in(there: Databased, fakes: Fakes, away):
    """Whatever state Postgres is in: no answer of a model, no list of models; 401 or 503."""
    away(there)
    first, second = (proxy.url for proxy in there.proxies)
    answers = at_once(
        [
            lambda: chat(first, "plain", MADE_UP, timeout_s=LONG_S),
            lambda: models(there, MADE_UP + "-2"),
            lambda: chat(second, "plain", MADE_UP + "-3", stream=True, timeout_s=LONG_S),
        ]
    )
    assert {answer.status for answer in answers} <= {401, 503}
    assert fakes.server("vllm-plain").asked == []


@pytest.mark.parametrize("away", [stop, freeze])
def test_known_keys_ride_out_a_failover(there: Databased, away):
    """A key that one replica has seen is served by both while Postgres is away, and pods stay in the Service."""
    key = new_key(there, f"known-{away.__name__}")
    assert chat(there.proxies[0].url, "plain", key).status == 200
    away(there)
    found = [chat(proxy.url, "plain", key, timeout_s=LONG_S) for proxy in there.proxies]
    assert [answer.status for answer in found] == [200, 200]
    assert [request(proxy.url, "/health/liveliness").status for proxy in there.proxies] == [200, 200]


def test_all_is_well_soon_after_it_is_back(there: Databased):
    """A key nobody has seen yet is let in within seconds."""
    key = new_key(there, "unseen")
    there.postgres.stop()
    assert chat(there.proxies[0].url, "plain", key, timeout_s=LONG_S).status == 503
    there.postgres.start()
    wait_for(lambda: chat(there.proxies[0].url, "plain", key).status == 200, 15, "the key is known again")


def test_what_is_revoked_is_refused_at_once(databased: Databased):
    """Though replicas remember keys: blocked or deleted through one, refused by both."""
    keys = {path: new_key(databased, path) for path in ("/key/block", "/key/delete")}
    for path, key in keys.items():
        assert [chat(proxy.url, "plain", key).status for proxy in databased.proxies] == [200, 200]
        admin(databased, path, {"key": key} if path == "/key/block" else {"keys": [key]})
        assert [chat(proxy.url, "plain", key).status for proxy in databased.proxies] == [401, 401]


def test_an_exceeded_budget_is_429(databased: Databased):
    """As every client knows it, over both replicas; the price comes from the pool's."""
    key = new_key(databased, "budget", max_budget=BUDGET_USD)
    found: list[Answer] = []
    for turn in range(20):
        found.append(chat(databased.proxies[turn % 2].url, "plain", key))
        if found[-1].status != 200:
            break
    cost = float(found[0].headers["x-litellm-response-cost"])
    assert cost > 0
    assert (found[0].status, found[-1].status, found[-1].json["error"]["type"]) == (200, 429, "budget_exceeded")
    assert (len(found) - 1) * cost <= BUDGET_USD + cost


def test_spend_reaches_the_database(databased: Databased):
    """To the digit; a pod that dies loses what it noted in the last 15 s (10 to 15, LiteLLM's own interval)."""
    key = new_key(databased, "spender")
    answers = [chat(proxy.url, "plain", key) for proxy in databased.proxies]
    spent = sum(float(answer.headers["x-litellm-response-cost"]) for answer in answers)
    query = f"SELECT spend FROM {KEYS} WHERE key_alias = 'spender'"
    wait_for(lambda: abs(float(databased.postgres.sql(query)) - spent) < 1e-12, 45, "spend is written")


def test_a_replica_takes_few_connections(databased: Databased):
    """Ten each at most, whatever is asked."""
    for _ in range(20):
        chat(databased.proxies[0].url, "plain", MADE_UP + str(time.monotonic_ns()))
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'litellm'"
    assert 1 < int(databased.postgres.sql(count)) <= 2 * 10 + 1


def test_a_key_of_one_model_has_that_model_only(databased: Databased):
    """Another model is refused, and not listed."""
    key = new_key(databased, "one-model", models=["plain"])
    assert [item["id"] for item in models(databased, key).json["data"]] == ["plain"]
    assert chat(databased.proxies[0].url, "other", key).status in (401, 403)


def test_a_budget_holds_though_a_replica_is_killed_while_it_runs_out(databased: Databased, fakes: Fakes):
    """What the killed one counted counts at the other: answers end with the budget, but for what is under way."""
    fakes.server("vllm-plain").behaviour = Behaviour(between_s=0.02)
    killed, url = databased.proxies[0], databased.proxies[1].url
    # what a request may take is reserved while it runs: all they take
    cost = float(chat(url, "plain", stacks.MASTER, max_tokens=WORDS).headers["x-litellm-response-cost"])
    key = new_key(databased, "outlives-a-replica", max_budget=BUDGET_ANSWERS * cost)
    statuses: list[int] = []

    def ask(proxy: Proxy) -> None:
        while statuses[-REFUSALS:] != [429] * REFUSALS:
            try:
                statuses.append(chat(proxy.url, "plain", key, max_tokens=WORDS).status)
            except (OSError, http.client.HTTPException):
                return

    try:
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(ask, proxy) for proxy in databased.proxies]
            wait_for(lambda: statuses.count(200) >= BUDGET_ANSWERS // 2, 60, "half of the budget is spent")
            killed.processes[0].kill()
        assert [done.exception() for done in asked] == [None, None]
    finally:
        killed.stop()
        start(killed)
    # two are asked at a time
    assert abs(statuses.count(200) - BUDGET_ANSWERS) <= 2
    assert [chat(proxy.url, "plain", key).status for proxy in databased.proxies] == [429, 429]
