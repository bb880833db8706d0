"""The HTTP side: Prometheus' text and probes."""
