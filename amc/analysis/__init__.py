"""Sensitivity of layer groups: curves, heuristics made of them, interactions, responses and prices."""

from amc.analysis.curve_cache import curve_fingerprint, curves_for
from amc.analysis.curves import Curves, Point, measure_curves
from amc.analysis.heuristics.size_aware import SizeAware, size_aware_plan
from amc.analysis.heuristics.threshold import threshold_plan, threshold_plan_for_budget

__all__ = [
    "Curves",
    "Point",
    "SizeAware",
    "curve_fingerprint",
    "curves_for",
    "measure_curves",
    "size_aware_plan",
    "threshold_plan",
    "threshold_plan_for_budget",
]
