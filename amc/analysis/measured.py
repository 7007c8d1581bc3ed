"""Responses and prices of all layer groups, measured where an observation or a heuristic needs them."""

from __future__ import annotations

from functools import partial

from amc.analysis.prices import measure_prices
from amc.analysis.responses import measure_responses
from amc.task.problem import Problem
from amc.tracking.once import measured_once
from amc.tracking.run import Run

MEASURES = {"response": measure_responses, "price": measure_prices}


def measure_groups(problem: Problem, run: Run | None = None, agent: str | None = None) -> None:
    """Fills ``problem.measured`` with the groups' responses and prices, where the settings or the ``agent`` need them.

    Args:
        problem: its evaluator cuts and recovers.
        run: keeps the measurements across a resume.
        agent: name of the one that will play, if any.

    Raises:
        AmcError: NaN or infinite outputs, or a damaged file.
    """
    run = run or Run(verbose=False)
    groups = [g.name for g in problem.network.groups if g.frozen is None]
    for what, measure in MEASURES.items():
        if problem.settings.needs(what, agent):
            file = run.kept_file(f"{what}s.json")
            problem.measured[what] = measured_once(groups, file, what, partial(measure, problem, verbose=run.verbose))
