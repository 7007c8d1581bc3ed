"""Bounds of single layers on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import hydra
import pytest

from amc.cli.paths import with_quotes
from amc.cli.run import run
from amc.core.conf import config_folder
from amc.search.__main__ import main_from_config
from tests.support import commands

BASE = ["model=resnet20", "dataset=digits", "training.epochs=1", "agent=random", "episodes=4", "device=cpu"]
FOLDER = ["hydra.run.dir=run", "verbose=false"]
GIVEN = "constraints={layer1.*: {min_keep: 0.5, max_keep: 0.9, min_channels: 12}, 'layer3.2.conv1': {keep: 0.25}}"

pytestmark = pytest.mark.usefixtures("own_folder")


def search(*overrides: str) -> None:
    run("search", main_from_config, [*BASE, *overrides])


def refused(capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    return commands.refused(capsys, "search", main_from_config, [*BASE, *FOLDER, *overrides])


def test_a_search_keeps_them_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search(GIVEN, "budget.channel_round={'conv*': 2}", *FOLDER)
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())["groups"]
    # of 16: at least 12, at most 14.4; of 64: a quarter
    assert {plan[f"layer1.{i}.conv1"]["keep"] for i in range(3)} <= {12, 14}
    assert plan["layer3.2.conv1"] == {"keep": 16, "of": 64}
    assert all(entry["keep"] % 2 == 0 for entry in plan.values())
    asked = {
        "layer1.*": {"min_keep": 0.5, "max_keep": 0.9, "min_channels": 12},
        "layer3.2.conv1": {"keep": 0.25},
    }
    config, summary = (json.loads((tmp_path / "run" / f"{name}.json").read_text()) for name in ("config", "summary"))
    assert config["constraints"] == summary["constraints"] == asked
    assert config["budget"]["channel_round"] == {"conv*": 2}
    assert summary["best"]["macs"] <= 0.5 * summary["baseline"]["macs"]

    search("resume=run", "episodes=5", "verbose=false")
    other = refused(capsys, "resume=run", "constraints={layer1.*: {min_keep: 0.25}}")
    assert "the run was started with constraints=" in other
    search("resume=run", "episodes=6", "verbose=false", GIVEN)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["episodes"] == 6


@pytest.mark.parametrize(
    ("given", "patterns"),
    [
        ('constraints={layer1.*: {keep: 1}, "layer[23].*": {keep: 1}}', ["layer1.*", "layer[23].*"]),
        ("+constraints={'a b' : {keep: 1}, '*': {keep: 1}}", ["a b", "*"]),
        ("constraints={3: {keep: 1}, layer\\[2\\]: {keep: 1}}", [3, "layer[2]"]),
    ],
)
def test_patterns_with_quotes_and_without(given: str, patterns: list[object]) -> None:
    """And beside those that are there, as a recipe's are."""
    both = ["++constraints={conv1: {keep: 1}}", given]
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        config = hydra.compose("search", with_quotes(both, sweep=False))
    assert list(config.constraints) == ["conv1", *patterns]


def test_a_dry_run_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    search("dry_run=true")
    assert "may keep" not in capsys.readouterr().out
    search("dry_run=true", GIVEN)
    out = capsys.readouterr().out
    assert "may keep" in out
    assert "12 … 14" in out


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("constraints={layer9.*: {keep: 0.5}}", "constraints: 'layer9.*' matches no layer; give names or patterns"),
        ("constraints={linear: {keep: 0.5}}", "constraints: 'linear' matches only what can't be pruned"),
        (
            "constraints={layer1.*: {min_keep: 0.9, max_keep: 0.5}}",
            "constraints.layer1.*.min_keep=0.9 asks for at least 15 of the 16 channels of group layer1.0.conv1, but "
            "constraints.layer1.*.max_keep=0.5 allows 8",
        ),
        ("constraints={layer1.*: {minkeep: 0.5}}", "constraints.layer1.*.minkeep: unknown; did you mean min_keep?"),
        ("constraints={layer1.*: {min_keep: 2}}", "constraints.layer1.*.min_keep=2: give a number in (0, 1]"),
        ("constraints={layer1.*: {min_channels: 1.5}}", "constraints.layer1.*.min_channels=1.5: give a whole number"),
        ("constraints={layer1.*: 0.5}", "constraints.layer1.*=0.5: give one or more of min_keep, max_keep"),
        ("constraints={layer1.*: {}}", "give one or more of min_keep, max_keep"),
        ("constraints=[layer1]", "constraints=['layer1']: give a mapping, such as constraints={layer1.*:"),
        ("constraints={layer1.*: {keep: 1, channel_round: 128}}", "constraints.layer1.*.channel_round=128: no layer"),
        ("budget.min_keep={layer1.*: 0.5}", "is one number for all; for some give constraints={"),
        ("budget.min_channels=0", "budget.min_channels=0: give a whole number of at least 1"),
        ("budget.channel_round={liner: 8}", "budget.channel_round: 'liner' matches no kind; this network has conv3x3"),
        ("budget.channel_round={linear: x}", "budget.channel_round.linear=x: give a whole number of at least 1"),
        ("constraints={'*': {min_keep: 0.9}}", "smallest reachable value"),
    ],
)
def test_what_cannot_be_is_one_line(
    override: str, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_reached(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("amc.training.baseline.train", not_reached)  # refused before
    monkeypatch.setenv("AMC_CACHE", "empty")
    assert says in refused(capsys, override)
    assert not Path("run").exists()
