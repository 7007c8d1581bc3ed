"""What a baseline would be trained for in vain is refused before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from amc.core.errors import AmcError
from amc.finetune import __main__ as finetune
from amc.search.__main__ import main_from_config as search
from amc.search.settings import check_played
from tests.support import commands
from tests.support.run_folders import search_folder

BASE = ["dataset=digits", "device=cpu", "verbose=false", "hydra.run.dir=a/run"]


@pytest.fixture(autouse=True)
def _never_trained(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_reached(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setenv("AMC_CACHE", str(own_folder / "cache"))
    monkeypatch.setattr("amc.training.baseline.train", not_reached)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["budget.channel_round=128"], "no layer group has more than 64 channels"),
        (["budget.keep=0.001"], "smallest reachable value"),
        (["freeze=[no_such_layer]"], "no_such_layer"),
        (["freeze=['*']"], "zero prunable groups"),
        (["budget=latency", "freeze=['*']"], "zero prunable groups"),
    ],
)
def test_a_search(overrides: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    error = commands.refused(capsys, "search", search, [*BASE, "model=resnet20", *overrides])
    assert says in error
    assert not Path("a").exists()


@pytest.mark.parametrize(
    ("content", "overrides", "says"),
    [
        ({"a": 1}, [], "is this a plan.json?"),
        ([], [], "is this a plan.json?"),
        ({"format": 1, "groups": {"conv1": 7}}, [], "group 'conv1' needs integers"),
        ({"format": 1, "groups": {"conv9": {"keep": 8, "of": 16}}}, [], "the model has no group 'conv9'"),
        ({"format": 1, "groups": {"conv1": {"keep": 8, "of": 64}}}, [], "use the model the plan was made for"),
        ({"format": 1, "groups": {}}, ["schedule=iterative", "stages=[0.5,0.6]"], "in falling order"),
        (
            {"format": 1, "groups": {"layer1.0.conv1": {"keep": 1, "of": 16}}},
            ["schedule=iterative", "stages=[0.8,0.1]"],
            "fall from below 1 to the plan's",
        ),
    ],
)
def test_a_fine_tuning(content: object, overrides: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("plan.json").write_text(json.dumps(content))
    given = [*BASE, "model=resnet20", "plan=plan.json", *overrides]
    assert says in commands.refused(capsys, "finetune", finetune.main_from_config, given)
    assert not Path("a").exists()


def test_a_plan_that_is_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    for data in (b"\xff\xfe", b"{", b"[" * 100_000):
        Path("plan.json").write_bytes(data)
        given = [*BASE, "plan=plan.json"]
        assert "plan=plan.json: no valid JSON" in commands.refused(capsys, "finetune", finetune.main_from_config, given)


def test_fewer_episodes_than_were_played(tmp_path: Path) -> None:
    check_played(tmp_path, 1)
    search_folder(tmp_path / "one")
    check_played(tmp_path / "one", 3)
    search_folder(tmp_path / "several" / "networks" / "a")
    for folder in ("one", "several"):
        with pytest.raises(AmcError, match=r"episodes=2: the run in .* has played 3 already"):
            check_played(tmp_path / folder, 2)
