"""Load on a gateway: chats and streams that begin at a given rate, whoever is slow, and how long each took."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Kind:
    """One kind of request: `chunks` of an answer, `between_ms` apart in a stream; 0 chunks apart: given whole."""

    chunks: int
    streamed: bool
    between_ms: float = 0


@dataclass(frozen=True)
class Sample:
    """One request: seconds to the first content and to the end, and the chunks with content that came."""

    kind: Kind
    ok: bool
    first_s: float
    total_s: float
    chunks: int


@dataclass(frozen=True)
class Target:
    """The address that requests go to, and their key."""

    url: str
    key: str
    model: str = "plain"


class _Connection(asyncio.Protocol):
    """A connection that is used again, for one request at a time."""

    def __init__(self) -> None:
        self.lost = False
        self._done: asyncio.Future[Sample] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remembers where to write."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio calls it so
        """A request that was under way has failed."""
        self.lost = True
        self._finish(ok=False)

    async def ask(self, request: bytes, kind: Kind) -> Sample:
        """The answer to one request."""
        self.kind, self.seen, self.length, self.first_s = kind, bytearray(), -1, 0.0
        self._done = asyncio.get_running_loop().create_future()
        self.began = perf_counter()
        self.transport.write(request)
        return await self._done

    def data_received(self, data: bytes) -> None:
        """Looks for the first content, and for the end."""
        self.seen += data
        if not self.first_s and b'"content"' in self.seen:
            self.first_s = perf_counter() - self.began
        if self.length < 0:
            head, end, _ = bytes(self.seen[:8192]).lower().partition(b"\r\n\r\n")
            if not end:
                return
            declared = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            self.length = len(head) + 4 + int(declared) if declared else 0
        if len(self.seen) >= self.length if self.length else self.seen.endswith(b"0\r\n\r\n"):
            self._finish(ok=self.seen.startswith(b"HTTP/1.1 200"))

    def _finish(self, *, ok: bool) -> None:
        if self._done is not None and not self._done.done():
            count = self.seen.count(b'"word')
            complete = ok and (count == self.kind.chunks or not self.kind.streamed)
            self._done.set_result(Sample(self.kind, complete, self.first_s, perf_counter() - self.began, count))


class Client:
    """Requests to one target over connections that are kept."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._idle: list[_Connection] = []

    def _request(self, kind: Kind) -> bytes:
        wish = f"{kind.chunks} {kind.between_ms:g}"
        messages = [{"role": "user", "content": "Summarise the report in a few words, please."}]
        body = {"model": self.target.model, "messages": [*messages, {"role": "user", "content": wish}]}
        data = json.dumps({**body, "stream": True} if kind.streamed else body).encode()
        host = urlsplit(self.target.url).netloc
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {self.target.key}\r\n"
        return f"{head}content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data

    async def ask(self, kind: Kind) -> Sample:
        """One request, on a connection that is free or a new one."""
        while self._idle and self._idle[-1].lost:
            self._idle.pop()
        connection = self._idle.pop() if self._idle else await self._connect()
        sample = await connection.ask(self._request(kind), kind)
        if not connection.lost:
            self._idle.append(connection)
        return sample

    async def _connect(self) -> _Connection:
        host, _, port = urlsplit(self.target.url).netloc.partition(":")
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, host, int(port))
        return connection

    async def one_by_one(self, kind: Kind, count: int) -> list[Sample]:
        """So many, each after the one before."""
        return [await self.ask(kind) for _ in range(count)]

    async def at_rates(self, rates: Sequence[tuple[Kind, float]], seconds: float) -> list[Sample]:
        """Of each kind so many per second, evenly, until all that began have ended."""
        waiting = [self._evenly(kind, rate, round(rate * seconds)) for kind, rate in rates]
        return [sample for samples in await asyncio.gather(*waiting) for sample in samples]

    async def _evenly(self, kind: Kind, rate: float, count: int) -> list[Sample]:
        began, tasks = perf_counter(), []
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / rate - perf_counter()))
            tasks.append(asyncio.create_task(self.ask(kind)))
        return await asyncio.gather(*tasks)

    def close(self) -> None:
        """Ends its connections."""
        for connection in self._idle:
            connection.transport.close()
