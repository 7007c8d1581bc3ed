"""Phases on one network: what is cut, what is trained, what is kept, and going on after an interruption."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

from amc.core.errors import AmcError
from amc.core.types import Metrics, PruningPlan
from amc.data import ImageSet, load_dataset
from amc.finetune.settings import FineTuneSettings
from amc.finetune.tuner import FineTuner, Phase, Trained
from amc.pruning.budget import Budget
from amc.pruning.network import Network, trace_network
from amc.task.problem import Problem
from amc.task.settings import Settings
from amc.task.task import Task
from amc.training.fit import evaluate, train
from amc.training.recipe import Recipe
from amc.training.trainer import Epoch

RECIPE = Recipe(epochs=6, lr=0.1, bf16=False)


@pytest.fixture(scope="module")
def images() -> tuple[ImageSet, ImageSet]:
    splits = load_dataset("digits", val_images=360, train_images=512)
    return splits.train, splits.val


@pytest.fixture(scope="module")
def network(images: tuple[ImageSet, ImageSet]) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 24, 3, padding=1, stride=2, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(96, 10),
        )  # fmt: skip
    train(model, images[0], None, RECIPE)
    return trace_network(model, images[0].take(1).normalised())


def plan(network: Network, first: int, second: int) -> PruningPlan:
    return PruningPlan.make(network.groups, {"0": first, "3": second})


def problem(network: Network, images: tuple[ImageSet, ImageSet], settings: FineTuneSettings) -> Problem:
    task = Task("network", network.model, *images)
    return Problem(task, settings.method(0), Settings(), network, Budget(network.cost_model))


class Watcher:
    """A fine-tuner of the module's network with everything that it reports."""

    def __init__(self, network: Network, images: tuple[ImageSet, ImageSet], **settings: Any) -> None:
        self.epochs: list[Epoch] = []
        self.best: list[Metrics] = []
        self.states: list[bytes] = []
        wanted = FineTuneSettings(**{"calibration_images": 128, "lr_scale": 0.3, **settings})
        self.tuner = FineTuner(
            problem(network, images, wanted), RECIPE, wanted,
            lambda phase, epoch: self.epochs.append(epoch), lambda model, phase, metrics: self.best.append(metrics),
        )  # fmt: skip

    def save(self, state: Mapping[str, Any]) -> None:
        file = io.BytesIO()
        torch.save(dict(state), file)
        self.states.append(file.getvalue())

    def run(self, start: nn.Module, phase: Phase, state: bytes | None = None) -> Trained:
        loaded = None if state is None else torch.load(io.BytesIO(state), weights_only=True)
        return self.tuner.run(start, phase, self.save, loaded)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([t.detach().flatten().double() for t in model.state_dict().values()])


def test_a_phase_cuts_recovers_trains_and_keeps_the_best_epoch(
    network: Network, images: tuple[ImageSet, ImageSet]
) -> None:
    before = weights(network.model)
    watcher = Watcher(network, images)
    trained = watcher.run(network.model, Phase("training", plan(network, 5, 6), 4))
    assert torch.equal(weights(network.model), before)
    assert trained.model[0].out_channels == 5  # type: ignore[index]
    assert trained.model[8].in_features == 24  # type: ignore[index]
    assert [e.number for e in watcher.epochs] == [0, 1, 2, 3, 4]
    assert watcher.epochs[0].val.score == trained.cut_metrics.score == evaluate(trained.cut_model, images[1])[0]
    accuracies = [e.val.score for e in watcher.epochs]
    assert trained.metrics.score == max(a for a in accuracies if a is not None)
    assert trained.epoch == accuracies.index(trained.metrics.score)
    assert evaluate(trained.model, images[1])[0] == trained.metrics.score == watcher.best[-1].score
    assert trained.metrics.score > trained.cut_metrics.score
    assert max(e.lr for e in watcher.epochs) == pytest.approx(0.3 * RECIPE.lr)


@pytest.mark.parametrize("stop", [0, 1, 2, 3])
def test_interrupted_after_any_checkpoint_it_ends_the_same(
    network: Network, images: tuple[ImageSet, ImageSet], stop: int
) -> None:
    phase = Phase("training", plan(network, 6, 6), 3, following=plan(network, 4, 4))
    settings: dict[str, Any] = {"regulariser": "group_lasso", "regulariser_strength": 1e-3, "distill_weight": 0.5}
    straight = Watcher(network, images, **settings)
    expected = straight.run(network.model, phase)
    again = Watcher(network, images, **settings)
    trained = again.run(network.model, phase, straight.states[stop])
    assert torch.equal(weights(trained.model), weights(expected.model))
    assert (trained.metrics, trained.epoch, trained.cut_metrics) == (
        expected.metrics, expected.epoch, expected.cut_metrics,
    )  # fmt: skip
    assert [e.number for e in again.epochs] == list(range(stop + 1, 4))


def test_numbers_and_buffers_follow_a_cut_stream_and_heads(images: tuple[ImageSet, ImageSet]) -> None:
    """Layer norms, attention and buffers that no state dict holds: straight and after an interruption."""

    class Scaled(VisionTransformer):
        def __init__(self) -> None:
            super().__init__(8, 4, 2, 4, 32, 48, num_classes=10)
            self.register_buffer("scale", torch.linspace(0.5, 1.5, 32), persistent=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = self._process_input(x) * self.scale
            logits: torch.Tensor = self.heads(
                self.encoder(torch.cat([self.class_token + 0 * tokens[:, :1], tokens], 1))[:, 0]
            )
            return logits

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformer = trace_network(Scaled(), images[0].take(1).normalised())
    free = [g for g in transformer.groups if g.frozen is None]
    assert {g.channels for g in free} == {32, 4, 48}  # the stream, heads, feed-forward neurons
    half = PruningPlan.make(transformer.groups, {g.name: g.channels // 2 for g in free})
    straight, again = Watcher(transformer, images), Watcher(transformer, images)
    expected = straight.run(transformer.model, Phase("training", half, 2))
    assert expected.model.encoder.ln.normalized_shape == (16,)  # type: ignore[union-attr]
    assert evaluate(expected.model, images[1])[0] == expected.metrics.score
    trained = again.run(transformer.model, Phase("training", half, 2), straight.states[1])
    assert torch.equal(weights(trained.model), weights(expected.model))
    assert torch.equal(trained.cut_model.scale, expected.cut_model.scale)  # type: ignore[arg-type]
    assert evaluate(trained.cut_model, images[1])[0] == expected.cut_metrics.score


def test_a_second_cut_starts_from_the_first_ones_result(network: Network, images: tuple[ImageSet, ImageSet]) -> None:
    watcher = Watcher(network, images)
    first = watcher.run(network.model, Phase("stage 1 of 2", plan(network, 10, 12), 1))
    second = watcher.run(first.model, Phase("stage 2 of 2", plan(network, 5, 6), 1))
    assert second.cut_model[0].out_channels == 5  # type: ignore[index]
    assert second.cut_model[3].weight.shape == (6, 5, 3, 3)  # type: ignore[index]
    kept = {tuple(row.flatten().tolist()) for row in first.model[0].weight}  # type: ignore[index]
    rows = {tuple(row.flatten().tolist()) for row in second.cut_model[0].weight}  # type: ignore[index]
    assert rows <= kept  # the first layer is not refitted: its filters are five of the ten that were trained


def test_the_group_lasso_shrinks_what_goes_next(network: Network, images: tuple[ImageSet, ImageSet]) -> None:
    phase = Phase("stage 1 of 2", plan(network, 12, 16), 2, following=plan(network, 6, 8))

    def drop(strength: float) -> float:
        """Accuracy lost by the next cut, nothing recovered."""
        settings: dict[str, Any] = {"recovery": "none"}
        if strength:
            settings |= {"regulariser": "group_lasso", "regulariser_strength": strength}
        watcher = Watcher(network, images, **settings)
        first = watcher.run(network.model, phase)
        second = watcher.run(first.model, Phase("stage 2 of 2", plan(network, 6, 8), 1))
        return first.metrics.score - second.cut_metrics.score

    assert drop(0.02) < drop(0.0)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"epochs": 0}, "epochs"),
        ({"lr_scale": 0.0}, "lr_scale"),
        ({"schedule": "twice"}, "schedule=twice"),
        ({"schedule": "iterative"}, "needs stages"),
        ({"stages": [0.8]}, "schedule=iterative"),
        ({"distill_weight": 2.0}, "distill.weight"),
        ({"refine_plans": 0}, "refine.plans"),
        ({"recovery_settings": {"speed": 1}}, "recovery.speed"),
    ],
)
def test_impossible_settings(wrong: dict[str, Any], name: str) -> None:
    with pytest.raises(AmcError, match=name):
        FineTuneSettings(**wrong)


def test_a_plan_for_another_network(network: Network, images: tuple[ImageSet, ImageSet]) -> None:
    small = Watcher(network, images).run(network.model, Phase("training", plan(network, 5, 6), 1)).model
    with pytest.raises(AmcError, match="keeps 10 of 5 channels"):
        Watcher(network, images).run(small, Phase("training", plan(network, 10, 6), 1))
