from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amc.reporting.pareto import pareto_front


def test_the_front_is_what_no_other_point_beats() -> None:
    costs = [0.5, 0.3, 0.4, 0.3, 0.6, 0.2]
    accuracies = [0.9, 0.7, 0.7, 0.8, 0.9, 0.1]
    # cheapest first; 0.3 at 0.8 beats 0.3 and 0.4 at 0.7; 0.6 is as accurate as 0.5 and dearer
    assert pareto_front(costs, accuracies) == [5, 3, 0]


def test_of_equal_points_the_first() -> None:
    assert pareto_front([1.0, 1.0], [0.5, 0.5]) == [0]
    assert pareto_front([], []) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_it_is_the_front_by_definition(points: list[tuple[int, int]]) -> None:
    def beaten(point: tuple[int, int]) -> bool:
        return any(c <= point[0] and a >= point[1] and (c, a) != point for c, a in points)

    front = pareto_front([c for c, _ in points], [a for _, a in points])
    assert sorted(points[i] for i in front) == sorted({p for p in points if not beaten(p)})
