from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from amc.core.errors import AmcError
from amc.data import ImageSet, load_dataset
from amc.training.fit import evaluate, train
from amc.training.recipe import Recipe, cosine, one_cycle
from amc.training.trainer import Epoch


def net(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Dropout(0.1), nn.Linear(256, 10),
        )  # fmt: skip


@pytest.fixture(scope="module")
def digits() -> tuple[ImageSet, ImageSet]:
    splits = load_dataset("digits", val_images=360)
    return splits.train, splits.val


def test_learns_digits(digits: tuple[ImageSet, ImageSet]) -> None:
    model = net()
    seen: list[Epoch] = []
    result = train(model, *digits, Recipe(epochs=5, bf16=False), on_epoch=seen.append)
    assert tuple(seen) == result.history
    assert [epoch.number for epoch in seen] == [1, 2, 3, 4, 5]
    assert result.last.val.score == evaluate(model, digits[1])[0] > 0.93
    assert seen[-1].train_loss < seen[0].train_loss / 3
    assert not model.training


def test_same_seed_same_weights_whatever_the_global_state(digits: tuple[ImageSet, ImageSet]) -> None:
    def weights(seed: int, noise: int) -> torch.Tensor:
        torch.manual_seed(noise)
        state = torch.get_rng_state()
        model = net()
        train(model, digits[0].take(128), None, Recipe(epochs=1, augment="shift", bf16=False), seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(weights(0, 1), weights(0, 2))
    assert not torch.equal(weights(0, 1), weights(1, 1))


def test_one_step_by_arithmetic() -> None:
    # A linear model of one pixel, logits (w0·x, w1·x) with w = 0 and x = 1 for class 0: softmax is (½, ½), so
    # dL/dw = (−½, ½). One-cycle starts at 1/25 of lr; Nesterov's first step is lr · (1 + momentum) · gradient.
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False))
    nn.init.zeros_(model[1].weight)
    images = ImageSet(torch.ones(2, 1, 1, 1), torch.tensor([0, 0]), 2)
    result = train(model, images, None, Recipe(epochs=1, lr=1.0, batch_size=2, weight_decay=0.0, bf16=False))
    step = 0.04 * 1.9 * 0.5
    torch.testing.assert_close(model[1].weight.detach(), torch.tensor([[step], [-step]]))
    assert result.last.train_loss == pytest.approx(math.log(2))


def test_schedules() -> None:
    assert [one_cycle(p) for p in (0, 0.15, 0.3, 0.65, 1)] == pytest.approx([0.04, 0.52, 1, 0.5, 0])
    assert [cosine(p) for p in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])


def test_evaluate_by_arithmetic() -> None:
    # Logits are the pixels: (0, ln 3) gives probabilities (¼, ¾).
    pixels = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)], [math.log(3), 0.0], [math.log(3), 0.0]])
    images = ImageSet(pixels.view(4, 2, 1, 1), torch.tensor([1, 0, 0, 0]), 2)
    model = nn.Flatten().train()
    accuracy, loss = evaluate(model, images, batch_size=3)
    assert accuracy == 0.75
    assert loss == pytest.approx((3 * -math.log(0.75) - math.log(0.25)) / 4)
    assert model.training


def test_nan_outputs_are_never_right() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) * float("nan")

    images = ImageSet(torch.ones(2, 2, 1, 1), torch.tensor([0, 0]), 2)
    assert evaluate(Broken(), images)[0] == 0


def test_divergence_is_one_line(digits: tuple[ImageSet, ImageSet]) -> None:
    with pytest.raises(AmcError, match=r"lower the learning rate, now up to 1e\+06") as caught:
        train(net(), digits[0].take(256), None, Recipe(epochs=2, lr=1e6, bf16=False))
    assert "\n" not in str(caught.value)


def test_one_image_is_refused() -> None:
    images = ImageSet(torch.ones(1, 3, 8, 8), torch.tensor([0]), 2)
    with pytest.raises(AmcError, match="give at least 2"):
        train(net(), images)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0}, {"lr": 0.0}, {"lr": float("nan")}, {"batch_size": 1}, {"momentum": 1.0}, {"weight_decay": -1.0},
        {"schedule": "steps"}, {"label_smoothing": 1.0}, {"augment": "rotate"}, {"bf16": "maybe"}, {"lr": "abc"},
        {"epochs": 1.5}, {"batch_size": "x"}, {"momentum": None}, {"schedule": ["cosine"]}, {"augment": {}},
    ],
)  # fmt: skip
def test_wrong_recipe_is_one_line(wrong: dict[str, object]) -> None:
    with pytest.raises(AmcError, match=rf"training\.{next(iter(wrong))}="):
        Recipe(**wrong)  # type: ignore[arg-type]


def test_evaluating_leaves_every_layers_mode_as_it_was() -> None:
    model = net().train()
    model[1].eval()
    modes = [m.training for m in model.modules()]
    evaluate(model, ImageSet(torch.ones(2, 3, 8, 8), torch.tensor([0, 0]), 10))
    assert [m.training for m in model.modules()] == modes
