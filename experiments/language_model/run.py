"""Heads, feed-forward widths and branches of a language model, searched under a budget, nothing trained.

    python -m experiments.language_model.run --model FOLDER --text wiki.test.raw --keep 0.8

``FOLDER`` holds SmolLM2-135M-Instruct as Hugging Face saves it. ``--keep`` is the share of the decoder's MACs (without
the vocabulary head, which stays) that is left. Plans are scored by the divergence of their next-token distributions
from the dense network's, on text behind the tokens that are reported; channels are ranked and weights refitted on text
behind that. Each method's best plan is then reported: perplexity of the first 8,192 tokens in windows of 2,048.

Rows go to ``results.jsonl`` as methods end; those that are there are skipped. All of it is deterministic but for the
agents' seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import agents
from amc.analysis.measured import measure_groups
from amc.core.types import PruningPlan
from amc.data.examples import ExampleSet
from amc.data.readers import load_examples
from amc.evaluation.metrics import Metric
from amc.pruning.budget import Budget
from amc.recovery import make_recovery
from amc.rewards import accuracy
from amc.search.loop import play_episode
from amc.task.kinds import Wanted
from amc.task.method import Method
from amc.task.problem import Problem, assemble
from amc.task.settings import Settings
from amc.task.task import Task
from amc.tracking.run import Run

RESULTS = Path(__file__).with_name("results.jsonl")
LENGTH, REPORTED, WINDOW = 512, 8192, 2048  # tokens
CALIBRATION, SCORED = 24, 4  # sequences of LENGTH
POSITIONS = 256  # in each of them, for least squares
AGENTS: Mapping[str, dict[str, Any]] = {
    "ddpg": {"warmup_episodes": 12, "start": "price"},
    "cma_es": {"start": "price", "sigma": 0.4},
    "level_switch": {"start": "price"},
    "random": {},
}


def divergence(logits: Tensor, wanted: Tensor, reduction: str = "mean") -> Tensor:
    """Kullback–Leibler divergence of the next token's distribution from the dense network's, in nats.

    Args:
        logits: ``[n, tokens, vocabulary]``.
        wanted: the dense network's log probabilities, of the same shape.
        reduction: ``mean`` over the tokens, their ``sum``, or ``none``: the mean of each sequence.
    """
    wanted = wanted.float()
    each = (wanted.exp() * (wanted - logits.log_softmax(-1))).sum(-1)
    return each.mean(1) if reduction == "none" else each.mean() if reduction == "mean" else each.sum()


@torch.inference_mode()
def with_wanted(model: nn.Module, ids: Tensor) -> ExampleSet:
    """Token windows with the dense network's log probabilities, in half precision."""
    wanted = [model(window[None]).logits[0].log_softmax(-1).half() for window in ids]
    return ExampleSet(ids, torch.stack(wanted))


@torch.inference_mode()
def perplexity(model: nn.Module, ids: Tensor) -> float:
    """Of the tokens behind the first of each window."""
    losses = [F.cross_entropy(model(w[None]).logits[0, :-1].float(), w[1:]) for w in ids.split(WINDOW)]
    return float(torch.stack(losses).mean().exp())


def problem_for(folder: Path, text: Path) -> tuple[Problem, nn.Module, Tensor]:
    """The problem without a budget, the dense network, and the tokens that are reported."""
    from transformers import AutoModelForCausalLM

    data = load_examples(
        "text", text, tokenizer=folder, length=LENGTH, test_examples=REPORTED // LENGTH, train_examples=CALIBRATION
    )
    ids = [one.normalised() for one in (data.train, data.val.take(SCORED), data.test)]
    calibrated, scored, reported = (one for one in ids if isinstance(one, Tensor))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    model.config.use_cache = False
    own = Metric("divergence", of_loss=lambda loss: loss, larger_is_better=False, low=0.0, high=math.inf)
    train, val = with_wanted(model, calibrated), with_wanted(model, scored)
    task = Task.make(
        "smollm2", model, train, val, task=Wanted("language_modelling", metric=own, loss=divergence)
    ).on(torch.device("cpu"))  # fmt: skip
    settings = Settings(prune_residual=False, prune_depth=True, images=None, batch_size=2, prices=True, min_keep=0.2,
                        calibration_images=CALIBRATION)  # fmt: skip
    method = Method("reconstruction", "least_squares", 0, CALIBRATION, {"positions": POSITIONS, "damping": 0.01})
    return assemble(task, method, settings, None, Run(verbose=True)), task.model, reported.flatten()


def head_macs(problem: Problem) -> int:
    """MACs of the vocabulary head, which no plan changes."""
    layer = next(s for s in problem.network.cost_model.layers if s.name.endswith("lm_head"))
    return round(layer.macs_per_pair * layer.out_size * layer.in_size)


def least_influence(problem: Problem, model: nn.Module) -> PruningPlan:
    """ShortGPT (Men et al. 2024, eq. 1): whole blocks of least influence, 1 − cos of what goes in and comes out."""
    influence: dict[str, float] = {}

    def hook(name: str, given: Tensor, found: Any) -> None:
        out = found[0] if isinstance(found, tuple) else found
        influence[name] = influence.get(name, 0.0) + float(1 - F.cosine_similarity(given, out, dim=-1).mean())

    blocks = [(n, m) for n, m in model.named_modules() if n.rpartition(".")[0].endswith("layers")]
    handles = [m.register_forward_hook(lambda _, a, o, n=n: hook(n, a[0], o)) for n, m in blocks]
    with torch.inference_mode():
        for window in problem.task.train.normalised()[:8]:  # type: ignore[index]
            model(window[None])
    for handle in handles:
        handle.remove()
    branches = [g.name for g in problem.network.groups if g.branch is not None and g.frozen is None]
    dropped: dict[str, int] = {}
    for block in sorted(influence, key=lambda name: influence[name]):
        if problem.budget.fits(dropped):
            break
        dropped |= {name: 0 for name in branches if name.startswith(f"{block}.")}
    return PruningPlan.make(problem.network.groups, dropped)


def found_by(name: str, problem: Problem, model: nn.Module, episodes: int, seed: int) -> tuple[PruningPlan, int]:
    """The best plan of a method, and how many it evaluated."""
    if name == "shortgpt":
        return least_influence(problem, model), 0
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


def report(problem: Problem, plan: PruningPlan, reported: Tensor) -> dict[str, Any]:
    """Perplexity of a plan's network after each recovery, and what it costs."""
    pruner, found = problem.pruner, {}
    for name in ("none", "least_squares", "sequential"):
        kept = pruner.kept(plan)
        small = pruner.surgeon.cut(kept).eval()
        if name == "least_squares":
            pruner.recover(small, kept)
        elif name == "sequential":  # made anew each time: it holds gigabytes
            text = problem.task.train.normalised()
            make_recovery(name, pruner.surgeon, problem.network.members, pruner.ranking, text, positions=POSITIONS,
                          batch_size=4)(small, kept)  # fmt: skip
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
    parser.add_argument("--keep", type=float, nargs="+", default=[0.8])
    parser.add_argument("--methods", nargs="+", default=["uniform", "shortgpt", "price", *AGENTS])
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    done = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    problem, model, reported = problem_for(given.model, given.text)
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
            plan, evaluated = found_by(name, problem, model, given.episodes, given.seed)
            score = problem.evaluator.in_full(plan)
            seconds = round(time.perf_counter() - began)
            row = {**key, "evaluated": evaluated, "seconds": seconds, "divergence": round(score.loss, 4)}
            row |= report(problem, plan, reported)
            print(json.dumps({k: v for k, v in row.items() if k != "keep_ratios"}), flush=True)
            with RESULTS.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
