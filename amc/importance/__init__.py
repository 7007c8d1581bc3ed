"""Channel scores: how much each channel of a group matters. Computed once, before the first episode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from amc.core.checks import one_of
from amc.core.errors import AmcError
from amc.core.types import LayerGroup
from amc.data import Examples
from amc.importance.magnitude import MAGNITUDES, Scores, Total, cross_entropy, gradients, magnitude_scores
from amc.importance.reconstruction import reconstruction_scores
from amc.pruning.inputs import Example, count, run, split
from amc.pruning.layers import Mixing, is_transposed, watched
from amc.pruning.network import Network
from amc.pruning.surgery import Ranking, rank_channels
from amc.recovery.calibration import Calibration

NAMES = (*MAGNITUDES, "fpgm", "activation", "reconstruction", "random")


def score_channels(
    name: str,
    network: Network,
    images: Examples,
    *,
    calibration: Calibration | None = None,
    total: Total = cross_entropy,
) -> Scores:
    """Group name → score of each channel ``[channels]``; higher is more important.

    A group without the layers that a criterion looks at (``bn_scale`` without batch norm, ``reconstruction`` without
    a consumer to refit) is scored by ``l1``.

    Args:
        name: one of :data:`NAMES`.
        network: dense, in evaluation mode throughout; left as it is.
        images: calibration examples, used by ``taylor``, ``activation`` and ``reconstruction``.
        calibration: examples in one pass; seed of ``random``, and of the positions that ``reconstruction`` samples. No
            criterion looks at the global random state.
        total: model, inputs and targets of a batch → its summed loss, for ``taylor``; by default of a classifier.

    Raises:
        AmcError: unknown name, or activations that are not finite (``reconstruction``).
    """
    one_of("importance", name, NAMES)
    calibration = calibration or Calibration()
    prunable = [g for g in network.members if g.frozen is None and g.branch is None]
    if name == "random":
        rng = np.random.default_rng(calibration.seed)
        return {g.name: rng.random(g.channels) for g in prunable}
    if name == "activation":
        return _activity(network.model, prunable, images.normalised(), calibration.batch_size)
    if name == "fpgm":
        return {g.name: _distances(network.model, g) for g in prunable}
    if name == "reconstruction":
        return _reconstruction(network, prunable, images, calibration)
    if name == "taylor":
        return magnitude_scores(name, gradients(network.model, images, calibration.batch_size, total), prunable)
    return magnitude_scores(name, network.model, prunable)


def _reconstruction(
    network: Network, groups: Sequence[LayerGroup], images: Examples, calibration: Calibration
) -> Scores:
    try:
        scores = reconstruction_scores(network.model, groups, images.normalised(), calibration)
    except ValueError as error:
        raise AmcError(f"importance=reconstruction: {error}; check the model's weights and the images") from error
    return scores | magnitude_scores("l1", network.model, [g for g in groups if g.name not in scores])


@torch.no_grad()
def _distances(model: nn.Module, group: LayerGroup) -> npt.NDArray[np.float64]:
    """Sum of a filter's distances to the others of its layer (He et al. 2019, eq. 8), averaged over the producers.

    The filters nearest to the geometric median go first: the others can stand for them. (torch-pruning 1.6 squares
    the weights before it compares them, and fails on grouped convolutions.)
    """
    total = np.zeros(group.channels)
    for s in group.slices:
        module = model.get_submodule(s.layer)
        if s.axis == "out" and isinstance(module, Mixing):
            filters = (module.weight.transpose(0, 1) if is_transposed(module) else module.weight).flatten(1).double()
            filters = filters[torch.as_tensor(s.positions, device=filters.device)]
            sums = torch.cdist(filters, filters, compute_mode="donot_use_mm_for_euclid_dist").sum(1)
            np.add.at(total, s.channels, (sums / sums.mean().clamp(min=1e-30)).numpy(force=True))
    return total


@torch.no_grad()
def _activity(model: nn.Module, groups: Sequence[LayerGroup], images: Example, batch_size: int) -> Scores:
    """1 − APoZ (Hu et al. 2016, eq. 1): share of positive values in what the consumers read, averaged over them."""
    positive: dict[str, torch.Tensor] = {}
    consumers = {s.layer for g in groups for s in g.slices if s.axis == "in"}

    def hook(name: str, module: nn.Module, x: torch.Tensor) -> None:
        channel_dim = x.dim() - 1 if isinstance(module, nn.Linear) else 1
        active = (x > 0).double().movedim(channel_dim, 0).flatten(1).mean(1) * len(x)
        positive[name] = positive.get(name, torch.zeros_like(active)) + active

    handles = [model.get_submodule(n).register_forward_pre_hook(lambda m, i, n=n: hook(n, m, i[0])) for n in consumers]
    with watched(model, handles):
        for batch in split(images, batch_size):
            run(model, batch)
    scores: Scores = {}
    for group in groups:
        shares = []
        for s in group.slices:
            if s.axis == "in" and s.layer in positive:
                share = positive[s.layer].numpy(force=True) / count(images)
                total = np.bincount(s.channels, weights=share[s.positions], minlength=group.channels)
                shares.append(total / np.maximum(np.bincount(s.channels, minlength=group.channels), 1))
        scores[group.name] = np.mean(shares, axis=0) if shares else np.ones(group.channels)
    return scores


def rank_groups(
    network: Network,
    images: Examples,
    importance: str,
    *,
    calibration: Calibration | None = None,
    total: Total = cross_entropy,
) -> Ranking:
    """Group name → channels by falling importance, of every group that can be pruned; see :func:`score_channels`.

    A branch has a single one.
    """
    scores = score_channels(importance, network, images, calibration=calibration, total=total)
    free = [g for g in network.members if g.frozen is None]
    return {g.name: rank_channels(g, scores.get(g.name, np.ones(1))) for g in free}
