"""A run in a folder of any name can be resumed, fine-tuned, exported and learned from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from amc.cli.run import run
from amc.export import __main__ as export
from amc.finetune import __main__ as finetune
from amc.search.__main__ import main_from_config
from amc.transfer import __main__ as transfer

SMALL = ["model=resnet20", "dataset=digits", "training.epochs=1", "device=cpu", "verbose=false"]
FOLDER = 'runs/it\'s a=b, {c} "d" ${e} é'


@pytest.mark.slow
@pytest.mark.usefixtures("own_folder")
def test_every_command_takes_a_folder_of_any_name(tmp_path: Path) -> None:
    agent = ["agent.hidden=[4,4]", "agent.warmup_episodes=1", "episodes=1", "observation=portable"]
    run("search", main_from_config, [*SMALL, *agent, f"hydra.run.dir={FOLDER.replace('$', '')}"])
    (tmp_path / FOLDER.replace("$", "")).rename(tmp_path / FOLDER)
    run("search", main_from_config, [f"resume={FOLDER}", "episodes=2", "verbose=false"])
    run("transfer", transfer.main_from_config, [*SMALL, f"policy={FOLDER}", "hydra.run.dir=transferred"])
    run("search", main_from_config, [*SMALL, f"policy={FOLDER}", "episodes=1", "hydra.run.dir=again"])
    tuned = f"{FOLDER}/tuned"
    run("finetune", finetune.main_from_config, [f"plan={FOLDER}/plan.json", "epochs=1", "verbose=false", "device=cpu",
                                                "hydra.run.dir=tuned"])  # fmt: skip
    Path("tuned").rename(tuned)
    run("finetune", finetune.main_from_config, [f"resume={tuned}", "verbose=false"])
    run("export", export.main_from_config, [f"run={tuned}", "format=torch_export", "verbose=false"])
    assert json.loads((Path(tuned) / "export" / "export.json").read_text())["format"] == "torch_export"
    weights = [f"model.checkpoint={tuned}/weights.safetensors", f"cache_dir={FOLDER}/cache"]
    Path(tuned, "weights.safetensors").touch()
    with pytest.raises(SystemExit):
        run("search", main_from_config, [*SMALL, *weights])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "runs", "transferred"]
