"""Bounds of single layers from Python, in searches and in what else makes plans."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from amc.analysis.heuristics.choose import Questions
from amc.core.errors import AmcError
from amc.core.types import PruningPlan
from amc.finetune.stages import stage_plans
from amc.sensitivity.run import sensitivity
from amc.task.settings import Settings
from amc.transfer.run import transfer
from tests.support.own import PLAIN, OwnNet, own_loader, run
from tests.support.small import QUICK, equal_layers, images, known_policy, noise_problem
from tests.support.toys import chain

BOUNDS = {"features.0": {"keep": 0.5}, "features.3": {"max_keep": 0.5, "channel_round": 4}}


def test_a_search_of_a_network_of_ones_own(trained: OwnNet, tmp_path: Path) -> None:
    arguments = {"agent": "random", "settings": PLAIN, "constraints": BOUNDS, "run_dir": tmp_path, "episodes": 3}
    result = run(trained, budget=0.9, **arguments)
    for episode in result.episodes:
        assert episode.plan["features.0"] == 8  # of 16
        assert episode.plan["features.3"] in (4, 8, 12, 16)  # of 32
    assert json.loads((tmp_path / "config.json").read_text())["settings"]["constraints"] == BOUNDS
    assert json.loads((tmp_path / "summary.json").read_text())["constraints"] == BOUNDS

    more = {**arguments, "budget": 0.9, "resume": True, "episodes": 4}
    with pytest.raises(AmcError, match=r"constraints.features.0.keep=0.5, now it is 0.25"):
        run(trained, **{**more, "constraints": {**BOUNDS, "features.0": {"keep": 0.25}}})
    assert len(run(trained, **more).episodes) == 4


def test_the_order_of_constraints_is_part_of_a_run(trained: OwnNet, tmp_path: Path) -> None:
    one = {"features.*": {"max_keep": 0.5}, "features.3": {"max_keep": 0.75}}
    arguments = {"agent": "random", "settings": PLAIN, "run_dir": tmp_path, "episodes": 2}
    run(trained, constraints=one, **arguments)
    with pytest.raises(AmcError, match="the bounds of the groups changed since the run began"):
        run(trained, constraints=dict(reversed(one.items())), resume=True, **arguments)


def test_settings_take_what_a_file_gives() -> None:
    settings = Settings(constraints={3: {"keep": 0.5}}, channel_round={"conv*": 2})  # type: ignore[dict-item]
    assert settings.constraints == {"3": {"keep": 0.5}}
    assert Settings(constraints=None).constraints == {}  # type: ignore[arg-type]
    assert "constraints" not in Settings().limit_facts(0.5)


def test_a_policys_plan_on_another_network() -> None:
    bounded = replace(QUICK, constraints={"features.[01].0": {"min_keep": 0.75}, "features.3.0": {"keep": 0.25}})
    given = {"train": images(32, 1), "val": images(32, 2), "settings": bounded, "verbose": False}
    result = transfer(equal_layers(4), known_policy(slope=3.0, start=-1.5), strengths=(0.0, 1.0), **given)
    names = [f"features.{i}.0" for i in range(4)]
    assert [result.plan[name] for name in names[:2]] == [6, 6]  # of 8; without bounds the policy cuts these most
    assert result.plan[names[3]] == 2
    assert result.uniform.cost.macs <= 0.5 * result.uncut.cost.macs
    assert result.policy.cost.macs <= 0.5 * result.uncut.cost.macs


def test_a_policys_actions_mean_the_ratios_that_they_meant() -> None:
    """A constraint lowers the smallest keep ratio, and with it what the smallest action asks for."""
    problem = noise_problem(equal_layers(2), replace(QUICK, constraints={"features.0.0": {"min_keep": 0.01}}))
    assert problem.env(lambda *_: 0.0).reset()[1]["min_keep"] == problem.budget.least_keep == 0.01


def test_a_plan_of_the_curves(trained: OwnNet, tmp_path: Path) -> None:
    settings = Settings(images=48, calibration_images=48, precision="fp32", constraints=BOUNDS)
    for rule in ("threshold", "size_aware"):
        result = sensitivity(
            trained, train=own_loader(64, 0), val=own_loader(64, 1), settings=settings, budget=0.6,
            questions=Questions(keep_ratios=[0.75, 0.5], rule=rule), cache_dir=tmp_path, verbose=False,
        )  # fmt: skip
        assert result.chosen is not None
        assert result.chosen.plan["features.0"] == 8
        assert result.chosen.plan["features.3"] in (4, 8, 12, 16)


def test_stages_of_a_fine_tuning_never_cut_below_the_plan() -> None:
    model = chain([12, 12])
    plan = PruningPlan.make(model.groups, {"l0": 9, "l1": 3})
    stages = stage_plans(plan, model, [0.8, 0.6])
    assert all(stage[name] >= plan[name] for stage in stages for name in plan)
    assert stages[-1] == plan
