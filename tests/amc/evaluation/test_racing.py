from __future__ import annotations

import pytest
import torch

from amc.evaluation.racing import Race, StopRule

RULE = StopRule(confidence=0.9, min_images=10)


def answers(wrong: slice, loss: float, images: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    right = torch.ones(images, dtype=torch.bool)
    right[wrong] = False
    return right, torch.full((images,), loss)


def seen_before_stopping(race: Race, right: torch.Tensor, batch_size: int = 10) -> int:
    enough = race.challenger()
    for start in range(0, len(right), batch_size):
        if enough(right[start : start + batch_size]):
            return start + batch_size
    return len(right)


def test_the_first_plan_is_seen_in_full_and_becomes_the_best() -> None:
    race = Race(RULE, 40, 10)
    right, losses = answers(slice(0, 20), 1.0)
    assert seen_before_stopping(race, right) == 40
    assert race.state() == {}
    metrics = race.judge(right, losses)
    assert (metrics.score, metrics.loss, metrics.images) == (0.5, 1.0, 40)
    assert torch.equal(race.state()["right"], right)


def test_a_worse_plan_is_stopped_and_estimated() -> None:
    race = Race(RULE, 40, 10)
    best_right, best_losses = answers(slice(36, 40), 0.5)  # 90 %, all mistakes at the end
    race.judge(best_right, best_losses)
    right, losses = answers(slice(0, 8), 1.5)
    assert seen_before_stopping(race, right) == 10
    metrics = race.judge(right[:10], losses[:10])
    # On the images seen 2 of 10 are right, of the best all: 0.9 − 0.8. Its own 0.2 would ignore the hard images ahead.
    assert metrics.score == pytest.approx(0.1)
    assert metrics.loss == pytest.approx(0.5 + 1.0)
    assert metrics.images == 10
    assert torch.equal(race.state()["right"], best_right)


def test_only_a_better_plan_seen_in_full_takes_the_place() -> None:
    race = Race(RULE, 40, 10)
    first, equal, better = (answers(s, 1.0)[0] for s in (slice(0, 4), slice(4, 8), slice(4, 7)))
    losses = torch.ones(40)
    race.judge(first, losses)
    race.judge(equal, losses)
    assert torch.equal(race.state()["right"], first)
    race.judge(better[:30], losses[:30])
    assert torch.equal(race.state()["right"], first)
    race.judge(better, losses)
    assert torch.equal(race.state()["right"], better)


def test_state_round_trip_and_refusal() -> None:
    race, other = Race(RULE, 40, 10), Race(RULE, 40, 10)
    race.judge(*answers(slice(36, 40), 0.5))
    other.load_state(race.state(), torch.device("cpu"))
    right, losses = answers(slice(0, 8), 1.5)
    assert seen_before_stopping(other, right) == 10
    assert other.judge(right[:10], losses[:10]) == race.judge(right[:10], losses[:10])
    other.load_state({}, torch.device("cpu"))
    assert seen_before_stopping(other, right) == 40
    with pytest.raises(ValueError, match="no answers on 30 images"):
        Race(RULE, 30, 10).load_state(race.state(), torch.device("cpu"))
