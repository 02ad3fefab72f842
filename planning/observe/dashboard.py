"""The Grafana dashboard as data: what users feel, what the engine does, what the GPUs do; every query checked."""

from collections.abc import Mapping, Sequence

from catalog.load import Catalog
from planning.observe.promql import quantile, series
from planning.observe.watched import unheard
from planning.plan.servers import ServerPlan

PANEL_WIDTH, PANEL_HEIGHT = 8, 8
PANELS_PER_ROW = 3
# Names of pods of the models that the reader chose, their canaries and the workers of groups among them.
PODS_OF_MODEL = "vllm-($model)(-canary)?-[0-9a-z]{1,15}(-[0-9a-z]{1,5})?"
# The same where public names are no names of objects: pods that report one of the models.
PODS_THAT_REPORT = "$pod"
# Grafana's words for a variable of several values, all at first, asked for again with every change of the time range.
WITH_ALL = {"includeAll": True, "multi": True, "refresh": 2}
Panel = tuple[str, str, Sequence[tuple[str, str]]]


class Panels:
    """Panels of the chosen models in one namespace, row by row."""

    def __init__(self, catalog: Catalog, namespace: str, silent: frozenset[str], pods: str) -> None:
        engine = catalog.vllm
        self.vllm, self.namespace = engine.metrics, namespace
        self.roles, self.silent, self.pods = engine.roles, silent, pods
        self.litellm, self.dcgm = catalog.litellm.metrics, catalog.dcgm.metrics
        self.chosen = {"namespace": namespace, "model_name": "~$model"}

    def percentiles(self, role: str) -> list[tuple[str, str]]:
        """Three of a histogram."""
        window, by = "$__rate_interval", "model_name"
        return [
            (quantile(self.vllm, q, self.roles[role], window, by, **self.chosen), f"p{q * 100:g} {{{{{by}}}}}")
            for q in (0.5, 0.95, 0.99)
            if role not in self.silent
        ]

    def gauge(self, role: str, how: str = "sum", by: str = "model_name") -> list[tuple[str, str]]:
        """The value at present."""
        query = f"{how} by ({by}) ({series(self.vllm, self.roles[role], **self.chosen)})"
        return [(query, f"{{{{{by}}}}}")] if role not in self.silent else []

    def rate(self, role: str, by: str = "model_name") -> list[tuple[str, str]]:
        """The change per second."""
        counter = series(self.vllm, self.roles[role], window="$__rate_interval", **self.chosen)
        return [(f"sum by ({by}) (rate({counter}))", f"{{{{{by}}}}}")] if role not in self.silent else []

    def requests(self, name: str) -> list[tuple[str, str]]:
        """Requests per second at the gateway."""
        counter, by = (
            series(self.litellm, name, window="$__rate_interval", namespace=self.namespace),
            "requested_model",
        )
        return [(f"sum by ({by}) (rate({counter}))", f"{{{{{by}}}}}")]

    def gpu(self, name: str, how: str = "avg") -> list[tuple[str, str]]:
        """A metric of the GPUs of the chosen models: the exporter names the pod that holds a GPU."""
        own_pods = {"exported_namespace": self.namespace, "exported_pod": f"~{self.pods}"}
        return [
            (f"{how} by (exported_pod, gpu) ({series(self.dcgm, name, **own_pods)})", "{{exported_pod}} GPU {{gpu}}")
        ]

    def users(self) -> list[Panel]:
        """Panels of what users feel."""
        return [
            ("Time to first token", "s", self.percentiles("first_token_s")),
            ("Time between tokens", "s", self.percentiles("between_tokens_s")),
            ("End-to-end latency", "s", self.percentiles("whole_answer_s")),
            ("Gateway requests", "reqps", self.requests("litellm_proxy_total_requests_metric_total")),
            ("Gateway failures", "reqps", self.requests("litellm_proxy_failed_requests_metric_total")),
            ("Queue time", "s", self.percentiles("queue_s")),
        ]

    def engines(self) -> list[Panel]:
        """Panels of the engines."""
        hits, queries = self.rate("prefix_hits"), self.rate("prefix_queries")
        hit_rate = [(f"{hit} / {query}", legend) for (hit, legend), (query, _) in zip(hits, queries, strict=True)]
        return [
            ("Requests running", "short", self.gauge("running")),
            ("Requests waiting", "short", self.gauge("waiting")),
            ("KV cache used", "percentunit", self.gauge("cache_used", "max", "pod")),
            ("Generated tokens", "ops", self.rate("generated_tokens")),
            ("Prompt tokens", "ops", self.rate("prompt_tokens")),
            ("Prefix cache hit rate", "percentunit", hit_rate),
            ("Preemptions", "ops", self.rate("preemptions")),
            ("Finished requests", "reqps", self.rate("finished", "finished_reason")),
        ]

    def gpus(self) -> list[Panel]:
        """Panels of the GPUs."""
        return [
            ("Tensor cores active", "percentunit", self.gpu("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE")),
            ("Memory bandwidth active", "percentunit", self.gpu("DCGM_FI_PROF_DRAM_ACTIVE")),
            ("GPU memory used", "decmbytes", self.gpu("DCGM_FI_DEV_FB_USED", "max")),
            ("GPU temperature", "celsius", self.gpu("DCGM_FI_DEV_GPU_TEMP", "max")),
            ("Power", "watt", self.gpu("DCGM_FI_DEV_POWER_USAGE", "max")),
            ("Last XID (a code, not a count; 0: none)", "none", self.gpu("DCGM_FI_DEV_XID_ERRORS", "max")),
        ]


def _rows(catalog: Catalog, namespace: str, silent: frozenset[str], pods: str) -> list[tuple[str, list[Panel]]]:
    panels = Panels(catalog, namespace, silent, pods)
    rows = [
        ("What users feel", panels.users()),
        ("What the engines do", panels.engines()),
        ("What the GPUs do", panels.gpus()),
    ]
    return [(title, [panel for panel in row if panel[2]]) for title, row in rows]


def _graph(panel: Panel, *, x: int, y: int) -> dict[str, object]:
    """A panel whose upper left corner is there, in cells of Grafana's grid."""
    name, unit, targets = panel
    return {
        "type": "timeseries",
        "title": name,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "gridPos": {"h": PANEL_HEIGHT, "w": PANEL_WIDTH, "x": x, "y": y},
        "targets": [
            {"refId": chr(ord("A") + i), "expr": expr, "legendFormat": legend}
            for i, (expr, legend) in enumerate(targets)
        ],
    }


def _choice(name: str, query: str, **more: object) -> dict[str, object]:
    """A variable whose values Prometheus has, all of them unless the reader chooses."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {"name": name, "type": "query", "datasource": source, "query": query, **WITH_ALL, **more}


def draw_dashboard(catalog: Catalog, namespace: str, servers: Sequence[ServerPlan]) -> Mapping[str, object]:
    """A Grafana dashboard (schema version 39) with a model filter; the data source is chosen in Grafana.

    It has no panel of metrics that say nothing of any of the servers.
    """
    panels: list[dict[str, object]] = []
    y = 0
    renamed = any(server.public_name != server.model_name for server in servers)
    for title, row in _rows(catalog, namespace, unheard(servers), PODS_THAT_REPORT if renamed else PODS_OF_MODEL):
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
             "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}}
        )  # fmt: skip
        y += 1
        for index, panel in enumerate(row):
            x = index % PANELS_PER_ROW * PANEL_WIDTH
            below = y + index // PANELS_PER_ROW * PANEL_HEIGHT
            panels.append({"id": len(panels) + 1, **_graph(panel, x=x, y=below)})
        y += -(-len(row) // PANELS_PER_ROW) * PANEL_HEIGHT
    engine = catalog.vllm
    models = series(engine.metrics, engine.roles["running"], namespace=namespace)
    chosen = series(engine.metrics, engine.roles["running"], namespace=namespace, model_name="~$model")
    return {
        "uid": f"llm-stack-{namespace}",
        "title": f"LLM serving ({namespace})",
        "tags": ["llm-stack"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
                _choice("model", f"label_values({models}, model_name)", label="Model", allValue=".+"),
                *([_choice("pod", f"label_values({chosen}, pod)", hide=2)] if renamed else []),
            ]
        },
        "panels": panels,
    }
