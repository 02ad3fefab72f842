"""Questions to Prometheus: queries checked against the metric catalogue, alerts, the dashboard."""
