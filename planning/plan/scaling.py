"""Rules for adding and removing replicas, and a server as Prometheus sees it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CronFloor:
    """Hours in which at least `replicas` run; outside of them zero is allowed."""

    timezone: str
    start: str
    end: str
    replicas: int


@dataclass(frozen=True)
class Signal:
    """One thing an autoscaler looks at: `query` divided by `threshold` is how many replicas it asks for.

    `quantity` is the threshold as Kubernetes writes it. With the HPA driver it is compared with the average over pods
    of `pod_metric`, which prometheus-adapter gets by `pod_query`; None: by a rule that all servers share.
    """

    name: str
    query: str
    threshold: str
    quantity: str
    pod_metric: str
    pod_query: str | None


@dataclass(frozen=True)
class Scaling:
    """Rules for adding and removing replicas. Queries are PromQL, built from the metric catalogue."""

    driver: str
    min_replicas: int
    max_replicas: int
    poll_s: int
    """How often KEDA looks."""
    blind_polls: int
    """How many of its looks in a row may find no Prometheus."""
    blind_replicas: int
    """What then runs at least: 0 would let a server that scales to zero go."""
    target_waiting: int
    signals: tuple[Signal, ...]
    wake_query: str | None
    floor: CronFloor | None
    scale_up_after_s: int
    scale_up_period_s: int
    scale_down_after_s: int
    cooldown_s: int
    prometheus_url: str
    reason: str


def pod_names(server: str, nodes_per_replica: int) -> str:
    """A regular expression that finds the pods of a server by their names, and none of `vllm-a-cpu` for `vllm-a`.

    Names of a Deployment's pods end in a hash and five characters, without a dash between where the name is long; those
    of a group in its number, and that of the pod unless it leads.
    """
    return f"{server}-[0-9a-z]{{1,15}}(-[0-9a-z]{{5}})?" if nodes_per_replica == 1 else f"{server}-[0-9]+(-[0-9]+)?"


@dataclass(frozen=True)
class Watched:
    """One workload. `nodes_per_replica` above 1: a LeaderWorkerSet, whose replicas are counted by their leaders.

    `sequences` is what one replica serves at once: `--max-num-seqs` holds for each data-parallel engine of it.
    `silent_roles`: of metrics that say nothing of it.
    """

    name: str
    namespace: str
    nodes_per_replica: int = 1
    sequences: int = 1
    silent_roles: frozenset[str] = frozenset()

    @property
    def pods(self) -> str:
        """A regular expression for the names of its pods, as a label value."""
        return f"~{pod_names(self.name, self.nodes_per_replica)}"
