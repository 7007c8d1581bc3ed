from __future__ import annotations

import copy
import io
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from amc.core.errors import AmcError
from amc.data import ImageSet, load_dataset
from amc.evaluation.metrics import Criterion
from amc.evaluation.scoring import measure
from amc.training.distillation import Teacher
from amc.training.fit import train
from amc.training.recipe import Recipe
from amc.training.trainer import Objective, Trainer


def net(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Dropout(0.1), nn.Linear(128, 10),
        )  # fmt: skip


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return load_dataset("digits", val_images=360).train.take(256)


RECIPE = Recipe(epochs=4, augment="shift", bf16=False, ema=0.9)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([t.detach().flatten().double() for t in model.state_dict().values()])


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("stop", [1, 3, 4])
def test_stopped_and_gone_on_equals_never_stopped(images: ImageSet, ema: float, stop: int) -> None:
    recipe = Recipe(epochs=4, augment="shift", bf16=False, ema=ema)
    straight = Trainer(net(), images, images, recipe, seed=3)
    epochs = [straight.epoch() for _ in range(4)]
    first = Trainer(net(), images, images, recipe, seed=3)
    for _ in range(stop):
        first.epoch()
    file = io.BytesIO()
    torch.save(first.state(), file)
    file.seek(0)
    second = Trainer(net(seed=9), images, images, recipe, seed=3)
    second.load_state(torch.load(file, weights_only=True))
    again = [second.epoch() for _ in range(4 - stop)]
    assert second.finished
    assert torch.equal(weights(second.trained), weights(straight.trained))
    for one, other in zip(again, epochs[stop:], strict=True):
        assert (one.number, one.train_loss, one.val, one.lr) == (
            other.number, other.train_loss, other.val, other.lr,
        )  # fmt: skip


def test_the_moving_average_by_hand(images: ImageSet) -> None:
    # one batch per epoch: after steps with weights w1, w2 the average is 0.9·w1 + 0.1·w2 (it starts at w1)
    batch = images.take(64)
    recipe = Recipe(epochs=2, bf16=False, ema=0.9)
    model = net()
    trainer = Trainer(model, batch, None, recipe)
    trainer.epoch()
    first = model[0].weight.detach().clone()
    trainer.epoch()
    average = trainer.trained
    assert isinstance(average, nn.Sequential)
    assert torch.allclose(average[0].weight, 0.9 * first + 0.1 * model[0].weight, atol=1e-6)
    assert not torch.equal(average[0].weight, model[0].weight)


def test_train_returns_the_average(images: ImageSet) -> None:
    model = net()
    twin = copy.deepcopy(model)
    train(model, images, None, RECIPE, seed=1)
    trainer = Trainer(twin, images, None, RECIPE, seed=1)
    while not trainer.finished:
        trainer.epoch()
    assert torch.equal(weights(model), weights(trainer.trained))


def test_a_teacher_alone_makes_the_student_answer_like_it(images: ImageSet) -> None:
    teacher_net = net(seed=5)
    train(teacher_net, images, None, Recipe(epochs=6, bf16=False), seed=0)
    wrong = ImageSet(images.images, (images.labels + 1) % 10, 10, images.mean, images.std)  # labels teach nonsense
    student = net()
    teacher = Teacher(teacher_net, images.take(1).normalised(), weight=1.0, bf16=False)
    train(student, wrong, None, Recipe(epochs=12, bf16=False), seed=0, objective=Objective(teacher=teacher))
    with torch.no_grad():
        x = images.normalised()
        agreement = (student(x).argmax(1) == teacher_net(x).argmax(1)).float().mean()
    assert agreement > 0.95


def test_a_penalty_is_part_of_the_loss(images: ImageSet) -> None:
    def size(penalty: bool) -> float:
        model = net()
        extra = (lambda m: 0.01 * m[6].weight.abs().sum()) if penalty else None
        train(model, images, None, Recipe(epochs=3, bf16=False), objective=Objective(penalty=extra))
        return float(model[6].weight.detach().abs().sum())

    assert size(True) < 0.9 * size(False)


def test_diverging_is_one_line_that_names_the_epoch(images: ImageSet) -> None:
    model = net()
    nan = Objective(penalty=lambda m: m[6].weight.sum() * math.nan)
    trainer = Trainer(model, images, None, Recipe(epochs=3, bf16=False), nan)
    with pytest.raises(AmcError, match="epoch 1; lower the learning rate") as error:
        trainer.epoch()
    assert "\n" not in str(error.value)


def test_the_loss_is_the_objectives(images: ImageSet) -> None:
    recipe, losses = Recipe(epochs=1, bf16=False, label_smoothing=0.0), []
    for loss in (F.multi_margin_loss, F.cross_entropy):
        trainer = Trainer(net(), images, images, recipe, Objective(Criterion(loss=loss)), seed=3)
        epoch = trainer.epoch()
        assert epoch.val is not None
        assert epoch.val == measure(trainer.trained, images, 250, criterion=Criterion(loss=loss))
        losses.append(epoch.train_loss)
    assert losses[0] != losses[1]


def test_only_a_loss_with_labels_to_smooth_takes_smoothing(images: ImageSet) -> None:
    recipe, smooth = Recipe(bf16=False, label_smoothing=0.1), Objective(Criterion(loss=F.multi_margin_loss))
    with pytest.raises(AmcError, match=r"training.label_smoothing=0.1: multi_margin_loss has no labels to smooth"):
        Trainer(net(), images, None, recipe, smooth)
