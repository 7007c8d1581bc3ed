"""One network: what can be cut of it, and is what is cut right?

    python -m experiments.coverage.measure torchvision/resnet18

Prints one line of JSON, which ``experiments.coverage.run`` collects. It is a process of its own, so that a crash or a
lack of memory ends nothing else.
"""

from __future__ import annotations

import copy
import json
import resource
import sys
import time
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from amc.core.errors import AmcError
from amc.core.types import LayerGroup, PruningPlan
from amc.pruning.attention import sized_attention
from amc.pruning.counting import count_by_item, count_macs
from amc.pruning.coupling import couplings
from amc.pruning.inputs import first
from amc.pruning.layers import record_calls, unfused
from amc.pruning.masked import Masked
from amc.pruning.network import Network, trace_network
from amc.pruning.rest import at_its_positions
from amc.pruning.surgery import Surgeon, rank_channels, select_channels
from experiments.coverage.inputs import Built, call, in_double, shape_of
from experiments.coverage.networks import Case, cases

KEEP = 0.25
TOLERANCE = 1e-4  # of the largest output
LONGEST = 300  # characters of a message
GIB = 1 << 30


def measured(case: Case) -> dict[str, Any]:
    """The row of one network; see the README for its columns."""
    row: dict[str, Any] = {"name": case.name, "family": case.family}
    torch.manual_seed(0)
    try:
        built = case.build()
    except Exception as error:  # a package that is missing, or the network's own code
        return {**row, "outcome": _outcome(error, "not built"), "error": said(error)}
    row["input"] = shape_of(built.example)
    began = time.perf_counter()
    try:
        network = trace_network(built.model, built.example)
        row["trace_seconds"] = round(time.perf_counter() - began, 2)
        return {**row, **_reached(built, network)}
    except Exception as error:  # what it is says whether it is meant for users
        row.setdefault("trace_seconds", round(time.perf_counter() - began, 2))
        outcome = _outcome(error, "refused" if isinstance(error, AmcError) else "crash")
        return {**row, "outcome": outcome, "error": said(error)}


def _outcome(error: Exception, otherwise: str) -> str:
    # torch reports a lack of memory as a plain RuntimeError
    return "memory" if isinstance(error, MemoryError) or "allocate memory" in str(error) else otherwise


def _reached(built: Built, network: Network) -> dict[str, Any]:
    """What a plan that keeps a quarter of every group leaves, predicted and counted on the network that was cut."""
    groups = network.groups
    free = [g for g in groups if g.frozen is None]
    plan = PruningPlan.make(groups, {g.name: g.round_channels(KEEP) for g in free})
    rng = np.random.default_rng(0)
    kept = select_channels(dict(plan.kept), {g.name: rank_channels(g, rng.random(g.channels)) for g in free})
    surgeon = Surgeon(built.model, groups)
    small = surgeon.cut(kept)
    dense, predicted = network.cost_model.cost().macs, network.cost_model.cost(plan).macs
    counted = count_macs(small, built.example)
    if counted != predicted:  # a detector's second stage sees as many regions as the first one finds
        counts = network.cost_model.counts(dict(plan.kept))
        predicted = at_its_positions(built.model, network.cost_model, counts, small, built.example)
    heads = [_head_macs(model, built) for model in (built.model, small)]
    return {
        "outcome": "prunable" if predicted < dense else "frozen",
        "groups": len(groups),
        "prunable": len(free),
        "frozen": _reasons(groups),
        "params": sum(p.numel() for p in built.model.parameters()),
        "macs": dense,
        "head_macs": heads[0],
        "reachable": round((counted - heads[1]) / max(1, dense - heads[0]), 4),
        "predicted": predicted,
        "counted": counted,
        "dense_counted": count_macs(built.model, built.example),
        "difference": _difference(built, groups, kept),
        "uncounted": sorted(network.uncounted),
    }


def _reasons(groups: Iterable[LayerGroup]) -> list[list[Any]]:
    """Of the groups that can't be cut: [reason, groups, MACs of their producers]."""
    found: dict[str, list[int]] = {}
    for group in groups:
        if group.frozen is not None:
            entry = found.setdefault(group.frozen[:LONGEST], [0, 0])
            entry[0] += 1
            entry[1] += group.macs
    return [[reason, *entry] for reason, entry in found.items()]


def _head_macs(model: nn.Module, built: Built) -> int:
    if built.head is None:
        return 0
    return sum(macs for (module, _), macs in count_by_item(model, built.example).items() if module == built.head)


def _difference(built: Built, groups: Iterable[LayerGroup], kept: Mapping[str, Any]) -> float | None:
    """Largest difference of the cut network to the one that the proof compares with, relative to the largest output.

    Both come from a copy in which no weight is a constant: a layer that starts at zero hides whatever is wrong.
    ``None`` if the network gives no fractions.
    """
    lively = copy.deepcopy(built.model)
    _stir(lively)
    example = built.example
    try:
        call(copy.deepcopy(lively).double(), in_double(example))
        lively, example = lively.double(), in_double(example)
    except Exception:  # some networks run in float32 alone
        pass
    surgeon = Surgeon(lively, tuple(groups))
    with unfused():
        zeroed = surgeon.zeroed(kept).eval()
        with sized_attention(zeroed), _masked(built, groups, kept):
            expected = _numbers(call(zeroed, example))
        actual = _numbers(call(surgeon.cut(kept).eval(), example))
    if expected.shape != actual.shape:
        return float("inf")
    if not expected.numel():
        return None
    return float((actual - expected).abs().max()) / max(float(expected.abs().max()), 1e-30)


def _masked(built: Built, groups: Iterable[LayerGroup], kept: Mapping[str, Any]) -> Masked:
    """Keeps what reckons with all channels at once, such as a layer norm, from seeing those that are gone."""
    found = couplings(built.model, first(built.example), record_calls(built.model, built.example))
    removed: set[int] = set()
    for group, coupling in zip(groups, found.all, strict=True):
        if group.name in kept:
            removed |= set(np.delete(np.array(list(coupling.atoms or ())), kept[group.name]).tolist())
    return Masked(found.selections, removed)


@torch.no_grad()
def _stir(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    for tensor in model.parameters():
        if tensor.is_floating_point() and tensor.numel() > 1 and not float(tensor.std()):
            tensor.add_(0.2 * torch.rand(tensor.shape, generator=generator))


def _numbers(output: object) -> Tensor:
    """Everything that a network returns, in one vector."""
    leaves = torch.utils._pytree.tree_leaves(output)
    parts = [leaf.double().reshape(-1) for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    return torch.cat(parts) if parts else torch.empty(0)


def said(error: BaseException) -> str:
    """An exception in one line; of those that aren't meant for users, with the type and the place."""
    line = next((line for line in str(error).splitlines() if line.strip()), "")
    if isinstance(error, AmcError):
        return line[:LONGEST]
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    frame = None if trace is None else trace.tb_frame
    module = "" if frame is None else f" in {frame.f_globals.get('__name__')}.{frame.f_code.co_name}"
    return f"{type(error).__name__}{module}: {line}"[:LONGEST]


def main() -> None:
    name, memory_gib = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 8.0
    warnings.simplefilter("ignore")
    (case,) = cases([name])
    # What the libraries map, which is much more than they use, is not the network's.
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = mapped + int(memory_gib * GIB)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    row = measured(case)
    row["peak_gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB, 2)
    print(json.dumps(row))


if __name__ == "__main__":
    main()
