from __future__ import annotations

import inspect
from typing import Any

import pytest
import torchvision

from amc.core.errors import AmcError
from amc.core.trust import check_arguments, own_callable, parameters_of, trusted

OWN = (
    "torchvision.models.resnet50", "torchvision.models.vit_b_16", "amc.models.cifar_resnet.CifarResNet",
    "amc.models.cifar_resnet.resnet20", "amc.models.mobilenet_v1.mobilenet_v1", "amc.rewards.accuracy",
    "amc.models.from_timm.network", "amc.models.from_transformers.network", "amc.models.from_transformers.from_config",
)  # fmt: skip
# Each of these would download, import what it is told, or run what a folder holds.
FOREIGN = (
    "torch.hub.load", "os.system", "builtins.eval", "my_pkg.my_net", "torchvision.models.get_model",
    "torchvision.models.get_model_weights", "torchvision.models.segmentation.fcn_resnet50",
    "torchvision.models.quantization.resnet18", "torchvision.models.resnet", "amc.models.build",
    "amc.models.build.build",
    "amc.models.build.find_callable", "amc.models.checkpoint.load_checkpoint", "amc.models.cifar_resnet.torch.hub.load",
    "amc.models.cifar_resnet.nn", "amc.models.cifar_resnet.PadShortcut", "amc.rewards.get_reward",
    "amc.models.from_timm.import_library", "amc.models.from_transformers.read_config", "timm.create_model",
    "transformers.AutoModel.from_pretrained", "amc.rewards.os.system", "amc.models..", "amc.search.run.search", "amc",
    "",
)  # fmt: skip


@pytest.mark.parametrize("path", OWN)
def test_own_networks_and_rewards_are_trusted(path: str) -> None:
    assert trusted(path, "file", ()) == path


@pytest.mark.parametrize("path", FOREIGN)
def test_everything_else_must_be_named(path: str) -> None:
    assert own_callable(path) is None
    with pytest.raises(AmcError, match=r"^file: "):
        trusted(path, "file", ())
    if path and ".." not in path:
        with pytest.raises(AmcError, match=f"if you trust it, add trust={path}$"):
            trusted(path, "file", ["other.path"])
        assert trusted(path, "file", [path]) == path


@pytest.mark.parametrize("value", [None, 3, ["os.system"], {"a": 1}])
def test_a_path_is_text(value: Any) -> None:
    with pytest.raises(AmcError, match="no dotted path"):
        trusted(value, "file", ())


def test_parameters_are_those_of_the_network_behind_a_builder() -> None:
    assert {"num_classes", "groups", "width_per_group"} <= parameters_of(torchvision.models.resnet50)
    assert parameters_of(own_callable("amc.models.mobilenet_v1.mobilenet_v1")) == {"num_classes", "width"}
    for name in torchvision.models.list_models(module=torchvision.models):
        maker = torchvision.models.get_model_builder(name)
        assert len(parameters_of(maker)) > len(inspect.signature(maker).parameters) - 1, name


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"weights": "DEFAULT"}, "argument 'weights', which may not stand in a file"),
        ({"pretrained": True}, "may not stand in a file"),
        ({"progress": False}, "may not stand in a file"),
        ({"a=b": 1}, "may not stand in a file"),
        ({"seed": 1}, "may not stand in a file"),
        ({"depth": 3}, "argument 'depth', which torchvision.models.resnet18 does not take"),
        ({"groups": {"_target_": "os.system"}}, "a dict; a file may give numbers"),
        ({"groups": 10**9}, "numbers of up to 1000000"),
        ({"groups": float("nan")}, "numbers of up to 1000000"),
        ({"groups": [1] * 20_000}, "lists of up to 10000"),
        ({"groups": [[[{}]]]}, "a dict"),
    ],
)
def test_arguments_are_checked_against_the_callable(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(AmcError, match=says):
        check_arguments("torchvision.models.resnet18", arguments, "file", reserved=("seed",))


def test_plain_arguments_pass() -> None:
    check_arguments("torchvision.models.resnet18", {"groups": 1, "zero_init_residual": True}, "file")
    check_arguments("amc.models.cifar_vgg.CifarVGG", {"stages": [[8, 8], [16]]}, "file")
    check_arguments("my_pkg.my_net", {"anything": [1, "x", None, 0.5]}, "file")
