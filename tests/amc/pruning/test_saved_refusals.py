"""Folders of small networks that are refused: damaged, altered, or of another network."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from amc.core.errors import AmcError
from amc.core.types import PruningPlan
from amc.models import build
from amc.pruning.network import Network
from amc.pruning.saved import load
from tests.support.kept_networks import SHAPE, TINY, outputs, randomly_cut, save


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
    "newer": (lambda f: edited(f, format=4), "has format 4, this amc reads 3"),
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
