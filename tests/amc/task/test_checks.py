"""Every command looks at network, images and labels before it does anything."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from amc.core.errors import AmcError
from amc.core.types import PruningPlan
from amc.data import ImageSet
from amc.finetune import FineTuneSettings, finetune
from amc.pruning.groups import trace
from amc.search.joint import search_jointly
from amc.search.run import search
from amc.sensitivity.run import sensitivity
from amc.task.settings import Settings
from amc.task.task import Task
from amc.training.fit import train
from amc.training.recipe import Recipe
from amc.transfer.run import transfer
from tests.support.own import PLAIN, Loader, OwnNet, own_loader
from tests.support.small import known_policy

TRAIN, VAL = own_loader(64, 0), own_loader(32, 1)
FLOAT32 = torch.float32


def recoded(loader: Loader, images: Any = None, labels: Any = None) -> Loader:
    """The same loader, with other images or labels."""
    x, y = loader.dataset.tensors  # type: ignore[attr-defined]
    return DataLoader(TensorDataset(x if images is None else images(x), y if labels is None else labels(y)), 16)


def a_search(model: nn.Module, **given: Any) -> nn.Module:
    return search(model, **given, agent="random", episodes=2, settings=PLAIN, verbose=False).model


def a_joint_search(model: nn.Module, run_dir: Path | None = None, **given: Any) -> nn.Module:
    settings = Settings(images=64, calibration_images=64, observation="portable", agent={"warmup_episodes": 1})
    task = Task.make("own", model, **given)
    found = search_jointly([task], episodes=2, settings=settings, run_dir=run_dir, verbose=False)
    return found.networks["own"].result.model


def an_analysis(model: nn.Module, **given: Any) -> None:
    sensitivity(model, **given, settings=PLAIN, verbose=False, cache_dir=given.get("run_dir"))


def a_transfer(model: nn.Module, **given: Any) -> nn.Module:
    return transfer(model, known_policy(), **given, verbose=False).model


def a_tuning(model: nn.Module, **given: Any) -> nn.Module:
    groups = trace(OwnNet(), torch.zeros(1, 1, 8, 8))
    plan = PruningPlan.make(groups, {groups[0].name: 8})
    settings = FineTuneSettings(epochs=1, calibration_images=32)
    return finetune(model, plan, **given, settings=settings, recipe=Recipe(bf16=False), verbose=False).model


COMMANDS: tuple[Callable[..., Any], ...] = (a_search, a_joint_search, an_analysis, a_transfer, a_tuning)


class Pair(OwnNet):
    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(x).argmax(1), 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_before_anything_is_written(command: Callable[..., Any], tmp_path: Path) -> None:
    wrong: list[tuple[nn.Module, dict[str, Any], str]] = [
        (Pair(), {}, r"returns a tuple \(\[2\], int\); .*output="),
        (OwnNet(), {"val": recoded(VAL, labels=lambda y: y + 1)}, "val: labels go up to 3, .*give labels - 1"),
        (OwnNet(), {"train": recoded(TRAIN, labels=torch.Tensor.float)}, "train: labels are torch.float32"),
        (OwnNet(), {"val": recoded(VAL, images=lambda x: x[..., :7])}, "val: images are 1×8×7, those of train 1×8×8"),
        (OwnNet(), {"train": recoded(TRAIN, images=lambda x: (9 * x).clamp(0).to(torch.uint8))}, "val: images are"),
        (OwnNet().to("meta"), {}, r"features\.0\.weight has a shape but no values"),
    ]
    for model, changed, message in wrong:
        with pytest.raises(AmcError, match=message):
            command(model.train(), **{"train": TRAIN, "val": VAL, "run_dir": tmp_path / "run", **changed})
        assert model.training
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_network_in_half_precision_and_training_mode_stays_as_it_is(
    command: Callable[..., Any], trained: OwnNet
) -> None:
    model = copy.deepcopy(trained).half().train()
    model.features[0].weight.requires_grad_(False)
    model.features[1].eval()
    before = [(name, p.dtype, p.requires_grad, p.clone()) for name, p in model.named_parameters()]
    modes = [module.training for module in model.modules()]
    with torch.inference_mode():
        small = command(torch.compile(model, backend="eager"), train=TRAIN, val=VAL)
    after = [(name, p.dtype, p.requires_grad, p) for name, p in model.named_parameters()]
    assert all(x[:3] == y[:3] and torch.equal(x[3], y[3]) for x, y in zip(before, after, strict=True))
    assert [module.training for module in model.modules()] == modes
    if small is not None:
        assert type(small) is OwnNet
        assert {p.dtype for p in small.parameters()} == {FLOAT32}
        assert not small.get_parameter("features.0.weight").requires_grad


def test_wrong_images_are_refused_before_a_training() -> None:
    images = ImageSet.from_loader(TRAIN)
    for model, message in (
        (Pair(), "in training mode it returns a tuple"),
        (OwnNet().requires_grad_(False), "no parameter may change"),
    ):
        with pytest.raises(AmcError, match=message):
            train(model, images, recipe=Recipe(epochs=1, bf16=False))


def test_training_works_without_gradients_around_it() -> None:
    model = OwnNet()
    before = model.head.weight.clone()
    with torch.inference_mode():
        train(model, ImageSet.from_loader(TRAIN), recipe=Recipe(epochs=1, bf16=False))
    assert not torch.equal(model.head.weight, before)


class Wide(OwnNet):
    """Six outputs that are probabilities."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = super().forward(x)
        return torch.cat([logits, logits - 9], 1).softmax(1)


def test_what_may_be_a_mistake_is_logged_once_all_is_accepted(caplog: pytest.LogCaptureFixture) -> None:
    one_class = recoded(VAL, labels=torch.zeros_like)
    model = Wide()
    nn.init.zeros_(model.features[3].weight)  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        task = Task.make("wide", model, TRAIN, one_class).on(torch.device("cpu"))
    assert [record.message for record in caplog.records] == [
        "model: all weights are zero in features.3; check that the right checkpoint was loaded",
        "model: has 6 outputs for labels of 3 classes; is it the network for these images?",
        "val: all 32 images have the label 0; is that meant?",
        "model: its outputs look like probabilities; losses are those of logits, so leave the softmax out",
    ]
    assert isinstance(task.train, ImageSet)
    assert isinstance(task.val, ImageSet)
    assert task.train.num_classes == task.val.num_classes == 6
    caplog.clear()
    with pytest.raises(AmcError):
        Task.make("wide", model.half(), TRAIN, recoded(VAL, labels=lambda y: y + 9)).on(torch.device("cpu"))
    assert not caplog.records
