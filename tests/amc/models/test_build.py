from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.nn.utils import prune

from amc.core.errors import AmcError
from amc.data import ImageSet
from amc.models import build
from amc.training.fit import evaluate, train
from amc.training.recipe import Recipe

CONF = Path(__file__).resolve().parents[3] / "conf" / "model"
TEMPLATES = ("custom", "torchvision", "timm", "hf")
READY = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem not in TEMPLATES)
SMALL = (3, 8, 8)


def build_ready(name: str, shape: tuple[int, int, int]) -> nn.Module:
    config = OmegaConf.load(CONF / f"{name}.yaml")
    kwargs = {key: value for key, value in config.net.items() if key != "_target_"}
    return build(config.net._target_, 10, shape, stem=config.stem, **kwargs)


@pytest.fixture
def my_pkg(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("my_pkg")
    monkeypatch.setitem(sys.modules, "my_pkg", module)
    return module


def test_all_ready_networks_are_there() -> None:
    assert set(READY) == {
        "resnet18", "resnet34", "resnet50", "mobilenet_v2", "vgg16_bn", "densenet121", "efficientnet_b0",
        "regnet_y_400mf", "googlenet", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "plain20",
        "vgg16_cifar", "mobilenet_v1",
    }  # fmt: skip


@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize("name", READY)
def test_ready_network_trains_and_evaluates(name: str, size: int) -> None:
    model = build_ready(name, (3, size, size))
    # Eight images: over the two values of a 1×1 map, batch norm's gradient is nothing but rounding error.
    images = ImageSet(torch.randint(0, 256, (8, 3, size, size), dtype=torch.uint8), torch.arange(8), 10)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    train(model, images, None, Recipe(epochs=1, batch_size=8, lr=0.01, bf16=False))
    assert any(not torch.equal(before[key], value) for key, value in model.named_parameters())
    accuracy, loss = evaluate(model, images)
    assert accuracy * 8 in range(9)
    assert 0 < loss < float("inf")


# Exact on torchvision's model pages; rounded in He et al. 2016 table 6 (0.27, 0.85, 1.7 M)
# and Howard et al. 2017 (4.2 M).
@pytest.mark.parametrize(
    ("target", "classes", "params"),
    [
        ("torchvision.models.resnet50", 1000, 25_557_032),
        ("torchvision.models.mobilenet_v2", 1000, 3_504_872),
        ("amc.models.mobilenet_v1.mobilenet_v1", 1000, 4_231_976),
        ("amc.models.cifar_resnet.resnet20", 10, 269_722),
        ("amc.models.cifar_resnet.resnet56", 10, 853_018),
        ("amc.models.cifar_resnet.resnet110", 10, 1_727_962),
        ("amc.models.cifar_resnet.plain20", 10, 269_722),
    ],
)
def test_parameter_counts(target: str, classes: int, params: int) -> None:
    model = build(target, classes, (3, 224, 224))
    assert sum(p.numel() for p in model.parameters()) == params


def test_small_stem_keeps_the_resolution() -> None:
    model = build("torchvision.models.resnet18", 10, (3, 32, 32))
    assert model.get_submodule("layer1")(model.get_submodule("conv1")(torch.zeros(1, 3, 32, 32))).shape[-1] == 32
    assert isinstance(model.get_submodule("maxpool"), nn.Identity)


@pytest.mark.parametrize(("size", "stem", "stride"), [(64, "auto", 1), (65, "auto", 2), (32, "imagenet", 2)])
def test_stem_follows_the_image_size(size: int, stem: str, stride: int) -> None:
    model = build("torchvision.models.resnet18", 10, (3, size, size), stem=stem)
    assert model.get_submodule("conv1").stride == (stride, stride)


def test_vgg_pools_no_pixel_away_and_repeats_none() -> None:
    model = build("torchvision.models.vgg16_bn", 10, SMALL)
    pools = [m for m in model.modules() if isinstance(m, nn.MaxPool2d)]
    assert len(pools) == 3  # 8 → 4 → 2 → 1
    assert model.get_submodule("classifier.0").in_features == 512


def test_residual_branches_start_at_zero() -> None:
    model = build("torchvision.models.resnet50", 10, SMALL)
    assert torch.count_nonzero(model.get_submodule("layer1.0.bn3").weight) == 0
    plain = build("torchvision.models.resnet50", 10, SMALL, zero_init_residual=False)
    assert torch.count_nonzero(plain.get_submodule("layer1.0.bn3").weight) == 256


def test_option_a_shortcut() -> None:
    from amc.models.cifar_resnet import PadShortcut

    x = torch.arange(16.0).view(1, 1, 4, 4)
    y = PadShortcut(2)(x)
    assert y.shape == (1, 3, 2, 2)
    assert y[0, 1].tolist() == [[0, 2], [8, 10]]
    assert y[0, 0].abs().sum() == y[0, 2].abs().sum() == 0


def test_plain_network_adds_nothing() -> None:
    model = build("amc.models.cifar_resnet.plain20", 10, (3, 8, 8))
    nn.init.zeros_(model.get_submodule("layer2.1.bn2").weight)
    block = model.get_submodule("layer2.1")
    assert torch.count_nonzero(block(torch.rand(1, 32, 4, 4))) == 0


def test_width_multiplies_channels() -> None:
    half = build("amc.models.mobilenet_v1.mobilenet_v1", 10, SMALL, width=0.5)
    assert half.get_submodule("classifier").in_features == 512


def test_weights_depend_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def weight(seed: int) -> torch.Tensor:
        return build("amc.models.cifar_resnet.resnet20", 10, SMALL, seed=seed).get_submodule("conv1").weight

    state = torch.get_rng_state()
    monkeypatch.delattr(torch, "manual_seed")  # it would reseed the GPUs too, which nobody puts back
    first = weight(0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(7)
    assert torch.equal(weight(0), first)
    assert not torch.equal(weight(1), first)


def test_own_callable_is_left_as_it_is(my_pkg: types.ModuleType) -> None:
    made = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    my_pkg.my_net = lambda num_classes: made
    assert build("my_pkg.my_net", 5, SMALL).get_submodule("0").stride == (2, 2)
    assert made[0].stride == (2, 2)
    assert build("my_pkg.my_net", 5, SMALL, stem="small").get_submodule("0").stride == (1, 1)


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


def test_wrong_networks_are_one_line(my_pkg: types.ModuleType) -> None:
    my_pkg.number = lambda num_classes: 3
    my_pkg.other_size = lambda num_classes: nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 7))
    my_pkg.pair = lambda num_classes: Pair()
    my_pkg.masked = lambda num_classes: nn.Sequential(
        nn.Flatten(), prune.l1_unstructured(nn.Linear(3 * 64, 10), "weight", 0.5)
    )
    my_pkg.no_arguments = lambda: nn.Identity()
    my_pkg.wants_large = lambda num_classes: nn.Conv2d(3, 4, 99)
    for target, options, message in (
        ("resnet50", {}, "give a dotted path"),
        ("torchvision.models.resnet5O", {}, "has no callable 'resnet5O'; did you mean resnet50?"),
        ("no_such_pkg.net", {}, "model=no_such_pkg.net: no_such_pkg can't be imported"),
        ("my_pkg.number", {}, "it must return an nn.Module"),
        ("my_pkg.other_size", {}, "shape (1, 7) instead of a tensor of shape (1, 10)"),
        ("my_pkg.pair", {}, "is a tuple instead of a tensor of shape (1, 10), which a module around it could return"),
        ("my_pkg.masked", {}, "layer '1' has a pruning mask (L1Unstructured) on its weight"),
        ("my_pkg.no_arguments", {}, "can't be built with num_classes=10"),
        ("my_pkg.wants_large", {}, "can't run on 3×8×8 images"),
        ("torchvision.models.vit_b_16", {}, "can't run on 3×8×8 images"),
        ("torchvision.models.resnet18", {"depth": 3}, "can't be built with"),
        ("torchvision.models.resnet18", {"stem": "tiny"}, "model.stem=tiny"),
        ("torchvision.models.resnet18", {"pretrained": True}, "know 1000 classes, the dataset has 10"),
        ("torchvision.models.resnet18", {"pretrained": True, "stem": "small"}, "need their own stem"),
        ("amc.models.cifar_resnet.resnet20", {"checkpoint": "no.pt"}, "model.checkpoint=no.pt: no such file"),
    ):
        with pytest.raises(AmcError) as caught:
            build(target, 10, SMALL, **options)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["torchvision.models.resnet18", "amc.models.cifar_resnet.resnet20"])
def test_networks_for_colour_take_grey_images_as_if_all_colours_were_the_same(name: str) -> None:
    for size in (32, 80):
        grey, colour = (build(name, 10, (channels, size, size), stem="imagenet") for channels in (1, 3))
        images = torch.randn(2, 1, size, size)
        torch.testing.assert_close(grey(images), colour(images.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-4)
