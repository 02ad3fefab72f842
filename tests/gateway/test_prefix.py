"""The router in front of replicas, as it is rendered: the real vllm-router before servers that pretend to be vLLM.

It asks an API server of this test for pods: which right that needs is seen, that a cluster grants it is not.
Cache hits of the real vLLM are in tests/local/test_replicas.py.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.gateway import router
from tests.gateway.client import Answer, chat, request
from tests.gateway.fake_vllm import LOOPBACK, Behaviour, Fakes, Server, wait_for
from tests.gateway.proxies import free_port
from tests.gateway.router import KEY

pytestmark = pytest.mark.gateway
NAMES = ("replica-1", "replica-2")
# Pauses of the gateway between its tries, at least.
PAUSES_S = (0.5, 1)


@pytest.fixture(scope="module")
def url(all_fakes: Fakes) -> Iterator[str]:
    """A router before two replicas."""
    port = free_port()
    urls = [all_fakes.server(name).url for name in NAMES]
    with router.running([*router.arguments(port), "--worker-urls", *urls]):
        yield f"http://{LOOPBACK}:{port}"


@pytest.fixture
def replicas(url: str, fakes: Fakes) -> list[Server]:
    """Both replicas, as new and known to be there."""
    wait_for(lambda: request(url, "/readiness").json.get("healthy_workers") == 2, 30, "both are healthy")
    return [fakes.server(name) for name in NAMES]


def chats(servers: list[Server]) -> list[list[str]]:
    """The prompts that each replica answered."""
    paths = "/v1/chat/completions"
    return [[call.body["messages"][0]["content"] for call in server.asked if call.path == paths] for server in servers]


def test_keys_and_answers_pass_unchanged(url: str, replicas: list[Server]):
    """A stream, a wrong key, and every call by which the gateway asks a model that writes: each has its key."""
    for server in replicas:
        server.behaviour = Behaviour(key=KEY)
    stream = chat(url, "small", KEY, stream=True)
    assert (stream.status, stream.streamed, stream.events[-1]) == (200, "".join(Behaviour().chunks), "[DONE]")
    assert chat(url, "small", "sk-wrong").status == 401
    for path, body in {"completions": {"prompt": "x"}, "responses": {"input": "x"}}.items():
        assert request(url, f"/v1/{path}", {"model": "small", **body}, KEY).status == 200, path


def test_an_adapter_is_asked_for_by_its_name(url: str, replicas: list[Server]):
    """The router knows none of the names that a server has."""
    assert chat(url, "sql", KEY).status == 200
    asked = [call.body["model"] for server in replicas for call in server.asked if call.path == "/v1/chat/completions"]
    assert asked == ["sql"]


@pytest.mark.parametrize(("status", "most"), [(400, 1), (404, 1), (500, 3), (503, 3)])
def test_a_refusal_is_not_tried_again_and_an_error_twice(url: str, replicas: list[Server], status: int, most: int):
    """What a server says arrives; tries of the router and of the gateway do not multiply without end."""
    for server in replicas:
        server.behaviour = Behaviour(status=status)
    answer = chat(url, "small", KEY)
    tries = sum(len(texts) for texts in chats(replicas))
    assert (answer.status, tries) == (status, most)


def test_no_request_is_lost_when_a_replica_dies(url: str, replicas: list[Server], fakes: Fakes):
    """Eight clients with the tries of the gateway ask while one of two dies and comes back: every answer is 200."""
    end, statuses = time.monotonic() + 8, []

    def ask(number: int) -> None:
        while time.monotonic() < end:
            status = 0
            for pause_s in (*PAUSES_S, 0):
                status = chat(url, "small", KEY, text=f"client {number} says something").status
                if status == 200:
                    break
                time.sleep(pause_s)
            statuses.append(status)

    with ThreadPoolExecutor(8) as pool:
        for number in range(8):
            pool.submit(ask, number)
        time.sleep(2)
        fakes.do(replicas[0].stop())
        time.sleep(4)
        fakes.do(replicas[0].listen())
    assert (set(statuses), len(statuses) > 100) == ({200}, True)


def test_a_stream_that_breaks_does_not_look_whole(url: str, replicas: list[Server]):
    """What came arrives, and the connection ends without the end of the answer; the gateway then tells the client."""
    for server in replicas:
        server.behaviour = Behaviour(cut_after=3, between_s=0.05)
    answer = chat(url, "small", KEY, stream=True)
    assert (answer.streamed, "[DONE]" in answer.events) == ("word0 word1 word2 ", False)


def test_who_leaves_frees_the_replica(url: str, replicas: list[Server]):
    """It sees the client go."""
    for server in replicas:
        server.behaviour = Behaviour(first_after_s=4)
    chat(url, "small", KEY, leave_after_s=1)
    wait_for(lambda: any(call.left for server in replicas for call in server.asked), 3, "it sees that")


def test_it_says_whether_a_replica_is_there(url: str, replicas: list[Server], fakes: Fakes):
    """503 of its readiness while none is healthy, which is what a request at zero waits for; it lives all the same."""
    for server in replicas:
        fakes.do(server.stop())
    wait_for(lambda: request(url, "/readiness").status == 503, 20, "none is there")
    assert (request(url, "/liveness").status, chat(url, "small", KEY).status) == (200, 503)
    fakes.do(replicas[0].listen())
    wait_for(lambda: request(url, "/readiness").status == 200, 20, "one is there")
    assert chat(url, "small", KEY).status == 200


def test_it_finds_the_pods_of_its_server(fakes: Fakes, tmp_path: Path):
    """Those with its labels that are ready, until they leave; it lists and watches pods, and asks for nothing else."""
    server, port = fakes.server(NAMES[0]), free_port()
    words = router.arguments(port, server.port)
    labels = router.selected(router.container(router.small(), "small"))
    cluster, here = router.Cluster(), f"http://{LOOPBACK}:{port}"
    try:
        cluster.pod("stranger", "127.0.0.9", {**labels, "app.kubernetes.io/instance": "vllm-small-canary"})
        cluster.pod("starts", LOOPBACK, labels, ready=False)
        with router.running(words, KUBECONFIG=cluster.kubeconfig(tmp_path)):
            wait_for(lambda: any(watches for _, _, watches in cluster.asked), 20, "it watches")
            assert request(here, "/readiness").status == 503
            cluster.pod("starts", LOOPBACK, labels)
            wait_for(lambda: request(here, "/readiness").status == 200, 20, "it has found it")
            assert request(here, "/list_workers").json == {"urls": [server.url]}
            assert chat(here, "small", KEY).status == 200
            cluster.pod("starts", LOOPBACK, labels, leaves=True)
            wait_for(lambda: request(here, "/list_workers").json == {"urls": []}, 20, "it has gone")
    finally:
        cluster.close()
    assert set(cluster.asked) <= {("GET", "/api/v1/namespaces/llm-serving/pods", watches) for watches in (False, True)}


def test_a_router_that_stops_lets_streams_end(all_fakes: Fakes, fakes: Fakes):  # noqa: ARG001 - as new
    """SIGTERM in the middle of one: it arrives whole, before the process ends."""
    port, server = free_port(), fakes.server(NAMES[1])
    server.behaviour = Behaviour(between_s=0.3)
    answers: list[Answer] = []
    with router.running([*router.arguments(port), "--worker-urls", server.url]):
        ask = threading.Thread(
            target=lambda: answers.append(chat(f"http://{LOOPBACK}:{port}", "small", KEY, stream=True))
        )
        ask.start()
        wait_for(lambda: chats([server])[0], 10, "it has begun")
        time.sleep(0.5)
    ask.join(10)
    assert [answer.streamed for answer in answers] == ["".join(Behaviour().chunks)]
