"""Heuristics: plans made from sensitivity curves."""
