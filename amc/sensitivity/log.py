"""A sensitivity analysis's record on disk: measurements so far, and at the end its tables and figures."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from amc.analysis.curves import Curves, Point
from amc.analysis.interactions import Interaction
from amc.core.errors import AmcError, damaged
from amc.core.files import write_bytes, write_json
from amc.pruning.cost import CostModel
from amc.reporting.figures import plan_figure, save_figure
from amc.sensitivity.figures import curves_and_shares_figure, curves_figure, interactions_figure
from amc.sensitivity.result import SensitivityResult
from amc.sensitivity.tables import csv_text
from amc.tracking import EventFile, RunDir
from amc.tracking.journal import Journal

WRITE_SECONDS = 2.0  # between checkpoints: the most work that a killed run loses


class SensitivityLog:
    """Records one run. Use it as a context manager; without a folder it writes nothing."""

    def __init__(self, folder: RunDir | None) -> None:
        """Reads the checkpoint of a resumed run. Raises ``AmcError`` if it is damaged."""
        self._folder, self._journal = folder, Journal(folder)
        stored = self._journal.stored or {"points": (), "pairs": ()}
        with damaged("resume", "the checkpoint does not fit", "start a new run"):
            self.points = [Point.from_json(entry) for entry in stored["points"]]
            self.pairs = [Interaction.from_json(entry) for entry in stored["pairs"]]
        self.precision = ""  # of the evaluation, once it has begun
        self._saved = time.monotonic()

    def begin(self, fingerprint: Mapping[str, Any]) -> None:
        """Stores the ``fingerprint`` of the values. Raises ``AmcError`` if a resumed run began with another."""
        self._journal.begin(fingerprint, ignore=("device",))  # a run may be resumed on another one
        self.precision = fingerprint["precision"]
        self._save()

    def point(self, point: Point) -> None:
        self.points.append(point)
        self._save_now_and_then()

    def pair(self, pair: Interaction) -> None:
        self.pairs.append(pair)
        self._save_now_and_then()

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self._saved > WRITE_SECONDS:
            self._save()

    def _save(self) -> None:
        self._journal.save({"points": [p.to_json() for p in self.points], "pairs": [p.to_json() for p in self.pairs]})
        self._saved = time.monotonic()

    def conclude(
        self, result: SensitivityResult, pairs_keep_ratio: float, cost_model: CostModel, summary: Mapping[str, Any]
    ) -> None:
        """Writes the files of a finished run: tables, figures, TensorBoard, the plan, and last the summary."""
        curves, pairs, chosen = result.curves, result.pairs, result.chosen
        self._save()
        if self._folder is None:
            return
        folder = self._folder.path
        write_bytes(folder / "sensitivity.csv", csv_text(curves, cost_model).encode())
        write_json(folder / "curves.json", curves.to_json())
        total, groups = cost_model.cost(), cost_model.groups
        figures = {
            "sensitivity": curves_figure(curves),
            "sensitivity_and_shares": curves_and_shares_figure(curves, cost_model),
        }
        if pairs:
            figures["interactions"] = interactions_figure(pairs, pairs_keep_ratio)
        if chosen is not None:
            share = cost_model.cost(chosen.plan).macs / total.macs
            title = f"Plan by rule={chosen.rule}, {share:.1%} of the MACs"
            figures["plan"] = plan_figure(groups, chosen.plan, total.macs, title)
            self._folder.write_plan(chosen.plan)
        events = EventFile(folder, purge_step=0)
        for name, figure in figures.items():
            save_figure(folder / f"{name}.png", figure)
            events.figure(name, figure, 0)
        for step, values in _scalars(curves).items():
            events.scalars(values, step)
        events.close()
        self._folder.write_summary(summary)

    def __enter__(self) -> SensitivityLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, AmcError):  # a full disk is reported once
            self._save()


def _scalars(curves: Curves) -> dict[int, dict[str, float]]:
    """Step (kept channels in per cent) → score and loss of every group."""
    steps: dict[int, dict[str, float]] = {}
    for row, (name, channels) in enumerate(zip(curves.names, curves.channels, strict=True)):
        measured = {round(100 * kept / channels): column for column, kept in enumerate(curves.kept[row])}
        for step, column in measured.items():
            values = steps.setdefault(step, {})
            values[f"{curves.metric}/{name}"] = curves.scale.value_of(float(curves.score[row, column]))
            values[f"loss/{name}"] = float(curves.loss[row, column])
    return dict(sorted(steps.items()))
