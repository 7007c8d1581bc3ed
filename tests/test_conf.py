"""Every ready configuration file fits into the commands it is for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from amc.core.callables import find_callable
from amc.training.recipe import Recipe
from amc.training.regularise import NAMES as REGULARISERS

CONF = Path(__file__).resolve().parents[1] / "conf"
GROUPS = {
    "search": (
        "model",
        "dataset",
        "task",
        "training",
        "budget",
        "reward",
        "importance",
        "recovery",
        "agent",
        "experiment",
    ),
    "train": ("model", "dataset", "task", "training"),
    "sensitivity": ("model", "dataset", "task", "training", "budget", "importance", "recovery"),
    "transfer": ("model", "dataset", "task", "training", "budget", "importance", "recovery"),
    "finetune": ("model", "dataset", "task", "training", "importance", "recovery", "regulariser"),
}
FILES = {
    command: sorted((p.parent.name, p.stem) for group in groups for p in (CONF / group).glob("*.yaml"))
    for command, groups in GROUPS.items()
}
# What the templates leave to the user.
MODEL = ["model.name=mine", "model.net._target_=torchvision.models.resnet101"]
GIVEN = {
    ("model", "custom"): MODEL,
    ("model", "torchvision"): MODEL,
    ("model", "timm"): ["model.name=mine", "model.net.architecture=resnet10t"],
    ("model", "hf"): ["model.name=mine", "model.net.source=my_vit"],
    ("dataset", "custom"): ["dataset._target_=my_pkg.my_data"],
    ("task", "custom"): ["task.loss=l1_loss"],
    ("reward", "custom"): ["reward.name=mine", "reward._target_=amc.rewards.accuracy"],
}


@pytest.fixture(scope="module", autouse=True)
def conf_folder() -> Iterator[None]:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        yield


def composed(command: str, group: str, name: str) -> dict[str, Any]:
    config = compose(command, [f"{group}={name}", *GIVEN.get((group, name), [])])
    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    return plain


def test_every_group_belongs_to_a_command() -> None:
    assert {path.name for path in CONF.iterdir() if path.is_dir()} == {g for groups in GROUPS.values() for g in groups}


@pytest.mark.parametrize("name", [name for group, name in FILES["search"] if group == "experiment"])
def test_every_recipe_composes_and_chooses_network_and_images(name: str) -> None:
    config = compose("search", [f"experiment={name}"])
    assert name == f"{config.model.name}_{config.dataset.name}".replace("vgg16_cifar_", "vgg16_")


@pytest.mark.parametrize(
    ("command", "group", "name"),
    [(c, *file) for c, files in FILES.items() for file in files if file[0] != "experiment"],
)
def test_every_file_composes(command: str, group: str, name: str) -> None:
    chosen = composed(command, group, name)[group]
    assert chosen["name"] == ("mine" if f"{group}.name=mine" in GIVEN.get((group, name), []) else name)


@pytest.mark.parametrize("name", [name for group, name in FILES["search"] if group == "model"])
def test_every_model_has_the_same_settings_and_exists(name: str) -> None:
    model = composed("search", "model", name)["model"]
    assert set(model) == {"name", "net", "checkpoint", "stem", "pretrained"}
    find_callable("model", model["net"]["_target_"], "")


@pytest.mark.parametrize("name", [name for group, name in FILES["search"] if group == "reward"])
def test_every_reward_exists(name: str) -> None:
    find_callable("reward", composed("search", "reward", name)["reward"]["_target_"], "")


@pytest.mark.parametrize("name", [name for group, name in FILES["finetune"] if group == "regulariser"])
def test_every_regulariser_exists(name: str) -> None:
    regulariser = composed("finetune", "regulariser", name)["regulariser"]
    assert regulariser["name"] in REGULARISERS
    assert (regulariser["strength"] > 0) == (name != "none")


@pytest.mark.parametrize("name", [name for group, name in FILES["train"] if group == "training" and name != "auto"])
def test_every_recipe_is_complete(name: str) -> None:
    training = composed("train", "training", name)["training"]
    assert training.pop("name") == name
    assert set(training) == set(Recipe.__dataclass_fields__)
    Recipe(**training)
