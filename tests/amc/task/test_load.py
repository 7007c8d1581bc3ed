from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from amc.cli.command import plain_of
from amc.core.errors import AmcError
from amc.core.files import write_safetensors
from amc.data import load_dataset
from amc.models import build
from amc.task.load import load_recipe, load_trained, load_untrained
from amc.training.recipe import Recipe

CONF = Path(__file__).resolve().parents[3] / "conf"
TINY = {"epochs": 1, "batch_size": 64, "bf16": False}


def configure(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    parts = {
        "model": OmegaConf.load(CONF / "model" / "resnet20.yaml"),
        "dataset": OmegaConf.load(CONF / "dataset" / "digits.yaml"),
        "training": OmegaConf.load(CONF / "training" / "auto.yaml"),
    }
    config = OmegaConf.create(
        {**parts, "seed": 0, "device": "cpu", "verbose": False, "cache_dir": str(tmp_path / "cache")}
    )
    config.dataset.train_images = 128
    for key, value in TINY.items():
        config.training[key] = value
    for key, value in changes.items():
        OmegaConf.update(config, key.replace("__", "."), value)
    return plain_of(config)


def test_trains_and_then_takes_from_the_cache(tmp_path: Path) -> None:
    first, second = (load_trained(configure(tmp_path)) for _ in range(2))
    assert first.source.startswith("trained baseline resnet20-digits-")
    assert second.source == first.source.replace("trained", "cached")
    assert not first.imported_weights
    assert [len(s) for s in (first.splits.train, first.splits.val, first.splits.test)] == [128, 360, 360]
    image = first.splits.test.take(8).normalised()
    assert torch.equal(first.model(image), second.model(image))


def test_a_foreign_checkpoint_is_judged_on_test_images_only(tmp_path: Path) -> None:
    model = build("amc.models.cifar_resnet.resnet20", 10, (3, 8, 8), seed=5)
    path = tmp_path / "foreign.safetensors"
    write_safetensors(path, model.state_dict())
    task = load_trained(configure(tmp_path, model__checkpoint=str(path)))
    assert task.imported_weights
    assert task.splits.val_from == "test"
    assert torch.equal(task.model.get_submodule("conv1").weight, model.get_submodule("conv1").weight)
    assert task.source == "checkpoint foreign.safetensors"


def test_a_checkpoint_of_ours_keeps_its_split(tmp_path: Path) -> None:
    images = load_dataset("digits", val_images=360, train_images=128).train
    model = build("amc.models.cifar_resnet.resnet20", 10, (3, 8, 8))
    path = tmp_path / "ours.safetensors"
    notes = {"dataset": "digits", "val_from": "train", "train_images": images.fingerprint()}
    write_safetensors(path, model.state_dict(), notes)
    task = load_trained(configure(tmp_path, model__checkpoint=str(path)))
    assert (task.splits.val_from, task.imported_weights) == ("train", False)
    # With other training images than the noted ones, today's validation images may be among the noted ones.
    moved = load_trained(configure(tmp_path, model__checkpoint=str(path), dataset__val_images=100))
    assert (moved.splits.val_from, moved.imported_weights) == ("test", True)


def test_untrained_has_the_seed_s_weights(tmp_path: Path) -> None:
    task = load_untrained(configure(tmp_path, seed=3))
    expected = build("amc.models.cifar_resnet.resnet20", 10, (3, 8, 8), seed=3)
    assert torch.equal(task.model.get_submodule("conv1").weight, expected.get_submodule("conv1").weight)
    assert task.source == "untrained"


def test_recipe_of_the_data_set_with_what_is_set_before_it(tmp_path: Path) -> None:
    own = OmegaConf.load(CONF / "training" / "digits.yaml")
    recipe = load_recipe(configure(tmp_path))
    assert (recipe.epochs, recipe.batch_size, recipe.bf16) == (1, 64, False)
    assert (recipe.lr, recipe.weight_decay, recipe.augment) == (own.lr, own.weight_decay, own.augment)


@pytest.mark.parametrize("name", ["voc", "coco", "csv", "npz", "text", "segmentation_folder", "hf_text"])
def test_what_is_no_image_of_a_class_has_no_labels_to_smooth(tmp_path: Path, name: str) -> None:
    recipe = load_recipe(configure(tmp_path, dataset__name=name))
    assert (recipe.label_smoothing, recipe.augment) == (0.0, "none")
    assert load_recipe(configure(tmp_path, dataset__name="hf_images")).augment == "flip_shift"


@pytest.mark.parametrize("name", ["digits", "cifar10", "imagenet", "imagefolder"])
def test_ready_recipes_are_complete(name: str) -> None:
    settings = OmegaConf.to_container(OmegaConf.load(CONF / "training" / f"{name}.yaml"))
    assert settings.pop("name") == name
    assert set(vars(Recipe(**settings))) == set(settings)


def test_wrong_settings_are_one_line(tmp_path: Path) -> None:
    for changes, message in (
        ({"device": "abacus"}, "device=abacus"),
        ({"device": "cuda:99"}, "device=cuda:99"),
        ({"model__pretrained": "maybe"}, "model.pretrained=maybe"),
        ({"model__checkpoint": "no.pt"}, "model.checkpoint=no.pt: no such file"),
        ({"training__speed": 3}, "training.speed: unknown"),
        ({"training__lr": -1.0}, "training.lr=-1.0"),
        ({"dataset__name": "digit"}, "dataset=digit: unknown"),
    ):
        with pytest.raises(AmcError) as caught:
            load_trained(configure(tmp_path, **changes))
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_images_from_a_reader(tmp_path: Path) -> None:
    images = np.arange(20 * 64, dtype=np.uint32).astype(np.uint8).reshape(20, 8, 8)
    np.savez(tmp_path / "grey.npz", images=images, labels=np.arange(20) % 10)
    config = configure(tmp_path)
    config["dataset"] = plain_of(OmegaConf.load(CONF / "dataset" / "npz.yaml")) | {"path": str(tmp_path / "grey.npz")}
    task = load_untrained(config)
    assert task.splits.train.shape == (1, 8, 8)
    assert task.facts["images"] == {"train": 12, "val": 4, "test": 4}
    assert task.facts["origins"]["test"] == "a share of one folder by seed 0"
    assert task.model(task.splits.train.take(2).normalised()).shape == (2, 10)
