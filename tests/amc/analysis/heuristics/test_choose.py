from __future__ import annotations

from typing import Any

import pytest

from amc.analysis.heuristics.choose import Questions, choose
from amc.core.errors import AmcError
from amc.pruning.budget import Budget
from tests.support import toys

MODEL = toys.chain([10, 10])
CURVES = toys.curves(MODEL, [[0.5, 0.9], [0.0, 0.8]], [0.5, 0.1])


def test_no_rule_no_plan() -> None:
    assert choose(CURVES, Questions(), Budget(MODEL), MODEL) is None


def test_threshold_with_a_drop_knows_no_budget() -> None:
    questions = Questions(rule="threshold", accuracy_drop=0.25)
    assert not questions.needs_budget
    chosen = choose(CURVES, questions, Budget(MODEL, keep=None, min_keep=0.5), MODEL)
    assert chosen is not None
    assert (chosen.plan["l0"], chosen.plan["l1"], chosen.accuracy_drop) == (8, 5, 0.25)


@pytest.mark.parametrize("rule", ["threshold", "size_aware"])
def test_rules_keep_to_the_budget_and_tell_what_they_know(rule: str) -> None:
    questions = Questions(rule=rule)
    assert questions.needs_budget
    chosen = choose(CURVES, questions, Budget(MODEL), MODEL)
    assert chosen is not None
    assert MODEL.cost(chosen.plan).macs <= 0.5 * MODEL.cost().macs
    told = {"threshold": {"accuracy_drop"}, "size_aware": {"predicted_loss", "lower_bound", "choices", "seconds"}}
    assert set(chosen.to_json()) == {"rule", *told[rule]}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rule": "best"}, "rule=best"),
        ({"rule": "threshold", "accuracy_drop": -0.1}, r"accuracy_drop=-0\.1"),
        ({"rule": "size_aware", "accuracy_drop": 0.1}, "belongs to rule=threshold"),
        ({"accuracy_drop": 0.1}, "belongs to rule=threshold"),
        ({"choices": 1}, r"size_aware\.choices=1"),
        ({"time_limit_seconds": 0}, r"size_aware\.time_limit_seconds=0"),
        ({"pairs": -1}, r"interactions\.pairs=-1"),
        ({"pairs_keep_ratio": 1}, r"interactions\.keep_ratio=1"),
        ({"keep_ratios": [0.1, 0.9]}, "descending"),
    ],
)
def test_impossible_questions(given: dict[str, Any], says: str) -> None:
    with pytest.raises(AmcError, match=says):
        Questions(**given)
