from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import amc
from amc.cli.run import run
from amc.core.errors import AmcError
from amc.core.types import PruningPlan
from amc.export.__main__ import main_from_config
from amc.export.formats import FORMATS
from amc.export.run import export
from amc.models import build
from amc.pruning.counting import count_macs
from amc.pruning.groups import trace
from amc.pruning.saved import save_pruned
from amc.pruning.surgery import Surgeon
from tests.support import nets

SHAPE = (3, 8, 8)
NETWORK = {"target": "amc.models.cifar_resnet.CifarResNet", "arguments": {"blocks": 1}}


def leave_pruned(run_dir: Path, model: nn.Module, description: dict[str, Any] | None, classes: int = 10) -> nn.Module:
    """A run's ``pruned/``: half of the first group that can be pruned is gone."""
    images = torch.randn(4, *SHAPE)
    groups = trace(nets.enliven(model, images), images)
    group = next(g for g in groups if g.frozen is None)
    small = Surgeon(model, groups).cut({group.name: np.arange(group.channels // 2)})
    save_pruned(
        run_dir / "pruned", small, plan=PruningPlan.make(groups, {group.name: group.channels // 2}),
        description=description, image_shape=SHAPE, num_classes=classes, mean=(0.5,), std=(0.25,), facts={},
    )  # fmt: skip
    return small


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    leave_pruned(tmp_path / "run", build(NETWORK["target"], 10, SHAPE, blocks=1), NETWORK)
    return tmp_path / "run"


def refused(capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    """The one line that a wrong call prints; it must exit with 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        run("export", main_from_config, overrides)
    assert exit_.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1, printed.err
    return printed.err


def test_an_onnx_file_from_the_command_line(run_dir: Path, repo: Path, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "amc.export", "run=../run", "format=onnx"], cwd=tmp_path / "here",
        env={**os.environ, "PYTHONPATH": str(repo), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    for text in ("model.onnx", "weights", "MACs", "parameters", "torch, 1 image", "onnxruntime, the same", "×"):
        assert text in done.stdout
    assert not list((tmp_path / "here").iterdir())
    assert {file.name for file in run_dir.iterdir()} == {"pruned", "export"}
    assert {file.name for file in (run_dir / "export").iterdir()} == {"model.onnx", "export.json"}

    content = (run_dir / "export" / "model.onnx").read_bytes()
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    assert str(repo).encode() not in content  # no stack traces with this machine's paths
    session = onnxruntime.InferenceSession(content)
    model = amc.load(run_dir / "pruned")
    for n in (1, 2, 7):  # not the numbers that the export itself tries
        images = torch.randn(n, *SHAPE)
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        with torch.no_grad():
            assert np.abs(logits - model(images).numpy()).max() < 1e-4


def test_what_the_numbers_say(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    result = export(run_dir, "torch_export", verbose=False)
    assert capsys.readouterr() == ("", "")
    assert torch.get_num_threads() == threads
    assert json.loads((run_dir / "export" / "export.json").read_text()) == result
    assert (result["format"], result["file"]) == ("torch_export", "model.pt2")
    assert (result["image_shape"], result["num_classes"]) == ([3, 8, 8], 10)
    assert (result["mean"], result["std"]) == ([0.5], [0.25])
    assert result["check"]["batch_sizes"] == [1, 5]
    assert 0 <= result["check"]["largest_difference"] <= result["check"]["tolerance"] == 1e-4
    uncut = build(NETWORK["target"], 10, SHAPE, blocks=1)
    for model, name in ((uncut, "uncut"), (amc.load(run_dir / "pruned"), "pruned")):
        numbers = result[name]
        assert numbers["params"] == sum(p.numel() for p in model.parameters())
        assert numbers["macs"] == count_macs(model, torch.zeros(1, *SHAPE))
        # float32 parameters, batch-norm statistics, and an int64 counter in each of the 7 batch norms
        stored = sum(p.numel() for p in model.parameters()) * 4 + sum(b.nbytes for b in model.buffers())
        assert numbers["weight_bytes"] == stored
        assert numbers["torch_ms"] > 0
        assert numbers["onnxruntime_ms"] is None
    assert result["pruned"]["file_bytes"] == (run_dir / "export" / "model.pt2").stat().st_size
    assert result["pruned"]["file_bytes"] < result["uncut"]["file_bytes"]


def test_a_torch_program_gives_the_same_outputs_without_this_package(run_dir: Path, tmp_path: Path) -> None:
    export(run_dir, "torch_export", verbose=False)
    images = torch.randn(3, *SHAPE)
    torch.save(images, tmp_path / "images.pt")
    script = (
        "import sys, torch\n"
        "program = torch.export.load('run/export/model.pt2').module()\n"
        "torch.save(program(torch.load('images.pt')).detach(), 'outputs.pt')\n"
        "assert 'amc' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-P", "-c", script], cwd=tmp_path, check=True)
    with torch.no_grad():
        assert torch.allclose(torch.load(tmp_path / "outputs.pt"), amc.load(run_dir / "pruned")(images), atol=1e-6)
    assert str(Path(amc.__file__).parents[1]).encode() not in (run_dir / "export" / "model.pt2").read_bytes()


def test_the_pruned_folder_itself(run_dir: Path) -> None:
    export(run_dir / "pruned", "torch_export", verbose=False)
    assert (run_dir / "pruned" / "export" / "model.pt2").is_file()
    amc.load(run_dir / "pruned")


def test_a_network_made_in_python(tmp_path: Path) -> None:
    leave_pruned(tmp_path, nets.grouped(), None, classes=4)
    with pytest.raises(AmcError, match="was made in Python"):
        export(tmp_path, "torch_export")
    uncut = nets.grouped().double()
    result = export(tmp_path, "torch_export", model=uncut, verbose=False)
    assert result["pruned"]["macs"] < result["uncut"]["macs"]
    assert {p.dtype for p in uncut.parameters()} == {torch.float64}  # left as it is
    assert uncut.training


def test_code_of_the_users_own_is_run_only_when_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_nets.py").write_text(
        "from amc.models.cifar_resnet import CifarResNet\n"
        "def my_net(num_classes):\n"
        "    return CifarResNet(1, num_classes)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_nets", raising=False)
    leave_pruned(tmp_path / "run", build("my_nets.my_net", 10, SHAPE), {"target": "my_nets.my_net"})
    assert "if you trust it, add trust=my_nets.my_net" in refused(capsys, "run=run", "format=torch_export")
    assert "if you trust it, add trust=my_nets.my_net" in refused(capsys, "run=run", "trust=os.system")
    run("export", main_from_config, ["run=run", "format=torch_export", "trust=[os.system,my_nets.my_net]"])
    assert "model.pt2" in capsys.readouterr().out
    assert (tmp_path / "run" / "export" / "model.pt2").is_file()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ([], "run: is missing"),
        (["run=nowhere"], "run=nowhere: holds no pruned network (no pruned/model.json)"),
        (["run=empty"], "run=empty: holds no pruned network"),
        (["run=run", "format=tflite"], "format=tflite: unknown; give one of onnx, torch_export"),
        (["run=run", "fromat=onnx"], "fromat"),
        (["run=broken"], "describes no pruned network"),
    ],
)
def test_wrong_input_is_one_line(
    overrides: list[str], says: str, run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run_dir.parent)
    Path("empty").mkdir()
    Path("broken").mkdir()
    Path("broken/model.json").write_text("{}")
    assert says in refused(capsys, *overrides)
    assert not (run_dir / "export").exists()


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named(package: str, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(AmcError, match=rf"{package} can't be imported .*; pip install 'amc-pruning\[export\]'"):
        export(run_dir, "onnx")


def test_an_export_that_computes_something_else_leaves_nothing(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off by 2e-4 for single images alone; 1e-4 is allowed."""
    honest = FORMATS["torch_export"]

    def read(content: bytes) -> Callable[[torch.Tensor], torch.Tensor]:
        program = honest.read(content)
        return lambda images: (
            program(images) + (2e-4 * program(images).abs().max().clamp(min=1) if len(images) < 2 else 0)
        )

    monkeypatch.setitem(FORMATS, "torch_export", replace(honest, read=read))
    with pytest.raises(AmcError, match=r"differ from torch's by 0\.0002 of the largest, more than 1e-04"):
        export(run_dir, "torch_export")
    assert not (run_dir / "export").exists()


@pytest.mark.parametrize("wrong", [lambda y: y[:, :1], lambda y: y * torch.nan], ids=["shape", "nan"])
def test_other_shapes_and_nan_are_no_success(
    wrong: Callable[[torch.Tensor], torch.Tensor], run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = FORMATS["torch_export"]
    read = lambda content: lambda images: wrong(honest.read(content)(images))  # noqa: E731
    monkeypatch.setitem(FORMATS, "torch_export", replace(honest, read=read))
    with pytest.raises(AmcError, match="outputs differ"):
        export(run_dir, "torch_export")


class Sometimes(nn.Sequential):
    """Asks its data what to do, which no exported graph can."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x if x.sum() > 0 else -x)


def test_a_network_that_cannot_be_exported_is_one_line(tmp_path: Path) -> None:
    def make() -> nn.Module:
        return Sometimes(nn.Flatten(), nn.Linear(192, 4)).eval()

    save_pruned(
        tmp_path, make(), plan=PruningPlan((), ()), description=None, image_shape=SHAPE, num_classes=4,
        mean=(0.5,), std=(0.25,), facts={},
    )  # fmt: skip
    with pytest.raises(AmcError, match="format=torch_export: Sometimes can't be exported") as error:
        export(tmp_path, "torch_export", model=make())
    assert "\n" not in str(error.value)
    assert not (tmp_path / "export").exists()


def test_a_folder_that_cannot_be_written(
    run_dir: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    (run_dir / "export").write_text("a file stands in the way")
    with pytest.raises(AmcError, match=r"export/model\.pt2: can't be written"):
        export(run_dir, "torch_export", verbose=False)
    (run_dir / "export").unlink()
    with full_disk(50_000), pytest.raises(AmcError, match="free some disk space"):
        export(run_dir, "torch_export", verbose=False)
    assert not list((run_dir / "export").iterdir())
