"""A replica that is replaced, while clients keep their connections and never stop asking.

Two edges in front of the same replicas: one that knows connections only, as kube-proxy, and Envoy with retries. Does
not prove an edge of any cloud, nor how soon a cluster's edges hear of a replica that goes.
"""

import http.client
import json
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from tests.gateway import stacks
from tests.gateway.client import request
from tests.gateway.envoy import edge
from tests.gateway.fake_vllm import LOOPBACK, Balancer, Behaviour, Fakes, wait_for
from tests.gateway.proxies import Proxy, revive

pytestmark = pytest.mark.gateway
Pair = tuple[Proxy, Proxy]
CLIENTS_PER_EDGE = 4
# Until edges that hear of it send nothing new to a replica that goes; in a cluster its preStop waits for that.
HEARD_S = 1
HEADERS = {"content-type": "application/json", "authorization": f"Bearer {stacks.MASTER}"}


@dataclass
class Client:
    """Asks one edge over one connection, which it keeps as long as the edge does; every second answer is a stream."""

    url: str
    stream: bool
    answered: int = 0
    lost: list[str] = field(default_factory=list)

    def run(self, over: threading.Event) -> None:
        """Until it is over."""
        split = urlsplit(self.url)
        connection = http.client.HTTPConnection(split.hostname or "", split.port, timeout=60)
        body = json.dumps({"model": "plain", "stream": self.stream, "messages": [{"role": "user", "content": "x"}]})
        while not over.is_set():
            try:
                connection.request("POST", "/v1/chat/completions", body, HEADERS)
                answer = connection.getresponse()
                text = answer.read().decode()
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
                connection.close()
                continue
            whole = "[DONE]" in text and "error" not in text if self.stream else "word7" in text
            if answer.status == 200 and whole:
                self.answered += 1
            else:
                self.lost.append(f"{answer.status}: {text[-300:]}")
        connection.close()


@contextmanager
def asking(*urls: str) -> Iterator[dict[str, list[Client]]]:
    """Clients of each of these edges, half of them for streams, until the block ends."""
    over = threading.Event()
    clients = {url: [Client(url, stream=number % 2 == 1) for number in range(CLIENTS_PER_EDGE)] for url in urls}
    threads = [threading.Thread(target=client.run, args=(over,)) for each in clients.values() for client in each]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        over.set()
        for thread in threads:
            thread.join()


def answered(clients: list[Client]) -> int:
    """How many answers came whole."""
    return sum(client.answered for client in clients)


def lost(clients: list[Client]) -> list[str]:
    """All that did not."""
    return [reason for client in clients for reason in client.lost]


@pytest.fixture
def connections(pair: Pair, all_fakes: Fakes) -> Balancer:
    """An edge that knows connections only, in front of both."""
    return all_fakes.balancer(*pair)


def lost_while_replaced(pair: Pair, connections: Balancer) -> dict[str, list[str]]:
    """What clients of both edges lose while the first replica leaves; the second takes over, or has crashed."""
    leaving, staying = pair[0].processes[0], pair[1].processes[0]
    connections.endpoints = pair
    with edge([proxy.port for proxy in pair]) as envoy:
        with asking(f"http://{LOOPBACK}:{connections.port}", envoy) as clients:
            wait_for(lambda: all(answered(each) > 8 for each in clients.values()), 60, "both edges answer")
            connections.endpoints = pair[1:]
            time.sleep(HEARD_S)
            leaving.terminate()
            wait_for(lambda: request(pair[0].url, "/health/readiness").status == 503, 5, "it is not ready")
            assert leaving.wait(60) in (0, -15)
            before = {url: answered(each) for url, each in clients.items()}
            wait_for(
                lambda: staying.poll() or all(answered(each) > before[url] + 4 for url, each in clients.items()),
                60,
                "all go on",
            )
        return {url: lost(each) for url, each in clients.items()}


def test_a_replica_that_is_replaced_loses_no_request(pair: Pair, connections: Balancer, fakes: Fakes):
    """Whole answers and streams, over connections that are kept: none is lost, behind either edge.

    Without asking clients to close, an edge of connections lost 2 of 4,337 (LiteLLM 1.110.2). An interpreter that
    crashes meanwhile (SIGSEGV, twice in twenty runs) says nothing of that: once more then.
    """
    found: dict[str, list[str]] = {}
    for _ in range(2):
        fakes.server("vllm-plain").behaviour = Behaviour(between_s=0.02)
        found = lost_while_replaced(pair, connections)
        crashed = pair[1].processes[0].poll() == -signal.SIGSEGV
        revive()
        if not crashed:
            break
        warnings.warn("LiteLLM's interpreter crashed while its neighbour was replaced", stacklevel=1)
    assert (len(found), [each for each in found.values() if each]) == (2, [])
