"""The search from Python: a user's own network and data, and what comes back."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

import agents
from agents.policy.files import read_policy
from amc.core.errors import AmcError
from amc.core.types import Cost, Metrics
from amc.pruning.counting import count_macs
from amc.pruning.latency import GRID
from amc.reporting.accuracy_over_macs import log_macs_fit
from amc.rewards import Reward, error_log_latency
from amc.task.settings import Settings
from amc.tracking import read_episodes
from amc.tracking.plans import best_episode
from tests.support.own import PLAIN, QUICK, OwnNet, own_loader, run


def test_own_network_and_loaders(trained: OwnNet) -> None:
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    result = run(trained, budget=0.5)
    example = torch.zeros(1, 1, 8, 8)
    assert result.best.cost.macs == count_macs(result.model, example) <= 0.5 * count_macs(trained, example)
    assert result.baseline.cost.macs == count_macs(trained, example)
    assert result.best.cost.params == sum(p.numel() for p in result.model.parameters())
    assert len(result.episodes) == 5
    assert result.best.val.score == best_episode(result.episodes).metrics.score > 1 / 3
    assert all(torch.equal(before[n], t) for n, t in trained.state_dict().items()), "the original must stay"


def test_the_reported_test_accuracy_is_that_of_the_returned_network(trained: OwnNet) -> None:
    settings = Settings(images=64, calibration_images=64, precision="fp32", agent={"warmup_episodes": 2})
    result = run(trained, settings=settings)
    assert result.best.test is not None
    with torch.no_grad():
        hits = sum(int((result.model(x).argmax(1) == y).sum()) for x, y in own_loader(64, 2))
    assert result.best.test.score == hits / 64


@pytest.mark.parametrize("agent", agents.NAMES)
@pytest.mark.parametrize("rule", ["clip", "project"])
def test_every_agent_runs_through_the_same_loop(
    trained: OwnNet, agent: str, rule: Literal["clip", "project"], tmp_path: Path
) -> None:
    settings = QUICK if agent in ("ddpg", "td3", "sac") else Settings(images=64, calibration_images=64)
    result = run(trained, agent=agent, settings=replace(settings, rule=rule), cache_dir=tmp_path)
    assert result.best.cost.macs <= 0.5 * result.baseline.cost.macs


def test_curves_warm_up_an_agent_and_are_seen_by_it(trained: OwnNet, tmp_path: Path) -> None:
    settings = Settings(
        images=64, calibration_images=64, early_stop=True, curves=True, prior=True, rule="clip",
        agent={"warmup": "rules", "warmup_episodes": 5},
    )  # fmt: skip
    result = run(trained, settings=settings, cache_dir=tmp_path / "cache", run_dir=tmp_path / "run")
    hints = json.loads((tmp_path / "run" / "hints.json").read_text())
    # uniform, shallow, deep, threshold, size-aware; none is clipped
    for episode, rule in zip(result.episodes[3:], ("threshold", "size_aware"), strict=True):
        assert dict(episode.plan.kept) == hints["plans"][rule]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    # 9 ratios of 16 and of 32 channels; 0.9 … 0.1 of 16 are 14, 13, 11, 10, 8, 6, 5, 3, 2: all different
    assert summary["curves"]["evaluations"] == 18
    policy = json.loads((tmp_path / "run" / "policy" / "policy.json").read_text())
    assert policy["observation"]["features"][-1] == "sensitivity"
    again = run(trained, settings=settings, cache_dir=tmp_path / "cache", verbose=False)
    assert [e.plan for e in again.episodes] == [e.plan for e in result.episodes]


def test_rules_of_curves_are_the_same_when_a_run_goes_on(trained: OwnNet, tmp_path: Path) -> None:
    settings = replace(QUICK, curves=True, agent={"warmup": "rules", "warmup_episodes": 9})
    arguments: dict[str, Any] = {"settings": settings, "run_dir": tmp_path / "run", "cache_dir": tmp_path / "cache"}
    run(trained, episodes=4, **arguments)
    (tmp_path / "cache" / "curves").rename(tmp_path / "cache" / "gone")
    gone_on = run(trained, episodes=7, resume=True, **arguments)
    at_once = run(trained, episodes=7, settings=settings, cache_dir=tmp_path / "cache")
    assert [e.plan for e in gone_on.episodes] == [e.plan for e in at_once.episodes]


def test_curves_need_what_the_rules_can_use(trained: OwnNet, tmp_path: Path) -> None:
    with pytest.raises(AmcError, match=r"budget\.keep=null: rule=threshold needs to know what to save"):
        run(trained, agent="threshold", budget=None, cache_dir=tmp_path, settings=PLAIN)
    with pytest.raises(AmcError, match="prior=true: is made of the sensitivity curves"):
        Settings(prior=True, curves=False)
    with pytest.raises(AmcError, match=r"evaluate\.early_stop_confidence=2"):
        Settings(early_stop_confidence=2)


def test_the_finished_plan_can_be_moved_onto_the_budget(trained: OwnNet) -> None:
    result = run(trained, agent="random", settings=Settings(images=64, calibration_images=64, rule="project"))
    ratios = [e.cost.macs / result.baseline.cost.macs for e in result.episodes]
    # One channel more costs at most 64 · 9 + 16 · 9 · 32 = 5,184 of the 84,480 MACs.
    assert all(0.5 - 0.062 < ratio <= 0.5 for ratio in ratios)
    assert len({e.plan for e in result.episodes}) > 1


def test_the_seed_decides_everything(trained: OwnNet) -> None:
    first = run(trained, seed=3)
    torch.manual_seed(12345)
    again, other = run(trained, seed=3), run(trained, seed=4)
    assert [e.plan for e in first.episodes] == [e.plan for e in again.episodes]
    assert [e.reward for e in first.episodes] == [e.reward for e in again.episodes]
    assert [e.plan for e in first.episodes] != [e.plan for e in other.episodes]


def test_a_recorded_run(trained: OwnNet, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = run(trained, run_dir=folder, facts={"model": "own"})
    names = {p.name for p in folder.iterdir()}
    assert {"summary.json", "plan.json", "episodes.csv", "policy", "checkpoint", "config.json"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["model"] == "own"
    assert summary["best"]["val"]["accuracy"] == result.best.val.score
    assert summary["baseline"]["macs"] == result.baseline.cost.macs
    for key in ("forward_seconds", "recovery_seconds", "agent_seconds", "wall_seconds"):
        assert summary[key] > 0
    rows = read_episodes(folder / "episodes.csv")
    assert [row["reward"] for row in rows] == [e.reward for e in result.episodes]
    assert str(tmp_path) not in "".join(p.read_text() for p in folder.glob("*.json"))
    assert {"best_plan.png", "keep_ratios.png"} <= names
    policy = read_policy(folder / "policy")
    assert (policy.layout, len(policy.features), policy.episodes) == ("amc", 12, 5)
    assert policy.budget == {"budget_cost": "macs", "budget_keep": 0.5, "budget_rule": "project"}
    assert 0 <= policy.act([0.5] * 12) <= 1
    with pytest.raises(AmcError, match="resume="):
        run(trained, run_dir=folder)


def test_accuracy_over_macs_is_drawn_where_macs_differ(trained: OwnNet, tmp_path: Path) -> None:
    free = run(trained, run_dir=tmp_path / "free", budget=None, agent="random", settings=PLAIN)
    fit = log_macs_fit(
        [e.cost.macs / free.baseline.cost.macs for e in free.episodes], [e.metrics.score for e in free.episodes]
    )
    assert json.loads((tmp_path / "free" / "summary.json").read_text())["log_macs_fit"] == asdict(fit)
    assert (tmp_path / "free" / "accuracy_over_macs.png").exists()
    run(trained, run_dir=tmp_path / "held", agent="random", settings=replace(PLAIN, rule="project"))
    assert "log_macs_fit" not in json.loads((tmp_path / "held" / "summary.json").read_text())
    assert not (tmp_path / "held" / "accuracy_over_macs.png").exists()


def test_more_episodes_by_resume(trained: OwnNet, tmp_path: Path) -> None:
    run(trained, run_dir=tmp_path / "a", episodes=3)
    gone_on = run(trained, run_dir=tmp_path / "a", episodes=7, resume=True)
    at_once = run(trained, run_dir=tmp_path / "b", episodes=7)
    assert [(e.plan, e.reward) for e in gone_on.episodes] == [(e.plan, e.reward) for e in at_once.episodes]
    assert (tmp_path / "a" / "plan.json").read_bytes() == (tmp_path / "b" / "plan.json").read_bytes()


def test_a_run_goes_on_only_with_what_it_was_started_with(trained: OwnNet, tmp_path: Path) -> None:
    run(trained, run_dir=tmp_path, episodes=2, facts={"model": "own"})
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(AmcError, match="seed=0, now it is 1"):
        run(trained, run_dir=tmp_path, episodes=4, facts={"model": "own"}, resume=True, seed=1)
    other = OwnNet().eval()
    with pytest.raises(AmcError, match="weights changed"):
        run(other, run_dir=tmp_path, episodes=4, facts={"model": "own"}, resume=True)
    with pytest.raises(AmcError, match="validation images changed"):
        run(trained, run_dir=tmp_path, episodes=4, facts={"model": "own"}, resume=True, val=own_loader(64, 5))
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}


def test_a_refused_run_leaves_the_folder_free(trained: OwnNet, tmp_path: Path) -> None:
    with pytest.raises(AmcError, match="smallest reachable value"):
        run(trained, run_dir=tmp_path / "run", budget=0.001)
    assert run(trained, run_dir=tmp_path / "run", budget=0.5, episodes=1).best.cost.macs > 0


def test_latency_budget(trained: OwnNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown = [[out * inp for inp in GRID] for out in GRID]  # a layer's latency in ms, here known without measuring
    layers = ("features.0", "features.3", "head")
    monkeypatch.setattr("amc.pruning.network.measure_tables", lambda *_: (dict.fromkeys(layers, grown), 4.0))
    settings = Settings(cost="latency_ms", images=64, calibration_images=64)
    result = run(trained, agent="random", budget=0.7, settings=settings, run_dir=tmp_path / "run", episodes=3)
    table = json.loads((tmp_path / "run" / "latency_table.json").read_text())
    assert table["total_ms"] == 4.0
    monkeypatch.delattr("amc.pruning.network.measure_tables")  # a resumed run must not measure again
    assert all(0 < (e.cost.latency_ms or 0) <= 0.7 * 4.0 for e in result.episodes)
    again = run(
        trained, agent="random", budget=0.7, settings=settings, run_dir=tmp_path / "run", episodes=3, resume=True
    )
    assert [e.plan for e in again.episodes] == [e.plan for e in result.episodes]


def test_own_reward(trained: OwnNet) -> None:
    result = run(trained, reward=lambda metrics, cost, original: -cost.params / original.params)
    assert best_episode(result.episodes).reward == -result.best.cost.params / result.baseline.cost.params


def test_wrong_input(trained: OwnNet) -> None:
    with pytest.raises(AmcError, match=r"budget\.keep=1\.5"):
        run(trained, budget=1.5)
    with pytest.raises(AmcError, match="smallest reachable value"):
        run(trained, budget=0.001)
    with pytest.raises(AmcError, match="zero prunable groups"):
        run(trained, settings=Settings(freeze=["*"]))
    with pytest.raises(AmcError, match="agent=best"):
        run(trained, agent="best")
    with pytest.raises(AmcError, match=r"agent\.speed"):
        run(trained, settings=Settings(agent={"speed": 1}))
    with pytest.raises(AmcError, match="recovery=magic"):
        run(trained, recovery="magic")
    with pytest.raises(AmcError, match="observation=all"):
        Settings(observation="all")  # type: ignore[arg-type]


@pytest.mark.parametrize("reward", [error_log_latency, "amc.rewards.error_log_latency", "error_log_latency"])
def test_a_reward_gets_what_it_needs_however_it_is_named(trained: OwnNet, reward: str | Reward) -> None:
    result = run(trained, reward=reward, episodes=2, agent="random", settings=replace(QUICK, agent={}))
    assert all(episode.cost.latency_ms is not None for episode in result.episodes)


def test_an_own_reward_says_what_it_needs(trained: OwnNet) -> None:
    def slow_is_bad(metrics: Metrics, cost: Cost, original: Cost) -> float:
        return -cost.get("latency_ms")

    with pytest.raises(AmcError, match="latency_ms is not known"):
        run(trained, reward=slow_is_bad, episodes=1)
    slow_is_bad.needs = ("latency_ms",)  # type: ignore[attr-defined]
    assert run(trained, reward=slow_is_bad, episodes=1).episodes[0].reward < 0
