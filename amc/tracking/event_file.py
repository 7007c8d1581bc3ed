"""One TensorBoard event file: scalars and pictures, on disk as soon as they are given."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import summary as summaries

from amc.core.files import write_error


class EventFile:
    """Writes the event file itself: torch's ``SummaryWriter`` does so in a thread, where a full disk ends in a
    traceback, and takes one call and one event per curve.
    """  # noqa: D205

    def __init__(self, folder: str | Path, purge_step: int | None = None) -> None:
        """``purge_step``: the step that a resumed run starts with; later points of the killed one vanish."""
        now = time.time()
        name = f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}.{time.monotonic_ns()}"
        self._path = Path(folder) / name
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._path, "wb")  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise write_error(self._path, error) from error
        self._records = RecordWriter(self._file)
        self._write(Event(wall_time=now, file_version="brain.Event:2"))
        if purge_step is not None:
            self._write(Event(wall_time=now, step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Adds a point to each curve: tag → value."""
        self.add(scalars(values), step)

    def figure(self, tag: str, figure: Figure, step: int) -> None:
        """Adds a picture. TensorBoard keeps ten per tag, so call it when there is news only."""
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[:, :, :3]  # [h, w, 3]
        self.add(summaries.image(tag, pixels, dataformats="HWC"), step)

    def add(self, summary: Summary, step: int = 0) -> None:
        """Adds anything else that TensorBoard can show. Raises ``AmcError`` if it can't be written."""
        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        """Closes the file. Everything is on disk already but what could not be written, which was reported then."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _write(self, event: Event) -> None:
        try:
            self._records.write(event.SerializeToString())
            self._records.flush()
        except OSError as error:
            raise write_error(self._path, error) from error


def scalars(values: Mapping[str, float]) -> Summary:
    """One point of each curve: tag → value."""
    return Summary(value=[Summary.Value(tag=tag, simple_value=float(value)) for tag, value in values.items()])
