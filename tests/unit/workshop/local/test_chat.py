"""The small OpenAI client: answers, streams, loads, and servers that do not behave.

Does not prove that LiteLLM and vLLM answer like this; tests/local asks the real ones.
"""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from workshop.local.chat import LOAD_STREAMS, OVERHEAD_PAIRS, Answer, Endpoint, chat, load, request, stream
from workshop.ports import free_ports

HELLO = {"choices": [{"message": {"content": "Hello"}}], "usage": {"completion_tokens": 1}}


def events(*deltas: dict, done: bool = True, usage: int = 2) -> bytes:
    """A streamed answer as it comes over the wire."""
    found: list[dict] = [{"choices": [{"delta": delta, "finish_reason": None}]} for delta in deltas]
    found.append({"choices": [{"delta": {}, "finish_reason": "length"}]})
    found.append({"choices": [], "usage": {"completion_tokens": usage}})
    lines = [f"data: {json.dumps(event)}\n\n" for event in found]
    return "".join([": keep-alive\n\n", *lines, "data: [DONE]\n\n" if done else ""]).encode()


@contextmanager
def answering(reply: bytes = b"", status: int = 200, promised: int | None = None):
    """A server that answers everything alike: (endpoint, what it was asked). `promised`: the length it announces."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            asked.append((self.command, self.path, self.headers["Authorization"], json.loads(body or b"null")))
            wanted = asked[-1][3] or {}
            text = reply or (events({"content": "Hi"}) if wanted.get("stream") else json.dumps(HELLO).encode())
            self.send_response(status)
            self.send_header("Content-Length", str(len(text) if promised is None else promised))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST  # noqa: N815 - the name the server looks for

        def log_request(self, code=0, size=0):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield Endpoint(server.server_port, "sk-1"), asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# ---- one answer ------------------------------------------------------------------------------------------------------


def test_a_question_is_asked_with_its_key_and_options():
    """To the chat endpoint, at temperature 0 unless told otherwise."""
    with answering() as (endpoint, asked):
        assert chat(endpoint, "small", "Hi", max_tokens=8) == Answer(200, "Hello", HELLO)
        chat(endpoint, "small", "Hi", temperature=1)
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
    assert asked == [
        ("POST", "/v1/chat/completions", "Bearer sk-1", {**body, "temperature": 0, "max_tokens": 8}),
        ("POST", "/v1/chat/completions", "Bearer sk-1", {**body, "temperature": 1}),
    ]


@pytest.mark.parametrize(
    ("status", "reply", "text"),
    [
        (429, b'{"error": {"message": "slow down"}}', '{"error": {"message": "slow down"}}'),
        (500, b"oops", "oops"),
        (200, b'{"choices": []}', '{"choices": []}'),
        (200, b"[]", "[]"),
        (200, b"\xff", "\ufffd"),
    ],
)
def test_what_is_no_answer_is_shown_as_it_came(status, reply, text):
    """With its status, so that a person can read what the server said."""
    with answering(reply, status) as (endpoint, _):
        assert chat(endpoint, "small", "Hi") == Answer(status, text, {})


def test_an_answer_without_words_is_empty():
    """A model may have thought only."""
    body = {"choices": [{"message": {"content": None}}]}
    with answering(json.dumps(body).encode()) as (endpoint, _):
        assert chat(endpoint, "small", "Hi") == Answer(200, "", body)


def test_a_request_without_a_body_has_none():
    """A plain GET of any path."""
    with answering(b"ok") as (endpoint, asked):
        assert (request(endpoint, "GET", "/health"), asked) == (
            (200, "ok"),
            [("GET", "/health", "Bearer sk-1", None)],
        )


def test_nobody_and_half_an_answer_are_errors_of_the_connection():
    """OSError, whichever it is, so that one except is enough."""
    with pytest.raises(ConnectionRefusedError):
        chat(Endpoint(free_ports(1)[0], ""), "small", "Hi")
    with answering(b"half", promised=99) as (endpoint, _), pytest.raises(ConnectionError) as caught:
        chat(endpoint, "small", "Hi")
    assert str(caught.value) == "the answer broke off: IncompleteRead(4 bytes read, 95 more expected)"


# ---- a stream --------------------------------------------------------------------------------------------------------


def test_a_stream_is_read_to_its_end():
    """Words of every kind, tokens, reason and times."""
    deltas = ({"role": "assistant"}, {"reasoning_content": "Hm. "}, {"reasoning": "So. "}, {"content": "Hi"})
    with answering(events(*deltas, usage=7)) as (endpoint, asked):
        found = stream(endpoint, "small", "Hi", max_tokens=2)
    assert (found.status, found.text, found.tokens, found.finish_reason) == (200, "Hm. So. Hi", 7, "length")
    assert 0 < found.first_token_s <= found.total_s
    assert asked[0][3] == {
        "model": "small",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 2,
    }


def test_a_refused_stream_is_an_answer():
    """With its status and its words."""
    with answering(b"no", 401) as (endpoint, _):
        found = stream(endpoint, "small", "Hi")
    assert (found.status, found.text, found.tokens, found.finish_reason) == (401, "no", 0, None)


@pytest.mark.parametrize(
    ("reply", "promised", "said"),
    [
        (events({"content": "Hi"}, done=False), None, "the stream ended without [DONE]"),
        (b'data: {"choices": [{"delta"', None, "the stream ended without [DONE]"),
        (b"", 0, "the stream ended without [DONE]"),
        (events({"content": "Hi"}, done=False), 10**6, "the stream ended without [DONE]"),
    ],
    ids=["no end", "cut", "empty", "broken off"],
)
def test_a_stream_that_breaks_off_is_no_answer(reply, promised, said):
    """Wherever it does, in the middle of an event too."""
    with answering(reply or b"\n", promised=promised) as (endpoint, _), pytest.raises(ConnectionError) as caught:
        stream(endpoint, "small", "Hi")
    assert str(caught.value) == said


# ---- a load ----------------------------------------------------------------------------------------------------------


def test_a_load_asks_alone_together_and_in_pairs():
    """Four different prompts at once, then one token in turn with and without the gateway."""
    with answering() as (gateway, through), answering() as (server, direct):
        found = load(gateway, server, "small", "small")
    streams = [body for *_, body in through if body.get("stream")]
    prompts = [body["messages"][0]["content"] for body in streams]
    assert (len(streams), len(set(prompts[1:])), found.streams) == (1 + LOAD_STREAMS, LOAD_STREAMS, LOAD_STREAMS)
    assert {(body["max_tokens"], body["ignore_eos"]) for body in streams} == {(32, True)}
    assert (len(through) - len(streams), len(direct)) == (OVERHEAD_PAIRS, OVERHEAD_PAIRS)
    assert {body["max_tokens"] for *_, body in direct} == {1}
    assert min(found.alone_tokens_per_s, found.together_tokens_per_s, found.first_token_s, found.direct_ms) > 0
    assert found.first_token_s <= found.slowest_first_token_s


def test_a_load_that_is_refused_is_an_error():
    """With what was said, instead of figures of nothing."""
    with answering(b"slow down", 429) as (gateway, _), pytest.raises(ConnectionError) as caught:
        load(gateway, gateway, "small", "small")
    assert str(caught.value) == "the answer was 429: slow down"
