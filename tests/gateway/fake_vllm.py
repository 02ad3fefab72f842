"""Servers that speak vLLM's OpenAI protocol and do what a test tells them: answer, refuse, hang, break off, dawdle.

One thread runs all of them. A test changes `server.behaviour` and reads `server.calls`. They hold no model: what they
prove is how the gateway treats a server, never what vLLM says. Forms of answers and errors: vLLM 0.33
(entrypoints/openai), as far as LiteLLM reads them.
"""

import asyncio
import itertools
import json
import math
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from tests.gateway import fake_anthropic

LOOPBACK = "127.0.0.1"
# Measured with Qwen's tokenizer on Chinese prose; four characters a token is the usual figure for English.
TOKENS_PER_WIDE_CHARACTER, TOKENS_PER_LATIN_CHARACTER = 0.44, 0.25
LATIN_END = 0x2E80
# How pydantic reads texts and numbers as a truth value (its docs, conversion table); none is vLLM's default, false.
_LAX = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True),
    **dict.fromkeys(("none", "0", "false", "f", "no", "n", "off"), False),
}
WORDS = tuple(f"word{position} " for position in range(8))


@dataclass(frozen=True)
class Behaviour:
    """What a server does with the next requests.

    `hangs`: before it sends headers, or after them, until the client goes. `resets`: closes the connection instead of
    answering. `cut_after`: closes it after so many chunks. Times in seconds; a whole answer takes as long as its
    stream. `context_tokens`: longest prompt plus answer, None for any. `dead`: its engine is, says its health.
    """

    status: int = 200
    message: str = "told to fail"
    hangs: Literal["before headers", "after headers"] | None = None
    resets: bool = False
    chunks: tuple[str, ...] = WORDS
    first_after_s: float = 0
    between_s: float = 0
    cut_after: int | None = None
    context_tokens: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    key: str | None = None
    dead: bool = False


@dataclass
class Call:
    """One request as it arrived. `connection` counts TCP connections of the server; `left`: the client went first."""

    path: str
    headers: dict[str, str]
    body: Any
    connection: int
    at: float
    ended: threading.Event = field(default_factory=threading.Event)
    left: bool = False


def tokens(text: str) -> int:
    """How many tokens the server counts in a text."""
    return math.ceil(
        sum(TOKENS_PER_LATIN_CHARACTER if ord(char) < LATIN_END else TOKENS_PER_WIDE_CHARACTER for char in text)
    )


def prompt_of(body: dict[str, Any]) -> str:
    """All text of a request."""
    if "messages" not in body:
        return str(body.get("prompt") or body.get("input") or body.get("query") or "")
    return "".join(str(message.get("content") or "") for message in body["messages"])


class Server:
    """One server on a port of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.behaviour = Behaviour()
        self.calls: list[Call] = []
        self.port = 0
        self.most_at_once = 0
        self._running = 0
        self._connections = itertools.count(1)
        self._open: set[asyncio.StreamWriter] = set()
        self._listening: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def asked(self) -> list[Call]:
        """Requests for answers, without those for lists of models and for its health."""
        return [call for call in self.calls if call.path not in ("/v1/models", "/health")]

    def forget(self) -> None:
        """As new: answers everything, remembers nothing."""
        self.behaviour = Behaviour()
        self.calls = []
        self.most_at_once = self._running

    async def listen(self) -> None:
        """Starts, on the port it had before if it had one."""
        self._listening = await asyncio.start_server(self._serve, LOOPBACK, self.port, limit=2**25, backlog=512)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuses connections, and breaks those that are open."""
        if self._listening:
            self._listening.close()
        for writer in list(self._open):
            _break(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(self._connections)
        self._open.add(writer)
        try:
            while await self._one(reader, writer, number):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        body = json.loads(raw) if raw[:1] in (b"{", b"[") else {"form": raw.decode("utf-8", "replace")}
        call = Call(first.split()[1], headers, body, number, time.monotonic())
        self.calls.append(call)
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        answering = asyncio.create_task(self._answer(call, writer))
        leaving = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                call.left = True
                return False
            return answering.result()
        finally:
            self._running -= 1
            call.ended.set()
            for task in (answering, leaving):
                task.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)

    async def _answer(self, call: Call, writer: asyncio.StreamWriter) -> bool:
        how = self.behaviour
        if call.path in ("/health", "/v1/models"):
            models = {"object": "list", "data": [{"id": self.name, "object": "model"}]}
            return await _whole(writer, 503 if how.dead else 200, models)
        if how.hangs == "before headers":
            await asyncio.Event().wait()
        if how.resets:
            _break(writer)
            return False
        if how.key and how.key not in (call.headers.get("authorization", "")[7:], call.headers.get("x-api-key")):
            return await _whole(writer, 401, {"error": "Unauthorized"})
        unread = "stream: Input should be a valid boolean" if _streams(call.body) is None else ""
        refusal = (how.status, how.message) if how.status != 200 else (400, unread or _too_long(call.body, how))
        if refusal[1]:
            return await _whole(writer, refusal[0], _error(*refusal))
        if _streams(call.body):
            return await self._stream(call, writer, how)
        await asyncio.sleep(how.first_after_s + how.between_s * len(how.chunks))
        return await _whole(writer, 200, _completion(call, how))

    async def _stream(self, call: Call, writer: asyncio.StreamWriter, how: Behaviour) -> bool:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        await writer.drain()
        if how.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(how.first_after_s)
        if call.path == fake_anthropic.PATH:
            usage = _usage(call, how)
            for event in fake_anthropic.events(call.body["model"], how.chunks, *list(usage.values())[:2]):
                await _event(writer, event)
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            return True
        for position, text in enumerate(how.chunks):
            if position == how.cut_after:
                _break(writer)
                return False
            await _event(writer, _chunk(call, text, last=position == len(how.chunks) - 1))
            if how.between_s:
                await asyncio.sleep(how.between_s)
        if call.path.endswith("/responses"):
            await _event(
                writer, {"type": "response.completed", "sequence_number": 0, "response": _completion(call, how)}
            )
        elif (call.body.get("stream_options") or {}).get("include_usage"):
            await _event(writer, {**_chunk(call, None, last=False), "choices": [], "usage": _usage(call, how)})
        await _event(writer, "[DONE]")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


def _break(writer: asyncio.StreamWriter) -> None:
    """Closes with a reset, as a killed process' host does."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _whole(writer: asyncio.StreamWriter, status: int, body: object) -> bool:
    data = json.dumps(body).encode()
    writer.write(
        f"HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n".encode()
    )
    writer.write(data)
    await writer.drain()
    return True


async def _event(writer: asyncio.StreamWriter, data: object) -> None:
    line = f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()
    writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
    await writer.drain()


def _error(status: int, message: str) -> dict[str, Any]:
    kind = "BadRequestError" if status == 400 else "InternalServerError"
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


def _streams(body: dict[str, Any]) -> bool | None:
    """What vLLM's parser (pydantic, lax) takes `stream` for; None for what it refuses."""
    value = body.get("stream")
    return _LAX.get(str(value).lower())


def _too_long(body: dict[str, Any], how: Behaviour) -> str:
    """A refusal of a prompt that leaves no room for the answer, in vLLM's own words (renderers/params.py, 0.33)."""
    if how.context_tokens is None:
        return ""
    asked, room = tokens(prompt_of(body)), body.get("max_completion_tokens") or body.get("max_tokens") or 1
    if asked + room <= how.context_tokens:
        return ""
    return (
        f"This model's maximum context length is {how.context_tokens} tokens. However, you requested {room} output "
        f"tokens and your prompt contains {asked} input tokens, for a total of {asked + room} tokens. Please reduce "
        "the length of the input prompt or the number of requested output tokens."
    )


def _usage(call: Call, how: Behaviour) -> dict[str, int]:
    read = how.prompt_tokens if how.prompt_tokens is not None else tokens(prompt_of(call.body))
    wrote = how.completion_tokens if how.completion_tokens is not None else len(how.chunks)
    return {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote}


def _common(call: Call, kind: str) -> dict[str, Any]:
    return {"id": f"id-{id(call)}", "object": kind, "created": 1, "model": call.body.get("model", "")}


def _chunk(call: Call, text: str | None, *, last: bool) -> dict[str, Any]:
    reason = "stop" if last else None
    if call.path.endswith("/chat/completions"):
        choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": reason}
        return {**_common(call, "chat.completion.chunk"), "choices": [choice]}
    if call.path.endswith("/responses"):
        place = {"item_id": "m", "output_index": 0, "content_index": 0, "sequence_number": 0}
        return {"type": "response.output_text.delta", "delta": text, **place}
    return {**_common(call, "text_completion"), "choices": [{"index": 0, "text": text, "finish_reason": reason}]}


def _completion(call: Call, how: Behaviour) -> dict[str, Any]:
    text, usage = "".join(how.chunks), _usage(call, how)
    match call.path.removeprefix("/v1/"):
        case "chat/completions":
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            return {**_common(call, "chat.completion"), "choices": [choice], "usage": usage}
        case "responses":
            said = [{"type": "output_text", "text": text, "annotations": []}]
            output = [{"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": said}]
            counts = {"input_tokens": usage["prompt_tokens"], "output_tokens": usage["completion_tokens"]}
            counts["total_tokens"] = usage["total_tokens"]
            return {
                **_common(call, "response"),
                "created_at": 1,
                "status": "completed",
                "output": output,
                "parallel_tool_calls": True,
                "tool_choice": "auto",
                "tools": [],
                "usage": counts,
            }
        case "messages":
            return fake_anthropic.message(call.body["model"], how.chunks, usage["prompt_tokens"], len(how.chunks))
        case "rerank" | "audio/transcriptions" | "embeddings":
            return _unwritten(call, text, usage)
        case _:
            choice = {"index": 0, "text": text, "finish_reason": "stop"}
            return {**_common(call, "text_completion"), "choices": [choice], "usage": usage}


def _unwritten(call: Call, text: str, usage: dict[str, int]) -> dict[str, Any]:
    """Answers that are no continuation of a text."""
    match call.path.removeprefix("/v1/"):
        case "rerank":
            results = [{"index": 0, "document": {"text": "x"}, "relevance_score": 0.9}]
            return {**_common(call, "list"), "results": results, "usage": usage}
        case "audio/transcriptions":
            return {"text": text, "usage": {"type": "duration", "seconds": 1}}
        case _:
            data = [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]
            return {**_common(call, "list"), "data": data, "usage": usage}


class Endpoint(Protocol):
    """What listens somewhere."""

    @property
    def url(self) -> str:
        """Where it listens."""
        ...


class Balancer:
    """What kube-proxy does for a Service: each new TCP connection goes to one of its endpoints, in turn.

    `port`: 0 for any that is free.
    """

    def __init__(self, endpoints: Sequence[Endpoint], port: int = 0) -> None:
        self.endpoints: Sequence[Endpoint] = endpoints
        self.port = port
        self._turn = itertools.count()

    async def listen(self) -> None:
        """Starts."""
        server = await asyncio.start_server(self._serve, LOOPBACK, self.port, backlog=512)
        self.port = server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chosen = urlsplit(self.endpoints[next(self._turn) % len(self.endpoints)].url)
        try:
            there_reader, there_writer = await asyncio.open_connection(chosen.hostname, chosen.port)
        except OSError:
            _break(writer)
            return
        await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


class Fakes:
    """All fake servers of a session, in one thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.servers: dict[str, Server] = {}
        self.services: dict[str, Balancer] = {}
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Runs something in their thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def server(self, name: str) -> Server:
        """The server of this name; made when it is first asked for."""
        if name not in self.servers:
            self.servers[name] = Server(name)
            self.do(self.servers[name].listen())
        return self.servers[name]

    def service(self, name: str) -> Balancer:
        """The Service of this name, before a server of its own until a test says otherwise."""
        if name not in self.services:
            self.services[name] = self.balancer(self.server(name))
        return self.services[name]

    def balancer(self, *endpoints: Endpoint) -> Balancer:
        """A Service of these endpoints."""
        balancer = Balancer(endpoints)
        self.do(balancer.listen())
        return balancer

    def forget(self) -> None:
        """All as new; those that were stopped listen again."""
        for server in self.servers.values():
            self.do(server.stop())
            self.do(server.listen())
            server.forget()

    def close(self) -> None:
        """Ends the thread."""
        for server in self.servers.values():
            self.do(server.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Waits until a condition holds, at most so long."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)
