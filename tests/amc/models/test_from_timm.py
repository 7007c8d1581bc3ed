"""timm's networks by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from amc.core.errors import AmcError
from amc.models import build
from amc.models.arguments import check_pretrained
from amc.models.libraries import TIMM
from amc.pruning.groups import trace
from amc.pruning.saved import load
from tests.support.kept_networks import outputs, randomly_cut, save

timm = pytest.importorskip("timm")
SHAPE = (3, 32, 32)


def test_it_is_what_timm_makes() -> None:
    model = build(TIMM.target, 10, SHAPE, architecture="resnet10t")
    assert type(model) is timm.models.ResNet
    assert [name for name, _ in model.named_modules()] == [
        name for name, _ in timm.create_model("resnet10t", num_classes=10).named_modules()
    ]
    assert not torch.cuda.is_initialized()
    assert build(TIMM.target, 10, (1, 32, 32), architecture="resnet10t").conv1[0].in_channels == 1


def test_the_stem_is_timms_unless_another_is_asked_for() -> None:
    strides = [
        build(TIMM.target, 10, SHAPE, architecture="resnet18", stem=stem).conv1.stride for stem in ("auto", "small")
    ]
    assert strides == [(2, 2), (1, 1)]
    with pytest.raises(AmcError, match="need their own stem"):
        build(TIMM.target, 1000, SHAPE, architecture="resnet18", stem="small", pretrained=True)


def test_a_network_of_one_size_is_made_for_the_images() -> None:
    model = build(TIMM.target, 10, SHAPE, architecture="test_vit")
    assert model.patch_embed.img_size == (32, 32)
    assert tuple(outputs(model, SHAPE).shape) == (3, 10)


@pytest.mark.parametrize("name", ["resnet10tt", "hf-hub:timm/resnet18", "local-dir:/tmp", "a/resnet18", ""])
def test_an_unknown_name_is_refused_with_the_nearest(name: str) -> None:
    with pytest.raises(AmcError, match=f"^model=timm/{name}: timm .* has no such network; ") as caught:
        build(TIMM.target, 10, SHAPE, architecture=name)
    assert ("did you mean resnet10t" in str(caught.value)) == (name == "resnet10tt")


def test_weights_for_other_classes_are_refused_before_they_are_fetched() -> None:
    with pytest.raises(AmcError, match="know 1000 classes, the dataset has 10"):
        build(TIMM.target, 10, SHAPE, architecture="resnet10t", pretrained=True)
    net = {"_target_": TIMM.target, "architecture": "resnet10t"}
    model = {"name": "net", "net": net, "pretrained": True}
    with pytest.raises(AmcError, match="the dataset has 10"):
        check_pretrained(model, "digits")
    check_pretrained(model, "imagenet")
    check_pretrained({**model, "checkpoint": "file.safetensors"}, "digits")


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_a_pruned_one_comes_back_from_its_description(name: str, tmp_path: Path) -> None:
    model = build(TIMM.target, 10, SHAPE, architecture=name, seed=3)
    small, plan = randomly_cut(model, trace(model, torch.randn(2, *SHAPE)))
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    description = {"target": TIMM.target, "stem": "auto", "arguments": {"architecture": name}}
    save(tmp_path, small, plan, description=description, image_shape=SHAPE)
    assert torch.equal(outputs(load(tmp_path), SHAPE), outputs(small, SHAPE))
