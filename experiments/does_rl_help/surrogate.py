"""DDPG's settings, each alone, on a stand-in for ResNet-20 that answers in milliseconds.

    python -m experiments.does_rl_help.surrogate runs/does_rl_help/resnet20-0.5-400 [VARIANT ...]

A Gaussian process (Matérn 5/2, a length scale per layer) is fitted to plans that the searches in that folder
evaluated; it then takes the evaluator's place, in the same environment with the same cost model, budget and reward.
Writes ``surrogate.csv`` (a line per variant and seed; those that are there are not run again) and ``surrogate.md``
beside itself.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

import agents
from agents.rl.ddpg import AMCAgent
from amc.core.types import Metrics, PruningPlan
from amc.models.cifar_resnet import resnet20
from amc.pruning.budget import Budget
from amc.pruning.cost import CostModel
from amc.pruning.network import trace_network
from amc.rewards import error_log_flops
from amc.tracking import read_episodes
from envs.channel_pruning import ChannelPruningEnv
from experiments.common.lines import Line, grouped, read_lines, write_lines
from experiments.common.stats import publish, spread, table

HERE = Path(__file__).parent
KEEP = 0.5
SEEDS, EPISODES, MARKS = 3, 400, (100, 200, 400)
FITTED = 1200  # plans; what is held out is as many as a quarter of that, at most
COLUMNS = ("variant", "seed", *(f"best_{mark}" for mark in MARKS), "last_50")

PAPER = asdict(AMCAgent.settings_type())
BEGIN = {"warmup": "rules", "warmup_episodes": 10, "actor_start": "uniform"}
SIGMA = {"sigma": 0.2, "sigma_decay": 0.99}
BEST = {"best_share": 0.5}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "cma_es": ("cma_es", {}),
    "evolution": ("evolution", {}),
    "annealing": ("annealing", {}),
    "random": ("random", {}),
    "tpe": ("tpe", {}),
    "ppo": ("ppo", {}),
    "amc": ("amc", {}),
    "amc, ddpg's beginning": ("amc", BEGIN),
    "amc, ddpg's sigma": ("amc", SIGMA),
    "amc, best_share=0.5": ("amc", BEST),
    "amc, updates_per_step=4": ("amc", {"updates_per_step": 4}),
    "amc, reward_scale=std": ("amc", {"reward_scale": "std"}),
    "ddpg": ("ddpg", {}),
    "ddpg, amc's beginning": ("ddpg", {name: PAPER[name] for name in BEGIN}),
    "ddpg, amc's sigma": ("ddpg", {name: PAPER[name] for name in SIGMA}),
    "ddpg, best_share=0": ("ddpg", {"best_share": 0.0}),
    "ddpg, reward_scale=std": ("ddpg", {"reward_scale": "std"}),
    "td3": ("td3", {}),
    "td3, ddpg's settings": ("td3", BEGIN | SIGMA | BEST),
    "sac": ("sac", {}),
    "sac, ddpg's settings": ("sac", BEGIN | BEST),
}
CLIPPED = ("cma_es", "evolution", "annealing", "random", "amc", "ddpg")
VARIANTS |= {f"{name}, budget.rule=clip": VARIANTS[name] for name in CLIPPED}


class StandIn:
    """Plan → metrics, learned from evaluated plans.

    ``quality`` says how well it foretells plans that it was not fitted to.
    """

    def __init__(self, runs: Path, groups: list[str]) -> None:
        """``groups``: those that the searches in ``runs`` pruned."""
        self._groups = groups
        ratios, accuracies, images = [], [], []
        for file in sorted(runs.glob("*/episodes.csv")):
            for row in read_episodes(file):
                ratios.append([row[f"keep_ratio/{name}"] for name in groups])
                accuracies.append(row["accuracy"])
                images.append(row["images"])
        x, first = np.unique(np.array(ratios), axis=0, return_index=True)
        y, seen = np.array(accuracies)[first], np.array(images)[first]
        order = np.random.default_rng(0).permutation(len(x))
        fitted, held_out = order[:FITTED], order[FITTED : FITTED + FITTED // 4]
        variance = 0.25 * 0.25 / seen  # a difference between two plans on the same images scatters half as much
        kernel = ConstantKernel(0.02) * Matern(np.ones(x.shape[1]), (0.1, 20), nu=2.5)
        self._process = GaussianProcessRegressor(kernel, alpha=variance[fitted], normalize_y=False, random_state=0)
        self._mean = y.mean()
        with warnings.catch_warnings():
            # A length scale at its bound: a layer that hardly matters.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._process.fit(x[fitted], y[fitted] - self._mean)
        error = self._process.predict(x[held_out]) + self._mean - y[held_out]
        good = error[y[held_out] > np.quantile(y, 0.75)]
        explained = 1 - error.var() / y[held_out].var()
        self.quality = (
            f"{len(fitted)} plans fitted, {len(held_out)} held out: R² {explained:.3f}; root mean square error "
            f"{100 * rms(error):.2f} points, {100 * rms(good):.2f} on the best quarter"
        )

    def __call__(self, plan: PruningPlan) -> Metrics:
        keep = plan.keep_ratios()
        ratios = np.array([[keep[name] for name in self._groups]])
        accuracy = float(np.clip(self._process.predict(ratios)[0] + self._mean, 0, 1))
        return Metrics(accuracy, 1 - accuracy, 1)


def rms(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))


def play(variant: str, seed: int, budget: Budget, costs: CostModel, stand_in: StandIn) -> Line:
    """One search: the best accuracy after so many evaluations, and the mean of the last 50, in %."""
    name, settings = VARIANTS[variant]
    rule: Any = "clip" if variant.endswith("clip") else "project"
    env = ChannelPruningEnv(costs, budget, stand_in, error_log_flops, rule=rule)
    agent = agents.make(name, env, seed, EPISODES, **settings)
    found = 100 * np.array([agent.run_episode().info["metrics"].score for _ in range(EPISODES)])
    best = np.maximum.accumulate(found)
    marks = {f"best_{mark}": round(best[mark - 1], 3) for mark in MARKS}
    return {"variant": variant, "seed": seed, **marks, "last_50": round(found[-50:].mean(), 3)}


def table_of(lines: list[Line]) -> str:
    """A row for each variant that was played, in the order of VARIANTS."""
    played = grouped(lines, "variant")
    heads = ("variant", "seeds", *(f"after {mark}" for mark in MARKS), "mean of the last 50")
    rows = []
    for variant in VARIANTS:
        if variant in played:
            own = played[variant]
            rows.append((variant, len(own), *(spread(line[column] for line in own) for column in COLUMNS[2:])))
    return table(heads, rows)


def main() -> None:
    torch.set_num_threads(1)
    runs, wanted = Path(sys.argv[1]), sys.argv[2:] or list(VARIANTS)
    network = trace_network(resnet20(), torch.zeros(1, 3, 32, 32))
    stand_in = StandIn(runs, [g.name for g in network.groups if g.frozen is None])
    print(stand_in.quality)
    budget = Budget(network.cost_model, keep=KEEP)
    lines = read_lines(HERE / "surrogate.csv", COLUMNS)
    done = set(grouped(lines, "variant", "seed"))
    for variant, seed in product(wanted, range(SEEDS)):
        if (variant, seed) not in done:
            lines.append(play(variant, seed, budget, network.cost_model, stand_in))
            print(lines[-1])
            write_lines(HERE / "surrogate.csv", lines, COLUMNS)
    publish(HERE / "surrogate.md", f"{stand_in.quality}.\n\n{table_of(lines)}")


if __name__ == "__main__":
    main()
