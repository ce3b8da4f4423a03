"""The latest readings of a monitor for Prometheus, over HTTP."""
