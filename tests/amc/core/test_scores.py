"""A metric's values as scores, and back."""

from __future__ import annotations

import math

import pytest

from amc.core.scores import FRACTION, LOSS, PERPLEXITY, Metrics, Scale

SCALES = {
    "fraction": FRACTION,
    "perplexity": PERPLEXITY,
    "loss": LOSS,
    "correlation": Scale(best=1.0, unit=-2.0),  # from -1 to 1
    "error rate": Scale(best=0.0, unit=1.0),
    "R2": Scale(best=1.0, unit=-1.0, is_open=True),
}


@pytest.mark.parametrize("kind", SCALES)
def test_values_come_back(kind: str) -> None:
    scale = SCALES[kind]
    for score in (0.01, 0.25, 0.5, 1.0):
        assert scale.score_of(scale.value_of(score)) == pytest.approx(score)
    assert scale.score_of(scale.best) == 1
    assert Scale.from_json(scale.to_json()) == scale
    assert math.isfinite(scale.value_of(0.0))


def test_by_arithmetic() -> None:
    assert PERPLEXITY.score_of(20.0) == 1 / 20
    assert SCALES["correlation"].score_of(-0.5) == 0.25  # (-0.5 + 1) / 2
    assert SCALES["R2"].score_of(-1.0) == 1 / 3  # 1 / (1 + 2)
    assert SCALES["error rate"].score_of(0.3) == pytest.approx(0.7)
    assert [FRACTION.score_of(value) for value in (0.3, -1.0, 2.0, math.nan)] == [0.3, 0.0, 1.0, 0.0]
    with pytest.raises(ValueError, match="no scale"):
        Scale(unit=0.0)


def test_people_read_percentages_of_fractions_alone() -> None:
    assert (FRACTION.text(0.9339), FRACTION.text(0.9339, " "), FRACTION.change(0.5, 0.512)) == (
        "93.39%", "93.39 %", "+1.20 points",
    )  # fmt: skip
    assert (PERPLEXITY.text(1 / 24.52), PERPLEXITY.change(1 / 20, 1 / 25)) == ("24.52", "+5")
    assert (FRACTION.axis("accuracy"), PERPLEXITY.axis("perplexity")) == ("accuracy, %", "perplexity")


def test_metrics_in_files() -> None:
    seen = Metrics(1 / 8, math.log(8), 5, metric="perplexity", scale=PERPLEXITY)
    assert seen.to_json() == {
        "perplexity": 8.0, "loss": math.log(8), "images": 5, "score": 0.125, "scale": [1.0, 1.0, True],
    }  # fmt: skip
    assert Metrics.from_json(seen.to_json()) == seen
    assert Metrics(0.5, 1.0, 2).to_json() == {"accuracy": 0.5, "loss": 1.0, "images": 2}


def test_the_error_of_a_loss_is_over_the_dense_network_s() -> None:
    assert Metrics(0.25, 3.0, 1, reference=2.0).error == 1.5
    assert Metrics(0.25, 3.0, 1).error == 0.75
