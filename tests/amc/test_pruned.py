from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
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
from amc.errors import AmcError
from amc.graph import trace
from amc.models import build
from amc.problem import Network, trace_network
from amc.pruned import load, read_info, save_pruned
from amc.surgery import Surgeon, rank_channels, select_channels
from amc.types import LayerGroup, PruningPlan
from tests.amc import nets

TINY = {"target": "amc.models.cifar_resnet.CifarResNet", "stem": "auto", "arguments": {"blocks": 1}}
SHAPE = (3, 8, 8)


def randomly_cut(model: nn.Module, groups: tuple[LayerGroup, ...], seed: int = 0) -> tuple[nn.Module, PruningPlan]:
    """Random widths and channels for every group that can be pruned."""
    rng = np.random.default_rng(seed)
    free = [g for g in groups if g.frozen is None]
    plan = PruningPlan.make(groups, {g.name: g.step * int(rng.integers(1, g.channels // g.step + 1)) for g in free})
    ranking = {g.name: rank_channels(g, rng.random(g.channels)) for g in free}
    return Surgeon(model, groups).cut(select_channels(plan, ranking)), plan


def save(folder: Path, model: nn.Module, plan: PruningPlan, **changes: Any) -> None:
    given: dict[str, Any] = {
        "description": TINY, "image_shape": SHAPE, "num_classes": 10,
        "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.1), "facts": {"val_accuracy": 0.75},
    }  # fmt: skip
    save_pruned(folder, model, plan=plan, **{**given, **changes})


def outputs(model: nn.Module, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.randn(3, *shape, generator=torch.Generator().manual_seed(1)))


@pytest.fixture(scope="module")
def tiny() -> Network:
    model = build(TINY["target"], 10, SHAPE, blocks=1)
    images = torch.randn(8, *SHAPE, generator=torch.Generator().manual_seed(0))
    return trace_network(nets.enliven(model, images), images[:1])


@pytest.fixture
def saved(tiny: Network, tmp_path: Path) -> tuple[Path, nn.Module]:
    small, plan = randomly_cut(tiny.model, tiny.groups)
    save(tmp_path / "pruned", small, plan)
    return tmp_path / "pruned", small


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


@pytest.mark.parametrize(
    ("description", "says"),
    [
        ({**TINY, "arguments": {"blocks": 2}}, "is in only one of the two networks"),
        ({**TINY, "arguments": {"blocks": 1, "residual": False}}, "does not compute what the network to be saved"),
        ({**TINY, "target": "amc.models.no_net"}, "no callable 'no_net'"),
        ({**TINY, "arguments": {"blocks": 1, "seed": 3}}, "argument 'seed'"),
    ],
)
def test_a_description_that_leads_elsewhere_is_refused(
    description: dict[str, Any], says: str, tiny: Network, tmp_path: Path
) -> None:
    small, plan = randomly_cut(tiny.model, tiny.groups)
    with pytest.raises(AmcError, match=says) as error:
        save(tmp_path / "pruned", small, plan, description=description)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "pruned").exists()


def test_state_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    class Odd(nn.Linear):
        def get_extra_state(self) -> dict[str, int]:
            return {"calls": 3}

    with pytest.raises(AmcError, match=r"'0\._extra_state' is no tensor"):
        save(tmp_path, nn.Sequential(Odd(2, 2)), PruningPlan((), ()), description=None)


@pytest.fixture
def custom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A network of the user's own, whose code leaves a file behind whenever it is run."""
    (tmp_path / "my_nets.py").write_text(
        "import pathlib\n"
        "from amc.models.cifar_resnet import CifarResNet\n"
        "def my_net(num_classes, blocks):\n"
        f"    pathlib.Path({str(tmp_path / 'was_run')!r}).touch()\n"
        "    return CifarResNet(blocks, num_classes)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_nets", raising=False)
    return {"target": "my_nets.my_net", "arguments": {"blocks": 1}}


def test_code_that_a_folder_names_is_not_run(tiny: Network, custom: dict[str, Any], tmp_path: Path) -> None:
    small, plan = randomly_cut(tiny.model, tiny.groups)
    save(tmp_path / "pruned", small, plan, description=custom)
    (tmp_path / "was_run").unlink()
    del sys.modules["my_nets"]
    with pytest.raises(AmcError, match="not run by itself") as error:
        load(tmp_path / "pruned")
    assert not (tmp_path / "was_run").exists()
    assert "my_nets" not in sys.modules  # importing it would have run code too
    advice = str(error.value).partition("model=")[2]
    assert advice == "amc.models.build('my_nets.my_net', 10, (3, 8, 8), stem='auto', blocks=1)"
    again = load(tmp_path / "pruned", build("my_nets.my_net", 10, (3, 8, 8), stem="auto", blocks=1))
    assert torch.equal(outputs(again), outputs(small))


def edited(folder: Path, **changes: Any) -> None:
    data = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**data, **changes}))


def cut_short(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-5] ^= 1
    (folder / "weights.safetensors").write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no model.json": (lambda f: (f / "model.json").unlink(), "holds no pruned network"),
    "no weights": (lambda f: (f / "weights.safetensors").unlink(), "the folder is incomplete"),
    "no plan": (lambda f: (f / "plan.json").unlink(), "the folder is incomplete"),
    "half of model.json": (lambda f: cut_short(f, "model.json"), "no valid JSON"),
    "half of the weights": (lambda f: cut_short(f, "weights.safetensors"), "is not the file that model.json was"),
    "another plan": (lambda f: (f / "plan.json").write_text("{}"), "is not the file that model.json was"),
    "a flipped bit": (flip_a_bit, "is not the file that model.json was"),
    "a list": (lambda f: (f / "model.json").write_text("[1]"), "describes no pruned network"),
    "not text": (lambda f: (f / "model.json").write_bytes(b"\xff\xfe"), "no valid JSON"),
    "newer": (lambda f: edited(f, format=2), "has format 2, this amc reads 1"),
    "no network": (lambda f: edited(f, network={"stem": "auto"}), "describes no pruned network"),
    "no size": (lambda f: edited(f, image_shape=[3, 8]), "describes no pruned network"),
    "impossible size": (lambda f: edited(f, image_shape=[3, 8, -8]), "describes no pruned network"),
    "other files": (lambda f: edited(f, files={"../x": ""}), "describes no pruned network"),
    "mean of nothing": (lambda f: edited(f, mean=[0.1, 0.2]), "describes no pruned network"),
    "other layers": (lambda f: edited(f, layers={"conv1": [16, 3]}), "its layers have other sizes"),
    "other network": (lambda f: edited(f, network={**TINY, "arguments": {"blocks": 2}}), "only one of the two"),
    "narrower network": (
        lambda f: edited(f, network={**TINY, "target": "amc.models.mobilenet_v1.mobilenet_v1", "arguments": {}}),
        "only one of the two",
    ),
    "impossible argument": (lambda f: edited(f, network={**TINY, "arguments": {"blocks": "x"}}), "can't be built"),
    "weights to fetch": (
        lambda f: edited(f, network={"target": "torchvision.models.resnet18", "arguments": {"weights": "DEFAULT"}}),
        "argument 'weights'",
    ),
    "a checkpoint": (lambda f: edited(f, network={**TINY, "arguments": {"checkpoint": "x.pt"}}), "'checkpoint'"),
    "other code": (lambda f: edited(f, network={**TINY, "target": "os.system"}), "is code that is not run by itself"),
    "no path": (lambda f: edited(f, network={**TINY, "target": "torchvision.models.."}), "unknown"),
    "no description": (lambda f: edited(f, network=None), "was made in Python; give its uncut architecture"),
}


@pytest.mark.parametrize(("damage", "says"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_folder_is_refused_in_one_line(
    damage: Callable[[Path], object], says: str, saved: tuple[Path, nn.Module]
) -> None:
    folder, _ = saved
    damage(folder)
    with pytest.raises(AmcError, match=says) as error:
        load(folder)
    assert "\n" not in str(error.value)
    assert str(error.value).count(str(folder)) <= 1


@pytest.fixture(scope="module")
def fuzzed(tiny: Network, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("fuzzed")
    save(folder, tiny.model, PruningPlan((), ()))
    return folder, json.loads((folder / "model.json").read_text())


@given(data=st.data())
def test_nothing_in_model_json_ends_in_another_error(data: st.DataObject, fuzzed: tuple[Path, dict[str, Any]]) -> None:
    folder, stored = fuzzed
    anything = st.recursive(
        st.none() | st.booleans() | st.integers(-3, 40) | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=4,
    )
    changed = {**stored, data.draw(st.sampled_from(sorted(stored))): data.draw(anything)}
    (folder / "model.json").write_text(json.dumps(changed))
    with contextlib.suppress(AmcError):  # a harmless value is no error at all
        load(folder)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: build("torchvision.models.resnet18", 10, SHAPE), "was not cut from this ResNet"),
        (lambda: build("amc.models.cifar_resnet.CifarResNet", 5, SHAPE, blocks=1), "no cut of"),
        (lambda: nn.Linear(3, 3), "was not cut from this Linear"),
    ],
)
def test_another_architecture_is_refused(
    make: Callable[[], nn.Module], says: str, saved: tuple[Path, nn.Module]
) -> None:
    with pytest.raises(AmcError, match=says):
        load(saved[0], make())


def test_another_kernel_is_refused(tmp_path: Path) -> None:
    small = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.Flatten(), nn.Linear(128, 4))
    save(tmp_path, small, PruningPlan((), ()), description=None, num_classes=4)
    with pytest.raises(AmcError, match=r"'0.weight' is \(2, 3, 3, 3\), no cut of \(4, 3, 5, 5\)"):
        load(tmp_path, nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.Flatten(), nn.Linear(256, 4)))


def test_a_full_disk_leaves_the_earlier_network(
    tiny: Network, saved: tuple[Path, nn.Module], full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    folder, small = saved
    other, plan = randomly_cut(tiny.model, tiny.groups, seed=1)
    with full_disk(1000), pytest.raises(AmcError, match="free some disk space"):
        save(folder, other, plan)
    assert torch.equal(outputs(load(folder)), outputs(small))


def test_an_interrupted_second_save_is_noticed(tiny: Network, saved: tuple[Path, nn.Module], tmp_path: Path) -> None:
    folder, _ = saved
    other, plan = randomly_cut(tiny.model, tiny.groups, seed=1)
    save(tmp_path / "other", other, plan)
    (tmp_path / "other" / "weights.safetensors").replace(folder / "weights.safetensors")
    with pytest.raises(AmcError, match="or a save was interrupted"):
        load(folder)


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
