"""The questions of a kubelet: what counts as yes, over HTTP and TCP, and how often it takes to be sure.

Does not prove that a kubelet follows redirects, which is not done here.
"""

import asyncio
import time

import pytest

from tests.unit.workshop.local.pods import Loopback, in_loop
from workshop.local.objects import Probe
from workshop.local.probes import answer, ask, initial_delay, until
from workshop.ports import free_ports


def probe(handler: str, detail: dict, **changes) -> Probe:
    """A probe that asks quickly."""
    fields = {"initial_delay_s": 0, "period_s": 0.001, "timeout_s": 30, "failures": 3, "successes": 1, **changes}
    return Probe(handler=handler, detail=detail, **fields)


class Saying(Loopback):
    """A server on loopback that answers everything alike, and keeps what it was asked; None: it never answers."""

    def __init__(self, reply: bytes | None) -> None:
        self.reply, self.heard = reply, b""

    async def serve(self, reader, writer):
        """One connection."""
        self.heard += await reader.readuntil(b"\r\n\r\n") if self.reply != b"" else b""
        if self.reply is None:
            await reader.read()
        else:
            writer.write(self.reply)
        writer.close()


class Turning(Loopback):
    """A server whose answers are good for each + and bad for each -, in order; `left` are those to come."""

    def __init__(self, answers: str) -> None:
        self.left = list(answers)

    async def serve(self, reader, writer):
        """One connection."""
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" if self.left.pop(0) == "+" else b"HTTP/1.1 503 Loading\r\n\r\n")
        writer.close()


@pytest.mark.parametrize(
    ("reply", "good"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 204\r\n\r\n", True),
        (b"HTTP/1.0 399 Odd\r\n\r\n", True),
        (b"HTTP/1.1 199 Early\r\n\r\n", False),
        (b"HTTP/1.1 400 Bad\r\n\r\n", False),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", False),
        (b"HTTP/1.1 503 Loading\r\n\r\n", False),
        (b"nonsense\r\n", False),
        (b"\r\n", False),
        (b"HTTP/1.1 OK\r\n", False),
        (b"HTTP/1.1 200", False),
        (b"", False),
        (b"x" * 2**17, False),
    ],
    ids=repr,
)
@in_loop
async def test_http_says_yes_from_200_to_399(reply, good):
    """Every other status, nonsense, too much and nothing at all are no, and never an exception."""
    async with Saying(reply) as server:
        assert await answer(probe("httpGet", {"port": "http"}), {"http": server.port}) is good


@in_loop
async def test_http_asks_as_rendered():
    """The path with its query, and the headers of the probe, on a connection of its own."""
    detail = {"path": "/health?full=1", "port": 8000, "httpHeaders": [{"name": "X-Key", "value": "v"}]}
    async with Saying(b"HTTP/1.1 200 OK\r\n\r\n") as server:
        assert await ask("httpGet", detail, {"8000": server.port})
        assert server.heard.decode().split("\r\n") == [
            "GET /health?full=1 HTTP/1.1",
            f"Host: 127.0.0.1:{server.port}",
            "User-Agent: kube-probe/local",
            "Connection: close",
            "X-Key: v",
            "",
            "",
        ]


@in_loop
async def test_http_without_a_path_asks_for_the_root():
    """As Kubernetes defaults it."""
    async with Saying(b"HTTP/1.1 200 OK\r\n\r\n") as server:
        await ask("httpGet", {"port": "http"}, {"http": server.port})
        assert server.heard.splitlines()[0] == b"GET / HTTP/1.1"


@pytest.mark.parametrize(
    ("answers_after", "pauses"),
    [(0, [10, 10, 10]), (4, [6, 6, 6]), (10, [0, 0, 0]), (15, [0, 0, 0])],
)
@in_loop
async def test_periods_count_from_question_to_question(monkeypatch, answers_after, pauses):
    """As a ticker: an answer that is late makes the pause shorter, not the period longer."""
    now, slept = [100.0], []

    async def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    async def late(*_):
        now[0] += answers_after
        return False

    monkeypatch.setattr("workshop.local.probes.time.monotonic", lambda: now[0])
    monkeypatch.setattr("workshop.local.probes.asyncio.sleep", sleep)
    monkeypatch.setattr("workshop.local.probes.ask", late)
    asked = probe("tcpSocket", {"port": "redis"}, period_s=10, failures=4)
    assert (await until(asked, {}, wanted_answer=True), slept) == (False, pauses)


@in_loop
async def test_an_answer_that_does_not_come_in_time_is_no():
    """The timeout of the probe holds, whoever is asked."""
    async with Saying(None) as server:
        asked = probe("httpGet", {"port": "http"}, timeout_s=0.05)
        assert await answer(asked, {"http": server.port}) is False


@pytest.mark.parametrize("listening", [True, False])
@in_loop
async def test_tcp_says_yes_where_somebody_listens(listening):
    """A connection is enough, nothing has to be said."""
    async with Saying(b"") as server:
        port = server.port if listening else free_ports(1)[0]
        assert await answer(probe("tcpSocket", {"port": "redis"}), {"redis": port}) is listening


# ---- how often -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "wanted", "patient", "found", "asked"),
    [
        ("+", True, False, True, 1),
        ("--+", True, False, True, 3),
        # the third failure in a row is one too many
        ("---+", True, False, False, 3),
        ("+---", False, False, True, 4),
        # looking for failures, two of them and a success begin anew
        ("--+--+---", False, False, True, 9),
        # readiness has no end of failures
        ("-----+", True, True, True, 6),
    ],
)
@in_loop
async def test_failures_and_successes_count_in_a_row(answers, wanted, patient, found, asked):
    """Three failures are a no, one success is a yes, and the other answer begins the count anew."""
    async with Turning(answers) as server:
        often = await until(
            probe("httpGet", {"port": "http"}), {"http": server.port}, wanted_answer=wanted, patient=patient
        )
        assert (often, len(answers) - len(server.left)) == (found, asked)


@in_loop
async def test_more_than_one_success_may_be_wanted():
    """`successThreshold` of them, in a row."""
    async with Turning("+-+-++") as server:
        asked = probe("httpGet", {"port": "http"}, successes=2, failures=9)
        assert (await until(asked, {"http": server.port}, wanted_answer=True), server.left) == (True, [])


@in_loop
async def test_the_initial_delay_counts_from_the_start():
    """What a startup probe has taken already is not waited for again."""
    begun = asyncio.get_running_loop().time()
    await initial_delay(probe("tcpSocket", {}, initial_delay_s=1000), time.monotonic() - 1000)
    assert asyncio.get_running_loop().time() - begun < 500
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(initial_delay(probe("tcpSocket", {}, initial_delay_s=1000), time.monotonic()), 0.01)
