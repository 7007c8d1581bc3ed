"""A fine-tuning's log: progress, curves, checkpoints and the state for a resume."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from amc.core.checks import whole
from amc.core.errors import damaged
from amc.core.progress import Progress
from amc.core.types import LayerGroup, Metrics, PruningPlan
from amc.evaluation.metrics import Metric
from amc.finetune.tuner import Phase, Trained
from amc.reporting.figures import save_figure, training_figure
from amc.tracking import EventFile, RunDir
from amc.tracking.journal import Journal
from amc.training.trainer import Epoch

# Entry → type, of a finished phase and of an epoch, as a checkpoint holds them; the metric's own besides.
DONE = {"phase": str, "epochs": int, "best_epoch": int}
HISTORY = {
    "phase": str, "epoch": int, "macs_ratio": float, "train_loss": float, "val_loss": float, "lr": float,
    "seconds": float,
}  # fmt: skip


class TuningLog:
    """Log of one fine-tuning. Without a folder it only shows the progress."""

    def __init__(self, folder: RunDir | None, fingerprint: Mapping[str, str], verbose: bool, metric: Metric) -> None:
        """Reads what an earlier part of the run left.

        Args:
            folder: the run's, locked.
            fingerprint: hashes that a resume compares.
            verbose: show the progress.
            metric: of the task.

        Raises:
            AmcError: damaged files, or a run of another network or other images.
        """
        self._folder, self._journal = folder, Journal(folder)
        self.metric = metric.name
        self._journal.begin(fingerprint)
        self._stored: dict[str, Any] = self._journal.stored or {"phase": 0, "done": [], "history": [], "plans": []}
        with damaged("resume", "the checkpoint does not fit", "start a new run"):
            self.done: list[dict[str, Any]] = [
                _typed(entry, {**DONE, f"cut_val_{self.metric}": float, f"val_{self.metric}": float})
                for entry in self._stored["done"]
            ]
            self.history: list[dict[str, Any]] = [
                _typed(row, {**HISTORY, f"val_{self.metric}": float}) for row in self._stored["history"]
            ]
            self._plans: list[dict[str, Any]] = list(self._stored["plans"])
            whole(self._stored["phase"])
        self._phase = 0
        self._total = self._trained = sum(row["epoch"] > 0 for row in self.history)
        self._before: float = sum(row["seconds"] for row in self.history)
        self._events = None if folder is None else EventFile(folder.path, purge_step=len(self.history))
        self._progress = Progress("epoch", verbose, start=self._trained)

    @property
    def seconds(self) -> float:
        """Time spent on epochs in earlier parts of the run."""
        return self._before

    def plans(self, groups: Sequence[LayerGroup]) -> list[PruningPlan]:
        """The plans that a resumed run began with; none for a new run."""
        return [PruningPlan.from_json(plan, groups) for plan in self._plans]

    def begin(self, plans: Sequence[PruningPlan], epochs: int) -> None:
        """Sets the plans to fine-tune, best first, and the number of epochs in all."""
        self._plans, self._total = [plan.to_json() for plan in plans], epochs

    def state(self, number: int) -> dict[str, Any] | None:
        """State of the interrupted phase ``number``, for :meth:`amc.finetune.tuner.FineTuner.run`."""
        self._phase = number
        return self._stored.get("running") if number == self._stored["phase"] else None

    def save(self, state: Mapping[str, Any]) -> None:
        """Replaces the checkpoint: the running phase's state and what was finished before it."""
        self._journal.save(
            {
                "plans": self._plans, "phase": self._phase, "done": self.done, "history": self.history,
                "running": dict(state),
            }
        )  # fmt: skip

    def epoch(self, phase: Phase, epoch: Epoch, macs_ratio: float) -> None:
        """Logs and shows a finished epoch; epoch 0 is the recovered network before training."""
        step = len(self.history)
        row: dict[str, Any] = {
            "phase": phase.name,
            "epoch": epoch.number,
            "macs_ratio": macs_ratio,
            "train_loss": epoch.train_loss,
            f"val_{self.metric}": None if epoch.val is None else epoch.val.value,
            "val_loss": None if epoch.val is None else epoch.val.loss,
            "lr": epoch.lr,
            "seconds": epoch.seconds,
        }
        self.history.append(row)
        if self._events is not None:
            tags = {"train_loss": "train/loss", "lr": "train/lr", f"val_{self.metric}": f"val/{self.metric}",
                    "val_loss": "val/loss", "macs_ratio": "cost/macs_ratio"}  # fmt: skip
            values = {tag: row[key] for key, tag in tags.items()}
            self._events.scalars({tag: v for tag, v in values.items() if not math.isnan(v)}, step)
        if epoch.number == 0:
            return
        self._trained += 1
        self._progress.update(self._trained, self._total, f"{phase.name}: {epoch}")

    def finish_phase(self, phase: Phase, trained: Trained) -> None:
        """Records a phase's result."""
        self.done.append(
            {
                "phase": phase.name,
                "epochs": phase.epochs,
                "best_epoch": trained.epoch,
                f"cut_val_{self.metric}": trained.cut_metrics.value,
                f"val_{self.metric}": trained.metrics.value,
            }
        )

    def __enter__(self) -> TuningLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)
        if self._events is not None:
            self._events.close()

    def conclude(self, plan: PruningPlan, summary: Mapping[str, Any], dense: Metrics) -> None:
        """Writes the files of a finished run: summary, plan and the training curve."""
        self._progress.__exit__(None, None, None)  # the bar must not be drawn over what is printed next
        if self._folder is None or self._events is None:
            return
        figure = training_figure(self.history, dense)
        save_figure(self._folder.path / "training.png", figure)
        self._events.figure("training", figure, len(self.history))
        self._folder.write_plan(plan)
        self._folder.write_summary(summary)


def _typed(entry: Any, types: Mapping[str, type]) -> dict[str, Any]:
    """Raises ``ValueError`` or ``LookupError`` if ``entry`` has other entries, or some of another type."""
    for key, kind in types.items():
        if not isinstance(entry[key], (int, float) if kind is float else kind):
            raise ValueError(f"{key} is {entry[key]!r}")
    return dict(entry)
