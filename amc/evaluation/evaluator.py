"""Plan → metrics: cut, recover, run the validation images. Owns the images, the device and the precision."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from amc.core.checks import one_of
from amc.core.device import has_fast_bf16
from amc.core.errors import AmcError
from amc.core.types import Metrics, PruningPlan
from amc.data import Examples
from amc.evaluation.metrics import CLASSIFICATION, Criterion, right_among
from amc.evaluation.prefix_cache import PrefixCache
from amc.evaluation.racing import Race, StopRule
from amc.evaluation.scoring import Seen, fitting, measure, score, score_until
from amc.pruning.inputs import Example, outputs_of, run
from amc.pruning.pruner import Pruner
from amc.pruning.surgery import Surgeon
from amc.recovery.norms import fold_norms, following_norms

PRECISIONS = ("auto", "fp32", "bf16")
BF16_TOLERANCE = 1e-3  # of top-1: bf16 is used where it changes less
FOLD_TOLERANCE = 1e-3  # of the largest output


@dataclass(frozen=True)
class Evaluation:
    """How plans are scored; validated on construction.

    Attributes:
        batch_size: images in one forward pass.
        precision: ``fp32``, ``bf16``, or ``auto``: bf16 on hardware that has it, if the score stays the same.
        probes: images on which ``auto`` compares the two, by default those that plans are scored on; of a small set, a
            single image would decide.
        early_stop: stop rule of racing; only with a metric that is a mean over examples.
        criterion: metric and loss.

    Raises:
        AmcError: unknown precision.
    """

    batch_size: int = 125
    precision: str = "auto"
    probes: Sequence[Examples] = ()
    early_stop: StopRule | None = None
    criterion: Criterion = CLASSIFICATION

    def __post_init__(self) -> None:
        one_of("evaluate.precision", self.precision, PRECISIONS)


class Evaluator:
    """Scores plans on a fixed set of images. A plan that was seen before is not evaluated again."""

    def __init__(self, pruner: Pruner, images: Examples, how: Evaluation | None = None) -> None:
        """Scores the dense network and settles the precision.

        Args:
            pruner: makes the pruned networks.
            images: what plans are scored on.
            how: by default :class:`Evaluation`'s defaults.

        Raises:
            AmcError: NaN or infinite outputs.
        """
        how = how or Evaluation()
        self.pruner, self._surgeon = pruner, pruner.surgeon
        self._images, self._batch_size = images, how.batch_size
        example = images.take(2).normalised()
        self._norms = _safe_folds(self._surgeon.model, example)
        self._seen: dict[PruningPlan, Metrics] = {}
        self.criterion = how.criterion
        self._reference: float | None = None
        racing = how.early_stop is not None and how.criterion.can_race
        self._race = Race(how.early_stop, len(images), how.batch_size) if racing and how.early_stop else None
        self.dtype = torch.bfloat16 if how.precision == "bf16" else torch.float32
        if how.precision == "auto" and has_fast_bf16(images.device) and self._bf16_agrees(how.probes or [images]):
            self.dtype = torch.bfloat16
        self.dense = self.score(self._surgeon.cut({}))
        if self.criterion.metric.endless:
            self._reference = self.dense.loss
            self.dense = self._against_dense(self.dense)
        self._prefix_cache: PrefixCache | None = None  # made for the first plan that is seen in full

    def _bf16_agrees(self, probes: Sequence[Examples]) -> bool:
        """Whether bf16 changes the dense network's metric by less than 0.1 point.

        If ``f`` answers flip between right and wrong, either way equally likely, the change in the number of right
        answers has a standard error of √f; a change within it is not significant. A metric that is no mean over
        images is compared directly, one without end by the loss.
        """
        fp32 = [self._probed(images, torch.float32) for images in probes]
        try:
            bf16 = [self._probed(images, torch.bfloat16) for images in probes]
        except (RuntimeError, TypeError):  # some operation, such as a detector's, knows no bf16
            return False
        metric = self.criterion.metric
        if metric.endless:
            return all(abs(a.loss - b.loss) < BF16_TOLERANCE * a.loss for a, b in zip(fp32, bf16, strict=True))
        if not metric.per_example:
            pairs = zip(fp32, bf16, strict=True)
            return all(abs(metric.value(a.worth) - metric.value(b.worth)) < BF16_TOLERANCE for a, b in pairs)
        before, now = (torch.cat([torch.as_tensor(seen.worth) for seen in both]) for both in (fp32, bf16))
        flipped, change = int((before != now).sum()), abs(right_among(now) - right_among(before))
        return change < BF16_TOLERANCE * len(before) + math.sqrt(flipped)

    def _probed(self, images: Examples, dtype: torch.dtype) -> Seen:
        dense = self.prepared(self._surgeon.cut({}), dtype)
        return score(dense, images, self._batch_size, dtype, self.criterion)

    def __call__(self, plan: PruningPlan) -> Metrics:
        """Score and loss of the cut and recovered network; estimates if it was stopped early (fewer images)."""
        return self._evaluate(plan, self._race)

    def in_full(self, plan: PruningPlan) -> Metrics:
        """The same on all images; the plan takes no part in racing."""
        return self._evaluate(plan, None)

    def _evaluate(self, plan: PruningPlan, race: Race | None) -> Metrics:
        known = self._seen.get(plan)
        if known is not None and (race is not None or known.images == len(self._images)):
            return known
        started = time.perf_counter()
        kept = self.pruner.kept(plan)
        small = self._surgeon.cut(kept)
        cut = time.perf_counter()
        self.pruner.recover(small, kept)
        recovered = time.perf_counter()
        metrics = self._seen_in_full(small) if race is None else self._compete(small, race)
        done = time.perf_counter()
        seconds = {"cut": cut - started, "recovery": recovered - cut, "forward": done - recovered}
        # metrics of a repeated plan take no time
        self._seen[plan] = replace(metrics, seconds={})
        return replace(metrics, seconds=seconds)

    def free_memory(self) -> None:
        """Frees the prefix cache; the next plan that is seen in full makes a new one."""
        self._prefix_cache = None

    def remember(self, seen: Mapping[PruningPlan, Metrics]) -> None:
        """Takes over the metrics of plans that were evaluated before a resume."""
        known = {plan: self._against_dense(replace(metrics, seconds={})) for plan, metrics in seen.items()}
        self._seen.update(known)

    def _against_dense(self, metrics: Metrics) -> Metrics:
        return metrics if self._reference is None else replace(metrics, reference=self._reference)

    def state(self) -> dict[str, torch.Tensor]:
        """State of racing, for :meth:`load_state`; empty without it."""
        return {} if self._race is None else self._race.state()

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restores racing from ``state``. Raises ``ValueError`` if it does not fit."""
        if self._race is not None:
            self._race.load_state(state, self._images.device)

    @torch.inference_mode()
    def _seen_in_full(self, model: nn.Module) -> Metrics:
        if self._prefix_cache is None:
            dense = self.prepared(self._surgeon.cut({}), self.dtype)
            size = fitting(self._batch_size, self._images, self.criterion)
            self._prefix_cache = PrefixCache(dense, self._images, size, self.dtype, self.criterion.output)
        model = self.prepared(model, self.dtype)
        self._prefix_cache.lend(model)
        return self._measured(model)

    def _compete(self, model: nn.Module, race: Race) -> Metrics:
        model = self.prepared(model, self.dtype)
        seen = score_until(model, self._images, self._batch_size, self.dtype, race.challenger(), self.criterion)
        return replace(race.judge(*seen), metric=self.criterion.metric.name)

    @torch.inference_mode()
    def score(self, model: nn.Module) -> Metrics:
        """Metric and mean loss of ``model``, which is folded and cast in place.

        It must come from the pruner or its surgeon.
        """
        return self._measured(self.prepared(model, self.dtype))

    def _measured(self, model: nn.Module) -> Metrics:
        return self._against_dense(measure(model, self._images, self._batch_size, self.dtype, self.criterion))

    @torch.inference_mode()
    def prepared(self, model: nn.Module, dtype: torch.dtype) -> nn.Module:
        """``model``, from the pruner or its surgeon, folded and cast in place for scoring."""
        fold_norms(model, self._norms)
        return model.to(dtype).to(memory_format=torch.channels_last)


@torch.no_grad()
def _safe_folds(model: nn.Module, example: Example) -> dict[str, str]:
    """Batch norms that can be folded into the layers before them; none if folding changes the outputs."""
    norms = following_norms(model, example)
    plain, folded = Surgeon(model, ()).cut({}).eval(), Surgeon(model, ()).cut({}).eval()
    fold_norms(folded, norms)
    expected, actual = outputs_of(run(plain, example)), outputs_of(run(folded, example)) if norms else []
    if not all(bool(tensor.isfinite().all()) for tensor in expected):
        raise AmcError("outputs of the network: NaN or infinite; check the weights")
    close = [a.shape for a in actual] == [e.shape for e in expected] and all(
        torch.allclose(a, e, rtol=0, atol=FOLD_TOLERANCE * float(e.abs().max()))
        for a, e in zip(actual, expected, strict=True)
        if e.is_floating_point() and e.numel()
    )
    return norms if close else {}
