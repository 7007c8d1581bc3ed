"""``episodes.csv``: one row per episode, exact to the last bit, cut back to the checkpoint at resume."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

from amc.core.errors import AmcError, damaged
from amc.core.files import read_bytes, write_bytes, write_error
from amc.core.reading import MIB
from amc.core.scores import FRACTION, Scale
from amc.core.types import Cost, Episode
from amc.tracking.seal import check_sealed

KEEP = "keep_ratio/"
COSTS = ("macs", "macs_ratio", "params", "params_ratio", "latency_ms", "within_budget")
Row = dict[str, float]
METRIC = 2  # the column of the task's metric, whatever its name
SCORE = "score"  # of one that is no fraction
WHOLE = ("episode", "images", "macs", "params", "within_budget")
MANY = 1e18  # operations, parameters, images; more than any machine has
RANGES = {
    **dict.fromkeys((*WHOLE, "macs_ratio", "params_ratio", "latency_ms"), (0.0, MANY)),
    "within_budget": (0.0, 1.0),
}
ANYTHING = ("reward", "loss")  # of a user's own, NaN and infinities too
NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?|nan|[-+]?inf", re.ASCII)
LONGEST = 40  # characters of a number
MOST_BYTES, MOST_CELLS = 64 * MIB, 2_500_000  # 10,000 episodes of a network with 200 groups


class EpisodeLog:
    """Appends to ``episodes.csv``. Its columns: scores, seconds, then ``keep_ratio/<group>`` for every group.

    ========================  ==============================================================
    column                    meaning
    ========================  ==============================================================
    ``episode``               index, from 0
    ``reward``                what the agent got
    ``accuracy``              validation score as a fraction; the column has the name of the task's metric
    ``loss``                  validation loss
    ``score``                 of a metric that is no fraction: its score in [0, 1], 1 the best
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
        scale: Scale = FRACTION,
    ) -> None:
        """Of a dense network that costs ``original``; ``parts`` are the timings that get a column each."""
        self.path = Path(path)
        self._original, self._parts, self._groups = original, tuple(parts), tuple(group_names)
        self.columns = columns_of(parts, group_names, metric, scale)
        self._digest, self._lines = hashlib.sha256(), 0

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
                    file.write(self._counted(_line(self.columns)))
                file.write(self._counted(_line(values)))
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
        self._digest, self._lines = hashlib.sha256(), 0
        write_bytes(self.path, "".join(self._counted(_line(row)) for row in rows[: episodes + 1]).encode())

    @property
    def seal(self) -> tuple[int, str]:
        """Number of lines written so far, and their SHA-256."""
        return self._lines, self._digest.hexdigest()

    def _counted(self, line: str) -> str:
        self._digest.update(line.encode())
        self._lines += 1
        return line


def columns_of(
    parts: Sequence[str], group_names: Sequence[str], metric: str, scale: Scale = FRACTION
) -> tuple[str, ...]:
    """The names of :func:`row_of`'s values."""
    scores = ("episode", "reward", metric, "loss", *([] if scale.is_fraction else [SCORE]), "images", *COSTS)
    return (*scores, "seconds", *(f"{p}_seconds" for p in parts), *(f"{KEEP}{g}" for g in group_names))


def row_of(
    episode: Episode, original: Cost, parts: Sequence[str], group_names: Sequence[str]
) -> list[float | int | None]:
    """An episode as a row of ``episodes.csv``; ``original`` is the dense network's cost."""
    ratios = episode.plan.keep_ratios()
    cost, metrics = episode.cost, episode.metrics
    own = [] if metrics.scale.is_fraction else [float(metrics.score)]
    return [
        episode.index, float(episode.reward), float(metrics.value), float(metrics.loss), *own, metrics.images,
        cost.macs, cost.macs / original.macs, cost.params, cost.params / original.params, cost.latency_ms,
        int(episode.within_budget),
        float(episode.seconds), *(float(metrics.seconds.get(part, 0.0)) for part in parts),
        *(ratios[name] for name in group_names),
    ]  # fmt: skip


def read_episodes(path: str | Path) -> list[Row]:
    """Column → value for each episode, exactly the numbers that were logged; empty cells are left out.

    Raises:
        AmcError: the file is missing, holds something else than numbers that can be, or isn't what the run's checkpoint
            was written with.
    """
    path = Path(path)
    check_sealed(path.parent, path.name)
    rows = _whole_rows(path)
    if not rows:
        return []
    columns, *body = rows
    with damaged(path, "no table of episodes"):
        if len(set(columns)) < len(columns):
            raise ValueError("a column is there twice")
        if len(columns) * len(body) > MOST_CELLS:
            raise ValueError(f"more than {MOST_CELLS} cells")
        return [_row(columns, row) for row in body]


def _row(columns: Sequence[str], cells: Sequence[str]) -> Row:
    if len(columns) != len(cells):
        raise ValueError(f"a row of {len(cells)} cells under {len(columns)} columns")
    empty = [column for column, cell in zip(columns, cells, strict=True) if not cell and column != "latency_ms"]
    if empty:
        raise ValueError(f"{empty[0]} is empty")
    row = {column: _number(column, cell) for column, cell in zip(columns, cells, strict=True) if cell}
    metric = SCORE if SCORE in columns else columns[METRIC] if len(columns) > METRIC else None
    if metric is not None and not 0 <= row[metric] <= 1:
        raise ValueError(f"{metric}: {row[metric]} is not a fraction in [0, 1]")
    return row


def metric_of(row: Row) -> str:
    """Name of the metric that a row holds: of its third column."""
    return tuple(row)[METRIC]


def value_of(row: Row) -> float:
    """What the metric was."""
    return row[metric_of(row)]


def score_of(row: Row) -> float:
    """Its score in [0, 1], 1 the best."""
    return row[SCORE] if SCORE in row else value_of(row)


def text_of(row: Row) -> str:
    """What the metric was, for people."""
    return f"{value_of(row):.4g}" if SCORE in row else f"{value_of(row):.2%}"


def _whole_rows(path: Path) -> list[list[str]]:
    content = read_bytes(path, MOST_BYTES)
    with damaged(path, "no text"):
        text = content.decode()
    # A process killed while writing can leave part of a line; only lines that end are rows.
    try:
        return list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline="")))
    except csv.Error as error:
        raise AmcError(f"{path}: no table of episodes ({error}); the file is damaged") from error


def _line(values: Sequence[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)  # floats by repr: reading gives the same bits
    return buffer.getvalue()


def _number(column: str, cell: str) -> float:
    """Raises ``ValueError`` if the cell holds what no search writes there."""
    if NUMBER.fullmatch(cell) is None or len(cell) > LONGEST:
        raise ValueError(f"{column}: {cell[:LONGEST]!r} is no number")
    value = int(cell) if cell.lstrip("-").isdigit() else float(cell)
    low, high = (0.0, 1.0) if column.startswith(KEEP) else RANGES.get(column, (-math.inf, math.inf))
    if column in WHOLE and not isinstance(value, int):
        raise ValueError(f"{column}: {cell} is no whole number")
    if not low <= value <= high and column not in ANYTHING:
        raise ValueError(f"{column}: {cell} is not in [{low:g}, {high:g}]")
    return value
