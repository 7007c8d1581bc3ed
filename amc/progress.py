"""How far the search is: a bar on a terminal, plain lines in a pipe or log, nothing when quiet."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

LINE_SHARE = 0.05
LINE_SECONDS = 10.0


class Progress:
    """Shows episode, best reward, MACs ratio, accuracy and the time left. Use it as a context manager."""

    def __init__(
        self,
        total: int,
        verbose: bool = True,
        start: int = 0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``total``: episodes of the whole search; ``start``: those done before a resume, which took no time."""
        self._total, self._start, self._verbose, self._clock = total, start, verbose, clock
        self._console = console or Console()
        self._began = self._line_time = clock()
        self._line_done = start
        self._bar: RichProgress | None = None

    def __enter__(self) -> Progress:
        if self._verbose and self._console.is_terminal:
            self._bar = RichProgress(
                TextColumn("episode"), MofNCompleteColumn(), BarColumn(bar_width=None),
                TextColumn("{task.fields[status]}"), TimeRemainingColumn(), TextColumn("left"),
                console=self._console, expand=True,
            )  # fmt: skip
            self._task = self._bar.add_task("search", total=self._total, completed=self._start, status="")
            self._bar.start()
        return self

    def update(self, done: int, best_reward: float, macs_ratio: float, accuracy: float) -> None:
        """Call after each episode.

        Args:
            done: finished episodes, those before a resume included.
            best_reward: highest reward so far.
            macs_ratio: MACs of this episode's plan as a fraction of the uncut network's.
            accuracy: of this episode's plan, a fraction.
        """
        if not self._verbose:
            return
        status = f"best {best_reward:.4f}  MACs {macs_ratio:.3f}  accuracy {accuracy:.4f}"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, status=status)
        else:
            self._line(done, status)

    def _line(self, done: int, status: str) -> None:
        now = self._clock()
        far = done - self._line_done >= LINE_SHARE * self._total
        if not (far or now - self._line_time >= LINE_SECONDS or done == self._total):
            return
        self._line_done, self._line_time = done, now
        left = (now - self._began) / max(done - self._start, 1) * (self._total - done)
        self._console.print(
            f"episode {done}/{self._total}  {status}  left {duration(left)}", soft_wrap=True, highlight=False
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def duration(seconds: float) -> str:
    """``seconds`` as ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
