"""Progress of known length: a bar on a terminal, plain lines in a pipe or log, nothing when quiet."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LINE_SHARE = 0.05
LINE_SECONDS = 10.0


class Progress:
    """Use it as a context manager; it shows itself with the first :meth:`update`."""

    def __init__(
        self,
        label: str,
        verbose: bool = True,
        start: int = 0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``label``: name of a step, such as ``episode``; ``start``: steps done before a resume, which took no time."""
        self._label, self._start, self._verbose, self._clock = label, start, verbose, clock
        self._console = console or Console()
        self._began = self._line_time = clock()
        self._line_done = start
        self._bar: Bar | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Progress:
        return self

    def update(self, done: int, total: int, status: str = "") -> None:
        """``done`` of ``total`` steps are finished, those before a resume included; ``status`` says how they went."""
        if not self._verbose:
            return
        if self._console.is_terminal:
            self._draw(done, total, status)
        else:
            self._line(done, total, status)

    def _draw(self, done: int, total: int, status: str) -> None:
        if self._bar is None:
            self._bar = Bar(
                TextColumn(self._label, markup=False), MofNCompleteColumn(), BarColumn(bar_width=None),
                TextColumn("{task.fields[status]}", markup=False), TimeRemainingColumn(), TextColumn("left"),
                console=self._console, expand=True,
            )  # fmt: skip
            self._task = self._bar.add_task(self._label, total=total, completed=self._start, status=status)
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total, status=status)

    def _line(self, done: int, total: int, status: str) -> None:
        now = self._clock()
        far = done - self._line_done >= LINE_SHARE * total
        if not (far or now - self._line_time >= LINE_SECONDS or done == total):
            return
        self._line_done, self._line_time = done, now
        left = (now - self._began) / max(done - self._start, 1) * (total - done)
        text = f"{self._label} {done}/{total}  {status}  left {duration(left)}"
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def duration(seconds: float) -> str:
    """``seconds`` as ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
