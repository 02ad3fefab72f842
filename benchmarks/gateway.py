"""The gateway's CPU and delay per request, beside a server alone, nginx and vllm-router: `make benchmark`.

Measured are the rendered LiteLLM with all its processes, before a server that costs nothing, busy for about the share
that the planner sizes it for, with streams at the pace of a server. Its costs are compared with those of the catalogue,
which are of another machine, by the time of a fixed piece of work on both; then the planner's sum of a mixed load with
the cores that this load took. Exit 1 when either is off by more than `LIMIT`. The program comes from PyPI, and Prisma's
engine is WebAssembly (tests/gateway/database.py), so that a database costs less in its image than here.
"""

import asyncio
import copy
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from benchmarks.load import Client, Kind, Sample, Target
from benchmarks.targets import Subject, subjects
from catalog import load_catalog
from catalog.engine import CpuCost, CpuCosts
from planning.gateway.capacity import plan_size
from planning.stack.gateway_cpu import costs
from settings.schema import GatewaySettings

# Of a cost, and of the planner's sum, to what is measured here.
LIMIT = 0.30
ROUNDS = 2
CHAT, SHORT = Kind(8, streamed=False), Kind(8, streamed=True, between_ms=40)
LONG = Kind(64, streamed=True, between_ms=40)
# Requests per second and seconds: a worker that is about half busy, and for those that cost next to nothing enough to
# be seen by a clock of ten milliseconds.
HEAVY = ((CHAT, 25, 4), (SHORT, 10, 4), (LONG, 7, 4))
LIGHT = ((CHAT, 250, 2), (SHORT, 60, 2), (LONG, 40, 2))
# Chats, and streams of a usual length and pace: a load that nothing above has been.
MIX, MIX_S = ((CHAT, 8), (Kind(100, streamed=True, between_ms=25), 3)), 8
ALONE = 30
# A gateway that has started, and is not busy with itself any more.
SETTLE_S, QUIET_CORES = 40, 0.03
# A chat's request and answer with the numbers and names that proxies put around them.
WORK = {
    f"field_{number}": {"role": "user", "content": "words " * 20, "numbers": list(range(10)), "none": None}
    for number in range(40)
}


def loop_s() -> float:
    """CPU seconds of a fixed piece of work of the kind that proxies in Python do; the median of five."""
    taken = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(400):
            copy.deepcopy(json.loads(json.dumps(WORK)))
        taken.append(time.process_time() - start)
    return median(taken)


@dataclass(frozen=True)
class Delay:
    """Milliseconds that a client waits which asks alone: for answers given whole, and for the first of a stream."""

    p50_ms: float
    p95_ms: float
    first_ms: float


@dataclass(frozen=True)
class Outcome:
    """Costs and delays of one subject; `failed` requests of `asked`."""

    name: str
    cost: CpuCost | None
    delay: Delay
    asked: int
    failed: int


def fitted(chat_ms: float, short_ms: float, long_ms: float) -> CpuCost:
    """Costs from those of a chat, of a short and of a long stream: what chunks add, and what is left without them."""
    chunk_ms = max(1e-4, (long_ms - short_ms) / (LONG.chunks - SHORT.chunks))
    return CpuCost(chat_ms=chat_ms, stream_ms=max(1e-4, short_ms - SHORT.chunks * chunk_ms), chunk_ms=chunk_ms)


def requests(cost: CpuCost) -> Mapping[str, float]:
    """Milliseconds of whole requests: what is left of a stream without its chunks says little of any by itself."""
    streams = {f"a stream of {kind.chunks}": cost.stream_ms + kind.chunks * cost.chunk_ms for kind in (SHORT, LONG)}
    return {"a chat": cost.chat_ms, **streams}


def deviations(measured: CpuCost, known: CpuCost, speed: float) -> Mapping[str, float]:
    """Request → share by which the catalogue's cost times `speed`, the time this machine takes, is off."""
    taken = requests(measured)
    return {name: planned_ms * speed / taken[name] - 1 for name, planned_ms in requests(known).items()}


def planned_cores(known: CpuCosts, *, database: bool) -> float:
    """The planner's sum for the mixed load, in cores of the machine that the catalogue's costs are of."""
    chats, streams = (rate for _, rate in MIX)
    tokens = streams * MIX[1][0].chunks
    capacity = {"chatsPerSecond": chats, "streamsPerSecond": streams, "streamedTokensPerSecond": tokens}
    kept = {"database": {"existingSecret": "any"}} if database else {}
    return plan_size(GatewaySettings.model_validate({"capacity": capacity, **kept}), [], known).cores


def faults(name: str, off: Mapping[str, float]) -> list[str]:
    """Whatever is off by more than the limit."""
    return [f"{name}: {part} is off by {share:+.0%}" for part, share in off.items() if abs(share) > LIMIT]


async def _loaded(
    subject: Subject, client: Client, rates: Sequence[tuple[Kind, float]], seconds: float
) -> tuple[float, list[Sample]]:
    """(CPU seconds that a load took until its last request had ended, its samples)."""
    before = subject.cpu_s()
    samples = await client.at_rates(rates, seconds)
    return subject.cpu_s() - before, samples


async def settled(subject: Subject) -> None:
    """Waits until what a start does in the background is over."""
    end = time.monotonic() + SETTLE_S
    while time.monotonic() < end:
        before = subject.cpu_s()
        await asyncio.sleep(1)
        if subject.cpu_s() - before < QUIET_CORES:
            return


async def measure(subject: Subject) -> Outcome:
    """All of one subject."""
    client = Client(Target(subject.url, subject.key))
    samples = await client.one_by_one(CHAT, 10) + await client.one_by_one(SHORT, 3)
    alone = await client.one_by_one(CHAT, ALONE)
    first = await client.one_by_one(SHORT, ALONE // 3)
    taken: dict[Kind, list[float]] = {}
    for kind, rate, seconds in HEAVY * ROUNDS if subject.heavy else LIGHT:
        spent_s, more = await _loaded(subject, client, [(kind, rate)], seconds)
        taken.setdefault(kind, []).append(1000 * spent_s / len(more))
        samples += more
    client.close()
    cost = fitted(*(median(taken[kind]) for kind in (CHAT, SHORT, LONG))) if subject.counted else None
    samples += alone + first
    delay = Delay(
        1000 * median(sample.total_s for sample in alone),
        1000 * quantiles([sample.total_s for sample in alone], n=20)[-1],
        1000 * median(sample.first_s for sample in first),
    )
    return Outcome(subject.name, cost, delay, len(samples), sum(not sample.ok for sample in samples))


async def mixed_cores(subject: Subject) -> tuple[float, int]:
    """(cores that the mixed load takes while it lasts, failed requests)."""
    client = Client(Target(subject.url, subject.key))
    # the last streams end later than the load does, and what they take belongs to it
    spent_s, samples = await _loaded(subject, client, MIX, MIX_S)
    client.close()
    return spent_s / MIX_S, sum(not sample.ok for sample in samples)


def _row(outcome: Outcome) -> str:
    cost, delay = outcome.cost, outcome.delay
    parts = [f"{getattr(cost, part):9.3f}" if cost else f"{'–':>9}" for part in CpuCost.model_fields]
    waits = f"{delay.p50_ms:8.1f} {delay.p95_ms:8.1f} {delay.first_ms:8.1f}"
    failed = f"  {outcome.failed} of {outcome.asked} FAILED" if outcome.failed else ""
    return f"{outcome.name:<33}{' '.join(parts)}   {waits}{failed}"


def compared(subject: Subject, cost: CpuCost, mixed: float, known: CpuCosts, speed: float) -> tuple[str, list[str]]:
    """(lines, faults) of the gateway: its costs and its sum beside those of the catalogue."""
    off = deviations(cost, known.database if subject.database else known.plain, speed)
    planned = planned_cores(known, database=subject.database) * speed
    summed = planned / mixed - 1
    shares = ", ".join(f"{name} {share:+.0%}" for name, share in off.items())
    own = ", ".join(f"{part.removesuffix('_ms')}: {value:.2f}" for part, value in cost.model_dump().items())
    lines = (
        f"{subject.name}: the catalogue's costs × {speed:.2f} against those measured: {shares}\n"
        f"{subject.name}: planned {planned:.2f} cores for a mixed load, which took {mixed:.2f} ({summed:+.0%})\n"
        f"{subject.name}: of this machine is gateway.capacity.cpuMs: {{{own}}}"
    )
    return lines, faults(subject.name, {**off, "the sum of a mixed load": summed})


async def run(started: Sequence[Subject]) -> int:
    """Measures, prints, and returns the exit code."""
    known, wrong, lines, work_s = costs(load_catalog()), [], [], [loop_s()]
    print(f"{'CPU in ms, delays in ms':<33}{'chat':>9} {'stream':>9} {'chunk':>9}   {'p50':>8} {'p95':>8} {'first':>8}")
    for subject in started:
        await settled(subject)
        outcome = await measure(subject)
        print(_row(outcome), flush=True)
        work_s.append(loop_s())
        failed = outcome.failed
        if subject.heavy and outcome.cost is not None:
            mixed, more = await mixed_cores(subject)
            text, off = compared(subject, outcome.cost, mixed, known, sum(work_s[-2:]) / 2 / known.loop_s)
            lines.append(text)
            wrong += off
            failed += more
        wrong += [f"{subject.name}: {failed} requests failed"] if failed else []
    speed = median(work_s) / known.loop_s
    print(f"this machine takes {speed:.2f} times as long as that of {known.measured} ({median(work_s):.4f} s)")
    print("\n".join([*lines, *(f"MISSED: {fault}" for fault in wrong)]))
    return 1 if wrong else 0


def main() -> int:
    """All that is here; what is not is said."""
    with subjects() as (started, skipped):
        for line in skipped:
            print(f"gateway: not measured: {line}")
        return asyncio.run(run(started)) if any(subject.heavy for subject in started) else 0


if __name__ == "__main__":
    sys.exit(main())
