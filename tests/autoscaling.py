"""An autoscaler and vLLM replicas on paper: what the rendered ScaledObject or HPA would do under a load.

The HPA is that of Kubernetes 1.36, pkg/controller/podautoscaler: replica_calculator.go (External metrics by average;
Pods metrics with what is said there of pending pods, of pods without metrics and of those that go; tolerance 0.1),
horizontal.go (the greatest of all metrics; none lowers the number while one is missing; stabilisation windows on both
sides of the present number; policies per period). KEDA hands its triggers to an HPA as External metrics by average, and
after enough failures says that as many replicas are wanted as there are (pkg/fallback/fallback.go).
Queries are not parsed: `KEDA` and `ADAPTER` say what each is worth, and `tests/stacks/test_scaling_queries.py` has
promtool compare that with the rendered PromQL. A replica is a fluid: requests in parts, no chance.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from planning.server.scaling import LEAST_TOKENS_PER_S

TICK_S = 15
SYNC_S = 15
TOLERANCE = 0.1
RATE_S, DAY_S, RESOLUTION_S = 300, 86400, 300
SHARE_AFTER_S = 60


@dataclass(frozen=True)
class Engine:
    """One model on one kind of replica.

    A request alone takes `alone_s`; with `r` of them each takes `alone_s × (1 + r / slows_at)`, and no more than
    `most_per_s` are done in a second. It has `tokens`, and takes `cache_share` of the KV cache while it runs.
    """

    sequences: int
    alone_s: float
    slows_at: float
    most_per_s: float
    cache_share: float
    tokens: float = 1000.0
    cold_start_s: int = 600
    init_s: int = 60

    @property
    def slots(self) -> float:
        """Requests that can run at once."""
        return min(self.sequences, 1 / self.cache_share)

    def done_per_s(self, running: float) -> float:
        """Requests finished per second with so many running."""
        return min(running / (self.alone_s * (1 + running / self.slows_at)), self.most_per_s) if running else 0.0

    def carries(self, share: float) -> float:
        """Requests per second of one replica that is so full."""
        return self.done_per_s(share * self.slots)


@dataclass
class Replica:
    """A pod; it reports once it is ready, and while it ends what it has begun."""

    born_s: float
    ready_s: float
    running: float = 0.0
    waiting: float = 0.0
    arriving: float = 0.0
    done: float = 0.0
    goes: bool = False
    tokens: list[float] = field(default_factory=list)

    def rate(self) -> float:
        """Tokens per second, over five minutes or since it is there."""
        window = self.tokens[-RATE_S // TICK_S - 1 :]
        return (window[-1] - window[0]) / ((len(window) - 1) * TICK_S) if len(window) > 1 else 0.0


@dataclass(frozen=True)
class Pod:
    """What is known of a pod at one moment. `share`, the fullest of its two limits; `pace`, in shares of the best."""

    waiting: float
    share: float
    pace: float


@dataclass(frozen=True)
class Seen:
    """What Prometheus and the API server know at one moment; `pods` that report, `going` of them are told to end."""

    wanted: int
    available: int
    pods: tuple[Pod, ...]
    going: tuple[bool, ...]
    pending: int
    silent: int


# What a query is worth, for all pods (KEDA) and for one (prometheus-adapter); `held` never exceeds what is there.
def held(seen: Seen, needed: float) -> float:
    """Replicas that must stay: those needed, and those ready that are not scraped."""
    return min(needed + max(0, seen.available - len(seen.pods)), seen.wanted)


KEDA: Mapping[str, Callable[[Seen], float | None]] = {
    "waiting": lambda seen: sum(pod.waiting for pod in seen.pods) if seen.pods else None,
    "full": lambda seen: sum(pod.share for pod in seen.pods) if seen.pods else None,
    "rest": lambda seen: held(seen, sum(pod.share for pod in seen.pods) / 0.5),
    "proven": lambda seen: held(seen, sum(pod.pace for pod in seen.pods) / 0.8),
}
ADAPTER: Mapping[str, Callable[[Pod], float]] = {
    "waiting": lambda pod: pod.waiting,
    "full": lambda pod: pod.share,
    "rest": lambda pod: min(pod.share / 0.5, 1),
    "proven": lambda pod: min(pod.pace / 0.8, 1),
}


def quantity(text: str) -> float:
    """A number as Kubernetes writes it."""
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


@dataclass(frozen=True)
class Autoscaler:
    """The rendered object, as far as the HPA controller reads it: (signal, target) pairs and the behaviour."""

    keda: bool
    least: int
    most: int
    metrics: tuple[tuple[str, float], ...]
    behavior: Mapping[str, Any]

    @staticmethod
    def read(body: Mapping[str, Any]) -> "Autoscaler":
        """From a rendered ScaledObject or HorizontalPodAutoscaler."""
        spec = body["spec"]
        if body["kind"] == "ScaledObject":
            asked = [(t["name"], float(t["metadata"]["threshold"])) for t in spec["triggers"] if t["name"] in KEDA]
            behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
            least = max(1, spec["minReplicaCount"])
            return Autoscaler(True, least, spec["maxReplicaCount"], tuple(asked), behavior)
        pods = [metric["pods"] for metric in spec["metrics"]]
        named = [pod["metric"]["name"].rpartition("_")[2] for pod in pods]
        targets = [quantity(pod["target"]["averageValue"]) for pod in pods]
        pairs = tuple(zip(named, targets, strict=True))
        return Autoscaler(False, spec["minReplicas"], spec["maxReplicas"], pairs, spec["behavior"])

    def without(self, *signals: str) -> "Autoscaler":
        """The same that does not look at some of them."""
        kept = tuple(pair for pair in self.metrics if pair[0] not in signals)
        return Autoscaler(self.keda, self.least, self.most, kept, self.behavior)

    def asks(self, seen: Seen) -> int | None:
        """The number before stabilisation; None: it cannot be computed, and nothing changes."""
        found = [
            self._external(KEDA[name](seen), target, seen.wanted) if self.keda else _pods(name, target, seen)
            for name, target in self.metrics
        ]
        known = [number for number in found if number is not None]
        if not known or (len(known) < len(found) and max(known) < seen.wanted):
            return None
        return min(max(*known, self.least), self.most)

    @staticmethod
    def _external(value: float | None, target: float, replicas: int) -> int | None:
        if value is None:
            return None
        if abs(1 - value / (target * replicas)) <= TOLERANCE:
            return replicas
        return ceil(round(value / target, 6))


def _pods(name: str, target: float, seen: Seen) -> int | None:
    """A Pods metric: pods that go are left out, those without metrics count against the change."""
    values = [ADAPTER[name](pod) for pod, goes in zip(seen.pods, seen.going, strict=True) if not goes]
    if not values:
        return None
    ready, ratio = len(values), sum(values) / len(values) / target
    counts_pending = seen.pending > 0 and ratio > 1
    if not counts_pending and not seen.silent:
        return seen.wanted if abs(1 - ratio) <= TOLERANCE else ceil(round(ratio * ready, 6))
    values += [target if ratio < 1 else 0.0] * seen.silent + ([0.0] * seen.pending if counts_pending else [])
    after = sum(values) / len(values) / target
    if abs(1 - after) <= TOLERANCE or (ratio < 1) != (after < 1):
        return seen.wanted
    return ceil(round(after * len(values), 6))


@dataclass
class Controller:
    """The state of the HPA controller between two looks."""

    autoscaler: Autoscaler
    recommended: list[tuple[float, int]] = field(default_factory=list)
    changes: list[tuple[float, int]] = field(default_factory=list)

    def decide(self, now: float, seen: Seen) -> int:
        """The number of replicas from now on."""
        asked = self.autoscaler.asks(seen)
        if asked is None:
            return seen.wanted
        up, down = self.autoscaler.behavior["scaleUp"], self.autoscaler.behavior["scaleDown"]
        recent = [*self.recommended, (now, asked)]
        lowest = min(n for at, n in recent if at > now - up["stabilizationWindowSeconds"] or at == now)
        highest = max(n for at, n in recent if at > now - down["stabilizationWindowSeconds"] or at == now)
        self.recommended = [(at, n) for at, n in recent if at > now - 3600]
        steady = min(max(seen.wanted, lowest), highest)
        if steady > seen.wanted:
            steady = min(steady, max(self._start(now, seen, up) + up["policies"][0]["value"], seen.wanted))
        elif steady < seen.wanted:
            steady = max(steady, min(self._start(now, seen, down) - down["policies"][0]["value"], seen.wanted))
        if steady != seen.wanted:
            self.changes.append((now, steady - seen.wanted))
        return steady

    def _start(self, now: float, seen: Seen, rules: Mapping[str, Any]) -> int:
        """Replicas at the start of the period of the one policy that is rendered."""
        (policy,) = rules["policies"]
        return seen.wanted - sum(change for at, change in self.changes if at > now - policy["periodSeconds"])


@dataclass(frozen=True)
class Run:
    """Every change as (second, replicas); at each look the requests that wait, and all that are there."""

    changes: tuple[tuple[float, int], ...]
    waiting: tuple[float, ...]
    inside: tuple[float, ...]
    replicas: int

    @property
    def last_change_s(self) -> float:
        """When the number last changed; 0 when it never did."""
        return self.changes[-1][0] if self.changes else 0.0

    def backlog_gone_s(self) -> float:
        """From when on no more requests are there than in the last hour."""
        most = max(self.inside[-3600 // SYNC_S :]) * 1.05
        piled = [index for index, inside in enumerate(self.inside) if inside > most]
        return (piled[-1] + 1) * SYNC_S if piled else 0.0


class Cluster:
    """One server under a load, request per second as a function of the second."""

    def __init__(self, engine: Engine, autoscaler: Autoscaler, replicas: int = 1) -> None:
        self.engine, self.controller = engine, Controller(autoscaler)
        self.replicas = [Replica(-1e6, -1e6) for _ in range(replicas)]
        self.best: list[tuple[float, float]] = []

    def play(
        self, load: Callable[[float], float], seconds: float, unseen: Callable[[float], str] = lambda _: ""
    ) -> Run:
        """Plays it. `unseen` says what is not to be had at a moment: `all` metrics, or of `one` pod, or nothing."""
        changes: list[tuple[float, int]] = []
        waiting: list[float] = []
        inside: list[float] = []
        for tick in range(int(seconds) // TICK_S):
            now = tick * TICK_S
            self._serve(now, load(now))
            if now % RESOLUTION_S == 0:
                self.best.append((now, max((r.rate() for r in self.replicas if r.ready_s <= now), default=0.0)))
            if now % SYNC_S == 0:
                waiting.append(sum(replica.waiting for replica in self.replicas))
                inside.append(sum(replica.waiting + replica.running for replica in self.replicas))
                number = self._look(now, unseen(now))
                if number != self._wanted():
                    self._scale(now, number)
                    changes.append((now, number))
        return Run(tuple(changes), tuple(waiting), tuple(inside), self._wanted())

    def _wanted(self) -> int:
        return sum(not replica.goes for replica in self.replicas)

    def _serve(self, now: float, arriving: float) -> None:
        takes = [r for r in self.replicas if r.ready_s <= now and not r.goes]
        known = [r for r in takes if r.ready_s + SHARE_AFTER_S <= now] or takes
        for replica in self.replicas:
            if replica.ready_s > now:
                continue
            replica.arriving = arriving / len(known) if replica in known else 0.0
            self._work(replica)
            replica.tokens.append(replica.done * self.engine.tokens)
        self.replicas = [r for r in self.replicas if not (r.goes and r.running + r.waiting < 1e-3)]

    def _work(self, replica: Replica) -> None:
        """One tick, in steps that are short beside a request."""
        engine, steps = self.engine, ceil(4 * TICK_S / self.engine.alone_s)
        step_s, running, waiting = TICK_S / steps, replica.running, replica.waiting
        for _ in range(steps):
            ended = min(engine.done_per_s(running) * step_s, running)
            waiting += replica.arriving * step_s
            moved = min(waiting, max(0.0, engine.slots - running + ended))
            running, waiting = running - ended + moved, waiting - moved
            replica.done += ended
        replica.running, replica.waiting = running, waiting

    def _look(self, now: float, unseen: str) -> int:
        engine = self.engine
        here = [r for r in self.replicas if r.ready_s <= now]
        best = max([LEAST_TOKENS_PER_S, *(rate for at, rate in self.best if at > now - DAY_S)])
        pods = [
            Pod(
                r.waiting,
                max((r.running + r.waiting) / engine.sequences, r.running * engine.cache_share),
                r.rate() / best,
            )
            for r in here
        ]
        if unseen == "all":
            return self._wanted()
        if unseen == "one" and len(pods) > 1:
            pods, here = pods[1:], here[1:]
        starting = [r for r in self.replicas if r.ready_s > now and not r.goes]
        pending = sum(now < r.born_s + engine.init_s for r in starting)
        available = sum(r.ready_s <= now and not r.goes for r in self.replicas)
        hidden = available - sum(not r.goes for r in here)
        seen = Seen(
            self._wanted(), available, tuple(pods), tuple(r.goes for r in here), pending,
            len(starting) - pending + hidden,
        )  # fmt: skip
        return self.controller.decide(now, seen)

    def _scale(self, now: float, number: int) -> None:
        """New pods start; of those there are, the ones that are not ready go first, then the youngest."""
        present = [r for r in self.replicas if not r.goes]
        for _ in range(number - len(present)):
            self.replicas.append(Replica(now, now + self.engine.cold_start_s))
        for replica in sorted(present, key=lambda r: (r.ready_s <= now, -r.born_s))[: max(0, len(present) - number)]:
            replica.goes = True
            if replica.ready_s > now:
                self.replicas.remove(replica)


def settled(run: Run, autoscaler: Autoscaler, engine: Engine) -> Sequence[str]:
    """What is not as it should be after a constant load; nothing when scaling came to rest in time."""
    up, down = autoscaler.behavior["scaleUp"], autoscaler.behavior["scaleDown"]
    steps = autoscaler.most * up["policies"][0]["periodSeconds"]
    patience = (
        max(run.backlog_gone_s(), engine.cold_start_s + up["stabilizationWindowSeconds"] + steps)
        + RATE_S
        + down["stabilizationWindowSeconds"]
        + steps
    )
    wrong = [] if run.last_change_s <= patience else [f"changed at {run.last_change_s:.0f} s, after {patience:.0f} s"]
    return [*wrong, *([f"{run.waiting[-1]:.1f} wait"] if run.waiting[-1] > 1e-6 else [])]
