"""Agents that learn from steps, on Stable-Baselines3."""
