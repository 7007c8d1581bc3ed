"""A search's record on disk: a row, a checkpoint and TensorBoard points per episode; resume after a kill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from amc.core.checks import whole
from amc.core.errors import AmcError, damaged
from amc.core.types import Cost, Episode, LayerGroup
from amc.evaluation.metrics import TOP1, Metric
from amc.reporting.accuracy_over_macs import accuracy_over_macs_figure, log_macs_fit
from amc.reporting.figures import plan_figure, ratio_curves_figure, save_figure
from amc.tracking import Board, EpisodeLog, RunDir
from amc.tracking.group_facts import GROUPS, write_groups
from amc.tracking.journal import Journal
from amc.tracking.plans import PARTS, episodes_in
from amc.tracking.run_dir import EPISODES

WIDE = 1.2  # largest ÷ smallest MACs from which on accuracy over ln(MACs) is drawn


class Recorder:
    """Records the episodes of one search in one run folder."""

    def __init__(
        self,
        run_dir: RunDir,
        groups: Sequence[LayerGroup],
        original: Cost,
        fingerprint: Mapping[str, str],
        metric: Metric = TOP1,
    ) -> None:
        """``fingerprint``: hashes that a resume compares; ``metric``: the task's."""
        self._run_dir, self._groups, self._original = run_dir, tuple(groups), original
        self._fingerprint, self._journal = dict(fingerprint), Journal(run_dir)
        self._names = [g.name for g in groups if g.frozen is None]
        self._log = EpisodeLog(run_dir.path / EPISODES, self._names, original, PARTS, metric.name, metric.scale)
        self._metric, self._scale = metric.name, metric.scale
        self._board: Board | None = None

    def restore(self) -> tuple[list[Episode], dict[str, Any] | None]:
        """The finished episodes of the run and the checkpoint after the last of them; empty for a new run.

        Rows after the last checkpoint are dropped: their episodes are played again.

        Raises:
            AmcError: damaged files, or a run of another network.
        """
        checkpoint = self._journal.stored
        self._journal.begin(self._fingerprint)
        with damaged(self._run_dir.path, "the checkpoint has no number of episodes", "start a new run"):
            finished = whole(checkpoint["episodes"]) if checkpoint else 0
        self._run_dir.check_sealed(EPISODES)
        self._log.truncate(finished)
        episodes = episodes_in(self._log.path, self._groups, self._scale) if finished else []
        write_groups(self._run_dir.kept_file(GROUPS), self._groups, self._original)
        self._board = Board(self._run_dir.path, self._groups, finished, self._metric)
        return episodes, checkpoint

    def episode(
        self,
        episode: Episode,
        best: Episode,
        agent_state: Mapping[str, Any],
        evaluator_state: Mapping[str, Tensor],
    ) -> None:
        """Records a finished episode, then the checkpoint that commits it.

        Args:
            episode: the finished one; its metrics' seconds tell where its time went.
            best: the best so far, possibly the same.
            agent_state: everything the agent needs to resume.
            evaluator_state: the same for the evaluator.
        """
        if self._board is None:
            raise AmcError("the recorder was not restored; call restore() first")
        self._log.append(episode)
        self._board.episode(episode, self._original, best.reward)
        if best is episode:
            self._run_dir.write_plan(episode.plan)
            self._board.figure("best_plan", self._plan_figure(episode), episode.index)
        state = {"episodes": episode.index + 1, "agent": dict(agent_state), "evaluator": dict(evaluator_state)}
        self._run_dir.seal(EPISODES, *self._log.seal)
        self._journal.save(state)

    def _plan_figure(self, episode: Episode) -> Figure:
        share = episode.cost.macs / self._original.macs
        title = f"Episode {episode.index}: {episode.metrics} at {share:.1%} of the MACs"
        return plan_figure(self._groups, episode.plan, self._original.macs, title)

    def finish(
        self,
        episodes: Sequence[Episode],
        best: Episode,
        summary: Mapping[str, Any],
        hparams: Mapping[str, Any],
        results: Mapping[str, Any],
    ) -> None:
        """Writes the files of a finished search: summary, figures, and the row in TensorBoard's HParams table."""
        ratios = [e.plan.keep_ratios() for e in episodes]
        curves = ratio_curves_figure({name: [r[name] for r in ratios] for name in self._names})
        save_figure(self._run_dir.path / "keep_ratios.png", curves)
        save_figure(self._run_dir.path / "best_plan.png", self._plan_figure(best))
        self._run_dir.write_plan(best.plan)
        summary = {**summary, **self._log_macs(episodes, best)}
        if self._board is not None:
            self._board.figure("keep_ratios", curves, best.index)
            self._board.hparams(hparams, results)
            self._board.close()
        self._run_dir.write_summary(summary)

    def _log_macs(self, episodes: Sequence[Episode], best: Episode) -> dict[str, Any]:
        """Draws the score over ln(MACs), a straight line by AMC's reward; returns the fit, for the summary.

        Neither where a budget holds all plans to nearly the same MACs: there is nothing to fit.
        """
        ratios = [e.cost.macs / self._original.macs for e in episodes]
        if max(ratios) < WIDE * min(ratios):
            return {}
        scores = [e.metrics.value for e in episodes]
        drawn = accuracy_over_macs_figure(ratios, scores, best.metrics.metric, best.metrics.scale)
        save_figure(self._run_dir.path / "accuracy_over_macs.png", drawn)
        if self._board is not None:
            self._board.figure("accuracy_over_macs", drawn, best.index)
        return {"log_macs_fit": asdict(log_macs_fit(ratios, scores))}
