"""From a plan to a small, accurate, loadable network. ``python -m amc.finetune plan=RUN_DIR/plan.json``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.text import Text
from torch import nn

from amc.data import ImageSet
from amc.errors import AmcError
from amc.finetuning import FineTuner, FineTuneSettings, Phase, Trained
from amc.loop import best_plans
from amc.precision import resolve_device
from amc.problem import Network, identity, trace_network
from amc.pruned import save_pruned
from amc.recipe import Recipe
from amc.report import Scored, count, result_table, show, time_table
from amc.result import score_networks, versions
from amc.stages import stage_plans
from amc.tracking import RunDir, opened, run_folder
from amc.trainer import Epoch
from amc.tuning_log import TuningLog
from amc.types import Metrics, PruningPlan

if TYPE_CHECKING:
    from omegaconf import DictConfig

__all__ = ["FineTuneResult", "FineTuneSettings", "finetune", "main", "main_from_config"]

Plans = PruningPlan | Sequence[PruningPlan] | str | Path


@dataclass(frozen=True)
class FineTuneResult:
    """What a fine-tuning came to.

    Attributes:
        model: the small network, in evaluation mode.
        plan: what it was cut to; of several, the winner.
        baseline, cut, tuned: the uncut network, the one cut and recovered, and ``model``.
        history: a row for every epoch of every phase.
        phases: what every phase came to.
        wall_seconds: of the whole run, earlier parts of a resumed one included.
    """

    model: nn.Module
    plan: PruningPlan
    baseline: Scored
    cut: Scored
    tuned: Scored
    history: tuple[Mapping[str, Any], ...]
    phases: tuple[Mapping[str, Any], ...]
    wall_seconds: float


def finetune(
    model: nn.Module,
    plans: Plans,
    *,
    train: ImageSet,
    val: ImageSet,
    test: ImageSet | None = None,
    recipe: Recipe | None = None,
    settings: FineTuneSettings | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    run_dir: str | Path | RunDir | None = None,
    resume: bool = False,
    description: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    verbose: bool = True,
) -> FineTuneResult:
    """Cuts a network to a plan, recovers it and trains it (AMC, He et al. 2018, §4: fine-tuning after the search).

    Args:
        model: the trained, uncut network; its weights are left as they are.
        plans: a plan, several to choose from (each is tried for ``settings.refine_epochs``), or a search's
            ``plan.json``; with ``settings.refine_plans`` above 1 also the best other plans of that search.
        train: training images.
        val: images to choose the best epoch, and the best of several plans, by.
        test: images for the final report only.
        recipe: the training that made ``model``.
        settings: how to fine-tune.
        seed: of everything that is random.
        device: ``auto``: CUDA if there is any.
        run_dir: folder to record the run in; nothing is written without one.
        resume: go on with the run in ``run_dir``.
        description: how the network is built, see :func:`amc.pruned.save_pruned`.
        facts: further entries for ``summary.json``.
        verbose: show progress and result.

    Raises:
        AmcError: wrong input, or a training that diverges; the checkpoint and the best network so far are kept.
    """
    started = time.perf_counter()
    settings, recipe = settings or FineTuneSettings(), recipe or Recipe()
    place = resolve_device(device)
    train, val = train.to(place), val.to(place)
    facts = {**(facts or {}), "seed": seed, "settings": asdict(settings), "recipe": asdict(recipe)}
    with opened(run_dir, resume, {"command": "finetune", **facts}) as folder:
        example = train.take(1).normalised()
        network = trace_network(
            model.to(place), example, prune_residual=settings.prune_residual, freeze=settings.freeze
        )
        with TuningLog(folder, identity(network, train, val), verbose) as log:
            found = log.plans(network.groups) or _candidates(plans, network, settings.refine_plans)
            run = _Run(network, train, val, recipe, settings, seed, log, folder, description)
            try:
                plan, trained = run.all_phases(found)
            except AmcError as error:
                if folder is not None and (folder.path / "pruned").is_dir():
                    raise AmcError(f"{error}; the best network so far is in {folder.path / 'pruned'}") from error
                raise
            cost = network.cost_model.cost
            baseline, cut, tuned = score_networks(
                (network.model, trained.cut_model, trained.model),
                (cost(), cost(plan), cost(plan)),
                (run.tuner.score(network.model), trained.cut_metrics, trained.metrics),
                None if test is None else test.to(place),
                example,
            )
            result = FineTuneResult(
                trained.model, plan, baseline, cut, tuned, tuple(log.history), tuple(log.done),
                wall_seconds=time.perf_counter() - started + log.seconds,
            )  # fmt: skip
            log.conclude(plan, _summary(result, facts), baseline.val.accuracy)
        if verbose:
            _print(result, folder)
    return result


class _Run:
    """The phases of one fine-tuning in their order."""

    def __init__(
        self,
        network: Network,
        train: ImageSet,
        val: ImageSet,
        recipe: Recipe,
        settings: FineTuneSettings,
        seed: int,
        log: TuningLog,
        folder: RunDir | None,
        description: Mapping[str, Any] | None,
    ) -> None:
        self._network, self._train, self._settings = network, train, settings
        self._log, self._folder, self._description = log, folder, description
        self._last: Phase | None = None  # whose best network is the result
        self.tuner = FineTuner(network, train, val, recipe, settings, seed, self._on_epoch, self._on_best)

    def all_phases(self, plans: Sequence[PruningPlan]) -> tuple[PruningPlan, Trained]:
        """Chooses among the plans, then prunes and trains in stages; the chosen plan and what it came to."""
        settings, log = self._settings, self._log
        trials = [Phase(f"plan {i} of {len(plans)}", plan, settings.refine_epochs) for i, plan in enumerate(plans, 1)]
        trials = trials if len(trials) > 1 else []
        log.begin(plans, len(trials) * settings.refine_epochs + settings.epochs)
        for number, phase in enumerate(trials):
            self._run(number, self._network.model, phase)
        accuracies = [entry["val_accuracy"] for entry in log.done[: len(trials)]] or [0.0]
        plan = plans[accuracies.index(max(accuracies))]
        stages = self._stages(plan)
        self._last = stages[-1]
        model, trained = self._network.model, None
        for number, phase in enumerate(stages, len(trials)):
            trained = self._run(number, model, phase)
            model = trained.model if trained is not None else model
        assert trained is not None  # the last phase is never in the checkpoint's finished ones
        return plan, trained

    def _stages(self, plan: PruningPlan) -> list[Phase]:
        settings = self._settings
        plans = stage_plans(plan, self._network.cost_model, settings.stages)
        each, rest = divmod(settings.epochs, len(plans))
        if each == 0:
            raise AmcError(f"epochs={settings.epochs}: fewer than the {len(plans)} stages; give at least one for each")
        epochs = [each] * (len(plans) - 1) + [each + rest]
        following = [*plans[1:], None]
        names = ["training"] if len(plans) == 1 else [f"stage {i} of {len(plans)}" for i in range(1, len(plans) + 1)]
        return [Phase(*parts) for parts in zip(names, plans, epochs, following, strict=True)]

    def _run(self, number: int, start: nn.Module, phase: Phase) -> Trained | None:
        """``None`` for a phase finished in an earlier part of the run: a later one's state is in the checkpoint."""
        state = self._log.state(number)
        if number < len(self._log.done):
            return None
        trained = self.tuner.run(start, phase, self._log.save, state)
        self._log.finish_phase(phase, trained)
        return trained

    def _ratio(self, plan: PruningPlan) -> float:
        cost_model = self._network.cost_model
        return cost_model.cost(plan).macs / cost_model.cost().macs

    def _on_epoch(self, phase: Phase, epoch: Epoch) -> None:
        self._log.epoch(phase, epoch, self._ratio(phase.plan))

    def _on_best(self, model: nn.Module, phase: Phase, metrics: Metrics) -> None:
        if phase is self._last and self._folder is not None:
            save_pruned(
                self._folder.path / "pruned",
                model,
                plan=phase.plan,
                description=self._description,
                image_shape=self._train.shape,
                num_classes=self._train.num_classes,
                mean=self._train.mean,
                std=self._train.std,
                facts={"val_accuracy": metrics.accuracy, "macs": self._network.cost_model.cost(phase.plan).macs},
            )


def _candidates(plans: Plans, network: Network, most: int) -> list[PruningPlan]:
    """The plans to choose from; of a ``plan.json``, that plan and the best others of its search."""
    if isinstance(plans, PruningPlan):
        return [plans]
    if not isinstance(plans, (str, Path)):
        return list(plans)
    path = plan_file(plans)
    plan = PruningPlan.load(path, network.groups)
    if most == 1:
        return [plan]
    return list(dict.fromkeys([plan, *best_plans(path.parent / "episodes.csv", network.groups, most)]))[:most]


def plan_file(path: str | Path) -> Path:
    """The ``plan.json`` that is meant by ``path``: itself, or the one in a run folder."""
    path = Path(path)
    return path / "plan.json" if path.is_dir() else path


def _summary(result: FineTuneResult, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``summary.json``; accuracies are fractions."""
    return {
        **facts,
        "versions": versions(),
        **{name: getattr(result, name).to_json() for name in ("baseline", "cut", "tuned")},
        "phases": result.phases,
        "history": result.history,
        "wall_seconds": result.wall_seconds,
        "training_seconds": sum(row["seconds"] for row in result.history),
    }


def _print(result: FineTuneResult, folder: RunDir | None) -> None:
    columns = {"uncut": result.baseline, "cut and recovered": result.cut, "fine-tuned": result.tuned}
    show(result_table(columns))
    training = sum(row["seconds"] for row in result.history)
    show(time_table(result.wall_seconds, {"training": training}))
    show(Text("nothing was recorded" if folder is None else f"run folder: {folder.path}"))


def main_from_config(config: DictConfig, run_dir: Path) -> None:
    """Loads data and network as configured, then fine-tunes the plan."""
    from omegaconf import OmegaConf

    from amc.setup import load_recipe, load_task

    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    resume, verbose = plain.pop("resume"), plain.pop("verbose")
    settings = _settings(plain)
    if plain["plan"] is None:
        raise AmcError("plan: not given; give a search's plan, plan=RUN_DIR/plan.json")
    if not plan_file(plain["plan"]).is_file() and resume is None:
        raise AmcError(f"plan={plain['plan']}: no such file; give a search's plan, plan=RUN_DIR/plan.json")
    recipe = load_recipe(config)
    given = {key: value for key, value in plain["finetuning"].items() if value is not None}
    own = replace(recipe, **given)
    with run_folder(run_dir, resume is not None, {"command": "finetune", **plain}) as folder:
        task = load_task(config)
        splits = task.splits
        facts = {"command": "finetune", "model": plain["model"]["name"], **task.facts}
        if verbose:
            show(Text(f"{facts['model']}: {task.source}; {splits.name}: {count(len(splits.train))} training images"))
        finetune(
            task.model,
            plain["plan"],
            train=splits.train,
            val=splits.val,
            test=splits.test,
            recipe=own,
            settings=settings,
            seed=plain["seed"],
            device=plain["device"],
            run_dir=folder,
            resume=resume is not None,
            description=task.description,
            facts=facts,
            verbose=verbose,
        )


def _settings(plain: Mapping[str, Any]) -> FineTuneSettings:
    """Raises ``AmcError`` for a setting that has an impossible value."""
    sections = {"refine": ("plans", "epochs"), "distill": ("weight", "temperature")}
    nested = {f"{section}_{key}": plain[section][key] for section, keys in sections.items() for key in keys}
    keys = ("epochs", "lr_scale", "schedule", "stages", "calibration_images", "prune_residual", "freeze")
    return FineTuneSettings(
        **{key: plain[key] for key in keys},
        **nested,
        importance=plain["importance"]["name"],
        recovery=plain["recovery"]["name"],
        recovery_settings={key: value for key, value in plain["recovery"].items() if key != "name"},
        regulariser=plain["regulariser"]["name"],
        regulariser_strength=plain["regulariser"]["strength"],
    )


def main() -> None:
    """``python -m amc.finetune`` and the console script."""
    from amc.cli import run

    run("finetune", main_from_config)


if __name__ == "__main__":
    main()
