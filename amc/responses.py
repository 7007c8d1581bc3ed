"""How much a network's answers change when one layer group alone is cut hard: seconds, no labels, no search."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import nn

from amc.data import ImageSet
from amc.errors import AmcError
from amc.evaluate import Evaluator
from amc.files import read_json, write_json
from amc.problem import Network
from amc.progress import Progress
from amc.shared_start import SharedStart
from amc.types import PruningPlan

KEEP_RATIO = 0.25  # of the group that is cut; at a half, groups that bear anything can't be told from each other
IMAGES = 256  # of the training split
BATCH_SIZE = 64
SMALLEST = 1e-6  # nats: less is rounding, and a logarithm is taken


def measure_responses(
    network: Network, evaluator: Evaluator, train: ImageSet, *, verbose: bool = False
) -> dict[str, float]:
    """Each group's response: what the outputs do when this group alone keeps a quarter of its channels.

    Over layers of one network, and over networks, it ranks the groups much as searches' keep ratios do, whatever the
    architecture (measured in ``experiments/transfer``). Recovery is the search's own.

    Args:
        network: uncut.
        evaluator: of this network.
        train: its first images are looked at; labels are not.
        verbose: show the progress.

    Returns:
        Group name → root mean square change of the log probabilities, in nats, of every group that can be pruned.

    Raises:
        AmcError: the outputs are no numbers.
    """
    images = train.take(IMAGES)
    whole = evaluator.prepared(evaluator.cutter.surgeon.cut({}), torch.float32)
    uncut = _log_probabilities(whole, images)
    start = SharedStart(whole, images, BATCH_SIZE, torch.float32)
    free = [group for group in network.groups if group.frozen is None]
    found = {}
    with Progress("measuring responses: group", verbose) as progress:
        for number, group in enumerate(free, start=1):
            plan = PruningPlan.make(network.groups, {group.name: group.round_channels(KEEP_RATIO)})
            small = evaluator.prepared(evaluator.cutter.cut(plan), torch.float32)
            start.lend(small)
            change = _log_probabilities(small, images) - uncut
            response = float(change.square().mean().sqrt())
            if not math.isfinite(response):
                raise AmcError(
                    f"group {group.name}: cut to a quarter, the outputs are no numbers; give responses=false"
                )
            found[group.name] = max(response, SMALLEST)
            progress.update(number, len(free), f"{group.name}: {response:.2f} nats")
    return found


def responses_once(
    network: Network, evaluator: Evaluator, train: ImageSet, file: Path | None, *, verbose: bool = False
) -> dict[str, float]:
    """What :func:`measure_responses` finds; measured once in a run's life, which keeps them in ``file``.

    On another machine the last digits, and with them a plan, could be others when the run goes on.

    Raises:
        AmcError: the file is damaged, or the outputs are no numbers.
    """
    if file is not None and file.exists():
        stored = read_json(file)
        if not isinstance(stored, dict) or not all(type(v) is float and v > 0 for v in stored.values()):
            raise AmcError(f"{file}: a response is no number greater than 0; the file is damaged, start a new run")
        if set(stored) == {g.name for g in network.groups if g.frozen is None}:
            return dict(stored)
        # Another network's: that is refused by its weights, like everything else that changed.
    found = measure_responses(network, evaluator, train, verbose=verbose)
    if file is not None and not file.exists():
        write_json(file, found)
    return found


@torch.inference_mode()
def _log_probabilities(model: nn.Module, images: ImageSet) -> torch.Tensor:
    """``[n, classes]``, in double precision; logits are float32."""
    return torch.cat([model(x).double().log_softmax(dim=1) for x, _ in images.batches(BATCH_SIZE)])
