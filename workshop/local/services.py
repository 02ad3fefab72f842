"""Services on loopback: a port for each, behind it the ready pods in turn; and a proxy that knows their names.

A connection is given to one pod and stays there, as kube-proxy does it; without a ready pod it is reset. The proxy
reads its first line only: servers must take a request line with the whole URL (RFC 9112, section 3.2.2).
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from urllib.parse import urlsplit

from workshop.local.objects import Service
from workshop.local.translate import service_names
from workshop.ports import LOOPBACK

CHUNK_BYTES = 64 * 1024
# Reset instead of an orderly end: the client learns that nobody was there (socket(7), SO_LINGER).
RESET = struct.pack("ii", 1, 0)
NOT_A_SERVICE = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
# Ready endpoints of a Service's port, as ports of this machine.
Endpoints = Callable[[Service, int], Sequence[int]]
Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Router:
    """All listeners of a stack. `ports`: (Service, port) → port on loopback; `names_port`: that of the proxy."""

    def __init__(self, services: Sequence[Service], endpoints: Endpoints) -> None:
        self.services = services
        self.ports: dict[tuple[str, int], int] = {}
        self.names_port = 0
        self._endpoints = endpoints
        self._turn: dict[tuple[str, int], int] = {}
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Opens a port for every Service, its own where that is free, and one for the proxy."""
        for service in self.services:
            for port in service.ports:
                self.ports[service.name, port] = await self._listen(partial(self._forward, service, port, b""), port)
        self.names_port = await self._listen(self._by_name, 0)

    async def close(self) -> None:
        """Closes everything that was opened, connections too."""
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self, handle: Handle, wanted_port: int) -> int:
        async def tracked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None, "asyncio starts a task for every connection"
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await handle(reader, writer)

        for port in (wanted_port, 0):
            with contextlib.suppress(OSError):
                # not reuse_port: a port that somebody else has is somebody else's
                server = await asyncio.start_server(tracked, LOOPBACK, port)
                self._servers.append(server)
                return server.sockets[0].getsockname()[1]
        raise OSError("no port is free on loopback")

    async def _by_name(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """`POST http://NAME:PORT/path HTTP/1.1`: to that Service; anything else is no Service."""
        try:
            line = await reader.readuntil(b"\n")
            url = urlsplit(line.split()[1].decode())
            service, port = service_names(self.services).get(url.hostname or ""), url.port or 80
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, IndexError, OSError):
            writer.close()
            return
        if service is None or port not in service.ports:
            writer.write(NOT_A_SERVICE)
            writer.close()
            return
        await self._forward(service, port, line, reader, writer)

    async def _forward(
        self, service: Service, port: int, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        there = await self._connect(service, port)
        if there is None:
            _reset(writer)
            return
        upstream_reader, upstream = there
        upstream.write(first)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, upstream))
                group.create_task(_pump(upstream_reader, writer))
        except* OSError:
            # one side is gone: so is the connection
            _reset(writer)
        finally:
            writer.close()
            upstream.close()

    async def _connect(self, service: Service, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        endpoints = self._endpoints(service, port)
        turn = self._turn.get((service.name, port), 0)
        self._turn[service.name, port] = turn + 1
        with contextlib.suppress(OSError):
            return await asyncio.open_connection(LOOPBACK, endpoints[turn % len(endpoints)]) if endpoints else None
        return None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction until its end, which is passed on."""
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        connection = writer.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
