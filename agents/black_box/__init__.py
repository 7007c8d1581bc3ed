"""Agents that search whole plans at once."""
