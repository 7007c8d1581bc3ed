"""The search from Python: a user's own network and data, and what comes back."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import agents
import amc
from agents.policy_files import read_policy
from amc.errors import AmcError
from amc.latency import GRID
from amc.layers import count_macs
from amc.log_fit import log_macs_fit
from amc.loop import best_episode
from amc.recorder import best_plans
from amc.search import SearchResult, Settings, search
from amc.tracking import read_episodes

Loader = DataLoader[tuple[torch.Tensor, ...]]


class OwnNet(nn.Module):
    """What a user might have: no registry knows it."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(32 * 4 * 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).flatten(1))


def own_loader(images: int, seed: int, noise: float = 1.0) -> Loader:
    """Images whose class is the quadrant-like pattern added to noise: easy, but not for a network cut blindly."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (images,), generator=generator)
    patterns = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(99))
    blurred = patterns[labels] + noise * torch.randn(images, 1, 8, 8, generator=generator)
    return DataLoader(TensorDataset(blurred, labels), 16)


@pytest.fixture(scope="module")
def trained() -> OwnNet:
    torch.manual_seed(0)
    model = OwnNet()
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(3):
        for x, y in own_loader(128, 0):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimiser.step()
    return model.eval()


PLAIN = Settings(images=64, calibration_images=64)
QUICK = Settings(images=64, calibration_images=64, agent={"warmup_episodes": 2})


def run(model: nn.Module, **arguments: object) -> SearchResult:
    defaults: dict[str, object] = {
        "train": own_loader(128, 0), "val": own_loader(64, 1), "test": own_loader(64, 2),
        "episodes": 5, "settings": QUICK, "verbose": False,
    }  # fmt: skip
    return search(model, **{**defaults, **arguments})  # type: ignore[arg-type]


def test_own_network_and_loaders(trained: OwnNet) -> None:
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    result = run(trained, budget=0.5)
    example = torch.zeros(1, 1, 8, 8)
    assert result.best.cost.macs == count_macs(result.model, example) <= 0.5 * count_macs(trained, example)
    assert result.baseline.cost.macs == count_macs(trained, example)
    assert result.best.cost.params == sum(p.numel() for p in result.model.parameters())
    assert len(result.episodes) == 5
    assert result.best.val.accuracy == best_episode(result.episodes).metrics.accuracy > 1 / 3
    assert all(torch.equal(before[n], t) for n, t in trained.state_dict().items()), "the original must stay"


def test_the_reported_test_accuracy_is_that_of_the_returned_network(trained: OwnNet) -> None:
    settings = Settings(images=64, calibration_images=64, precision="fp32", agent={"warmup_episodes": 2})
    result = run(trained, settings=settings)
    assert result.best.test is not None
    with torch.no_grad():
        hits = sum(int((result.model(x).argmax(1) == y).sum()) for x, y in own_loader(64, 2))
    assert result.best.test.accuracy == hits / 64


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
        run(trained, agent="threshold", budget=None, cache_dir=tmp_path)
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
    assert summary["best"]["val"]["accuracy"] == result.best.val.accuracy
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
        [e.cost.macs / free.baseline.cost.macs for e in free.episodes], [e.metrics.accuracy for e in free.episodes]
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
    monkeypatch.setattr("amc.problem.measure_tables", lambda *_: (dict.fromkeys(layers, grown), 4.0))
    settings = Settings(cost="latency_ms", images=64, calibration_images=64)
    result = run(trained, agent="random", budget=0.7, settings=settings, run_dir=tmp_path / "run", episodes=3)
    table = json.loads((tmp_path / "run" / "latency_table.json").read_text())
    assert table["total_ms"] == 4.0
    monkeypatch.delattr("amc.problem.measure_tables")  # a resumed run must not measure again
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


@pytest.mark.parametrize("recovery", [None, "sequential"])
def test_finals_judge_the_best_plans_on_all_images(trained: OwnNet, recovery: str | None, tmp_path: Path) -> None:
    val = own_loader(160, 1, noise=4)
    result = run(
        trained, val=val, episodes=6, agent="random", seed=1, run_dir=tmp_path / "run",
        settings=replace(QUICK, finalists=3, finals_recovery=recovery, agent={}, precision="fp32"),
    )  # fmt: skip
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    finals = summary["finals"]
    assert len(finals) == len({f["episode"] for f in finals}) == 3
    searched = sorted((e.reward for e in result.episodes), reverse=True)
    assert sorted((f["searched"]["reward"] for f in finals), reverse=True) == searched[:3]
    best = max(finals, key=lambda f: f["again"]["reward"])
    assert summary["best"]["reward"] == best["again"]["reward"]
    assert result.plan == result.episodes[best["episode"]].plan
    assert result.best.val.images == result.baseline.val.images == 160  # not the 64 that the episodes saw
    with torch.no_grad():
        hits = sum(int((result.model(x).argmax(1) == y).sum()) for x, y in val)
    assert result.best.val.accuracy == best["again"]["accuracy"] == hits / 160
    loaded = amc.load(tmp_path / "run" / "pruned", OwnNet())
    x = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(loaded(x), result.model(x))


def test_no_finals_where_they_would_show_nothing_new(trained: OwnNet, tmp_path: Path) -> None:
    more = own_loader(96, 1)
    for name, arguments in {
        "all images seen": {"val": own_loader(64, 1)},
        "one plan": {"val": more, "agent": "uniform", "settings": replace(QUICK, agent={})},
        "none asked for": {"val": more, "settings": replace(QUICK, finalists=0)},
    }.items():
        result = run(trained, run_dir=tmp_path / name, **arguments)
        assert "finals" not in json.loads((tmp_path / name / "summary.json").read_text())
        assert result.best.val.images == 64


def test_finals_are_told_of_at_the_end(trained: OwnNet, capsys: pytest.CaptureFixture[str]) -> None:
    run(trained, val=own_loader(96, 1), verbose=True)
    line = next(line for line in capsys.readouterr().out.splitlines() if re.match(r"finals: \d plans", line))
    assert re.fullmatch(
        r"finals: \d plans on 96 validation images; the best one has [\d.]+% there, [\d.]+% on the search's 64", line
    )


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
        ({}, {"reward": lambda metrics, cost, original: metrics.accuracy}, False),
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
