"""The script that looks whether a server is there, before real sockets, with stand-ins for what it takes from LiteLLM.

That LiteLLM loads it, and what clients see of it, is proved where the real proxy runs (tests/gateway).
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.components.pod_scripts.gateway_scripts import load

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The module, as LiteLLM loads it, with a rule of no model."""
    (tmp_path / "at_zero.json").write_text(json.dumps({"most_held": 2, "models": {}}), encoding="utf-8")
    found = load(monkeypatch, tmp_path, "gateway_at_zero")
    monkeypatch.setattr(found, "CONNECTED_WITHIN_S", 0.2)
    monkeypatch.setattr(found, "ANSWERED_WITHIN_S", 0.2)
    return found


def says(line: bytes) -> Answer:
    """A server that answers with this and hangs up."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(line)
        writer.close()

    return answer


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@pytest.mark.parametrize(
    ("answer", "there"),
    [
        (says(b"HTTP/1.1 200 OK\r\n\r\n"), True),
        (says(b"HTTP/1.1 404 Not Found\r\n\r\n"), True),
        (says(b"HTTP/1.1 401 Unauthorized\r\n\r\n"), True),
        (_silent, True),
        (says(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"), False),
        (says(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"), False),
        (says(b"HTTP/1.1 504 Gateway Timeout\r\n\r\n"), False),
        (says(b""), False),
        (says(b"\x16\x03\x01 garbage"), False),
        (says(b"x" * 100_000), False),
    ],
)  # fmt: skip
def test_a_server_is_there_when_it_answers_or_is_slow(script: Any, answer: Answer, there: bool):
    """Busy is there; an engine that died, a proxy in front of nobody, and what is no HTTP are not."""

    async def ask() -> bool:
        listening = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        return await script.Server(f"http://127.0.0.1:{port}/health").is_there()

    assert asyncio.run(ask()) is there


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_who_refuses_or_has_no_address_is_not_there(script: Any, host: str):
    """Nobody listens, or the name is not known."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://{host}:{free.getsockname()[1]}/health"
        assert asyncio.run(script.Server(url).is_there()) is False


def test_many_ask_once(script: Any):
    """A hundred at the same time, one of whom leaves, are one connection; an answer is believed for a second."""
    connections = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await asyncio.sleep(0.05)
        await says(b"HTTP/1.1 200 OK\r\n\r\n")(reader, writer)

    async def ask() -> list[bool]:
        listening = await asyncio.start_server(count, "127.0.0.1", 0)
        server = script.Server(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/health")
        leaving, *others = (asyncio.create_task(server.is_there()) for _ in range(100))
        await asyncio.sleep(0.01)
        leaving.cancel()
        answers = await asyncio.gather(*others)
        return [*answers, await server.is_there()]

    assert (asyncio.run(ask()), connections) == ([True] * 100, 1)
