"""A stranger's folder: nothing that its files name is run, in any command, unless the command line names it, too."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import amc
from amc.cli.run import Main
from amc.cli.trust import named, search_current_folder, trust_of
from amc.core.errors import AmcError
from amc.export.__main__ import main_from_config as export
from amc.finetune.__main__ import main_from_config as finetune
from amc.report.__main__ import main as report
from amc.search.__main__ import main_from_config as search
from amc.sensitivity.__main__ import main_from_config as sensitivity
from tests.support import commands
from tests.support.mutations import fresh

OLD = Path(__file__).parents[2] / "data" / "run_0_1"
NET = (
    "from pathlib import Path\n"
    "from amc.models.cifar_resnet import CifarResNet\n"
    "Path(__file__).with_suffix('.ran').touch()\n"
    "def my_net(num_classes, blocks=1):\n"
    "    return CifarResNet(blocks, num_classes)\n"
    "def my_reward(metrics, cost, original, weight=1.0):\n"
    "    return weight * metrics.accuracy\n"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose files name code that lies in the folder, which is the current one."""
    path = fresh(OLD, tmp_path / "run")
    (path / "strange.py").write_text(NET)
    monkeypatch.chdir(path)
    monkeypatch.setattr(sys, "path", [str(path), *sys.path])  # as python -m has it
    monkeypatch.delitem(sys.modules, "strange", raising=False)
    return path


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def named_by(folder: Path, path: str = "strange.my_net", **arguments: Any) -> None:
    net = {"_target_": path, **arguments}
    edit(
        folder / "config.json",
        lambda c: c["model"].update(net=net, name="mine", checkpoint=str(OLD / "weights.safetensors")),
    )
    edit(folder / "pruned" / "model.json", lambda c: c.update(network={"target": path, "arguments": arguments}))


def calls(folder: Path) -> dict[str, tuple[Main, list[str]]]:
    plan = [f"plan={folder}", "epochs=1", "calibration_images=32", f"hydra.run.dir={folder.parent / 'new'}"]
    return {
        "search": (search, [f"resume={folder}"]),
        "finetune": (finetune, plan),
        "export": (export, [f"run={folder}", "format=torch_export"]),
    }


@pytest.mark.parametrize("command", ["search", "finetune", "export"])
@pytest.mark.parametrize("path", ["strange.my_net", "torch.hub.load", "amc.models.build.build"])
def test_a_network_that_a_file_names_is_not_imported(
    command: str, path: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named_by(folder, path, source="local", repo_or_dir=".") if path == "torch.hub.load" else named_by(folder, path)
    main, arguments = calls(folder)[command]
    line = commands.refused(capsys, command, main, [*arguments, "verbose=false", "trust=other.thing"])
    assert f"{path} is code that is not run by itself; if you trust it, add trust={path}" in line
    assert "strange" not in sys.modules
    assert not (folder / "strange.ran").exists()
    with pytest.raises(AmcError, match="not run by itself"):
        amc.load(folder / "pruned")


@pytest.mark.parametrize("command", ["search", "finetune", "export"])
def test_it_is_once_the_command_line_names_it(command: str, folder: Path) -> None:
    named_by(folder, blocks=1)
    main, arguments = calls(folder)[command]
    from amc.cli.run import run

    run(command, main, [*arguments, "verbose=false", "trust=[some.thing,strange.my_net]"])
    assert (folder / "strange.ran").exists()
    amc.load(folder / "pruned", trust="strange.my_net")


def test_a_resumed_run_whose_network_is_typed_again_needs_no_more(folder: Path) -> None:
    from amc.cli.run import run

    named_by(folder)
    edit(folder / "config.json", lambda c: c["model"].update(name="my_net"))
    run("search", search, [f"resume={folder}", "model.net._target_=strange.my_net", "verbose=false"])


def test_a_reward_that_a_file_names_is_not_imported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refusal(**reward: Any) -> str:
        edit(folder / "config.json", lambda c: c.update(reward=reward))
        return commands.refused(capsys, "search", search, [f"resume={folder}"])

    assert "add trust=strange.my_reward" in refusal(name="my_reward", _target_="strange.my_reward")
    assert "add trust=amc.rewards.os.system" in refusal(name="os.system", _target_="amc.rewards.os.system")
    assert "does not take" in refusal(name="accuracy", _target_="amc.rewards.accuracy", weight=2)
    assert "is missing" in refusal(name="accuracy")
    assert "strange" not in sys.modules


def test_several_networks_and_nested_names_are_looked_at(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = json.loads((folder / "config.json").read_text())["model"]
    edit(folder / "config.json", lambda c: c.update(networks=[model, {**model, "net": {"_target_": "strange.my_net"}}]))
    assert "networks.1.net._target_: strange.my_net" in commands.refused(capsys, "search", search, [f"resume={folder}"])
    edit(
        folder / "config.json",
        lambda c: c.update(networks=[], dataset={**c["dataset"], "x": {"_target_": "os.system"}}),
    )
    assert "dataset.x._target_: os.system" in commands.refused(capsys, "search", search, [f"resume={folder}"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c["model"].update(name="../../elsewhere"), "model.name is '../../elsewhere', not a name"),
        (lambda c: c["dataset"].update(name="/etc/x"), "dataset.name is '/etc/x', not a name"),
        (lambda c: c["dataset"].update(name="${oc.env:HOME}"), "means something to Hydra"),
        (lambda c: c["model"].update({"x=1 hydra": 2}), "is no setting"),
        (lambda c: c["model"]["net"].update(weights="DEFAULT"), "may not stand in a file"),
        (lambda c: c["model"]["net"].update(depth=3), "does not take"),
        (lambda c: c["model"]["net"].update(blocks=10**9), "numbers of up to 1000000"),
        (lambda c: c.update(model=3), "model is 3, not a section"),
        (lambda c: c.pop("dataset"), "dataset is missing"),
        (lambda c: c.update(freeze=3), "freeze is 3, not a list"),
    ],
)
@pytest.mark.parametrize("command", ["search", "finetune"])
def test_a_configuration_that_no_run_stores(
    command: str,
    change: Callable[[dict[str, Any]], object],
    says: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    edit(folder / "config.json", change)
    main, arguments = calls(folder)[command]
    line = commands.refused(capsys, command, main, arguments)
    assert says in line
    assert "config.json" in line


def test_a_resume_of_another_command_reads_by_the_same_rule(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named_by(folder)
    edit(folder / "config.json", lambda c: c.update(command="sensitivity"))
    line = commands.refused(capsys, "sensitivity", sensitivity, [f"resume={folder}"])
    assert "is missing" in line or "add trust=strange.my_net" in line
    assert "strange" not in sys.modules


def test_a_report_runs_nothing_and_takes_trust_all_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named_by(folder)
    report([str(folder), "trust=strange.my_net"])
    assert (folder / "report.html").is_file()
    assert "strange" not in sys.modules


def test_what_the_command_line_names() -> None:
    given = ["model=[my.a,resnet20]", "reward=my.r", "+model.net._target_='my.b'", "trust=[my.c, my.d]", "seed=1.5"]
    assert named(given) == {"my.a", "my.r", "my.b", "my.c", "my.d"}
    assert named(["model=timm/resnet10t.c3_in1k", "model=hf/./my.net"]) == set()
    assert trust_of({"trust": "a.b"}) == ("a.b",)
    assert trust_of({}) == ()
    with pytest.raises(AmcError, match="give a dotted path"):
        trust_of({"trust": 3})


def test_modules_are_looked_for_in_the_current_folder_only_for_what_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), "elsewhere"])
    search_current_folder(["model=resnet50", "resume=run"])
    assert sys.path == ["elsewhere"]
    search_current_folder(["model=my_pkg.my_net"])
    assert sys.path == [str(tmp_path), "elsewhere"]
