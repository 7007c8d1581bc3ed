"""How far something with a known number of steps is: a bar on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from amc.progress import duration

LINE_SECONDS = 10.0


class Steps:
    """Use it as a context manager; the bar appears with the first :meth:`update`."""

    def __init__(self, label: str, verbose: bool = True, console: Console | None = None) -> None:
        self._label, self._verbose = label, verbose
        self._console = console or Console()
        self._began = self._line_time = time.monotonic()
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Steps:
        return self

    def update(self, done: int, total: int, status: str = "") -> None:
        """``done`` of ``total`` steps are finished; ``status`` says how they went."""
        if not self._verbose:
            return
        if self._console.is_terminal:
            self._draw(done, total, status)
            return
        now = time.monotonic()
        if done < total and now - self._line_time < LINE_SECONDS:
            return
        self._line_time = now
        left = (now - self._began) / max(done, 1) * (total - done)
        text = f"{self._label} {done}/{total}  {status}  left {duration(left)}"
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)

    def _draw(self, done: int, total: int, status: str) -> None:
        if self._bar is None:
            self._bar = Progress(
                TextColumn(self._label, markup=False), MofNCompleteColumn(), BarColumn(),
                TextColumn("{task.fields[status]}", markup=False), TimeRemainingColumn(), TextColumn("left"),
                console=self._console,
            )  # fmt: skip
            self._task = self._bar.add_task(self._label, total=total, status=status)
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total, status=status)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
