from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import amc
from amc.core.types import Cost, Episode, Metrics, PruningPlan
from amc.search.finals import best_different, judged
from amc.tracking.plans import best_episode
from tests.support.own import QUICK, OwnNet, own_loader, run


def plan(kept: int) -> PruningPlan:
    return PruningPlan((("a", kept),), (("a", 10),))


def episode(index: int, kept: int, reward: float) -> Episode:
    return Episode(index, reward, plan(kept), Metrics(reward, 1.0, 100), Cost(kept, kept), 1.0)


def test_the_best_different_plans_are_judged_again() -> None:
    episodes = [episode(0, 1, 0.3), episode(1, 2, 0.9), episode(2, 3, 0.8), episode(3, 2, 0.9), episode(4, 4, 0.1)]
    truth = {plan(1): 0.99, plan(2): 0.5, plan(3): 0.7, plan(4): 0.98}
    asked: list[PruningPlan] = []

    def closer(wanted: PruningPlan) -> Metrics:
        asked.append(wanted)
        return Metrics(truth[wanted], 0.1, 500)

    found = judged(
        best_different(episodes, 3), closer,
        lambda metrics, cost, original: metrics.score - cost.macs / original.macs / 100, Cost(10, 10), verbose=False,
    )  # fmt: skip
    assert asked == [plan(2), plan(3), plan(1)]  # the fourth best is not looked at, nor a plan twice
    assert [f.again.plan for f in found] == [plan(1), plan(3), plan(2)]
    assert found[0].again.reward == 0.99 - 0.001
    assert found[0].searched == episodes[0]
    assert found[0].to_json() == {
        "episode": 0,
        "searched": {"reward": 0.3, "accuracy": 0.3, "loss": 1.0, "images": 100},
        "again": {"reward": 0.989, "accuracy": 0.99, "loss": 0.1, "images": 500},
    }


def test_a_finalist_that_was_stopped_early_does_not_win() -> None:
    looks = {plan(1): Metrics(0.99, 0.1, 50), plan(2): Metrics(0.5, 0.1, 500), plan(3): Metrics(0.6, 0.1, 500)}
    found = judged(
        [episode(i, i + 1, 0.9) for i in range(3)], looks.__getitem__, lambda metrics, *_: metrics.score,
        Cost(10, 10), verbose=False,
    )  # fmt: skip
    assert [f.again.plan for f in found] == [plan(3), plan(2), plan(1)]


def test_finalists_are_unlike_each_other_if_there_are_enough() -> None:
    def two(index: int, kept: tuple[int, int], reward: float) -> Episode:
        own = PruningPlan((("a", kept[0]), ("b", kept[1]), ("frozen", 100)), (("a", 100), ("b", 100), ("frozen", 100)))
        return replace(episode(index, 1, reward), plan=own)

    best, near, far = two(0, (50, 50), 0.9), two(1, (52, 47), 0.8), two(2, (53, 47), 0.7)  # by 0.025 and 0.03
    further = two(3, (20, 80), 0.6)
    all_four = [further, far, near, best]
    assert best_different(all_four, 2) == [best, far]
    assert best_different(all_four, 3) == [best, far, further]
    assert best_different(all_four, 4) == [best, near, far, further]
    assert best_different([near, best], 2) == [best, near]
    assert best_different(all_four, 0) == []


def test_plans_over_the_budget_are_neither_looked_at_nor_the_best() -> None:
    over, within = replace(episode(0, 5, 0.9), within_budget=False), episode(1, 3, 0.2)
    assert best_episode([over, within]) is within
    assert best_different([over, within], 2) == [within]


def test_a_plan_that_was_stopped_early_is_not_judged_again() -> None:
    stopped = replace(episode(1, 2, 0.9), metrics=Metrics(0.9, 1.0, 25))
    assert [e.index for e in best_different([episode(0, 1, 0.3), stopped], 2)] == [0]


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
    assert result.best.val.score == best["again"]["accuracy"] == hits / 160
    loaded = amc.load(tmp_path / "run" / "pruned", OwnNet())
    x = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(loaded(x), result.model(x))


def test_a_recovery_of_the_finals_own_has_the_searchs_precision(
    trained: OwnNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = iter([True])  # so fast is bf16 for the search alone
    monkeypatch.setattr("amc.evaluation.evaluator.has_fast_bf16", lambda device: next(once, False))
    monkeypatch.setattr("amc.evaluation.evaluator.BF16_TOLERANCE", 1.1)
    settings = replace(QUICK, finals_recovery="sequential", agent={}, precision="auto")
    run(trained, val=own_loader(96, 1), agent="random", run_dir=tmp_path, settings=settings)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["precision"], summary["best"]["val"]["images"]) == ("bfloat16", 96)


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
