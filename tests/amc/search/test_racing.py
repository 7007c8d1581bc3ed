"""Plans that a search leaves early, as they are surely worse than the best."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from amc.core.errors import AmcError
from amc.tracking import read_episodes
from amc.tracking.plans import best_plans
from tests.support.own import QUICK, OwnNet, own_loader, run

EARLY = replace(QUICK, batch_size=4, early_stop=True, early_stop_min_images=8, early_stop_confidence=0.8)


def test_plans_stopped_early_are_never_the_result(trained: OwnNet, tmp_path: Path) -> None:
    task: dict[str, Any] = {
        "val": own_loader(64, 1, noise=4), "episodes": 12, "agent": "random", "budget": 0.3, "recovery": "none",
    }  # fmt: skip
    result = run(trained, run_dir=tmp_path, settings=replace(EARLY, agent={}), **task)
    images = [e.metrics.images for e in result.episodes]
    assert images[0] == 64
    assert min(images) < 64
    assert [row["images"] for row in read_episodes(tmp_path / "episodes.csv")] == images
    assert result.best.val.images == 64
    patient = run(trained, settings=replace(QUICK, batch_size=4, agent={}, early_stop=False), **task)
    assert [e.plan for e in result.episodes] == [e.plan for e in patient.episodes]
    for early, late in zip(result.episodes, patient.episodes, strict=True):
        if early.metrics.images == 64:
            assert early.reward == late.reward
    stopped = [e.plan for e in result.episodes if e.metrics.images < 64]
    found = best_plans(tmp_path / "episodes.csv", result.groups, 12)
    assert result.plan == found[0]
    assert not set(stopped) & set(found)


def test_a_resumed_run_stops_the_same_plans(trained: OwnNet, tmp_path: Path) -> None:
    task: dict[str, Any] = {"val": own_loader(64, 1, noise=4), "settings": EARLY}
    run(trained, run_dir=tmp_path / "a", episodes=3, **task)
    gone_on = run(trained, run_dir=tmp_path / "a", episodes=8, **task, resume=True)
    at_once = run(trained, run_dir=tmp_path / "b", episodes=8, **task)
    assert [(e.plan, e.reward, e.metrics) for e in gone_on.episodes] == [
        (e.plan, e.reward, e.metrics) for e in at_once.episodes
    ]
    assert any(e.metrics.images < 64 for e in gone_on.episodes[3:])


@pytest.mark.parametrize(
    ("changed", "arguments", "stops"),
    [
        ({}, {}, True),
        ({}, {"reward": "accuracy"}, True),
        ({}, {"reward": "error_log_params"}, False),  # of a budget of MACs
        ({}, {"reward": lambda metrics, cost, original: metrics.score}, False),
        ({"rule": "clip"}, {}, False),
        ({}, {"budget": None}, False),
    ],
)
def test_when_plans_are_stopped_early_by_themselves(
    changed: dict[str, Any], arguments: dict[str, Any], stops: bool, trained: OwnNet
) -> None:
    settings = replace(EARLY, early_stop="auto", agent={}, **changed)
    task: dict[str, Any] = {"val": own_loader(64, 1, noise=4), "budget": 0.3, "recovery": "none", **arguments}
    result = run(trained, agent="random", episodes=12, settings=settings, **task)
    assert (min(e.metrics.images for e in result.episodes) < 64) is stops


@pytest.mark.parametrize(
    ("arguments", "why"), [({"budget": None}, "without a budget"), ({"agent": "netadapt"}, "and agent=netadapt tries")]
)
def test_early_stopping_needs_plans_of_one_size(trained: OwnNet, arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(AmcError, match=rf"evaluate\.early_stop=true: judges plans by accuracy alone, {why}"):
        run(trained, settings=replace(QUICK, early_stop=True), **arguments)
