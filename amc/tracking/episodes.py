"""``episodes.csv``: one row per episode, exact to the last bit, cut back to the checkpoint at resume."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from amc.core.errors import AmcError
from amc.core.files import write_bytes, write_error
from amc.core.types import Cost, Episode

KEEP = "keep_ratio/"
COSTS = ("macs", "macs_ratio", "params", "params_ratio", "latency_ms", "within_budget")
Row = dict[str, float]


class EpisodeLog:
    """Appends to ``episodes.csv``. Its columns: scores, seconds, then ``keep_ratio/<group>`` for every group.

    ========================  ==============================================================
    column                    meaning
    ========================  ==============================================================
    ``episode``               index, from 0
    ``reward``                what the agent got
    ``accuracy``              validation score as a fraction; the column has the name of the task's metric
    ``loss``                  validation loss
    ``images``                validation images seen; fewer than the most: stopped early, the scores are estimates
    ``macs``, ``params``      of one input; ``…_ratio``: as a fraction of the dense network's
    ``latency_ms``            empty where no latency table was measured
    ``within_budget``         1; 0 for a plan on the way to the budget, which can't be the result
    ``seconds``               of the whole episode
    ``<part>_seconds``        of its parts
    ``keep_ratio/<group>``    kept / original channels
    ========================  ==============================================================
    """

    def __init__(
        self,
        path: str | Path,
        group_names: Sequence[str],
        original: Cost,
        parts: Sequence[str] = ("cut", "recovery", "forward", "agent"),
        metric: str = "accuracy",
    ) -> None:
        """Of a dense network that costs ``original``; ``parts`` are the timings that get a column each."""
        self.path = Path(path)
        self._original, self._parts, self._groups = original, tuple(parts), tuple(group_names)
        self.columns = columns_of(parts, group_names, metric)

    def append(self, episode: Episode) -> None:
        """Adds a row and hands it to the operating system at once, so that a killed process loses none.

        Args:
            episode: the finished episode; of the timings in its metrics a part left out counts 0.

        Raises:
            AmcError: the file can't be written (full disk).
        """
        values = row_of(episode, self._original, self._parts, self._groups)
        try:
            with open(self.path, "a", newline="", encoding="utf-8") as file:
                if file.tell() == 0:
                    file.write(_line(self.columns))
                file.write(_line(values))
        except OSError as error:
            raise write_error(self.path, error) from error

    def truncate(self, episodes: int) -> None:
        """Keeps the first ``episodes`` rows: episodes after the last checkpoint are played again.

        Raises:
            AmcError: the file has fewer rows, or other columns than this log writes.
        """
        if not self.path.exists() and episodes == 0:
            return
        rows = _whole_rows(self.path) or [list(self.columns)]
        if tuple(rows[0]) != self.columns:
            raise AmcError(f"{self.path}: has other columns than this run writes; it belongs to another network")
        if len(rows) - 1 < episodes:
            raise AmcError(f"{self.path}: has {len(rows) - 1} episodes, the checkpoint {episodes}; the file is damaged")
        write_bytes(self.path, "".join(map(_line, rows[: episodes + 1])).encode())


def columns_of(parts: Sequence[str], group_names: Sequence[str], metric: str) -> tuple[str, ...]:
    """The names of :func:`row_of`'s values."""
    scores = ("episode", "reward", metric, "loss", "images", *COSTS)
    return (*scores, "seconds", *(f"{p}_seconds" for p in parts), *(f"{KEEP}{g}" for g in group_names))


def row_of(
    episode: Episode, original: Cost, parts: Sequence[str], group_names: Sequence[str]
) -> list[float | int | None]:
    """An episode as a row of ``episodes.csv``; ``original`` is the dense network's cost."""
    ratios = episode.plan.keep_ratios()
    cost, metrics = episode.cost, episode.metrics
    return [
        episode.index, float(episode.reward), float(metrics.score), float(metrics.loss), metrics.images,
        cost.macs, cost.macs / original.macs, cost.params, cost.params / original.params, cost.latency_ms,
        int(episode.within_budget),
        float(episode.seconds), *(float(metrics.seconds.get(part, 0.0)) for part in parts),
        *(ratios[name] for name in group_names),
    ]  # fmt: skip


def read_episodes(path: str | Path) -> list[Row]:
    """Column → value for each episode, exactly the numbers that were logged; empty cells are left out.

    Raises:
        AmcError: the file is missing, or holds something else than numbers.
    """
    rows = _whole_rows(Path(path))
    if not rows:
        return []
    columns, *body = rows
    try:
        return [{c: _number(v) for c, v in zip(columns, row, strict=True) if v} for row in body]
    except ValueError as error:
        raise AmcError(f"{path}: no table of episodes ({error}); the file is damaged") from error


def metric_of(row: Row) -> str:
    """Name of the metric that a row holds: of its third column."""
    return tuple(row)[2]


def score_of(row: Row) -> float:
    """What the metric was."""
    return row[metric_of(row)]


def _whole_rows(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise AmcError(f"{path}: can't be read ({error.strerror}); is this a run's episodes.csv?") from error
    except ValueError as error:
        raise AmcError(f"{path}: no text ({error}); the file is damaged") from error
    # A process killed while writing can leave part of a line; only lines that end are rows.
    return list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline="")))


def _line(values: Sequence[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)  # floats by repr: reading gives the same bits
    return buffer.getvalue()


def _number(cell: str) -> float:
    return int(cell) if cell.lstrip("-").isdigit() else float(cell)
