"""A search of a task whose metric is no accuracy and whose loss is no cross-entropy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from torch.nn import functional as F

from amc.core.files import read_json
from amc.evaluation.metrics import Criterion, Metric
from amc.importance import score_channels
from amc.pruning.network import trace_network
from amc.reporting.console import show
from amc.reporting.html import leave_report
from amc.reporting.tables import result_table
from amc.rewards import accuracy
from amc.search.joint import search_networks
from amc.search.result import SearchResult
from amc.search.settings import Choices
from amc.task.method import Method
from amc.task.task import Task, as_images
from amc.tracking import read_episodes
from amc.tracking.run import Run
from tests.support.small import QUICK, equal_layers, images


def _margin(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.gather(1, targets[:, None])[:, 0].sigmoid().mean()


MARGIN = Criterion(Metric("margin", _margin, per_example=False), F.multi_margin_loss)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SearchResult]:
    folder = tmp_path_factory.mktemp("searched") / "run"
    train, val = (as_images(images(32, seed)) for seed in (1, 2))
    task = Task("noise", equal_layers(3), train, val, val, criterion=MARGIN)
    choices = Choices(0.5, accuracy, "accuracy", "random", 3, Method(importance="taylor", recovery="none"), QUICK)
    with Run(folder, verbose=False).opened({"command": "search", **choices.config}) as run:
        outcome = search_networks([task], choices.settled(), run, None, {"model": "noise", **choices.facts})
    leave_report(folder)
    return folder, outcome.outcomes["noise"].result


def test_its_name_is_in_every_file(searched: tuple[Path, SearchResult]) -> None:
    folder, result = searched
    summary = read_json(folder / "summary.json")
    assert summary["metric"] == "margin"
    for side, scored in (("baseline", result.baseline), ("best", result.best)):
        for part, metrics in (("val", scored.val), ("test", scored.test)):
            assert metrics is not None
            assert summary[side][part] == {"margin": metrics.score, "loss": metrics.loss, "images": 32}
    for row, episode in zip(read_episodes(folder / "episodes.csv"), result.episodes, strict=True):
        assert (row["margin"], row["loss"]) == (episode.metrics.score, episode.metrics.loss)
        assert "accuracy" not in row
    events = EventAccumulator(str(folder)).Reload()
    assert [e.value for e in events.Scalars("search/margin")] == pytest.approx(
        [episode.metrics.score for episode in result.episodes]
    )
    assert "best/val_margin" in events.Tags()["scalars"]


def test_people_read_its_name_and_nothing_of_accuracy(
    searched: tuple[Path, SearchResult], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, result = searched
    show(result_table({"dense": result.baseline, "best": result.best}))
    page = (folder / "report.html").read_text(encoding="utf-8")
    titles = [axes.get_title(loc="left") + axes.get_ylabel() for axes in result.plot().axes]
    for words in (capsys.readouterr().out, repr(result), result._repr_html_(), " ".join(titles)):
        assert "alidation margin" in words
        assert "ccuracy" not in words
    assert "Margin and cost of all plans" in page
    assert "validation accuracy" not in page


def test_the_loss_is_its_own(searched: tuple[Path, SearchResult]) -> None:
    _, result = searched
    model, val = equal_layers(3).eval(), as_images(images(32, 2))
    with torch.no_grad():
        assert result.baseline.val.loss == pytest.approx(
            float(F.multi_margin_loss(model(val.normalised()), val.labels))
        )


def test_taylor_follows_the_loss() -> None:
    network, train = trace_network(equal_layers(3), torch.randn(1, 3, 8, 8)), as_images(images(32, 1))
    own, by_classes = (
        score_channels("taylor", network, train, total=Criterion(loss=f).total)
        for f in (F.multi_margin_loss, F.cross_entropy)
    )
    assert any((own[name] != by_classes[name]).any() for name in own)
