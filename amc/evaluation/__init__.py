"""Metrics, scoring of plans, racing, and comparison of networks."""
