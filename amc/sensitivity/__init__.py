"""Sensitivity analysis of layer groups, and heuristics based on it."""

from amc.analysis.heuristics.choose import Questions
from amc.sensitivity.result import SensitivityResult
from amc.sensitivity.run import sensitivity
from amc.task.settings import Settings

__all__ = ["Questions", "SensitivityResult", "Settings", "sensitivity"]
