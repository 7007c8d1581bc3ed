from __future__ import annotations

from typing import Any

import pytest

from amc.core import memory
from amc.core.errors import AmcError
from amc.models import build
from amc.models.build import skeleton

NET = "amc.models.cifar_resnet.CifarResNet"
SHAPE = (3, 8, 8)


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        (NET, {"blocks": 2}),
        ("torchvision.models.regnet_y_400mf", {}),  # computes its widths with tensors
        ("torchvision.models.googlenet", {}),
        ("torchvision.models.vgg11_bn", {}),
    ],
)
def test_a_skeleton_is_the_network_without_values(target: str, arguments: dict[str, Any]) -> None:
    bones = skeleton(target, 10, (3, 64, 64), stem="auto", **arguments)
    whole = build(target, 10, (3, 64, 64), **arguments)
    assert {n: t.shape for n, t in bones.state_dict().items()} == {n: t.shape for n, t in whole.state_dict().items()}
    assert repr(bones) == repr(whole)
    assert all(tensor.is_meta for tensor in (*bones.parameters(), *bones.buffers()))
    assert not any(tensor.is_meta for tensor in whole.state_dict().values())


@pytest.mark.parametrize(
    ("classes", "shape", "arguments", "says"),
    [
        (2_000_000_000, SHAPE, {"blocks": 1}, "takes about 477 GiB of memory, 1 GiB are free"),
        (20_000_000, SHAPE, {"blocks": 1}, "takes about 4.77 GiB of memory"),
        (10, (3, 50_000, 50_000), {"blocks": 1}, "GiB of memory, 1 GiB are free"),
        (10, SHAPE, {"blocks": 10**9}, "more than 10000 layers"),
    ],
)
@pytest.mark.parametrize("how", [build, skeleton])
def test_a_network_larger_than_memory_is_refused_before_it_takes_any(
    how: Any, classes: int, shape: Any, arguments: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("amc.core.memory", "amc.models.sizes"):
        monkeypatch.setattr(f"{module}.free_bytes", lambda: memory.GIB)
    with pytest.raises(AmcError, match=says) as error:
        how(NET, classes, shape, stem="auto", **arguments)
    assert "\n" not in str(error.value)
