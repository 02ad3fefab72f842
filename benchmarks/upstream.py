"""A server that costs next to nothing: `python -m benchmarks.upstream PORT` answers chats as vLLM does, at any pace.

The last message of a chat says how: `CHUNKS BETWEEN_MS`. A stream has so many chunks, so far apart; an answer that is
given whole comes at once. Bare protocols instead of asyncio's streams, so that a proxy is slower by two orders.
"""

import asyncio
import json
import sys

LOOPBACK = "127.0.0.1"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


def _chunk(body: dict[str, object]) -> bytes:
    line = f"data: {json.dumps(body)}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(line), line)


def _content(position: int, chunks: int) -> bytes:
    """A chunk of a stream as vLLM 0.33 writes it; each has other words, as a model's have."""
    delta = {"role": "assistant", "content": f"word{position} "}
    finished = "stop" if position == chunks - 1 else None
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finished, "token_ids": None}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "plain"}
    return _chunk({**head, "choices": [choice]})


def _usage(chunks: int) -> dict[str, int]:
    return {"prompt_tokens": 20, "completion_tokens": chunks, "total_tokens": 20 + chunks}


def _whole(body: object) -> bytes:
    data = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(data), data)


class Server(asyncio.Protocol):
    """One connection; requests on it come one after another."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.seen = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remembers where to write."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers each request that is complete."""
        self.seen += data
        end = self.seen.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self.seen[:end]).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(self.seen) < end + 4 + length:
            return
        body = bytes(self.seen[end + 4 : end + 4 + length])
        del self.seen[: end + 4 + length]
        self._answer(body)

    def _answer(self, raw: bytes) -> None:
        if not raw:
            self.transport.write(_whole({"object": "list", "data": [{"id": "plain", "object": "model"}]}))
            return
        body = json.loads(raw)
        words = str(body["messages"][-1]["content"]).split()
        chunks, between_s = int(words[0]), float(words[1]) / 1000
        if body.get("stream"):
            self.transport.write(HEAD)
            counted = (body.get("stream_options") or {}).get("include_usage")
            self._next(0, chunks, between_s, self.loop.time(), bool(counted))
            return
        message = {"role": "assistant", "content": "".join(f"word{position} " for position in range(chunks))}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "plain"}
        self.transport.write(_whole({**head, "choices": [choice], "usage": _usage(chunks)}))

    def _next(self, position: int, chunks: int, between_s: float, began: float, counted: bool) -> None:
        """Writes a chunk and plans the next, by the time the stream began, so that none drifts."""
        if self.transport.is_closing():
            return
        self.transport.write(_content(position, chunks))
        if position + 1 < chunks:
            at = began + (position + 1) * between_s
            self.loop.call_at(at, self._next, position + 1, chunks, between_s, began, counted)
            return
        if counted:
            head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "plain"}
            self.transport.write(_chunk({**head, "choices": [], "usage": _usage(chunks)}))
        self.transport.write(LAST)


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server(loop), LOOPBACK, port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
