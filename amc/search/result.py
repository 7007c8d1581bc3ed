"""Search result, summary and HParams entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from torch import nn

from amc.core.types import Episode, LayerGroup, PruningPlan, Scored
from amc.reporting import result_views as views
from amc.reporting.result_figures import What
from amc.search.finals import Finals
from amc.tracking.versions import versions

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False)
class SearchResult:
    """Result of a search. Shown as text, as a table in a notebook, and by :meth:`plot`.

    Attributes:
        plan: the best plan.
        model: the network cut by it and recovered, in float32; not fine-tuned.
        baseline, best: scores and costs of the dense network and of ``model``.
        episodes: every episode, in order.
        groups: the network's layer groups.
        seconds: where the time went, by part.
        wall_seconds: of the whole search; of a resumed one, its earlier episodes included.
    """

    plan: PruningPlan
    model: nn.Module
    baseline: Scored
    best: Scored
    episodes: tuple[Episode, ...]
    groups: tuple[LayerGroup, ...]
    seconds: Mapping[str, float]
    wall_seconds: float = 0.0

    def __repr__(self) -> str:
        return views.as_text(self)

    def _repr_html_(self) -> str:
        return views.as_html(self)

    def plot(self, what: What = "all") -> Figure:
        """A matplotlib figure, shown by notebooks and saved by its ``savefig``.

        Args:
            what: ``plan`` (the keep ratio of every group), ``curves`` (reward, score and keep ratios over the
                episodes), ``scatter`` (score over MACs with the Pareto front), or ``all`` of them.

        Raises:
            AmcError: another ``what``.
        """
        return views.as_figure(self, what)

    def to_dataframe(self) -> pandas.DataFrame:
        """A row per episode, with the columns of ``episodes.csv``. Raises ``AmcError`` if pandas is missing."""
        return views.as_dataframe(self)


def summary_of(result: SearchResult, best: Episode, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``summary.json``; scores are fractions."""
    return {
        **facts,
        "versions": versions(),
        "metric": result.baseline.val.metric,
        "baseline": result.baseline.to_json(),
        "best": {**result.best.to_json(), "reward": best.reward},
        "episodes": len(result.episodes),
        "wall_seconds": result.wall_seconds,
        **{f"{part}_seconds": seconds for part, seconds in result.seconds.items()},
    }


def hparams_of(
    result: SearchResult, best: Episode, facts: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, float | None]]:
    """The run's row in TensorBoard's HParams table: settings and results, always the same keys."""
    keys = ("model", "dataset", "agent", "reward", "importance", "recovery", "seed")
    settings = {key: facts.get(key) for key in keys}
    settings |= {f"budget.{key}": value for key, value in facts["budget"].items()}
    scored, baseline = result.best, result.baseline
    return {**settings, "episodes": len(result.episodes)}, {
        "best/reward": best.reward,
        f"best/val_{scored.val.metric}": scored.val.value,
        f"best/test_{scored.val.metric}": None if scored.test is None else scored.test.value,
        "best/macs_ratio": scored.cost.macs / baseline.cost.macs,
        "best/params_ratio": scored.cost.params / baseline.cost.params,
    }


def trained_on(facts: Mapping[str, Any], enforcement: str, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """The training, as recorded in a policy's file.

    Args:
        facts: of the run; entries not known become ``None``.
        enforcement: of the budget.
        outcomes: name of a network → result of its search. ``accuracy`` holds validation scores, whatever the metric.
    """
    keys = ("dataset", "recovery", "importance", "reward", "seed", "started_from")
    scores = {
        name: {"uncut": outcome.result.baseline.val.score, "best": outcome.result.best.val.score}
        for name, outcome in outcomes.items()
    }
    dense = next(iter(outcomes.values())).result.baseline.val
    return {
        "models": list(outcomes),
        **{key: facts.get(key) for key in keys},
        "budget": {**facts["budget"], "rule": enforcement},
        "metric": dense.metric,
        **({} if dense.scale.is_fraction else {"scale": dense.scale.to_json()}),
        "accuracy": scores,
        "versions": versions(),
    }


@dataclass(frozen=True)
class Outcome:
    """Result of one network's search, with what the run folder needs.

    Attributes:
        result: for the user.
        best: the best episode, with the finals' scores if any.
        uniform: scores of the uniform plan's network; ``None`` where it was not made.
        finals: ``None`` where none were held.
    """

    result: SearchResult
    best: Episode
    uniform: Scored | None
    finals: Finals | None
