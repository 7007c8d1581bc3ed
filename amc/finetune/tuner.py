"""One fine-tuning phase: prune, recover, train, keep the best epoch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from amc.core.checks import whole
from amc.core.errors import damaged
from amc.core.types import LayerGroup, Metrics, PruningPlan
from amc.evaluation.scoring import fitting, measure
from amc.finetune.settings import FineTuneSettings
from amc.finetune.stages import doomed_channels
from amc.importance import rank_groups
from amc.pruning.network import Network, trace_network
from amc.pruning.pruner import Pruner, member_counts
from amc.pruning.rebuild import unsaved_buffers
from amc.pruning.surgery import Surgeon, rank_channels, resized, select_channels
from amc.task.problem import Problem, make_pruner
from amc.task.settings import scope_of
from amc.training.distillation import Teacher
from amc.training.recipe import Recipe
from amc.training.regularise import Penalty, make_penalty
from amc.training.trainer import Epoch, Objective, Trainer

BATCH = 250  # images in one forward pass where nothing is trained


@dataclass(frozen=True)
class Phase:
    """One cut and the training after it.

    Attributes:
        name: for people, such as ``stage 2 of 3``.
        plan: the plan to prune to.
        epochs: of training.
        following: the next stage's plan, for regularisers that prepare it.
    """

    name: str
    plan: PruningPlan
    epochs: int
    following: PruningPlan | None = None


@dataclass(frozen=True)
class Trained:
    """Result of a phase.

    Attributes:
        model: weights of the epoch with the best validation score, the recovered network itself counted as epoch 0.
        metrics: its validation scores.
        epoch: which epoch that is.
        cut_model: the network cut and recovered, before training.
        cut_metrics: its validation scores.
    """

    model: nn.Module
    metrics: Metrics
    epoch: int
    cut_model: nn.Module
    cut_metrics: Metrics


@dataclass
class _Best:
    state: dict[str, torch.Tensor]
    metrics: Metrics
    epoch: int


Checkpoint = Callable[[Mapping[str, Any]], None]


class FineTuner:
    """Carries out phases on one network and its images."""

    def __init__(
        self,
        problem: Problem,
        recipe: Recipe,
        settings: FineTuneSettings,
        on_epoch: Callable[[Phase, Epoch], None],
        on_best: Callable[[nn.Module, Phase, Metrics], None],
    ) -> None:
        """Builds only the teacher.

        Args:
            problem: the dense network with training images, and validation images to choose the best epoch by.
            recipe: the training that made the network: the learning rate is taken as a fraction of its.
            settings: how to fine-tune.
            on_epoch: called after each epoch; epoch 0 is the recovered network before training.
            on_best: called with the network of the best epoch, whenever that changes.
        """
        network = problem.network
        self._problem, self._network, self._train, self._val = problem, network, problem.task.train, problem.task.val
        self._recipe, self._settings, self._method = recipe, settings, problem.method
        self._on_epoch, self._on_best = on_epoch, on_best
        self._teacher = None
        if settings.distill_weight > 0:
            self._teacher = Teacher(
                network.model,
                network.example,
                weight=settings.distill_weight,
                temperature=settings.distill_temperature,
                bf16=recipe.bf16,
                criterion=problem.task.criterion,
            )

    def run(self, start: nn.Module, phase: Phase, save: Checkpoint, state: Mapping[str, Any] | None = None) -> Trained:
        """Cuts ``start`` to the phase's plan, recovers it, trains it.

        Args:
            start: the network before the cut; left as it is.
            phase: the plan and its training.
            save: called after the cut and after every epoch, with what ``state`` takes.
            state: of an earlier, interrupted call with the same arguments.

        Raises:
            AmcError: the plan doesn't fit, or the training diverges; the last checkpoint is that of the epoch before.
        """
        if state is None:
            pruner = self._pruner(start)
            cut = pruner.cut(self._left_of(phase.plan, pruner.groups))
            cut_metrics = self.score(cut)
            best = _Best(_copied(cut), cut_metrics, 0)
            self._on_best(cut, phase, cut_metrics)
            self._on_epoch(phase, Epoch(0, phase.epochs, math.nan, cut_metrics, 0.0, 0.0))
        else:
            with damaged("resume", "the checkpoint does not fit", "start a new run"):
                cut, cut_metrics = self._rebuilt(phase, state["cut"]), Metrics.from_json(state["cut_metrics"])
                best = _Best(state["best"], Metrics.from_json(state["best_metrics"]), whole(state["best_epoch"]))
                self._rebuilt(phase, best.state)
            # What was kept may be a later epoch's, or part of it: the run was killed before that was in the checkpoint.
            self._on_best(self._rebuilt(phase, best.state), phase, best.metrics)
        small = copy.deepcopy(cut)
        trainer = self._trainer(small, phase)

        def checkpoint(training: Mapping[str, Any] | None) -> None:
            save(
                {
                    "cut": _copied(cut), "cut_metrics": cut_metrics.to_json(),
                    "best": best.state, "best_metrics": best.metrics.to_json(), "best_epoch": best.epoch,
                    "trainer": training,
                }
            )  # fmt: skip

        if state is None:
            checkpoint(None)
        elif state["trainer"] is not None:
            with damaged("resume", "the checkpoint does not fit", "start a new run"):
                trainer.load_state(state["trainer"])
        while not trainer.finished:
            epoch = trainer.epoch()
            found = epoch.val
            assert found is not None
            if found.score > best.metrics.score:
                best = _Best(_copied(trainer.trained), found, epoch.number)
                self._on_best(trainer.trained, phase, found)
            self._on_epoch(phase, epoch)
            checkpoint(trainer.state())
        return Trained(self._rebuilt(phase, best.state), best.metrics, best.epoch, cut, cut_metrics)

    def _trainer(self, small: nn.Module, phase: Phase) -> Trainer:
        recipe = replace(
            self._recipe, epochs=phase.epochs, lr=self._recipe.lr * self._settings.lr_scale, schedule="cosine"
        )
        objective = Objective(self._problem.task.criterion, self._teacher, self._penalty(small, phase))
        return Trainer(small, self._train, self._val, recipe, objective, self._method.seed)

    def _rebuilt(self, phase: Phase, tensors: Mapping[str, torch.Tensor]) -> nn.Module:
        """The phase's network from its :func:`_copied` tensors."""
        members = self._network.members
        first = {g.name: rank_channels(g, np.ones(g.channels)) for g in members if g.frozen is None}
        kept = select_channels(member_counts(phase.plan, self._network.groups), first)
        small = Surgeon(self._network.model, members).cut(kept)  # any channels do: their number sets all sizes
        buffers = unsaved_buffers(small)
        small = resized(small, {name: tensor for name, tensor in tensors.items() if name not in buffers})
        for name in buffers.keys() & tensors.keys():
            module, _, own_name = name.rpartition(".")
            value = tensors[name].detach().clone().to(buffers[name].device)
            small.get_submodule(module).register_buffer(own_name, value, persistent=False)
        return small

    def score(self, model: nn.Module) -> Metrics:
        """Metric and loss on the validation images, in float32."""
        return measure(model, self._val, BATCH, criterion=self._problem.task.criterion)

    def _traced(self, model: nn.Module) -> Network:
        if model is self._network.model:
            return self._network
        settings = self._settings
        # Branches go in the first stage: of what is left, none is dropped.
        return trace_network(model, self._network.example, **{**scope_of(vars(settings)), "prune_depth": False})

    def _left_of(self, plan: PruningPlan, groups: Sequence[LayerGroup]) -> PruningPlan:
        """As much of a plan of the dense network as there still is to cut in one with these groups."""
        known = {group.name for group in groups}
        gone = {g.name for g in self._network.groups if g.branch is not None or any(not plan[b] for b in g.within)}
        return PruningPlan.make(groups, {n: count for n, count in plan.kept if n in known or n not in gone})

    def _pruner(self, model: nn.Module) -> Pruner:
        if model is self._network.model:
            return self._problem.pruner
        return make_pruner(self._traced(model), self._problem.task, self._method)

    def _penalty(self, small: nn.Module, phase: Phase) -> Penalty | None:
        """The penalty that prepares the next stage; none after the last cut."""
        settings = self._settings
        if phase.following is None or settings.regulariser == "none":
            return None
        network = self._traced(small)
        method = self._method
        images = self._train.take(method.calibration_images)
        criterion = self._problem.task.criterion
        calibration = method.ranking_calibration(fitting(BATCH, images, criterion))
        ranking = rank_groups(network, images, method.importance, calibration=calibration, total=criterion.total)
        following = self._left_of(phase.following, network.groups)
        doomed = doomed_channels(member_counts(following, network.groups), ranking)
        return make_penalty(settings.regulariser, settings.regulariser_strength, small, network.members, doomed)


def _copied(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict, and the buffers that are not in it: some depend on which channels were kept."""
    tensors = {**model.state_dict(), **unsaved_buffers(model)}
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
