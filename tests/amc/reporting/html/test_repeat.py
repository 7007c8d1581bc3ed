"""The command of a report composes to the configuration that the run had."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import pytest

from amc.cli.command import FREE, plain_of
from amc.cli.overrides import _named_callables, _several_networks
from amc.core.conf import config_folder
from amc.reporting.html.repeat import command_line, repeated_by
from amc.reporting.html.runs import read_run
from tests.support.run_folders import search_folder


def composed(command: str, arguments: Sequence[str]) -> dict[str, Any]:
    arguments = _named_callables(_several_networks(command, arguments))
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        plain = plain_of(hydra.compose(command, list(arguments)))
    return {"command": command, **{key: value for key, value in plain.items() if key not in FREE}}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["model=resnet20", "dataset=digits", "episodes=30", "training.epochs=3", "seed=7"],
        ["agent=cma_es", "budget=latency", "budget.keep=0.3", "recovery=sequential", "importance=taylor"],
        ["agent.hidden=[64,32]", "freeze=[conv1,'layer1.*']", "curves=true", "policy=null", "device=cpu"],
        ["constraints={layer1.*: {min_keep: 0.5}, layer\\[23\\].*: {keep: 1}}", "budget.channel_round={linear: 8}"],
        ["model=resnet101", "budget=none"],
        ["model=tests.support.own.OwnNet", "++model.net.width=0.5", "reward=my_package.my_reward"],
        ["model=[resnet20,plain20]", "reward=accuracy", "observation=portable"],
        ["model=[timm/resnet10t,hf/my_vit]", "reward=accuracy", "observation=portable"],
        ["experiment=resnet20_cifar10"],
        ["model=timm/resnet10t.c3_in1k", "budget=none"],
        ["model=hf/my_vit", "model.pretrained=false", "model.net.task=causal-lm"],
        ["model=resnet20", "model.checkpoint='a b/it\\'s.pt'", "evaluate.images=null"],
    ],
)
def test_it_composes_to_the_same_configuration(arguments: list[str]) -> None:
    config = composed("search", arguments)
    line = shlex.split(command_line(config))
    assert line[:3] == ["python", "-m", "amc.search"]
    assert composed("search", line[3:]) == config


def test_only_what_differs_is_said() -> None:
    config = composed("search", ["model=resnet20", "training.epochs=3", "episodes=30", "seed=0"])
    assert command_line(config) == (
        "python -m amc.search model=resnet20 dataset=digits training.epochs=3 agent=ddpg episodes=30"
    )


def test_files_outside_of_the_run_are_named_without_folders() -> None:
    config = composed("search", ["model=resnet20", "model.checkpoint=/data/nets/best.pt", "cache_dir=/tmp/cache"])
    assert "model.checkpoint=FOLDER/best.pt" in command_line(config)
    assert "cache" not in command_line(config)
    config = composed("search", ["model=hf//data/my vit"])
    assert shlex.split(command_line(config))[3] == "model=hf/FOLDER/my vit"


def test_a_run_from_python_is_a_call(tmp_path: Path) -> None:
    folder = search_folder(tmp_path / "run", settings={"finalists": 3, "agent": {}}, agent="ddpg", reward="accuracy")
    call = repeated_by(read_run(folder))
    assert call.startswith("search(\n    model,\n")
    assert "    budget=0.5,\n" in call
    assert "    episodes=3,\n" in call
    assert "        finalists=3,\n" in call


def test_a_run_that_went_on_is_repeated_with_all_its_episodes(tmp_path: Path) -> None:
    for asked, expected in ((2, 3), (5, 5)):  # three were played
        line = repeated_by(read_run(search_folder(tmp_path / str(asked), episodes=asked)))
        assert f" episodes={expected} " in f"{line} "


@pytest.mark.parametrize("config", [{}, {"command": "../../etc"}, {"command": "unknown"}, {"command": "joint"}])
def test_where_the_command_is_unknown_nothing_is_said(tmp_path: Path, config: dict[str, Any]) -> None:
    folder = search_folder(tmp_path / "run", **config)
    if not config:
        (folder / "config.json").unlink()
    assert repeated_by(read_run(folder)) == ""
