"""Alerts: rules from a file, a state machine that says when they fire and are resolved, and what is then done."""
