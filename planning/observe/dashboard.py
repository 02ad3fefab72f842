"""The Grafana dashboard as data: what users feel, what the engine does, what the GPUs do; every query checked."""

from collections.abc import Mapping, Sequence

from catalog.load import Catalog
from planning.observe.promql import quantile, series

PANEL_WIDTH, PANEL_HEIGHT = 8, 8
PANELS_PER_ROW = 3
# Names of pods of the models that the reader chose, their canaries and the workers of groups among them.
PODS_OF_MODEL = "vllm-($model)(-canary)?-[0-9a-z]{1,15}(-[0-9a-z]{1,5})?"
Panel = tuple[str, str, Sequence[tuple[str, str]]]


def _rows(catalog: Catalog, namespace: str) -> list[tuple[str, list[Panel]]]:
    engine, litellm = catalog.engines["vllm"], catalog.engines["litellm"].metrics
    vllm, roles = engine.metrics, engine.roles
    dcgm = catalog.engines["dcgm-exporter"].metrics
    chosen = {"namespace": namespace, "model_name": "~$model"}

    def percentiles(name: str) -> list[tuple[str, str]]:
        return [
            (quantile(vllm, q, name, "$__rate_interval", "model_name", **chosen), f"p{q * 100:g} {{{{model_name}}}}")
            for q in (0.5, 0.95, 0.99)
        ]

    def gauge(name: str, how: str = "sum", by: str = "model_name") -> list[tuple[str, str]]:
        return [(f"{how} by ({by}) ({series(vllm, name, **chosen)})", f"{{{{{by}}}}}")]

    def rate(name: str, by: str = "model_name") -> list[tuple[str, str]]:
        counter = series(vllm, name, offset="[$__rate_interval]", **chosen)
        return [(f"sum by ({by}) (rate({counter}))", f"{{{{{by}}}}}")]

    def requests(name: str, by: str) -> list[tuple[str, str]]:
        counter = series(litellm, name, offset="[$__rate_interval]", namespace=namespace)
        return [(f"sum by ({by}) (rate({counter}))", f"{{{{{by}}}}}")]

    def gpu(name: str, how: str = "avg") -> list[tuple[str, str]]:
        """Of the pods of the chosen models: the exporter names the pod that holds a GPU."""
        mine = {"exported_namespace": namespace, "exported_pod": f"~{PODS_OF_MODEL}"}
        return [(f"{how} by (exported_pod, gpu) ({series(dcgm, name, **mine)})", "{{exported_pod}} GPU {{gpu}}")]

    hits = series(vllm, roles["prefix_hits"], offset="[$__rate_interval]", **chosen)
    queries = series(vllm, roles["prefix_queries"], offset="[$__rate_interval]", **chosen)
    hit_rate = f"sum by (model_name) (rate({hits})) / sum by (model_name) (rate({queries}))"
    return [
        (
            "What users feel",
            [
                ("Time to first token", "s", percentiles(roles["first_token_s"])),
                ("Time between tokens", "s", percentiles(roles["between_tokens_s"])),
                ("End-to-end latency", "s", percentiles(roles["whole_answer_s"])),
                ("Gateway requests", "reqps", requests("litellm_proxy_total_requests_metric_total", "requested_model")),
                (
                    "Gateway failures",
                    "reqps",
                    requests("litellm_proxy_failed_requests_metric_total", "requested_model"),
                ),
                ("Queue time", "s", percentiles(roles["queue_s"])),
            ],
        ),
        (
            "What the engines do",
            [
                ("Requests running", "short", gauge(roles["running"])),
                ("Requests waiting", "short", gauge(roles["waiting"])),
                ("KV cache used", "percentunit", gauge(roles["cache_used"], "max", "pod")),
                ("Generated tokens", "ops", rate(roles["generated_tokens"])),
                ("Prompt tokens", "ops", rate(roles["prompt_tokens"])),
                ("Prefix cache hit rate", "percentunit", [(hit_rate, "{{model_name}}")]),
                ("Preemptions", "ops", rate(roles["preemptions"])),
                ("Finished requests", "reqps", rate(roles["finished"], "finished_reason")),
            ],
        ),
        (
            "What the GPUs do",
            [
                ("Tensor cores active", "percentunit", gpu("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE")),
                ("Memory bandwidth active", "percentunit", gpu("DCGM_FI_PROF_DRAM_ACTIVE")),
                ("GPU memory used", "decmbytes", gpu("DCGM_FI_DEV_FB_USED", "max")),
                ("GPU temperature", "celsius", gpu("DCGM_FI_DEV_GPU_TEMP", "max")),
                ("Power", "watt", gpu("DCGM_FI_DEV_POWER_USAGE", "max")),
                ("Last XID (a code, not a count; 0: none)", "none", gpu("DCGM_FI_DEV_XID_ERRORS", "max")),
            ],
        ),
    ]


def draw_dashboard(catalog: Catalog, namespace: str) -> Mapping[str, object]:
    """A Grafana dashboard (schema version 39) with a model filter; the data source is chosen in Grafana."""
    panels: list[dict[str, object]] = []
    y = 0
    for title, row in _rows(catalog, namespace):
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
             "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}}
        )  # fmt: skip
        y += 1
        for index, (name, unit, targets) in enumerate(row):
            column, line = index % PANELS_PER_ROW, index // PANELS_PER_ROW
            panels.append(
                {
                    "id": len(panels) + 1,
                    "type": "timeseries",
                    "title": name,
                    "datasource": {"type": "prometheus", "uid": "${datasource}"},
                    "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                    "gridPos": {
                        "h": PANEL_HEIGHT,
                        "w": PANEL_WIDTH,
                        "x": column * PANEL_WIDTH,
                        "y": y + line * PANEL_HEIGHT,
                    },
                    "targets": [
                        {"refId": chr(ord("A") + i), "expr": expr, "legendFormat": legend}
                        for i, (expr, legend) in enumerate(targets)
                    ],
                }
            )
        y += -(-len(row) // PANELS_PER_ROW) * PANEL_HEIGHT
    engine = catalog.engines["vllm"]
    models = series(engine.metrics, engine.roles["running"], namespace=namespace)
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
                {
                    "name": "model",
                    "type": "query",
                    "label": "Model",
                    "datasource": {"type": "prometheus", "uid": "${datasource}"},
                    "query": f"label_values({models}, model_name)",
                    "includeAll": True,
                    "multi": True,
                    "allValue": ".+",
                    "refresh": 2,
                },
            ]
        },
        "panels": panels,
    }
