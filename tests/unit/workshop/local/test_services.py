"""Services on loopback: whose port, which pod, how connections end, and the proxy that knows names.

Runs real sockets. Does not prove how kube-proxy spreads load, which is at random there and in turn here.
"""

import asyncio
import contextlib
import socket
from contextlib import asynccontextmanager

import pytest

from tests.unit.workshop.local.pods import Loopback, in_loop, until
from workshop.local.objects import Service
from workshop.local.services import NOT_A_SERVICE, Router
from workshop.ports import free_ports


class Upstream(Loopback):
    """A pod of a few lines: says its name when a connection opens, then repeats what it gets, in order."""

    def __init__(self, name: str) -> None:
        self.name, self.heard, self.ended = name, b"", 0

    async def serve(self, reader, writer):
        """One connection, until its other side has said all."""
        with contextlib.suppress(OSError):
            writer.write(self.name.encode())
            while data := await reader.read(2**16):
                self.heard += data
                writer.write(data)
                await writer.drain()
            writer.write(b"!")
            writer.close()
        self.ended += 1


@asynccontextmanager
async def routing(endpoints, *services: Service):
    """A router in front of `endpoints` (Service name → ports), closed at the end."""
    router = Router(services or (service("app"),), lambda found, _port: endpoints.get(found.name, []))
    try:
        await router.open()
        yield router
    finally:
        await router.close()


def service(name: str, port: int = 0) -> Service:
    """A Service of a port nobody has."""
    return Service(name, "llm", {port or free_ports(1)[0]: "http"}, {"app": name})


def port_of(router: Router, name: str = "app") -> int:
    """Where it is on loopback."""
    return next(here for (service_name, _), here in router.ports.items() if service_name == name)


async def talk(port: int, text: bytes = b"") -> bytes:
    """Says `text` and that this is all, and returns the whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    writer.write_eof()
    try:
        return await reader.read()
    finally:
        writer.close()


# ---- ports -----------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_service_has_its_own_port_where_it_is_free():
    """Curl commands from a cluster's notes work here."""
    own = service("app")
    async with routing({}, own) as router:
        assert router.ports == {("app", next(iter(own.ports))): next(iter(own.ports))}


@in_loop
async def test_a_port_somebody_else_has_stays_theirs():
    """The Service gets another one, and the other program goes on answering."""
    async with Upstream("other") as other, Upstream("pod") as pod:
        async with routing({"app": [pod.port]}, service("app", other.port)) as router:
            here = port_of(router)
            assert (here != other.port, await talk(here), await talk(other.port)) == (True, b"pod!", b"other!")
        assert await talk(other.port) == b"other!"


@in_loop
async def test_two_services_of_one_port_have_two_ports():
    """The first has it, and both work."""
    port = free_ports(1)[0]
    async with Upstream("a") as a, Upstream("b") as b:
        endpoints = {"a": [a.port], "b": [b.port]}
        async with routing(endpoints, service("a", port), service("b", port)) as router:
            assert (port_of(router, "a"), await talk(port_of(router, "a")), await talk(port_of(router, "b"))) == (
                port,
                b"a!",
                b"b!",
            )


@in_loop
async def test_listeners_are_on_loopback_only():
    """Nobody else on the network reaches them."""
    async with routing({}) as router:
        hosts = {found.getsockname()[0] for server in router._servers for found in server.sockets}
        assert (hosts, len(router._servers)) == ({"127.0.0.1"}, 2)


@in_loop
async def test_closing_frees_ports_and_ends_connections():
    """A client that waits learns of it."""
    async with Upstream("pod") as pod:
        async with routing({"app": [pod.port]}) as router:
            here = port_of(router)
            reader, writer = await asyncio.open_connection("127.0.0.1", here)
            assert await reader.readexactly(3) == b"pod"
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", here)


# ---- connections -----------------------------------------------------------------------------------------------------


@in_loop
async def test_connections_go_to_ready_pods_in_turn():
    """One after the other; who leaves gets no more, who comes gets its share."""
    async with Upstream("a") as a, Upstream("b") as b:
        endpoints = {"app": [a.port, b.port]}
        async with routing(endpoints) as router:
            first = [await talk(port_of(router)) for _ in range(4)]
            endpoints["app"] = [b.port]
            second = [await talk(port_of(router)) for _ in range(2)]
            assert (sorted(first[:2]), first[:2] == first[2:], second) == ([b"a!", b"b!"], True, [b"b!", b"b!"])


@pytest.mark.parametrize("endpoints", [{}, {"app": [1]}], ids=["none", "gone"])
@in_loop
async def test_without_a_pod_a_connection_is_reset(endpoints):
    """An orderly end would look like an empty answer; also where a pod has died a moment ago."""
    async with routing(endpoints) as router:
        with pytest.raises(ConnectionResetError):
            assert await talk(port_of(router), b"GET / HTTP/1.1\r\n\r\n")


@in_loop
async def test_a_connection_stays_with_its_pod():
    """Though the pod leaves the Service meanwhile: what is under way is finished."""
    async with Upstream("a") as a:
        endpoints = {"app": [a.port]}
        async with routing(endpoints) as router:
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(router))
            assert await reader.readexactly(1) == b"a"
            endpoints["app"] = []
            writer.write(b"still here")
            assert await reader.readexactly(10) == b"still here"
            writer.close()


@in_loop
async def test_a_client_may_have_said_all_and_still_listen():
    """The end of one direction is passed on, and the other one goes on."""
    async with Upstream("pod ") as pod, routing({"app": [pod.port]}) as router:
        assert (await talk(port_of(router), b"question"), pod.heard) == (b"pod question!", b"question")


@in_loop
async def test_much_passes_unchanged_both_ways():
    """More than any buffer holds, byte for byte."""
    sent = bytes(range(256)) * 20_000
    async with Upstream("") as pod, routing({"app": [pod.port]}) as router:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(router))

        async def say() -> None:
            writer.write(sent)
            await writer.drain()
            writer.write_eof()

        saying = asyncio.create_task(say())
        assert (await reader.read(-1) == sent + b"!", pod.heard == sent) == (True, True)
        await saying
        writer.close()


@in_loop
async def test_a_client_that_breaks_off_ends_the_pods_side():
    """The pod learns that nobody listens any more, and nothing is left open."""
    async with Upstream("pod") as pod, routing({"app": [pod.port]}) as router:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(router))
        await reader.readexactly(3)
        writer.transport.abort()
        await until(lambda: pod.ended == 1 and not router._tasks)


@in_loop
async def test_a_pod_that_breaks_off_resets_the_client():
    """A half answer does not look like a whole one."""

    async def dies(_reader, writer):
        writer.write(b"half")
        await writer.drain()
        found = writer.get_extra_info("socket")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    server = await asyncio.start_server(dies, "127.0.0.1", 0)
    try:
        async with routing({"app": [server.sockets[0].getsockname()[1]]}) as router:
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(router))
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
    finally:
        server.close()


# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["b", "b.llm", "b.llm.svc", "b.llm.svc.cluster.local", "B.llm.svc"])
@in_loop
async def test_the_proxy_leads_to_the_service_that_is_named(name):
    """By each of its names; the request line and all that follows reach the pod as they are."""
    async with Upstream("a") as a, Upstream("b") as b:
        services = service("a", 8000), service("b", 8000)
        async with routing({"a": [a.port], "b": [b.port]}, *services) as router:
            request = f"POST http://{name}:8000/v1?x=1 HTTP/1.1\r\nHost: {name}\r\n\r\nbody".encode()
            assert (await talk(router.names_port, request), a.heard, b.heard) == (b"b" + request + b"!", b"", request)


@in_loop
async def test_a_url_without_a_port_means_port_80():
    """As HTTP has it."""
    async with Upstream("a") as a, routing({"a": [a.port]}, service("a", 80)) as router:
        assert (await talk(router.names_port, b"GET http://a/ HTTP/1.1\r\n\r\n")).startswith(b"aGET")


@pytest.mark.parametrize(
    "line",
    [
        b"GET http://other:8000/ HTTP/1.1",
        b"GET http://a:8001/ HTTP/1.1",
        b"GET http://a.other.svc:8000/ HTTP/1.1",
        b"GET / HTTP/1.1",
        b"CONNECT a:8000 HTTP/1.1",
    ],
)
@in_loop
async def test_the_proxy_knows_services_only(line):
    """Anything else is a bad gateway, and no pod hears of it."""
    async with Upstream("a") as a, routing({"a": [a.port]}, service("a", 8000)) as router:
        assert (await talk(router.names_port, line + b"\r\n\r\n"), a.heard) == (NOT_A_SERVICE, b"")


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"GET\n", b"no end", b"GET http://a:port/ HTTP/1.1\n", b"GET \xff\xfe x\n", b"x" * 2**17]
)
@in_loop
async def test_the_proxy_hangs_up_on_nonsense(line):
    """Without an answer, and without a trace of an error."""
    async with Upstream("a") as a, routing({"a": [a.port]}, service("a", 8000)) as router:
        try:
            answer = await talk(router.names_port, line)
        except ConnectionResetError:
            answer = b""
        assert (answer, a.heard) == (b"", b"")
        await until(lambda: not router._tasks)


@in_loop
async def test_the_proxy_resets_where_no_pod_is_ready():
    """As the Service itself does."""
    async with routing({}, service("a", 8000)) as router:
        with pytest.raises(ConnectionResetError):
            assert await talk(router.names_port, b"GET http://a:8000/ HTTP/1.1\r\n\r\n")
