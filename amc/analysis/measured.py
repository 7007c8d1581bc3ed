"""What is measured of every layer group before a search, where something needs it."""

from __future__ import annotations

from dataclasses import replace

from amc.analysis.prices import measure_prices
from amc.analysis.responses import measure_responses
from amc.data import ImageSet
from amc.task.problem import Problem
from amc.task.settings import Settings
from amc.tracking import RunDir
from amc.tracking.once import measured_once


def with_measured(
    problem: Problem,
    train: ImageSet,
    settings: Settings,
    folder: RunDir | None,
    agent: str | None = None,
    verbose: bool = False,
) -> Problem:
    """``problem`` with its groups' responses and prices measured, where ``settings`` or the ``agent`` need them."""
    network, evaluator, found = problem.network, problem.evaluator, {}
    groups = [g.name for g in network.groups if g.frozen is None]
    ways = {
        "response": lambda: measure_responses(network, evaluator, train, verbose=verbose),
        "price": lambda: measure_prices(network, evaluator, problem.budget, train, verbose=verbose),
    }
    for what, measure in ways.items():
        if settings.needs(what, agent):
            file = None if folder is None else folder.kept_file(f"{what}s.json")
            found[what] = measured_once(groups, file, what, measure)
    return replace(problem, measured=found)
