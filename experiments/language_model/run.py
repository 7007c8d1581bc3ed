"""Heads, feed-forward widths and branches of a language model, searched under a budget, nothing trained.

    python -m experiments.language_model.run --model FOLDER --text wiki.test.raw --keep 0.9 0.8

``FOLDER`` holds SmolLM2-135M-Instruct as Hugging Face saves it. ``--keep`` is the share of the decoder's MACs (without
the vocabulary head, which stays) that is left. Plans are scored by the divergence of their next-token distributions
from the dense network's, on text behind the tokens that are reported; channels are ranked and weights refitted on text
behind that. Each method's best plan is then reported: perplexity of the first 8,192 tokens in windows of 2,048.

Rows go to ``results.jsonl`` as methods end; those that are there are skipped. What is measured before any search is
kept in ``--cache``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import agents
from amc.analysis.measured import measure_groups
from amc.core.types import PruningPlan
from amc.data.examples import ExampleSet
from amc.pruning.budget import Budget
from amc.pruning.pruner import Pruner
from amc.recovery import make_recovery
from amc.rewards import accuracy
from amc.search.loop import play_episode
from amc.task.method import Method
from amc.task.problem import Problem, assemble, make_pruner
from amc.task.settings import Settings
from amc.task.task import Task
from amc.tracking.run import Run

RESULTS = Path(__file__).with_name("results.jsonl")
REPORTED, WINDOW = 8192, 2048  # tokens
LENGTH = 256  # tokens of a window that is calibrated or scored on
SCORED, CALIBRATION = 4, 64  # windows
SCORED_FROM, CALIBRATED_FROM = 20_000, 100_000  # tokens
SPREAD = 8 * LENGTH  # tokens between the beginnings of windows that are scored on
METHOD = Method(
    "reconstruction", "least_squares", 0, CALIBRATION, {"positions": LENGTH, "damping": 0.01, "batch_size": 8}
)
AGENTS: Mapping[str, dict[str, Any]] = {
    "ddpg": {"warmup_episodes": 12},
    "cma_es": {"start": "price", "sigma": 0.4},
    "level_switch": {"start": "price"},
    "random": {},
}


def text_of(folder: Path, file: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids that are reported ``[8192]``, scored on ``[n, 256]`` and calibrated on ``[n, 256]``."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    ids = tokenizer(file.read_text(encoding="utf-8"), return_tensors="pt").input_ids[0]
    scored = torch.stack([ids[SCORED_FROM + SPREAD * i :][:LENGTH] for i in range(SCORED)])
    return ids[:REPORTED], scored, ids[CALIBRATED_FROM:][: CALIBRATION * LENGTH].view(CALIBRATION, LENGTH)


def problem_for(folder: Path, scored: Tensor, calibrated: Tensor) -> Problem:
    """The problem, without a budget."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    model.config.use_cache = False
    task = Task.make(
        "smollm2", model, ExampleSet(calibrated), ExampleSet(scored), task="language_modelling", metric="divergence"
    ).on(torch.device("cpu"))  # fmt: skip
    settings = Settings(prune_depth=True, prune_residual=False, images=None, observation="price")
    return assemble(task, METHOD, settings, None, Run(verbose=True))


def ranked(problem: Problem, cache: Path) -> Pruner:
    """The pruner; the ranking, which takes minutes, is kept."""
    file = cache / "ranking.json"
    if not file.exists():
        ranking = make_pruner(problem.network, problem.task, Method(**{**vars(METHOD), "recovery": "none"})).ranking
        file.write_text(json.dumps({name: order.tolist() for name, order in ranking.items()}))
    ranking = {name: np.asarray(order) for name, order in json.loads(file.read_text()).items()}
    return _pruner(problem, ranking, "least_squares")


def _pruner(problem: Problem, ranking: Mapping[str, Any], recovery: str) -> Pruner:
    from amc.pruning.surgery import Surgeon

    network = problem.network
    surgeon, text = Surgeon(network.model, network.members), problem.task.train.normalised()
    recover = make_recovery(recovery, surgeon, network.members, ranking, text, **METHOD.recovery_settings)
    return Pruner(network.groups, surgeon, ranking, recover)


def head_macs(problem: Problem) -> int:
    """MACs of the vocabulary head, which no plan changes."""
    layer = next(s for s in problem.network.cost_model.layers if s.name.endswith("lm_head"))
    return round(layer.macs_per_pair * layer.out_size * layer.in_size)


def least_influence(problem: Problem) -> PruningPlan:
    """ShortGPT (Men et al. 2024, eq. 1): whole blocks of least influence go, 1 − cos of what comes in and goes out."""
    influence: dict[str, float] = {}

    def hook(name: str, given: Tensor, found: Any) -> None:
        out = found[0] if isinstance(found, tuple) else found
        influence[name] = influence.get(name, 0.0) + float(1 - F.cosine_similarity(given, out, dim=-1).mean())

    model = problem.network.model
    blocks = [(n, m) for n, m in model.named_modules() if n.rpartition(".")[0].endswith("layers")]
    handles = [m.register_forward_hook(lambda _, a, o, n=n: hook(n, a[0], o)) for n, m in blocks]
    with torch.inference_mode():
        for inputs, _ in problem.task.train.take(8).batches(4):
            model(inputs)
    for handle in handles:
        handle.remove()
    branches = [g.name for g in problem.network.groups if g.branch is not None and g.frozen is None]
    dropped: dict[str, int] = {}
    for block in sorted(influence, key=lambda name: influence[name]):
        if problem.budget.fits(dropped):
            break
        dropped |= {name: 0 for name in branches if name.startswith(f"{block}.")}
    return PruningPlan.make(problem.network.groups, dropped)


def ffn_alike(problem: Problem) -> PruningPlan:
    """The same share of every feed-forward width, heads and branches whole."""
    widths = [g for g in problem.network.groups if g.branch is None and g.frozen is None and "mlp" in g.name]
    for share in range(1000, 0, -1):
        kept = {g.name: g.round_channels(share / 1000) for g in widths}
        if problem.budget.fits(kept):
            return PruningPlan.make(problem.network.groups, kept)
    raise SystemExit("the budget can't be reached with feed-forward widths alone")


def found_by(name: str, problem: Problem, episodes: int, seed: int) -> tuple[PruningPlan, int]:
    """The best plan of a method, and how many it evaluated."""
    if name == "shortgpt":
        return least_influence(problem), 0
    if name == "ffn_alike":
        return ffn_alike(problem), 0
    env = problem.env(accuracy)
    if name not in AGENTS:
        agent, episodes = agents.make(name, env, seed), 1
    else:
        agent = agents.make(name, env, seed, episodes, **AGENTS[name])
    played = []
    for index in range(episodes):
        played.append(play_episode(agent, index, problem.budget.allows))
        best = max(played, key=lambda episode: episode.reward)
        last = played[-1]
        print(f"{name} {index + 1}/{episodes}: divergence {last.metrics.loss:.4f}, best {best.metrics.loss:.4f}, "
              f"{last.seconds:.0f} s", flush=True)  # fmt: skip
    return best.plan, len(played)


@torch.inference_mode()
def perplexity(model: nn.Module, ids: Tensor) -> float:
    """Of the tokens behind the first of each window."""
    losses = [F.cross_entropy(model(w[None]).logits[0, :-1].float(), w[1:]) for w in ids.split(WINDOW)]
    return float(torch.stack(losses).mean().exp())


def report(problem: Problem, plan: PruningPlan, reported: Tensor, recoveries: list[str]) -> dict[str, Any]:
    """Perplexity of a plan's network after each recovery, and what it costs."""
    pruner, found = problem.pruner, {}
    for name in recoveries:
        small = pruner.surgeon.cut(pruner.kept(plan)).eval()
        if name == "least_squares":
            small = pruner.cut(plan)
        elif name == "sequential":  # made anew each time: it holds gigabytes
            small = _pruner(problem, pruner.ranking, name).cut(plan)
        found[name] = round(perplexity(small, reported), 2)
    cost, dense, head = problem.network.cost_model.cost(plan), problem.network.cost_model.cost(), head_macs(problem)
    ratios = {name: ratio for name, ratio in plan.keep_ratios().items() if ratio < 1}
    return {
        "perplexity": found,
        "decoder_macs": round((cost.macs - head) / (dense.macs - head), 4),
        "params": cost.params,
        "dropped": sorted(name for name, ratio in ratios.items() if ratio == 0),
        "keep_ratios": {name: round(ratio, 3) for name, ratio in ratios.items() if ratio > 0},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/language_model"))
    parser.add_argument("--keep", type=float, nargs="+", default=[0.9, 0.8, 0.7])
    parser.add_argument("--methods", nargs="+", default=["ffn_alike", "uniform", "shortgpt", "price", *AGENTS])
    parser.add_argument("--recoveries", nargs="+", default=["none", "least_squares"])
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    reported, scored, calibrated = text_of(given.model, given.text)
    problem = problem_for(given.model, scored, calibrated)
    problem.pruner = ranked(problem, given.cache)
    cost, head = problem.network.cost_model, head_macs(problem)
    for keep in given.keep:
        whole = cost.cost().macs
        problem.budget = Budget(cost, "macs", (keep * (whole - head) + head) / whole, **problem.settings.limits)
        measure_groups(problem, Run(verbose=True))
        for name in given.methods:
            key = {"method": name, "keep": keep, "seed": given.seed}
            if any(key.items() <= row.items() for row in done):
                continue
            began = time.perf_counter()
            plan, evaluated = found_by(name, problem, given.episodes, given.seed)
            score = problem.evaluator.in_full(plan)
            seconds = round(time.perf_counter() - began)
            row = {**key, "evaluated": evaluated, "seconds": seconds, "divergence": round(score.loss, 4)}
            row |= report(problem, plan, reported, given.recoveries)
            print(json.dumps({k: v for k, v in row.items() if k != "keep_ratios"}), flush=True)
            with RESULTS.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
