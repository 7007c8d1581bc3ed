"""A search that starts from what another one learned."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from amc.core.errors import AmcError
from amc.policies.plans import STRENGTHS
from amc.policies.start import read
from amc.search.result import SearchResult
from amc.search.run import search
from amc.transfer.run import transfer
from tests.support.small import QUICK, equal_layers, images

SMALL = replace(QUICK, agent={"hidden": [8, 8], "warmup_episodes": 2})


def run(folder: Path, layers: int = 3, **arguments: Any) -> SearchResult:
    given = {"train": images(32, 1), "val": images(32, 2), "episodes": 4, "settings": SMALL, "verbose": False}
    return search(equal_layers(layers), run_dir=folder, **{**given, **arguments})


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "learned"
    run(folder, facts={"model": "three", "dataset": "noise"})
    return folder


def test_a_policy_says_what_it_was_trained_on(learned: Path) -> None:
    policy = read(learned)
    summary = json.loads((learned / "summary.json").read_text())
    assert policy.episodes == 4
    assert policy.trained_on["models"] == ["three"]
    assert policy.trained_on["dataset"] == "noise"
    assert policy.trained_on["budget"] == {"cost": "macs", "keep": 0.5, "rule": "project"}
    for key in ("recovery", "importance", "reward"):
        assert policy.trained_on[key] == summary[key]
    accuracies = {"best": summary["best"]["val"]["accuracy"], "uncut": summary["baseline"]["val"]["accuracy"]}
    assert policy.trained_on["accuracy"] == {"three": accuracies}
    assert policy.trained_on["versions"] == summary["versions"]


def test_the_search_begins_where_the_policy_is(tmp_path: Path) -> None:
    # an actor that begins with the uniform plan of 90 % of the MACs, which keeps some 95 % of every layer
    given = {"hidden": [8, 8], "actor_start": "uniform"}
    run(tmp_path / "large", settings=replace(QUICK, agent=given), episodes=1, budget=0.9)
    still = {"warmup_episodes": 0, "sigma": 0.0, "actor_start": "default"}
    warm = run(
        tmp_path / "warm", 5, policy=tmp_path / "large", settings=replace(QUICK, agent=still), budget=None, episodes=1
    )
    cold = run(tmp_path / "cold", 5, settings=replace(QUICK, agent=still), budget=None, episodes=1)
    assert min(warm.episodes[0].plan.keep_ratios().values()) >= 7 / 8
    assert min(cold.episodes[0].plan.keep_ratios().values()) <= 6 / 8


def test_it_begins_with_what_the_policy_walks_to_and_explores_little(learned: Path, tmp_path: Path) -> None:
    result = run(tmp_path / "run", policy=learned, settings=QUICK, episodes=9)
    loaders = {"train": images(32, 1), "val": images(32, 2), "settings": QUICK, "verbose": False}
    walked = [transfer(equal_layers(3), learned, strengths=(s,), **loaders).plan for s in STRENGTHS]
    plans = [episode.plan for episode in result.episodes]
    assert (plans[0], plans[3:7]) == (walked[0], walked[1:])  # between them: shallow and deep
    assert [episode.scalars.get("sigma") for episode in result.episodes[6:]] == [None, 0.1, 0.99 * 0.1]
    assert "actor_loss" in result.episodes[7].scalars
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["started_from"]["trained_on"]["models"] == ["three"]
    assert read(tmp_path / "run").trained_on["started_from"]["episodes"] == 4


def test_a_started_run_goes_on_without_the_policy(learned: Path, tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", policy=learned, settings=QUICK, episodes=6)
    shutil.copytree(learned, tmp_path / "lent")
    run(tmp_path / "parts", policy=tmp_path / "lent", settings=QUICK, episodes=3)
    shutil.rmtree(tmp_path / "lent")
    gone_on = run(tmp_path / "parts", policy=tmp_path / "lent", settings=QUICK, episodes=5, resume=True)
    gone_on = run(tmp_path / "parts", settings=QUICK, episodes=6, resume=True)
    assert [(e.plan, e.reward) for e in gone_on.episodes] == [(e.plan, e.reward) for e in whole.episodes]
    policies = [(tmp_path / name / "policy" / "policy.safetensors").read_bytes() for name in ("whole", "parts")]
    assert policies[0] == policies[1]


def test_a_copy_of_a_run_that_never_began_is_not_started_from(learned: Path, tmp_path: Path) -> None:
    shutil.copytree(learned / "policy", tmp_path / "run" / "start")
    run(tmp_path / "run", episodes=1)
    run(tmp_path / "run", episodes=2, resume=True)
    assert "started_from" not in json.loads((tmp_path / "run" / "summary.json").read_text())


def test_wrong_starts(learned: Path, tmp_path: Path) -> None:
    with pytest.raises(AmcError, match=r"agent=td3: the policy .* is of agent ddpg"):
        run(tmp_path / "run", policy=learned, settings=QUICK, agent="td3")
    with pytest.raises(AmcError, match="other sizes"):
        run(tmp_path / "run", policy=learned, settings=replace(QUICK, agent={"hidden": [5, 5]}))
    with pytest.raises(AmcError, match="no policy"):
        run(tmp_path / "run", policy=tmp_path / "nowhere", settings=QUICK)
    run(tmp_path / "run", policy=learned, settings=QUICK, episodes=1)  # the folder is still free
