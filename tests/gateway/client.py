"""A client of the gateway: says what came back, when, and never tries again."""

import http.client
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """What a request got. `lines`: (seconds after it was sent, line) of the body as it arrived."""

    status: int
    headers: dict[str, str]
    text: str
    lines: tuple[tuple[float, str], ...]
    took_s: float

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.text)

    @property
    def served_by(self) -> str | None:
        """The server that answered, as LiteLLM's header names it."""
        return self.headers.get("x-litellm-model-id")

    @property
    def error(self) -> str:
        """The message of an error."""
        error = self.json.get("error", "")
        return error.get("message", "") if isinstance(error, dict) else str(error)

    @property
    def events(self) -> list[Any]:
        """The data of a stream's events, decoded; `[DONE]` as it is."""
        found = [line.removeprefix("data: ") for _, line in self.lines if line.startswith("data: ")]
        return [text if text == "[DONE]" else json.loads(text) for text in found]

    @property
    def streamed(self) -> str:
        """The text of a stream of chat chunks."""
        chunks = [event for event in self.events if isinstance(event, dict)]
        return "".join(choice["delta"].get("content") or "" for event in chunks for choice in event.get("choices", []))


def request(
    url: str,
    path: str,
    body: Any = None,
    key: str | None = None,
    headers: dict[str, str] | None = None,
    timeout_s: float = 60,
    leave_after_s: float | None = None,
) -> Answer:
    """One request: POST with a body, which is JSON unless it is bytes; GET without.

    `leave_after_s`: hang up then; the status is 0 if nothing came.
    """
    start = time.monotonic()
    split = urlsplit(url)
    connection = http.client.HTTPConnection(split.hostname or "", split.port, timeout=leave_after_s or timeout_s)
    sent = {"content-type": "application/json", **(headers or {})}
    if key is not None:
        sent["authorization"] = f"Bearer {key}"
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request("GET" if data is None else "POST", path, data, sent)
        response = connection.getresponse()
        lines = []
        for raw in response:
            lines.append((time.monotonic() - start, raw.decode("utf-8", "replace").rstrip("\r\n")))
            if leave_after_s is not None and lines[-1][0] > leave_after_s:
                break
        text = "\n".join(line for _, line in lines)
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, text, tuple(lines), time.monotonic() - start)
    except TimeoutError:
        if leave_after_s is None:
            raise
        return Answer(0, {}, "", (), time.monotonic() - start)
    finally:
        connection.close()


def chat(url: str, model: str, key: str, text: str = "hello", **more: Any) -> Answer:
    """A chat request; `headers`, `timeout_s` and `leave_after_s` go to the client, the rest into the body."""
    ours = {name: more.pop(name) for name in ("headers", "timeout_s", "leave_after_s") if name in more}
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return request(url, "/v1/chat/completions", body, key, **ours)


def early_in_a_minute(takes_s: float) -> None:
    """Waits for the next one where so long does not fit into the rest of this one: LiteLLM counts by the clock's."""
    if time.time() % 60 > 60 - takes_s:
        time.sleep(60 - time.time() % 60)


def at_once(works: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """Runs all of them at the same time."""
    with ThreadPoolExecutor(len(works)) as pool:
        return [done.result() for done in [pool.submit(work) for work in works]]
