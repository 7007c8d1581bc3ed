from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from amc.core.errors import AmcError
from amc.data import load_dataset
from amc.models import build, load_checkpoint


def network(outputs: int = 2) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, outputs))


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".th"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": s},
        lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}},
        lambda s: {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")},
    ],
)
def test_loads_the_usual_forms(tmp_path: Path, suffix: str, wrap: Any) -> None:
    trained, fresh = network(), network()
    torch.save(wrap(trained.state_dict()), tmp_path / f"w{suffix}")
    load_checkpoint(fresh, tmp_path / f"w{suffix}")
    assert equal(trained, fresh)


def test_loads_safetensors(tmp_path: Path) -> None:
    trained, fresh = network(), network()
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    load_checkpoint(fresh, tmp_path / "w.safetensors")
    assert equal(trained, fresh)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('ran code from a file')",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.to(torch.complex64), r"is complex \(complex64\); give another checkpoint"),
        (lambda w: w.to_sparse(), r"is sparse \(sparse_coo\)"),
        (lambda w: w.int(), r"holds whole numbers \(int32\)"),
        (lambda w: w > 0, r"holds whole numbers \(bool\)"),
        (lambda w: w.to(torch.float8_e4m3fn), "is float8_e4m3fn"),
        (lambda w: w / 0, "has NaN or infinite values"),
        (lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), r"is quantized \(qint8\)"),
    ],
)
def test_weights_of_another_kind_are_named(
    tmp_path: Path, change: Callable[[torch.Tensor], torch.Tensor], message: str
) -> None:
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.save({**before, "2.weight": change(before["2.weight"])}, tmp_path / "w.pt")
    with pytest.raises(AmcError, match=f"w.pt: tensor '2.weight' {message}"):
        load_checkpoint(model, tmp_path / "w.pt")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_wrong_checkpoints_are_one_line_and_change_nothing(tmp_path: Path) -> None:
    model = network()
    state = model.state_dict()
    poisoned = {**state, "2.bias": torch.tensor([0.0, float("nan")])}
    extra = {**state, "9.weight": torch.zeros(1)}
    for content, message in (
        (network(5).state_dict(), "tensor '2.weight' is 5×4 there and 2×4 in the network"),
        ({k: v for k, v in state.items() if k != "0.bias"}, "tensor '0.bias' is missing there"),
        (extra, "tensor '9.weight' is not in the network"),
        (poisoned, "tensor '2.bias' has NaN"),
        ({}, "holds no tensors"),
        ([1, 2], "holds a list, not a dict of tensors"),
        ({"w": Bomb()}, "damaged or holds more than tensors"),
    ):
        path = tmp_path / "w.pt"
        torch.save(content, path)
        before = {name: tensor.clone() for name, tensor in state.items()}
        with pytest.raises(AmcError) as caught:
            load_checkpoint(model, path)
        assert message in str(caught.value)
        assert str(caught.value).startswith(f"model.checkpoint={path}: ")
        assert "\n" not in str(caught.value)
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_damaged_and_missing_files_are_one_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    with pytest.raises(AmcError, match="no such file"):
        load_checkpoint(network(), path)
    if suffix == ".pt":
        torch.save(network().state_dict(), path)
    else:
        save_file(network().state_dict(), path)
    content = path.read_bytes()
    for length in (0, 1, 20, len(content) // 2):
        path.write_bytes(content[:length])
        with pytest.raises(AmcError, match="damaged"):
            load_checkpoint(network(), path)


@pytest.mark.slow
def test_shared_weights_reproduce_their_accuracy(shared: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shared / "data" / "cifar10-png.zip") as archive:
        test_files = [name for name in archive.namelist() if name.startswith("cifar10/test/")]
        train_files = [name for name in archive.namelist() if name.startswith("cifar10/train/")]
        few = [next(n for n in train_files if f"/{c}/" in n and n.endswith(".png")) for c in classes(test_files)]
        archive.extractall(tmp_path, test_files + few)
    images = load_dataset(
        "cifar10", tmp_path / "cifar10", val_from="train", val_images=5, cache_dir=tmp_path / "cache"
    ).test
    assert len(images) == 10_000
    for name, file, correct in (
        ("resnet20", "resnet20-12fca82f.th", 9173),
        ("resnet56", "resnet56-4bfd9763.th", 9339),
    ):
        checkpoint = shared / "data" / "pretrained" / file
        model = build(f"amc.models.cifar_resnet.{name}", 10, (3, 32, 32), checkpoint=checkpoint)
        model.to(memory_format=torch.channels_last)
        with torch.inference_mode():
            assert sum(int((model(x).argmax(1) == y).sum()) for x, y in images.batches(250)) == correct


def classes(files: list[str]) -> list[str]:
    return sorted({name.split("/")[2] for name in files if name.endswith(".png")})
