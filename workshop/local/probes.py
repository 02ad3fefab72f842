"""The questions a kubelet asks, over HTTP or TCP. One answer each, within its timeout, never an exception."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from workshop.local.objects import Probe
from workshop.ports import LOOPBACK

# What comes of a question that nobody answers, or not in HTTP.
NO_ANSWER = (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


async def answer(probe: Probe, ports: Mapping[str, int]) -> bool:
    """Whether the container says yes. `ports`: name of a port, or its rendered number as text → port here."""
    try:
        async with asyncio.timeout(probe.timeout_s):
            return await ask(probe.handler, probe.detail, ports)
    except NO_ANSWER:
        return False


async def ask(handler: str, detail: Mapping[str, Any], ports: Mapping[str, int]) -> bool:
    """One question without a timeout; a preStop hook is asked the same way. Raises OSError where nobody listens."""
    port = ports[str(detail["port"])]
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        if handler == "tcpSocket":
            return True
        path = detail.get("path") or "/"
        headers = {"Host": f"{LOOPBACK}:{port}", "User-Agent": "kube-probe/local", "Connection": "close"}
        headers |= {header["name"]: header["value"] for header in detail.get("httpHeaders", [])}
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        await writer.drain()
        _, _, status = (await reader.readuntil(b"\r\n")).partition(b" ")
        # as the kubelet judges (pkg/probe/http, 1.36)
        return 200 <= int(status[:3]) < 400
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def until(probe: Probe, ports: Mapping[str, int], *, wanted_answer: bool, patient: bool = False) -> bool:
    """Asks until the answer was `wanted_answer` often enough: True; the other one: False, unless `patient`."""
    count = {True: 0, False: 0}
    enough = {True: probe.successes, False: probe.failures}
    due = time.monotonic()
    while True:
        good = await answer(probe, ports)
        count[good], count[not good] = count[good] + 1, 0
        if count[good] >= enough[good] and (good is wanted_answer or (wanted_answer and not patient)):
            return good is wanted_answer
        # from question to question, however late the answer; one that takes longer than a period is followed at once
        due = max(due + probe.period_s, time.monotonic())
        await asyncio.sleep(due - time.monotonic())


async def initial_delay(probe: Probe, begun: float) -> None:
    """Counted from the container's start, once, also behind a startup probe (pkg/kubelet/prober, 1.36)."""
    await asyncio.sleep(max(0, begun + probe.initial_delay_s - time.monotonic()))
