"""Numbers over seeds as the studies show them, and their Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev

from scipy.stats import wilcoxon


def spread(values: Iterable[float], scale: float = 1, sign: str = "") -> str:
    """Mean ± standard deviation over seeds.

    Args:
        values: one for each seed.
        scale: what both are multiplied by, such as 100 for percent.
        sign: ``"+"`` shows the sign of a mean above 0, too.

    Returns:
        The mean alone of a single value, an empty text without values.
    """
    numbers = [float(value) for value in values]
    if not numbers:
        return ""
    text = f"{scale * mean(numbers):{sign}.2f}"
    return f"{text} ± {scale * stdev(numbers):.2f}" if len(numbers) > 1 else text


def p_value(differences: Sequence[float]) -> float:
    """Of Wilcoxon's signed-rank test, two-sided: could differences in pairs be symmetric around 0?"""
    return float(wilcoxon(differences).pvalue)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown: a row under the heads for each of ``rows``, a line break at the end."""
    lines = [table_row(heads), "|---" * len(heads) + "|", *map(table_row, rows)]
    return "\n".join(lines) + "\n"


def table_row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def publish(file: Path, text: str) -> None:
    """Writes a study's conclusion and shows it."""
    file.write_text(text)
    print(text)
