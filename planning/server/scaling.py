"""Rules for adding and removing replicas: by their work, never by GPU utilisation, and so that scaling rests.

Signals up: requests wait, or the sequences or the KV cache of the replicas are nearly full. A replica goes only when
the rest carries what runs: it would be at most half full, and has shown within a day that it can work that fast. The
second is needed where compute is the limit: there requests pile up within a few per cent of load, and one replica more
has them gone at once, so that their number does not say whether one fewer would do.
`tests/unit/planning/server/test_scaling_rests.py` plays the autoscalers on what is rendered.

At zero pods no `vllm:` series exists: what wakes a server is counted at the gateway. A zero in a query comes from
somebody who counts (`planning.observe.watched`); what is not scraped is an error to KEDA and to the HPA, which then
hold still.
"""

from collections.abc import Iterable, Mapping, Sequence

from catalog.engine import Engine
from catalog.load import Catalog
from planning.observe.promql import any_of, series
from planning.observe.watched import available, desired_replicas, gateway_up, reporting
from planning.plan.scaling import CronFloor, Scaling, Signal, Watched
from planning.plan.servers import ServerPlan, Timing
from planning.stack.at_zero import at_zero, to_zero
from settings.problems import Problem
from settings.schema import ModelSettings, StackSettings

WAKE_WINDOW = "2m"
# Prometheus being away must not take servers away: after a minute without it what runs stays, and one runs at least.
POLL_S, BLIND_POLLS = 15, 4
# Share of its sequences, or of its KV cache, above which a replica needs another; with the HPA's tolerance of a tenth
# it comes at 0.88, before requests wait.
FULL_SHARE = 0.8
# How full the rest may be after a replica has gone.
REST_SHARE = 0.5
# Share of the best rate of a day that the rest may have to keep up.
PROVEN_SHARE = 0.8
PROVEN_WINDOW, RATE_WINDOW = "1d:5m", "5m"
# What any replica can do: one request at the slowest decode a person still accepts (planning.stack.timing).
LEAST_TOKENS_PER_S = 20
# A new replica has its share of the requests after a minute, and is seen by scrape and autoscaler 15 s later each.
SHORTEST_QUIET_S = 90
# What prometheus-adapter puts in place of the pods it asks for (its docs/config.md).
ASKED_PODS = "<<.LabelMatchers>>"
# What the gateway says of requests that find no server (components/pod_scripts/gateway_at_zero.py).
CAME, WAIT = "gateway_requests_at_zero_total", "gateway_requests_held"
# Of the query that wakes the first replica: no counter reaches it, so a second is never asked for.
NEVER_A_SECOND = "1000000"


class Query:
    """The queries of one server, for all its pods, or per pod as prometheus-adapter asks (`by_adapter`)."""

    def __init__(self, catalog: Catalog, watched: Watched, *, by_adapter: bool = False) -> None:
        self.catalog, self.watched, self.by_adapter = catalog, watched, by_adapter

    def _of(self, role: str, *, suffix: str = "", window: str = "", ever: bool = False) -> str:
        """A series of the server's pods, by what it says; `ever`: also of those that have gone."""
        where = {"namespace": self.watched.namespace, "pod": self.watched.pods}
        engine = self.catalog.vllm
        metrics, name = engine.metrics, engine.roles[role]
        if not self.by_adapter or ever:
            return series(metrics, name, suffix=suffix, window=window, **where)
        pod_series = f"{series(metrics, name, suffix=suffix)}{{{ASKED_PODS}}}"
        return f"{pod_series}[{window}]" if window else pod_series

    def waiting(self) -> str:
        """Requests that wait, in all replicas."""
        return f"sum({self._of('waiting')})"

    def full(self) -> str:
        """Per pod: the share of its sequences that run or wait, or of its KV cache in use, whichever is greater."""
        running, waiting = (f"sum by (pod) ({self._of(role)})" for role in ("running", "waiting"))
        busy = f"(({running} + {waiting}) / {self.watched.sequences}"
        if "cache_used" in self.watched.silent_roles:
            return f"{busy})"
        cache = f"max by (pod) ({self._of('cache_used')})"
        return f"{busy} > {cache} or {cache})"

    def pace(self) -> str:
        """Per pod: tokens per second, of prompts it computed and of answers, in shares of the best rate of a day."""
        now, ever = (
            f"sum by (pod) (rate({self._of('step_tokens', suffix='_sum', window=RATE_WINDOW, ever=ever)}))"
            for ever in (False, True)
        )
        best = f"clamp_min(max(max_over_time({ever}[{PROVEN_WINDOW}])) or max({ever}), {LEAST_TOKENS_PER_S})"
        return f"({now} / scalar({best}))"

    def held(self, share: str, most: float) -> str:
        """Replicas that must stay so that none has more than `most` of `share`; never more than there are.

        A replica that is ready and not scraped counts as full.
        """
        replicas = desired_replicas(self.catalog, self.watched)
        nothing = f"0 * {replicas}"
        ready, seen = available(self.catalog, self.watched), reporting(self.catalog, self.watched)
        silent = f"clamp_min(({ready} or {nothing}) - ({seen} or {nothing}), 0)"
        return f"clamp_max((sum({share}) / {most:g} or {nothing}) + {silent}, scalar({replicas}))"

    def known(self, query: str) -> str:
        """The query, and 0 where there is no replica because none is wanted."""
        return f"{query} or ({desired_replicas(self.catalog, self.watched)} == 0)"


def signals(catalog: Catalog, watched: Watched, *, target_waiting: int, to_zero: bool) -> tuple[Signal, ...]:
    """Signals that both drivers look at; each asks for so many replicas, and the greatest number is right."""
    every, adapter = Query(catalog, watched), Query(catalog, watched, by_adapter=True)
    name = f"{watched.namespace}_{watched.name}".replace("-", "_")

    def known(query: str) -> str:
        return every.known(query) if to_zero else query

    return (
        Signal(
            "waiting", known(every.waiting()), str(target_waiting), str(target_waiting),
            _adapted(catalog.vllm), None,
        ),
        Signal(
            "full", known(f"sum({every.full()})"), f"{FULL_SHARE:g}", _milli(FULL_SHARE),
            f"{name}_full", adapter.full(),
        ),
        Signal(
            "rest", every.held(every.full(), REST_SHARE), "1", "1",
            f"{name}_rest", f"clamp_max({adapter.full()} / {REST_SHARE:g}, 1)",
        ),
        Signal(
            "proven", every.held(every.pace(), PROVEN_SHARE), "1", "1",
            f"{name}_proven", f"clamp_max({adapter.pace()} / {PROVEN_SHARE:g}, 1)",
        ),
    )  # fmt: skip


def _adapted(engine: Engine) -> str:
    """Name that prometheus-adapter gives to the requests that wait: a Kubernetes metric name has no colon."""
    return engine.roles["waiting"].replace(":", "_")


def _milli(share: float) -> str:
    """A share as Kubernetes writes it back: another spelling would be a change in every preview."""
    return f"{round(share * 1000)}m"


def wake_query(catalog: Catalog, namespace: str, *names: str, holds: bool = False) -> str:
    """Greater than 0 while somebody asks the gateway for a server, by any of its names; 0 only while one is scraped.

    The `unless … offset` part sees a series that has just appeared, whose rate is still 0. Who has no key is counted by
    LiteLLM under the model's name, too (1.109.1, tried), and wakes nobody. `holds`: requests that wait are counted by
    it when they have their answer, and by the gateway itself while they wait and once when they come.
    """
    known = names[0] if len(names) == 1 else any_of(names)
    requests = series(
        catalog.litellm.metrics,
        "litellm_proxy_total_requests_metric_total",
        requested_model=known,
        namespace=namespace,
        status_code="!~401|403",
    )
    nobody = f"0 * ({gateway_up(catalog, namespace)} > 0)"
    parts = [*_counted(requests)]
    if holds:
        came, wait = (
            series(catalog.litellm.metrics, name, requested_model=known, namespace=namespace) for name in (CAME, WAIT)
        )
        parts += [*_counted(came), f"sum({wait})"]
    return " + ".join(f"({part} or {nobody})" for part in parts)


def _counted(counter: str) -> tuple[str, str]:
    return f"sum(rate({counter}[{WAKE_WINDOW}]))", f"count({counter} unless {counter} offset {WAKE_WINDOW})"


def adapter_rules(catalog: Catalog, servers: Sequence[ServerPlan]) -> tuple[Mapping[str, object], ...]:
    """prometheus-adapter rules that offer the signals to the HPA."""
    engine = catalog.vllm
    metrics, roles = engine.metrics, engine.roles
    rules = [
        (
            _adapted(engine),
            series(metrics, roles["waiting"], namespace="~.+", pod="~.+"),
            "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
        )
    ]
    for server in servers:
        watched = server.watched
        series_query = series(metrics, roles["running"], namespace=watched.namespace, pod=watched.pods)
        signals = server.scaling.signals if server.scaling else ()
        rules += [(signal.pod_metric, series_query, signal.pod_query) for signal in signals if signal.pod_query]
    return tuple(
        {
            "seriesQuery": series_query,
            "resources": {"overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}},
            "name": {"as": name},
            "metricsQuery": query,
        }
        for name, series_query, query in rules
    )


def scaling_problems(name: str, model: ModelSettings, settings: StackSettings) -> list[Problem]:
    """Scaling that its driver cannot do, or that would not come to rest."""
    problems = []
    if to_zero(model) and settings.autoscaling.driver == "hpa":
        where = "scaling.offPeak" if model.scaling.off_peak is not None else "replicas.min"
        message = "scaling to zero needs autoscaling.driver: keda; an HPA cannot watch pods that are gone"
        problems.append(Problem(f"models.{name}.{where}", message))
    if _scales(model) and model.replicas.max > 1 and model.scaling.scale_down_after_s < SHORTEST_QUIET_S:
        problems.append(
            Problem(
                f"models.{name}.scaling.scaleDownAfterS",
                f"{model.scaling.scale_down_after_s} s would take a new replica away before it has its share of the "
                f"requests; use at least {SHORTEST_QUIET_S}",
            )
        )
    return problems


def _scales(model: ModelSettings) -> bool:
    return to_zero(model) or model.replicas.min < model.replicas.max


def plan_scaling(
    serves: Iterable[str],
    model: ModelSettings,
    settings: StackSettings,
    catalog: Catalog,
    timing: Timing,
    watched: Watched,
    prometheus_url: str,
) -> Scaling | None:
    """The autoscaling of one server, by the names it answers to; None when its number of replicas never changes."""
    off_peak, floor, sleeps = model.scaling.off_peak, None, to_zero(model)
    if not _scales(model):
        return None
    if off_peak is not None:
        floor = CronFloor(off_peak.timezone, start=off_peak.end, end=off_peak.start, replicas=model.replicas.min)
    return Scaling(
        driver=settings.autoscaling.driver,
        min_replicas=0 if sleeps else model.replicas.min,
        max_replicas=model.replicas.max,
        poll_s=POLL_S,
        blind_polls=BLIND_POLLS,
        blind_replicas=max(1, 0 if sleeps else model.replicas.min),
        target_waiting=model.scaling.target_waiting,
        signals=signals(catalog, watched, target_waiting=model.scaling.target_waiting, to_zero=sleeps),
        wake_query=wake_query(catalog, settings.cluster.namespace, *serves, holds=at_zero(model) == "hold")
        if sleeps
        else None,
        floor=floor,
        scale_up_after_s=model.scaling.scale_up_after_s,
        scale_up_period_s=model.scaling.scale_up_period_s,
        scale_down_after_s=model.scaling.scale_down_after_s,
        cooldown_s=timing.scale_to_zero_cooldown_s,
        prometheus_url=prometheus_url,
        reason=_reason(watched),
    )


def _reason(watched: Watched) -> str:
    """The reason of scaling, one sentence for the preview."""
    cache = "" if "cache_used" in watched.silent_roles else "or of its KV cache "
    return (
        f"one more while over {FULL_SHARE:.0%} of its {watched.sequences} sequences {cache}are taken; "
        f"one fewer when the rest would be at most {REST_SHARE:.0%} full, within {PROVEN_SHARE:.0%} of its best "
        "rate of a day"
    )
