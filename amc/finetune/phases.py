"""The phases of one fine-tuning in their order."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from amc.core.errors import AmcError
from amc.core.types import Metrics, PruningPlan
from amc.data.layout import about
from amc.finetune.log import TuningLog
from amc.finetune.settings import FineTuneSettings
from amc.finetune.stages import stage_plans
from amc.finetune.tuner import FineTuner, Phase, Trained
from amc.pruning.saved import save_pruned
from amc.task.problem import Problem
from amc.tracking.run import Run
from amc.training.recipe import Recipe
from amc.training.trainer import Epoch


class Phases:
    """The phases of one fine-tuning in their order."""

    def __init__(self, problem: Problem, recipe: Recipe, settings: FineTuneSettings, log: TuningLog, run: Run) -> None:
        self._problem, self._network, self._settings = problem, problem.network, settings
        self._log, self._folder = log, run.folder
        self._last: Phase | None = None  # whose best network is the result
        self.tuner = FineTuner(problem, recipe, settings, self._on_epoch, self._on_best)

    def all(self, plans: Sequence[PruningPlan]) -> tuple[PruningPlan, Trained]:
        """Chooses among the plans, then prunes and trains in stages. Returns the chosen plan and its result."""
        settings, log = self._settings, self._log
        trials = [Phase(f"plan {i} of {len(plans)}", plan, settings.refine_epochs) for i, plan in enumerate(plans, 1)]
        trials = trials if len(trials) > 1 else []
        log.begin(plans, len(trials) * settings.refine_epochs + settings.epochs)
        for number, phase in enumerate(trials):
            self._run(number, self._network.model, phase)
        scores = [entry[f"val_{log.metric}"] for entry in log.done[: len(trials)]] or [0.0]
        plan = plans[scores.index(max(scores))]
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
        train = self._problem.task.train
        if phase is self._last and self._folder is not None:
            save_pruned(
                self._folder.path / "pruned",
                model,
                plan=phase.plan,
                description=self._problem.task.description,
                **about(train),
                facts={f"val_{metrics.metric}": metrics.value, "macs": self._network.cost_model.cost(phase.plan).macs},
            )
