"""TensorBoard: scalars per episode, keep ratios by kind and by stage, figures, hyper-parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch.utils.tensorboard import summary as summaries

from amc.core.kinds import FAMILIES, family_of
from amc.core.types import Cost, Episode, LayerGroup
from amc.tracking.episodes import KEEP
from amc.tracking.event_file import EventFile, scalars
from amc.tracking.stages import stages

BY_KIND = "keep_ratio_by_kind/"

# TensorBoard shows only the keys that the first run had: every run must write the same ones.
HPARAMS = (
    "model", "dataset", "agent", "reward", "importance", "recovery", "budget.cost", "budget.keep", "episodes", "seed",
)  # fmt: skip


class Board(EventFile):
    """Writes one run's TensorBoard events into its folder.

    Scalars per episode: ``search/…`` (reward, best_reward, the metric, macs_ratio, params_ratio), ``agent/…``
    (whatever the agent reports), ``keep_ratio_by_kind/<kind>`` (the mean of its groups: the same tags for every
    network, so that runs can be compared) and ``keep_ratio/<group>``. The *Custom scalars* page has reward beside best
    reward, the costs, the kinds in one chart, and the groups in a chart for each stage.
    """

    def __init__(
        self, folder: str | Path, groups: Sequence[LayerGroup], purge_step: int | None = None, metric: str = "accuracy"
    ) -> None:
        """Of ``groups``, in walk order, those that can't be pruned are left out.

        ``purge_step``: the episode that a resumed run starts with; later points of the killed one vanish.
        ``metric``: name of the task's metric.
        """
        super().__init__(folder, purge_step)
        self._metric = metric
        free = [group for group in groups if group.frozen is None]
        self._groups = [group.name for group in free]
        self._kinds = {family: [g.name for g in free if family_of(g.kind) == family] for family in FAMILIES}
        self.add(summaries.custom_scalars(_layout(self._groups, metric)))

    def episode(self, episode: Episode, original: Cost, best_reward: float) -> None:
        """Adds one episode's scalars and flushes, so that a killed run shows all that it finished.

        Args:
            episode: the finished episode; its ``scalars`` are the agent's (σ, losses, baseline …).
            original: the dense network's cost.
            best_reward: highest reward so far, this episode included.
        """
        ratios = episode.plan.keep_ratios()
        values = {
            "search/reward": episode.reward,
            "search/best_reward": best_reward,
            f"search/{self._metric}": episode.metrics.value,
            "search/macs_ratio": episode.cost.macs / original.macs,
            "search/params_ratio": episode.cost.params / original.params,
            **{f"agent/{name}": value for name, value in episode.scalars.items()},
            **{f"{BY_KIND}{kind}": _mean([ratios[n] for n in names]) for kind, names in self._kinds.items() if names},
            **{f"{KEEP}{name}": ratios[name] for name in self._groups},
        }
        self.scalars(values, episode.index)

    def hparams(self, values: Mapping[str, str | float | None], metrics: Mapping[str, float | None]) -> None:
        """Adds the run's line in the *HParams* table.

        Args:
            values: exactly the keys of ``HPARAMS``; ``None`` is shown as ``none``.
            metrics: exactly the keys of :func:`hparam_metrics`; ``None`` (not measured) becomes NaN.

        Raises:
            ValueError: other keys.
        """
        known = hparam_metrics(self._metric)
        for given, expected in ((values, HPARAMS), (metrics, known)):
            if set(given) != set(expected):
                raise ValueError(f"hparams need exactly {', '.join(expected)}; got {', '.join(sorted(given))}")
        settings = {key: "none" if values[key] is None else values[key] for key in HPARAMS}
        results = {key: float("nan") if (value := metrics[key]) is None else value for key in known}
        for summary in (*summaries.hparams(settings, results), scalars(results)):
            self.add(summary)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def hparam_metrics(metric: str) -> tuple[str, ...]:
    """The results in the *HParams* table."""
    return ("best/reward", f"best/val_{metric}", f"best/test_{metric}", "best/macs_ratio", "best/params_ratio")


def _layout(names: Sequence[str], metric: str) -> dict[str, dict[str, list[object]]]:
    # The entries are regular expressions.
    return {
        "search": {
            "reward": ["Multiline", ["search/reward", "search/best_reward"]],
            f"{metric} and cost": ["Multiline", [f"search/{metric}", "search/macs_ratio", "search/params_ratio"]],
        },
        "keep ratios by kind": {"mean of each kind": ["Multiline", [f"{BY_KIND}.*"]]},
        "keep ratios by stage": {
            title: ["Multiline", [f"^{re.escape(KEEP + name)}$" for name in members]]
            for title, members in stages(names).items()
        },
    }
