"""TensorBoard: scalars per episode, every group's keep ratio in one chart, figures, hyper-parameters."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import summary as summaries

from amc.files import write_error
from amc.tracking.episodes import KEEP
from amc.types import Cost, Episode

# TensorBoard shows only the keys that the first run had: every run must write the same ones.
HPARAMS = (
    "model", "dataset", "agent", "reward", "importance", "recovery", "budget.cost", "budget.keep", "episodes", "seed",
)  # fmt: skip
HPARAM_METRICS = ("best/reward", "best/val_accuracy", "best/test_accuracy", "best/macs_ratio", "best/params_ratio")


class Board:
    """Writes one run's TensorBoard events into its folder.

    Scalars per episode: ``search/…`` (reward, best_reward, accuracy, macs_ratio, params_ratio), ``agent/…``
    (whatever the agent reports) and ``keep_ratio/<group>``. The *Custom scalars* page has reward beside best reward,
    the costs, and all keep ratios in one chart.

    It writes the event file itself: torch's ``SummaryWriter`` does so in a thread, where a full disk ends in a
    traceback, and takes one call and one event per curve.
    """

    def __init__(self, folder: str | Path, group_names: Sequence[str], purge_step: int | None = None) -> None:
        """``purge_step``: the episode that a resumed run starts with; later points of the killed one vanish."""
        now = time.time()
        name = f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}.{time.monotonic_ns()}"
        self._path, self._groups = Path(folder) / name, tuple(group_names)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._path, "wb")  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise write_error(self._path, error) from error
        self._records = RecordWriter(self._file)
        self._write(Event(wall_time=now, file_version="brain.Event:2"))
        if purge_step is not None:
            self._write(Event(wall_time=now, step=purge_step, session_log=SessionLog(status=SessionLog.START)))
        self._add(summaries.custom_scalars(_layout()))

    def episode(self, episode: Episode, original: Cost, best_reward: float) -> None:
        """Adds one episode's scalars and flushes, so that a killed run shows all that it finished.

        Args:
            episode: the finished episode; its ``scalars`` are the agent's (σ, losses, baseline …).
            original: the uncut network's cost.
            best_reward: highest reward so far, this episode included.
        """
        ratios = episode.plan.keep_ratios()
        scalars = {
            "search/reward": episode.reward,
            "search/best_reward": best_reward,
            "search/accuracy": episode.metrics.accuracy,
            "search/macs_ratio": episode.cost.macs / original.macs,
            "search/params_ratio": episode.cost.params / original.params,
            **{f"agent/{name}": value for name, value in episode.scalars.items()},
            **{f"{KEEP}{name}": ratios[name] for name in self._groups},
        }
        self._add(_scalars(scalars), episode.index)

    def figure(self, tag: str, figure: Figure, step: int) -> None:
        """Adds a picture. TensorBoard keeps ten per tag, so call it when there is news only."""
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[:, :, :3]  # [h, w, 3]
        self._add(summaries.image(tag, pixels, dataformats="HWC"), step)

    def hparams(self, values: Mapping[str, str | float | None], metrics: Mapping[str, float | None]) -> None:
        """Adds the run's line in the *HParams* table.

        Args:
            values: exactly the keys of ``HPARAMS``; ``None`` is shown as ``none``.
            metrics: exactly the keys of ``HPARAM_METRICS``; ``None`` (not measured) becomes NaN.

        Raises:
            ValueError: other keys.
        """
        for given, expected in ((values, HPARAMS), (metrics, HPARAM_METRICS)):
            if set(given) != set(expected):
                raise ValueError(f"hparams need exactly {', '.join(expected)}; got {', '.join(sorted(given))}")
        settings = {key: "none" if values[key] is None else values[key] for key in HPARAMS}
        results = {key: float("nan") if (value := metrics[key]) is None else value for key in HPARAM_METRICS}
        for summary in (*summaries.hparams(settings, results), _scalars(results)):
            self._add(summary)

    def close(self) -> None:
        """Closes the file. Everything is on disk already but what could not be written, which was reported then."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _add(self, summary: Summary, step: int = 0) -> None:
        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def _write(self, event: Event) -> None:
        try:
            self._records.write(event.SerializeToString())
            self._records.flush()
        except OSError as error:
            raise write_error(self._path, error) from error


def _scalars(values: Mapping[str, float]) -> Summary:
    return Summary(value=[Summary.Value(tag=tag, simple_value=float(value)) for tag, value in values.items()])


def _layout() -> dict[str, dict[str, list[object]]]:
    # The entries are regular expressions.
    return {
        "search": {
            "reward": ["Multiline", ["search/reward", "search/best_reward"]],
            "accuracy and cost": ["Multiline", ["search/accuracy", "search/macs_ratio", "search/params_ratio"]],
        },
        "keep ratios": {"all groups": ["Multiline", [f"{KEEP}.*"]]},
    }
