"""Files of version 0.1, made before the packages were: runs go on, policies and networks load."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import amc
from amc.cli.run import run
from amc.core.files import read_json
from amc.policies.listing import find_policies
from amc.policies.start import read
from amc.search.__main__ import main_from_config
from amc.tracking import read_episodes
from amc.transfer.__main__ import main_from_config as transfer_from_config

# python -m amc.search model=amc.models.cifar_resnet.CifarResNet +model.net.blocks=1 dataset=digits
#   model.checkpoint=weights.safetensors evaluate.precision=fp32 evaluate.images=120 evaluate.calibration_images=64
#   agent.hidden=[8,8] agent.warmup_episodes=3 episodes=5 observation=price finalists=2
OLD = Path(__file__).parent / "data" / "run_0_1"
WEIGHTS = OLD / "weights.safetensors"


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def untimed(folder: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in read_episodes(folder / "episodes.csv")]


def test_a_run_goes_on(old: Path) -> None:
    run("search", main_from_config, [f"resume={old}", "episodes=7", f"model.checkpoint={WEIGHTS}", "verbose=false"])
    before, now = untimed(OLD), untimed(old)
    assert len(before) == 5
    assert now[:5] == before
    assert [row["episode"] for row in now] == [0, 1, 2, 3, 4, 5, 6]
    stored, summary = (read_json(folder / "summary.json") for folder in (OLD, old))
    assert set(stored) <= set(summary)
    assert summary["episodes"] == 7
    assert summary["best"]["reward"] >= stored["best"]["reward"]
    assert read_json(old / "policy" / "policy.json")["episodes"] == 7


def test_another_networks_run_does_not(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = {name: tensor + 1 for name, tensor in torch.load(_as_pt(WEIGHTS, old), weights_only=True).items()}
    torch.save(other, old / "other.pt")
    with pytest.raises(SystemExit) as stopped:
        run("search", main_from_config, [f"resume={old}", f"model.checkpoint={old / 'other.pt'}", "verbose=false"])
    assert stopped.value.code == 2
    assert "the weights changed since the run began" in capsys.readouterr().err


def _as_pt(path: Path, folder: Path) -> Path:
    from safetensors.torch import load_file

    torch.save(load_file(path), folder / "weights.pt")
    return folder / "weights.pt"


def test_its_policy_is_listed_and_walks_on_another_network(old: Path, tmp_path: Path) -> None:
    assert [(found.folder.name, found.problem) for found in find_policies(old)] == [("policy", "")]
    policy = read(old)
    assert (policy.agent, policy.layout, policy.episodes) == ("ddpg", "price", 5)
    model = ["model=amc.models.cifar_resnet.CifarResNet", "+model.net.blocks=1", f"model.checkpoint={WEIGHTS}"]
    quick = ["dataset=digits", "evaluate.images=60", "evaluate.calibration_images=32", "verbose=false"]
    run("transfer", transfer_from_config, [*model, *quick, f"policy={old}", "strengths=[1]", "hydra.run.dir=new"])
    found = read_json(tmp_path / "new" / "summary.json")
    assert 0.45 < found["policy"]["macs"] / found["uncut"]["macs"] <= 0.5
    assert found["learned"]["episodes"] == 5


def test_its_pruned_network_loads() -> None:
    small = amc.load(OLD / "pruned")
    kept = {name: entry["keep"] for name, entry in read_json(OLD / "plan.json")["groups"].items()}
    modules = dict(small.named_modules())
    assert {name: modules[name].weight.shape[0] for name in kept} == kept
    assert small(torch.zeros(2, 3, 8, 8)).shape == (2, 10)
