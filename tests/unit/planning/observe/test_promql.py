"""Queries can only name what the pinned versions export."""

import pytest

from catalog.schema import Metric
from planning.observe.promql import UnknownMetric, edge, quantile, series
from tests.unit.small_stack import CATALOG

METRICS = CATALOG.vllm.metrics
TTFT = "vllm:time_to_first_token_seconds"
WAITING = "vllm:num_requests_waiting"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (series(METRICS, WAITING), WAITING),
        (series(METRICS, WAITING, model_name="m"), WAITING + '{model_name="m"}'),
        (
            series(METRICS, WAITING, pod="~(a|b)-.+", namespace="n", model_name="m"),
            WAITING + '{model_name="m",namespace="n",pod=~"(a|b)-.+"}',
        ),
        (series(METRICS, "vllm:prompt_tokens_total", window="5m"), "vllm:prompt_tokens_total[5m]"),
        (series(METRICS, TTFT, suffix="_bucket", window="5m", engine="0"), TTFT + '_bucket{engine="0"}[5m]'),
        (
            quantile(METRICS, 0.95, TTFT, "5m", "namespace, model_name", namespace="n"),
            f'histogram_quantile(0.95, sum by (le, namespace, model_name) (rate({TTFT}_bucket{{namespace="n"}}[5m])))',
        ),
        (quantile(METRICS, 0.5, TTFT, "1m"), f"histogram_quantile(0.5, sum by (le) (rate({TTFT}_bucket[1m])))"),
    ],
)
def test_selectors_are_put_together(query, expected):
    """Labels in order, `~` for regular expressions, and quantiles over summed rates."""
    assert query == expected


@pytest.mark.parametrize(
    ("name", "suffix", "labels", "said"),
    [
        ("vllm:gpu_cache_usage_perc", "", {}, "metric vllm:gpu_cache_usage_perc is not exported"),
        (TTFT, "", {}, f"{TTFT} is a histogram; suffix none does not exist"),
        (WAITING, "_bucket", {}, f"{WAITING} is a gauge; suffix _bucket does not exist"),
        (WAITING, "", {"modelname": "m", "tenant": "t"}, f"{WAITING} has no label modelname, tenant"),
    ],
)
def test_what_is_not_exported_cannot_be_asked(name, suffix, labels, said):
    """A metric that is gone, a histogram without its suffix, and a label that no series has."""
    with pytest.raises(UnknownMetric) as caught:
        series(METRICS, name, suffix=suffix, **labels)
    assert str(caught.value) == said


def test_thresholds_are_edges_of_the_histogram():
    """A quantile is exact only at an edge; another value is refused with those there are."""
    metrics = {"h": Metric(name="h", type="histogram", labels=[], buckets=[0.5, 1, 2.5])}
    assert edge(metrics, "h", 2.5) == 2.5
    with pytest.raises(UnknownMetric) as caught:
        edge(metrics, "h", 2)
    assert str(caught.value) == "2 is no bucket edge of h; edges: [0.5, 1.0, 2.5]"


@pytest.mark.parametrize("name", ["none", "by-length", "gauge"])
def test_a_metric_without_fixed_edges_has_none(name):
    """Unknown metrics, edges that depend on a setting, and gauges."""
    metrics = {
        "by-length": Metric(name="by-length", type="histogram", labels=[], buckets="by-max-model-len"),
        "gauge": Metric(name="gauge", type="gauge", labels=[]),
    }
    with pytest.raises(UnknownMetric, match="5 is no bucket edge of"):
        edge(metrics, name, 5)
