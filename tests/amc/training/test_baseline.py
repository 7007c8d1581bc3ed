from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import amc.training.baseline
from amc.data import Splits, load_dataset
from amc.models import build
from amc.training.baseline import Baseline, baseline
from amc.training.recipe import Recipe

RECIPE = Recipe(epochs=3, lr=0.1, bf16=False)


@pytest.fixture(scope="module")
def splits() -> Splits:
    return load_dataset("digits", val_images=100, train_images=320, test_images=10)


def network(width: float = 0.25) -> nn.Module:
    return build("amc.models.mobilenet_v1.mobilenet_v1", 10, (3, 8, 8), width=width)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])


def get(model: nn.Module, splits: Splits, cache: Path, recipe: Recipe = RECIPE, seed: int = 0) -> Baseline:
    return baseline(model, splits, recipe, name="pkg.small", seed=seed, cache_dir=cache)


def test_trains_once(splits: Splits, tmp_path: Path) -> None:
    first, second = network(), network()
    made, found = get(first, splits, tmp_path), get(second, splits, tmp_path)
    assert (made.cached, found.cached) == (False, True)
    assert made.path == found.path
    assert made.path.name.startswith("small-digits-")
    assert made.val_score == found.val_score
    assert torch.equal(weights(first), weights(second))
    assert sorted(p.suffix for p in made.path.parent.iterdir()) == [".json", ".safetensors"]


def test_any_difference_is_another_baseline(splits: Splits, tmp_path: Path) -> None:
    short = Recipe(epochs=1, lr=0.1, bf16=False)
    first = get(network(), splits, tmp_path, short)
    fewer = Splits(splits.name, splits.train.take(200), splits.val, splits.test, 10, "train")
    others = [
        get(network(), splits, tmp_path, short, seed=1),
        get(network(), splits, tmp_path, Recipe(epochs=1, lr=0.05, bf16=False)),
        get(network(0.5), splits, tmp_path, short),
        get(network(), fewer, tmp_path, short),
    ]
    assert len({first.path, *(other.path for other in others)}) == 5
    assert not any(other.cached for other in others)


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_a_damaged_cache_is_trained_again(splits: Splits, tmp_path: Path, suffix: str) -> None:
    made = get(network(), splits, tmp_path)
    file = made.path.with_suffix(suffix)
    file.write_bytes(file.read_bytes()[:-20])
    again = network()
    assert not get(again, splits, tmp_path).cached
    assert get(network(), splits, tmp_path).cached


def test_weights_that_no_longer_fit_the_code_are_trained_again(splits: Splits, tmp_path: Path) -> None:
    """Same layers, other computation: nothing but the accuracy shows that the old weights mean nothing."""

    class Net(nn.Module):
        factor = 1.0

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Linear(192, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x.flatten(1)) * self.factor

    assert get(Net(), splits, tmp_path).val_score > 0.8
    changed = Net()
    changed.factor = -1.0
    redone = get(changed, splits, tmp_path)
    assert not redone.cached
    assert redone.val_score > 0.8


def test_a_cache_that_cannot_be_written_is_done_without(splits: Splits, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the folder's place")
    without, cached = network(), network()
    assert not get(without, splits, tmp_path / "cache").cached
    get(cached, splits, tmp_path / "other")
    assert torch.equal(weights(without), weights(cached))


def test_never_looks_at_test_images(splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original = amc.training.baseline.evaluate
    monkeypatch.setattr(
        amc.training.baseline,
        "evaluate",
        lambda model, images, **more: (seen.append(id(images)), original(model, images, **more))[1],
    )
    get(network(), splits, tmp_path)
    assert seen == [id(splits.val)]
