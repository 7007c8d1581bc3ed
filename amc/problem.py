"""Everything about a search that does not depend on the plan, computed once before the first episode."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from amc.cost import CostModel
from amc.cutter import Cutter
from amc.data import ImageSet
from amc.evaluate import Evaluator
from amc.graph import trace
from amc.importance import score_channels
from amc.latency import LatencyCostModel, measure_tables
from amc.layers import layer_shapes, record_calls
from amc.recovery import make_recovery
from amc.settings import Settings
from amc.surgery import Ranking, Surgeon, rank_channels
from amc.types import LayerGroup

PROBE_IMAGES = 5000  # of the validation split, on which bf16 is compared with fp32
ENOUGH_IMAGES = 1001  # with fewer, one image alone would be 0.1 point: training images then help out


@dataclass(frozen=True)
class Network:
    """A traced network: its groups and what every plan for it costs."""

    model: nn.Module
    groups: tuple[LayerGroup, ...]
    cost_model: CostModel
    example: torch.Tensor  # one normalised input, [1, c, h, w]


def trace_network(
    model: nn.Module,
    example: torch.Tensor,
    *,
    prune_residual: bool = True,
    freeze: Iterable[str] = (),
    latency: bool | Mapping[str, Any] = False,
) -> Network:
    """Groups and cost model of ``model``.

    Args:
        model: any network; left as it is but for being put into evaluation mode.
        example: one normalised input ``[1, c, h, w]``.
        prune_residual: ``False`` freezes residual streams.
        freeze: names or patterns of layers that stay whole.
        latency: measure a latency table, or take the one that an earlier part of the run measured.

    Raises:
        AmcError: the network's graph can't be followed.
    """
    model.eval()
    groups = trace(model, example, prune_residual=prune_residual, freeze=freeze)
    layers, rest = layer_shapes(model, record_calls(model, example))
    if not latency:
        return Network(model, groups, CostModel(groups, layers, rest), example)
    if isinstance(latency, Mapping):
        tables, total_ms = latency["tables"], latency["total_ms"]
    else:
        tables, total_ms = measure_tables(model, example)
    return Network(model, groups, LatencyCostModel(groups, layers, rest, tables, total_ms), example)


def make_cutter(
    network: Network,
    train: ImageSet,
    importance: str,
    recovery: str,
    *,
    calibration_images: int = 512,
    seed: int = 0,
    **settings: Any,
) -> Cutter:
    """Scores the channels and gathers what recovery needs.

    Args:
        network: from :func:`trace_network`.
        train: calibration images are its first ones.
        importance: one of :data:`amc.importance.NAMES`.
        recovery: one of :data:`amc.recovery.NAMES`.
        calibration_images: how many.
        seed: of what is sampled: calibration positions, ``importance=random``.
        **settings: of the recovery, such as ``positions``.

    Raises:
        AmcError: an unknown name, or damaged data.
    """
    surgeon = Surgeon(network.model, network.groups)
    images = train.take(calibration_images)
    ranking = rank_groups(network, images, importance, seed)
    recover = make_recovery(recovery, surgeon, network.groups, ranking, images.normalised(), seed=seed, **settings)
    return Cutter(network.groups, surgeon, ranking, recover)


def rank_groups(network: Network, images: ImageSet, importance: str, seed: int = 0) -> Ranking:
    """Group name → channels by falling importance, of every group that can be pruned."""
    scores = score_channels(importance, network.model, network.groups, images.normalised(), images.labels, seed=seed)
    return {g.name: rank_channels(g, scores[g.name]) for g in network.groups if g.frozen is None}


def make_evaluator(
    network: Network,
    train: ImageSet,
    val: ImageSet,
    importance: str,
    recovery: str,
    settings: Settings,
    seed: int,
) -> Evaluator:
    """The evaluator of plans, with everything that no plan changes computed.

    Args:
        network: from :func:`trace_network`.
        train: calibration images are its first ones.
        val: what plans are scored on; never test images.
        importance: one of :data:`amc.importance.NAMES`.
        recovery: one of :data:`amc.recovery.NAMES`.
        settings: how many images, in which precision, when to stop early, and what recovery wants to know.
        seed: see :func:`make_cutter`.

    Raises:
        AmcError: an unknown name, or damaged data.
    """
    wanted = {"calibration_images": settings.calibration_images, "seed": seed, **settings.recovery}
    cutter = make_cutter(network, train, importance, recovery, **wanted)
    unseen = val.take(PROBE_IMAGES)
    probes = [unseen, train.take(ENOUGH_IMAGES - len(unseen))] if len(unseen) < ENOUGH_IMAGES else [unseen]
    return Evaluator(
        cutter,
        val.take(settings.images),
        batch_size=settings.batch_size,
        precision=settings.precision,
        probes=probes,
        early_stop=settings.stop_rule,
    )


def identity(network: Network, train: ImageSet, val: ImageSet) -> dict[str, str]:
    """What must not change between a run and its resumption, as hashes: weights and images."""
    digest = hashlib.sha256()
    for name, tensor in network.model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return {
        "weights": digest.hexdigest(),
        "training images": train.fingerprint(),
        "validation images": val.fingerprint(),
    }
