"""What a network's callable takes, before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torchvision import models

from amc.core.errors import AmcError
from amc.models.arguments import check_arguments, check_pretrained

RESNET, OWN = "torchvision.models.resnet18", "nets_with_arguments.net"


@pytest.fixture
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets_with_arguments.py").write_text(
        "def net(num_classes, depth: int = 3, rate: float | None = None, extra=True, anything=None): ...\n"
        "def open_ended(num_classes, **kwargs): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("target", "given"),
    [
        (RESNET, {"zero_init_residual": True, "width_per_group": 32}),
        ("torchvision.models.googlenet", {"init_weights": None, "dropout": 0.0}),
        ("amc.models.mobilenet_v1.mobilenet_v1", {"width": 0.5}),
        (OWN, {"depth": 5, "rate": None, "extra": False, "anything": [1]}),
        (OWN, {"rate": 1}),
        ("nets_with_arguments.open_ended", {"whatever": 1}),
    ],
)
@pytest.mark.usefixtures("_own")
def test_what_it_takes(target: str, given: dict[str, Any]) -> None:
    check_arguments(target, given)


@pytest.mark.parametrize(
    ("target", "given", "says"),
    [
        (RESNET, {"zero_init": True}, "did you mean zero_init_residual?"),
        (RESNET, {"zero_init_residual": 1}, "model.net.zero_init_residual=1: give true or false"),
        (RESNET, {"weights": "DEFAULT"}, "model.net.weights: "),
        (RESNET, {"num_classes": 5}, "model.net.num_classes: "),
        ("amc.models.mobilenet_v1.mobilenet_v1", {"width": 0}, "model.net.width=0: give a number in (0, 16]"),
        ("amc.models.cifar_resnet.resnet20", {"width": 1}, "has no such setting; it has none"),
        (OWN, {"depth": 2.5}, "model.net.depth=2.5: give a whole number"),
        (OWN, {"rate": "fast"}, "model.net.rate=fast: give a number"),
        (OWN, {"extra": "yes"}, "model.net.extra=yes: give true or false"),
        ("nets_with_arguments.nett", {}, "did you mean net?"),
        ("nowhere.net", {}, "nowhere can't be imported"),
    ],
)
@pytest.mark.usefixtures("_own")
def test_what_it_does_not_take(target: str, given: dict[str, Any], says: str) -> None:
    with pytest.raises(AmcError) as caught:
        check_arguments(target, given)
    assert says in str(caught.value)


def test_every_classifier_of_torchvision_says_what_it_takes() -> None:
    for name in models.list_models(module=models):
        with pytest.raises(AmcError, match="nope"):
            check_arguments(f"torchvision.models.{name}", {"nope": 1})


@pytest.mark.parametrize(
    ("target", "dataset", "says"),
    [
        ("amc.models.cifar_resnet.resnet20", "imagenet", "net has no trained weights to fetch"),
        (RESNET, "digits", "the dataset has 10"),
        ("torchvision.models.vit_h_14", "imagenet", "has no IMAGENET1K_V1 weights for vit_h_14"),
        (RESNET, "imagenet", ""),
        (RESNET, "imagefolder", ""),
        (OWN, "digits", ""),
    ],
)
def test_pretrained(target: str, dataset: str, says: str) -> None:
    model = {"name": "net", "net": {"_target_": target}, "pretrained": True}
    if not says:
        check_pretrained(model, dataset)
        return
    with pytest.raises(AmcError, match=says):
        check_pretrained(model, dataset)
    check_pretrained({**model, "pretrained": False}, dataset)
