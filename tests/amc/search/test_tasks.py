"""Searches of every task, from Python."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

import amc
from amc.core.errors import AmcError
from amc.core.files import read_json
from amc.finetune import FineTuneSettings, finetune
from amc.pruning.inputs import outputs_of
from amc.pruning.inputs import run as forward
from amc.pruning.saved import read_info
from amc.rewards import REWARDS
from amc.search.result import SearchResult
from amc.search.run import search
from amc.sensitivity.run import sensitivity
from amc.task.settings import Settings
from amc.tracking import read_episodes
from amc.training.recipe import Recipe
from tests.support.tasks import MADE, detection, made

QUICK = Settings(images=16, calibration_images=16, precision="fp32", finalists=2)


def run(kind: str, **given: Any) -> SearchResult:
    model, train, val = made(kind)
    defaults = {"agent": "random", "episodes": 3, "settings": QUICK, "verbose": False, "device": "cpu"}
    return search(model, train=train, val=val, **{**defaults, **given})


@cache
def searched(task: str) -> SearchResult:
    return run(task)


@pytest.mark.parametrize("task", MADE)
def test_it_is_found_searched_and_saved(task: str, tmp_path: Path) -> None:
    result = run(task, run_dir=tmp_path / "run")
    assert result.best.cost.macs <= 0.5 * result.baseline.cost.macs
    _, _, val = made(task)
    whole = read_json(tmp_path / "run" / "summary.json")["best"]["val"]
    assert whole[result.best.val.metric] == pytest.approx(result.best.val.value)
    small = amc.load(tmp_path / "run" / "pruned", made(task)[0])
    with torch.no_grad():
        pairs = (outputs_of(forward(model, val.normalised())) for model in (small, result.model))
        assert all(torch.equal(a, b) for a, b in zip(*pairs, strict=True))
    if task == "classification":
        assert read_info(tmp_path / "run" / "pruned").inputs["named"].keys() == {"left", "right"}
    again = run(task, run_dir=tmp_path / "run", resume=True, episodes=4)
    assert [e.metrics for e in again.episodes[:3]] == [e.metrics for e in result.episodes]


@pytest.mark.parametrize("task", MADE)
@pytest.mark.parametrize(
    ("agent", "recovery", "importance"),
    [("price", "sequential", "taylor"), ("response", "bn", "activation"), ("ddpg", "none", "reconstruction")],
)
def test_other_agents_and_recoveries_need_no_more(task: str, agent: str, recovery: str, importance: str) -> None:
    settings = replace(QUICK, agent={"hidden": [8, 8]} if agent == "ddpg" else {})
    assert run(task, agent=agent, recovery=recovery, importance=importance, settings=settings).best.cost.macs > 0


@pytest.mark.parametrize("task", MADE)
def test_every_reward_prefers_the_better_score(task: str) -> None:
    result = searched(task)
    val, costs = result.episodes[0].metrics, (result.best.cost, result.baseline.cost)
    worse = replace(val, score=val.score / 2, loss=val.loss + 1)
    assert all(reward(worse, *costs) < reward(val, *costs) for reward in REWARDS.values())


@pytest.mark.parametrize("task", MADE)
def test_it_is_fine_tuned_with_a_teacher(task: str, tmp_path: Path) -> None:
    model, train, val = made(task)
    plan = searched(task).plan
    settings = FineTuneSettings(epochs=2, calibration_images=16, distill_weight=0.5)
    recipe = Recipe(batch_size=8, lr=1e-3, bf16=False)
    result = finetune(
        model, plan, train=train, val=val, settings=settings, recipe=recipe, run_dir=tmp_path / "run", verbose=False
    )
    assert result.tuned.val.score >= result.cut.val.score
    assert (tmp_path / "run" / "pruned" / "model.json").is_file()


@pytest.mark.parametrize("task", ["regression", "language_modelling"])
def test_sensitivity_curves(task: str, tmp_path: Path) -> None:
    model, train, val = made(task)
    found = sensitivity(
        model, train=train, val=val, settings=QUICK, run_dir=tmp_path / "run", cache_dir=tmp_path, verbose=False
    )
    assert found.curves.metric == {"regression": "R2", "language_modelling": "perplexity"}[task]
    rows = (tmp_path / "run" / "sensitivity.csv").read_text().splitlines()
    assert float(rows[1].split(",")[4]) == pytest.approx(found.scored["dense"].val.value)


def test_perplexity_is_what_people_and_files_see(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run("language_modelling", run_dir=tmp_path / "run", verbose=True)
    shown = f"{math.exp(result.baseline.val.loss):.4g}"
    assert result.baseline.val.value == pytest.approx(math.exp(result.baseline.val.loss))
    said = capsys.readouterr().out
    assert f"perplexity {shown} on 16 validation examples" in said
    assert "%" not in next(line for line in said.splitlines() if "validation perplexity" in line)
    row = read_episodes(tmp_path / "run" / "episodes.csv")[0]
    assert row["perplexity"] == pytest.approx(math.exp(row["loss"]))
    assert row["score"] == pytest.approx(math.exp(-row["loss"]))
    assert shown in repr(result)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert f"dense: {shown}" in page
    assert result.plot().axes[-1].get_ylabel() == "perplexity"


def test_the_error_of_perplexity_is_the_loss_over_the_dense_network_s() -> None:
    result = searched("language_modelling")
    for episode in result.episodes:
        ratio = episode.metrics.loss / result.baseline.val.loss
        assert episode.reward == pytest.approx(-ratio * math.log(episode.cost.macs), rel=1e-6)


def absolute(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs - targets).abs().mean()


def test_one_s_own_loss_and_metric() -> None:
    result = run("regression", task="custom", loss=absolute, metric=lambda o, t: 1 / (1 + absolute(o, t)))
    assert result.best.val.score == pytest.approx(1 / (1 + result.best.val.loss))
    with pytest.raises(AmcError, match=r"task: loss or metric 'R2' fails for outputs"):
        run("regression", loss=lambda outputs, targets: outputs @ outputs)


@pytest.mark.parametrize("task", MADE)
def test_divergence_is_measured_from_the_dense_network(task: str, tmp_path: Path) -> None:
    result = run(task, metric="divergence", run_dir=tmp_path / "run")
    assert result.baseline.val.value == pytest.approx(0, abs=1e-6)
    for episode in result.episodes:
        assert 0 < episode.metrics.loss == pytest.approx(episode.metrics.value)
        assert episode.reward == pytest.approx(-episode.metrics.error * math.log(episode.cost.macs))
    again = run(task, metric="divergence", run_dir=tmp_path / "run", resume=True, episodes=4)
    assert [e.metrics for e in again.episodes[:3]] == [e.metrics for e in result.episodes]


@pytest.mark.slow
def test_a_detector(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools", reason="the extra [metrics] is not installed")
    torch.manual_seed(0)
    model, train, val = detection()
    settings = replace(QUICK, images=3, calibration_images=3, batch_size=3)
    result = search(
        model, train=train, val=val, agent="price", episodes=1, budget=0.8, importance="taylor", settings=settings,
        run_dir=tmp_path / "run", verbose=False,
    )  # fmt: skip
    assert result.best.val.metric == "mAP50"
    assert result.best.cost.macs < result.baseline.cost.macs
    with pytest.raises(AmcError, match="boxes are no soft targets"):
        finetune(model, result.plan, train=train, val=val, settings=FineTuneSettings(distill_weight=0.5), verbose=False)
