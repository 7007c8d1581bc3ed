"""A learned policy on a new network, without a search. ``python -m amc.transfer policy=RUN_DIR model=mobilenet_v2``."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.text import Text
from torch import nn

from agents.policy import Policy
from amc.checks import one_of
from amc.compared import compare
from amc.configured import settings_of
from amc.data import ImageSet
from amc.errors import AmcError
from amc.evaluate import Evaluator
from amc.figures import plan_figure, save_figure
from amc.learned import origin, read
from amc.outputs import divergences
from amc.precision import resolve_device
from amc.preparation import Images, as_images, prepare
from amc.report import Scored, result_table, show
from amc.result import keep_network, versions
from amc.settings import Settings, check_cutting
from amc.tracking import RunDir, opened, run_folder
from amc.types import LayerGroup, PruningPlan
from amc.walks import STRENGTHS, walks

if TYPE_CHECKING:
    from omegaconf import DictConfig

__all__ = ["TransferResult", "main", "main_from_config", "transfer"]

log = logging.getLogger(__name__)

STRENGTH_BY = ("divergence", "accuracy")
DIVERGENCE_IMAGES = 1000  # of the training split


@dataclass(frozen=True)
class TransferResult:
    """What a policy came to on a network that it may never have seen.

    Attributes:
        plan: the policy's.
        model: the network cut by it and recovered; not fine-tuned.
        uncut, uniform, policy: scores and costs; ``uniform`` has the same keep ratio everywhere, in the same budget.
        groups: the network's layer groups.
        strength: that ``plan`` was made with, see :mod:`amc.walks`.
        strength_by: what it was chosen by.
        tried: strength → that of what the policy walks to: accuracy, or divergence in nats.
        wall_seconds: of everything.
    """

    plan: PruningPlan
    model: nn.Module
    uncut: Scored
    uniform: Scored
    policy: Scored
    groups: tuple[LayerGroup, ...]
    strength: float
    strength_by: str
    tried: Mapping[float, float]
    wall_seconds: float


def transfer(
    model: nn.Module,
    policy: str | Path | Policy,
    *,
    train: Images,
    val: Images,
    test: Images | None = None,
    budget: float | None = 0.5,
    strengths: Sequence[float] = STRENGTHS,
    strength_by: str = "divergence",
    importance: str = "l1",
    recovery: str = "least_squares",
    seed: int = 0,
    device: str | torch.device = "auto",
    settings: Settings | None = None,
    run_dir: str | Path | RunDir | None = None,
    description: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    verbose: bool = True,
) -> TransferResult:
    """Walks a learned policy over a network, and compares its plan with the uniform one.

    Args:
        model: the trained network; its weights are left as they are.
        policy: of an earlier search: its run folder, the ``policy/`` in it, or what was read from there.
        train: calibration images for importance and recovery.
        val: images that the plans are scored on.
        test: images for the report only.
        budget: largest cost as a fraction of the uncut network's; ``None``: no limit.
        strengths: how far the policy departs from the uniform plan, a walk and an evaluation each; the best is taken.
            Without a budget only 1, the policy as it is.
        strength_by: the best is that of least ``divergence`` (Kullback-Leibler) of the outputs from the uncut network's
            on 1,000 training images, which needs no labels, or of most ``accuracy`` on the validation images. Of 63
            transfers the first was better in 24 and worse in 2 (``experiments/transfer``).
        importance, recovery: names.
        seed: of what is sampled.
        device: ``auto``: CUDA if there is any.
        settings: everything else; by default the finished walk is projected onto the budget, and scored in fp32: to
            see whether bf16 is as accurate takes longer than a few walks. The observation is the policy's, whatever
            ``settings`` say.
        run_dir: folder to record the run in; nothing is written without one.
        description: how the network is built, see :func:`amc.pruned.save_pruned`.
        facts: further entries for ``summary.json``.
        verbose: print the result.

    Raises:
        AmcError: wrong input, a damaged policy, or one that reads another observation than this version shows.
    """
    started = time.perf_counter()
    check_cutting(importance, recovery, seed)
    one_of("strength_by", strength_by, STRENGTH_BY)
    learned = policy if isinstance(policy, Policy) else read(policy)
    layout: Any = learned.layout
    settings = replace(settings or Settings(precision="fp32"), observation=layout)
    if layout == "amc":
        log.warning("the policy reads the observation 'amc', scaled to each network; 'portable' is meant for new ones")
    facts = {
        **(facts or {}),
        "learned": origin(learned),
        "importance": importance,
        "recovery": recovery,
        "budget": {"cost": settings.cost, "keep": budget, "rule": settings.rule},
        "seed": seed,
    }
    place = resolve_device(device)
    train, val = as_images(train, place), as_images(val, place)
    test = None if test is None else as_images(test, place)
    with opened(run_dir, False, {"command": "transfer", **facts}) as folder:
        problem = prepare(
            model.to(place), train, val, budget=budget, importance=importance, recovery=recovery,
            settings=settings, seed=seed, folder=folder, verbose=verbose,
        )  # fmt: skip
        walked = walks(learned, problem, settings, strengths)
        strength, tried = _best(walked, problem.evaluator, train, strength_by)
        plans = {"uniform": problem.uniform_plan(settings), "policy": walked[strength]}
        compared = compare(problem, plans, test)
        result = TransferResult(
            plans["policy"],
            compared.models["policy"],
            **compared.scored,
            groups=problem.network.groups,
            strength=strength,
            strength_by=strength_by,
            tried=tried,
            wall_seconds=time.perf_counter() - started,
        )
        if folder is not None:
            _record(folder, result, facts)
            keep_network(folder.path / "pruned", result.model, result.plan, result.policy, train, description)
        if verbose:
            show(result_table(compared.scored))
            show(_strengths_line(result))
            show(Text(f"{result.wall_seconds:.1f} s; run folder: {folder.path if folder else 'nothing was recorded'}"))
    return result


def _best(
    walked: Mapping[float, PruningPlan], evaluator: Evaluator, train: ImageSet, by: str
) -> tuple[float, dict[float, float]]:
    """The best strength, and what each came to."""
    if by == "divergence":
        moved = divergences(evaluator, train.take(DIVERGENCE_IMAGES), walked)
        return min(moved, key=lambda strength: moved[strength]), moved
    scores = {strength: evaluator.in_full(plan) for strength, plan in walked.items()}
    best = max(scores, key=lambda strength: (scores[strength].accuracy, -scores[strength].loss))
    return best, {strength: metrics.accuracy for strength, metrics in scores.items()}


def _strengths_line(result: TransferResult) -> Text:
    by_accuracy = result.strength_by == "accuracy"
    tried = ", ".join(
        f"{s:g}: {found:.2%}" if by_accuracy else f"{s:g}: {found:.3f}" for s, found in result.tried.items()
    )
    uniform = ", the uniform plan: the policy brings nothing here" if result.strength == 0 else ""
    what = "validation accuracy" if by_accuracy else "divergence from the uncut outputs (nats)"
    return Text(f"{what} by the policy's strength: {tried}; taken: {result.strength:g}{uniform}")


def _record(folder: RunDir, result: TransferResult, facts: Mapping[str, Any]) -> None:
    share = result.policy.cost.macs / result.uncut.cost.macs
    title = f"Policy without search: {result.policy.val.accuracy:.2%} at {share:.1%} of the MACs"
    figure = plan_figure(result.groups, result.plan, result.uncut.cost.macs, title)
    save_figure(folder.path / "best_plan.png", figure)
    folder.write_plan(result.plan)
    scored = {name: getattr(result, name).to_json() for name in ("uncut", "uniform", "policy")}
    tried = {f"{strength:g}": found for strength, found in result.tried.items()}
    walked = {"strength": result.strength, "strength_by": result.strength_by, "strengths": tried}
    folder.write_summary({**facts, "versions": versions(), **scored, **walked, "wall_seconds": result.wall_seconds})


def main_from_config(config: DictConfig, run_dir: Path) -> None:
    """Loads policy, data and network as configured, then transfers."""
    from omegaconf import OmegaConf

    from amc.setup import load_task

    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    verbose = plain.pop("verbose")
    if plain["policy"] is None:
        raise AmcError("policy: not given; give the run that learned it, policy=RUN_DIR")
    settings, policy = settings_of(plain), read(plain["policy"])
    names = {key: plain[key]["name"] for key in ("importance", "recovery")}
    check_cutting(**names, seed=plain["seed"])
    one_of("strength_by", plain["strength_by"], STRENGTH_BY)
    with run_folder(run_dir, False, {"command": "transfer", **plain}) as folder:
        task = load_task(config)
        splits = task.splits
        facts = {"command": "transfer", "model": plain["model"]["name"], **task.facts}
        if verbose:
            models = ", ".join(policy.trained_on.get("models", ())) or "unknown networks"
            show(Text(f"{facts['model']} on {splits.name}: {task.source}; {policy.agent} policy trained on {models}"))
        transfer(
            task.model,
            policy,
            train=splits.train,
            val=splits.val,
            test=splits.test,
            budget=plain["budget"]["keep"],
            strengths=plain["strengths"],
            strength_by=plain["strength_by"],
            **names,
            seed=plain["seed"],
            device=plain["device"],
            settings=settings,
            run_dir=folder,
            description=task.description,
            facts=facts,
            verbose=verbose,
        )


def main() -> None:
    """``python -m amc.transfer`` and the console script."""
    from amc.cli import run

    run("transfer", main_from_config)


if __name__ == "__main__":
    main()
