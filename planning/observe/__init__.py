"""What Prometheus is asked: queries checked against the metric catalogue, alerts, the dashboard."""
