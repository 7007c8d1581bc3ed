"""A small network in a folder: it comes back as it was."""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

import amc
from amc.core.errors import AmcError
from amc.core.types import PruningPlan
from amc.models import build
from amc.pruning.groups import trace
from amc.pruning.network import Network
from amc.pruning.saved import load, read_info
from amc.pruning.surgery import Surgeon
from tests.support import nets
from tests.support.kept_networks import SHAPE, TINY, outputs, randomly_cut, save


@pytest.mark.parametrize("make", [nets.chain, nets.residual, nets.depthwise, nets.grouped, nets.flat])
@given(seed=st.integers(0, 2**32 - 1), channels_last=st.booleans())
@settings(max_examples=5)
def test_the_same_outputs_bit_for_bit(
    make: Callable[[], nn.Module], tmp_path_factory: pytest.TempPathFactory, seed: int, channels_last: bool
) -> None:
    images = torch.randn(4, *SHAPE)
    model = nets.enliven(make(), images)
    small, plan = randomly_cut(model, trace(model, images), seed)
    small = small.to(memory_format=torch.channels_last) if channels_last else small
    folder = tmp_path_factory.mktemp("pruned")
    save(folder, small, plan, description=None, num_classes=4)
    skeleton = make()
    before = copy.deepcopy(skeleton.state_dict())
    again = load(folder, skeleton.train())
    assert torch.equal(outputs(again), outputs(small))
    stated = [re.sub(r"momentum=[\d.]+", "", repr(m)) for m in (again, small)]
    assert stated[0] == stated[1]  # every layer states its own sizes
    assert [t.stride() for t in again.state_dict().values()] == [t.stride() for t in small.state_dict().values()]
    assert all(torch.equal(value, before[name]) for name, value in skeleton.state_dict().items())
    assert skeleton.training
    assert not again.training


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2", "regnet_y_400mf"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_ready_networks_come_back_from_their_description(
    name: str, channels_last: bool, get_ready: Callable[[str], Network], tmp_path: Path
) -> None:
    ready = get_ready(name)
    small, plan = randomly_cut(ready.model, ready.groups)
    small = small.to(memory_format=torch.channels_last) if channels_last else small
    shape = tuple(ready.example.shape[1:])
    target = "amc.models.cifar_resnet.resnet20" if name == "resnet20" else f"torchvision.models.{name}"
    save(tmp_path, small, plan, description={"target": target}, image_shape=shape)
    again = amc.load(tmp_path)
    assert torch.equal(outputs(again, shape), outputs(small, shape))
    assert sum(p.numel() for p in again.parameters()) < sum(p.numel() for p in ready.model.parameters())


def test_a_fresh_process_needs_nothing_but_the_folder(
    saved: tuple[Path, nn.Module], tmp_path: Path, repo: Path
) -> None:
    folder, small = saved
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    script = (
        "import sys, amc\n"
        "assert not {'torch', 'hydra', 'torch_pruning'} & set(sys.modules), 'import amc alone is light'\n"
        "import torch\n"
        f"model = amc.load({str(moved)!r})\n"
        "assert 'torch_pruning' not in sys.modules, 'nothing is traced'\n"
        "images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))\n"
        "with torch.no_grad():\n"
        "    torch.save(model(images), 'outputs.pt')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(repo)}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
    assert torch.equal(torch.load(tmp_path / "outputs.pt", weights_only=True), outputs(small))


def test_what_lies_in_the_folder(tiny: Network, saved: tuple[Path, nn.Module]) -> None:
    folder, small = saved
    assert {file.name for file in folder.iterdir()} == {"weights.safetensors", "plan.json", "model.json"}
    plan = PruningPlan.load(folder / "plan.json", tiny.groups)
    info = read_info(folder)
    assert info.network == TINY
    assert (info.image_shape, info.num_classes) == (SHAPE, 10)
    assert (info.mean, info.std) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    assert info.facts == {"val_accuracy": 0.75}
    inside = small.layer1[0].conv1
    assert info.layers["layer1.0.conv1"] == (inside.out_channels, inside.in_channels)
    assert inside.out_channels == plan["layer1.0.conv1"] < 16
    weights = load_file(folder / "weights.safetensors")
    assert all(torch.equal(weights[name], value) for name, value in small.state_dict().items())
    assert str(folder.parent) not in (folder / "model.json").read_text()


def test_a_second_save_replaces_the_first(tiny: Network, saved: tuple[Path, nn.Module]) -> None:
    folder, first = saved
    second, plan = randomly_cut(tiny.model, tiny.groups, seed=1)
    save(folder, second, plan)
    assert torch.equal(outputs(load(folder)), outputs(second))
    assert not torch.equal(outputs(second), outputs(first))


def test_the_global_random_state_plays_no_part(saved: tuple[Path, nn.Module]) -> None:
    before = torch.get_rng_state()
    load(saved[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_other_precisions_stay(tiny: Network, tmp_path: Path) -> None:
    small, plan = randomly_cut(tiny.model, tiny.groups)
    save(tmp_path, small.bfloat16(), plan)
    again = load(tmp_path)
    assert {p.dtype for p in again.parameters()} == {torch.bfloat16}
    images = torch.randn(2, *SHAPE, dtype=torch.bfloat16)
    with torch.no_grad():
        assert torch.equal(again(images), small(images))


class Masked(nn.Conv2d):
    """Carries a buffer with a value per channel that is no part of the state dict."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("mask", torch.arange(self.out_channels).float(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.mask.view(1, -1, 1, 1)


def test_buffers_that_no_state_dict_holds_come_back(tmp_path: Path) -> None:
    def make() -> nn.Module:
        return nets.Classifier(nn.Sequential(Masked(3, 8, 3), nn.ReLU(), nets.norm_conv(8, 6)), 6).eval()

    model = make()
    groups = trace(model, torch.randn(2, *SHAPE))
    plan = PruningPlan.make(groups, {"features.0": 3})
    small = Surgeon(model, groups).cut({"features.0": np.array([1, 4, 6])})
    save(tmp_path, small, plan, description=None, num_classes=4)
    again = load(tmp_path, make())
    assert again.features[0].mask.tolist() == [1, 4, 6]
    assert torch.equal(outputs(again), outputs(small))
    assert "features.0.mask" not in again.state_dict()
    with pytest.raises(AmcError, match=r"'features\.0\.mask' is in only one of the two networks"):
        load(tmp_path, nets.Classifier(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nets.norm_conv(8, 6)), 6))


def test_norms_without_tensors_state_their_size(tmp_path: Path) -> None:
    def make() -> nn.Module:
        return nets.chain(nn.InstanceNorm2d(8)).eval()

    model = make()
    small, plan = randomly_cut(model, trace(model, torch.randn(2, *SHAPE)), seed=3)
    assert small.features[1].num_features < 8
    save(tmp_path, small, plan, description=None, num_classes=4)
    assert load(tmp_path, make()).features[1].num_features == small.features[1].num_features


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    def make() -> nn.Module:
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
        model[5].weight = model[3].weight
        return model

    model = make()
    save(tmp_path, model, PruningPlan((), ()), description=None, num_classes=8)
    again = load(tmp_path, make())
    assert again[5].weight is again[3].weight
    assert torch.equal(outputs(again), outputs(model))


def test_googlenet_with_torchvisions_own_scaling_comes_back(tmp_path: Path) -> None:
    """Its callable turns ``transform_input`` on where it loads ImageNet weights, which a description leaves out."""
    arguments = {"transform_input": True, "weights": None}
    model = build("torchvision.models.googlenet", 10, (3, 32, 32), stem="imagenet", **arguments)
    nets.enliven(model, torch.randn(8, 3, 32, 32))
    description = {"target": "torchvision.models.googlenet", "stem": "imagenet", "arguments": {"weights": "DEFAULT"}}
    save(tmp_path, model, PruningPlan((), ()), description=description, image_shape=(3, 32, 32))
    assert torch.equal(outputs(load(tmp_path), (3, 32, 32)), outputs(model, (3, 32, 32)))


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    assert amc.load is load
    with pytest.raises(AttributeError, match="'lod'"):
        _ = amc.lod


def test_layers_that_are_never_cut_keep_their_sizes(tmp_path: Path) -> None:
    def make() -> nn.Module:
        up = nn.ConvTranspose2d(8, 12, 2, 2, groups=2)  # transposed in groups: not for the surgery
        return nets.Classifier(nn.Sequential(nets.norm_conv(3, 8), up, nets.norm_conv(12, 6)), 6).eval()

    small, plan = randomly_cut(make(), trace(make(), torch.randn(2, *SHAPE)))
    save(tmp_path, small, plan, description=None, num_classes=4)
    assert repr(load(tmp_path, make())) == repr(small)
