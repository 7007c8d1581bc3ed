"""The study's trained network with its images, for scripts."""

from __future__ import annotations

from hydra import compose, initialize_config_module

from amc.cli.command import plain_of
from amc.task.load import load_trained
from amc.task.task import Task

TARGET = "experiments.vision_transformer.network.vit"


def load(data: str, weights: str) -> Task:
    """As the commands load it.

    Args:
        data: CIFAR-10, a folder with train/ and test/.
        weights: what ``amc.train`` left; its split of the images is taken.
    """
    overrides = [
        "model=custom", "model.name=vit", f"model.net._target_={TARGET}", f"model.checkpoint={weights}",
        "dataset=cifar10", f"dataset.root={data}",
    ]  # fmt: skip
    with initialize_config_module("conf", version_base=None):
        config = plain_of(compose("transfer", overrides=overrides))
    return load_trained(config).task(config)
