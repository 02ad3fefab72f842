"""A model without a replica: whoever asks for it is told so at once, or waits until its server answers.

LiteLLM loads this file from beside its configuration (`litellm_settings.callbacks`); `at_zero.json` beside this file
says which models, and how long. See docs/adr/0027.

A server is there when its Service takes a connection and what is behind it does not answer 502, 503 or 504 to a
question about its health; one that is slow to answer is there, and busy. It is asked once a second at most, however
many wait or ask.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from litellm.exceptions import ServiceUnavailableError  # pyright: ignore[reportMissingImports] - of the image
from litellm.integrations.custom_logger import CustomLogger  # pyright: ignore[reportMissingImports] - of the image
from litellm.proxy._types import ProxyException  # pyright: ignore[reportMissingImports] - of the image
from prometheus_client import Counter, Gauge  # pyright: ignore[reportMissingImports] - of the image

RULES: dict[str, Any] = json.loads(Path(__file__).with_name("at_zero.json").read_text(encoding="utf-8"))
# How long an answer about a server is believed, and how long it is waited for.
BELIEVED_S, CONNECTED_WITHIN_S, ANSWERED_WITHIN_S = 1.0, 3.0, 3.0
# What a server says whose engine has died, and a proxy in front of none.
NOBODY = (502, 503, 504)
# What LiteLLM notes of a request that it sends to a server (1.109.1, by either name).
OF_A_REQUEST = frozenset({"metadata", "litellm_metadata"})
ARRIVED = Counter("gateway_requests_at_zero", "Requests that came while no server was there", ["requested_model"])
HELD = Gauge("gateway_requests_held", "Requests that wait for a server", ["requested_model"])
# Model → when the request of this task is given up; tries of one request do not wait anew.
_until: ContextVar[dict[str, float]] = ContextVar("until")


class Server:
    """One server, by the URL of its health."""

    def __init__(self, url: str) -> None:
        self.url = urlsplit(url)
        self.there, self.asked_at = False, -BELIEVED_S
        self.asking: asyncio.Task[bool] | None = None

    async def is_there(self) -> bool:
        """Whether it takes requests; all who ask at the same time share one question."""
        if self.asking is None and time.monotonic() - self.asked_at < BELIEVED_S:
            return self.there
        if self.asking is None:
            self.asking = asyncio.create_task(self._ask())
        # who leaves does not take the question away from others
        return await asyncio.shield(self.asking)

    async def _ask(self) -> bool:
        try:
            self.there = await self._answers()
        finally:
            self.asked_at, self.asking = time.monotonic(), None
        return self.there

    async def _answers(self) -> bool:
        host, port = self.url.hostname, self.url.port or 80
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), CONNECTED_WITHIN_S)
        except (OSError, TimeoutError):
            return False
        try:
            writer.write(f"GET {self.url.path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
            line = await asyncio.wait_for(reader.readline(), ANSWERED_WITHIN_S)
            words = line.split()
            return len(words) > 1 and words[1].isdigit() and int(words[1]) not in NOBODY
        except TimeoutError:
            return True
        except (OSError, ValueError):
            return False
        finally:
            writer.close()


class AtZero(CustomLogger):
    """Called by LiteLLM before a request, and before each try of it."""

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, Any] = RULES["models"]
        self.servers = {name: Server(url) for rule in self.models.values() for name, url in rule["servers"].items()}
        self.held = 0

    async def async_pre_call_hook(self, *, data: Any, **_: object) -> Any:
        """Answers at once for a model whose requests do not wait; returns the request."""
        model = data.get("model")
        rule = self.models.get(model) if isinstance(model, str) else None
        if rule is None or rule["hold_s"] is not None or await self._there(rule["servers"]):
            return data
        ARRIVED.labels(model).inc()
        wait = {"retry-after": str(rule["start_s"])}
        raise ProxyException(message=_starts(model, rule), type="unavailable", param="model", code=503, headers=wait)

    async def async_filter_deployments(
        self, *, model: str, healthy_deployments: list[Any], request_kwargs: Any = None, **_: object
    ) -> list[Any]:
        """Servers of a model that are there, as soon as one is.

        Raises ServiceUnavailableError when none is in time, which leads to the fallbacks of the model.
        """
        # what only counts tokens looks for a server, too, and asks it nothing
        asks = not OF_A_REQUEST.isdisjoint(request_kwargs or ())
        rule = self.models.get(model) if asks else None
        by_name = {item["model_info"]["id"]: item for item in healthy_deployments}
        if rule is None or not by_name or not by_name.keys() <= rule["servers"].keys():
            return healthy_deployments
        there = await self._there(by_name) or await self._held(model, rule, by_name)
        return [by_name[name] for name in there]

    async def _there(self, names: Iterable[str]) -> list[str]:
        names = list(names)
        answers = await asyncio.gather(*(self.servers[name].is_there() for name in names))
        return [name for name, answer in zip(names, answers, strict=True) if answer]

    async def _held(self, model: str, rule: dict[str, Any], names: Iterable[str]) -> list[str]:
        """Waits until one of them is there."""
        limits = _until.get(None)
        if limits is None:
            _until.set(limits := {})
        if model not in limits:
            ARRIVED.labels(model).inc()
            limits[model] = time.monotonic() + (rule["hold_s"] or 0)
        if self.held >= RULES["most_held"]:
            limits[model] = 0
        with self._counted(model):
            while time.monotonic() < limits[model]:
                await asyncio.sleep(BELIEVED_S)
                if there := await self._there(names):
                    return there
        raise ServiceUnavailableError(message=_starts(model, rule), llm_provider="", model=model)

    @contextlib.contextmanager
    def _counted(self, model: str) -> Iterator[None]:
        """Who waits is counted until it has an answer, or its client has gone."""
        self.held += 1
        HELD.labels(model).inc()
        try:
            yield
        finally:
            self.held -= 1
            HELD.labels(model).dec()


def _starts(model: str, rule: dict[str, Any]) -> str:
    return f"{model} has no replica at the moment; one is there about {rule['start_s']} s after it is asked for"


at_zero = AtZero()
