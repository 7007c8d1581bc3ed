"""``model=[a,b]`` before Hydra."""

from __future__ import annotations

import json

import pytest

from amc.cli.networks import expanded, listed
from amc.core.errors import AmcError


def expand(*arguments: str, names: tuple[str, ...] = ("a", "b"), command: str = "search") -> list[str]:
    return expanded(command, arguments, names, lambda name: {"name": name.upper()}, json.dumps)


def test_lists() -> None:
    assert listed("[resnet20, vgg16_cifar,]") == ["resnet20", "vgg16_cifar"]
    assert listed("resnet20") == listed("resnet20,resnet32") == listed("[]") == []


def test_the_first_model_is_chosen_and_all_are_networks() -> None:
    assert expand("model=[a,b]", "seed=1") == [
        "reward=accuracy",
        "observation=portable",
        'hydra.run.dir="runs/A+B-${dataset.name}-${agent.name}/${now:%Y-%m-%d_%H-%M-%S}"',
        "model=a",
        'networks=[{"name": "A"}, {"name": "B"}]',
        "seed=1",
    ]


def test_what_is_given_is_left() -> None:
    given = ("hydra.run.dir=here", "reward=error_log_flops", "observation=amc")
    assert expand("model=[a,b]", *given)[2:] == list(given)


def test_wrong_input() -> None:
    with pytest.raises(AmcError, match=r"model=\[a,b\]: only amc.search"):
        expand("model=[a,b]", command="train")
    with pytest.raises(AmcError, match=r"model\.checkpoint: belongs to one network; .*checkpoints="):
        expand("model=[a,b]", "model.checkpoint=x.pt")
