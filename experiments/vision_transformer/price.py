"""The price heuristic at five strengths, the best by divergence: what a policy is to be compared with.

    python -m experiments.vision_transformer.price DATA WEIGHTS RUN_DIR

Like ``amc.transfer``, with the heuristic in the place of the policy: at strength s the plan's logits are s times the
logarithms of the prices, moved onto the budget, and the strength is taken whose outputs stay nearest to the uncut
network's on 1,000 training images. Writes ``plan.json`` and ``summary.json`` with the entries of a transfer's.
"""

from __future__ import annotations

import sys
from pathlib import Path

from amc.analysis.divergence import divergences
from amc.analysis.measured import measure_groups
from amc.core.files import write_json
from amc.core.types import PruningPlan
from amc.evaluation.comparison import DENSE, compare
from amc.policies.plans import STRENGTHS
from amc.task.settings import Settings
from amc.transfer.run import DIVERGENCE_IMAGES
from envs.projection import in_proportion, project
from experiments.common.networks import problem_of
from experiments.vision_transformer.network_task import load

KEEP = 0.5


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit("give the folder of CIFAR-10, the file with the weights, and the folder to write into")
    task, folder = load(*sys.argv[1:3]), Path(sys.argv[3])
    problem = problem_of(task, KEEP, Settings(prices=True, precision="fp32"))
    measure_groups(problem)
    prices, groups = problem.measured["price"], problem.budget.groups

    def plan(strength: float) -> PruningPlan:
        actions = in_proportion([prices[group.name] ** strength for group in groups])
        return PruningPlan.make(problem.network.groups, project(actions, problem.budget))

    plans = {strength: plan(strength) for strength in STRENGTHS}
    moved = divergences(problem.evaluator, task.train.take(DIVERGENCE_IMAGES), plans)
    best = min(moved, key=lambda strength: moved[strength])
    compared = compare(problem.network, problem.evaluator, {"uniform": plans[0.0], "policy": plans[best]}, task.test)
    names = {"uncut": DENSE, "uniform": "uniform", "policy": "policy"}
    scored = {entry: compared.scored[name].to_json() for entry, name in names.items()}
    tried = {f"{strength:g}": found for strength, found in moved.items()}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "plan.json", plans[best].to_json())
    write_json(folder / "summary.json", {**scored, "prices": prices, "strength": best, "strengths": tried})
    print({name: scores["test"] for name, scores in scored.items()}, best, tried)


if __name__ == "__main__":
    main()
