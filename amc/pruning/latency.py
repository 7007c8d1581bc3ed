"""Measured latency: of whole networks, and a table of single layers from which plans are predicted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from amc.core.checks import number, text
from amc.core.errors import damaged
from amc.core.files import read_json
from amc.core.types import LayerGroup
from amc.pruning.cost import CostModel, Rest
from amc.pruning.inputs import Example, run, tensors
from amc.pruning.layers import LayerShape, Mixing, frozen_eval, is_depthwise, watched

GRID = (0.125, 0.25, 0.5, 0.75, 1.0)  # fractions of a layer's channels that are measured along each axis
WARM_UP, REPEATS = 3, 15


def _median_ms(runs: Sequence[Callable[[], Any]], device: torch.device, repeats: int = REPEATS) -> list[float]:
    """Median wall time of each run. They take turns, so that other load on the machine affects all alike."""

    def once(run: Callable[[], Any]) -> float:
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (time.perf_counter() - started) * 1e3

    rounds = [[once(run) for run in runs] for _ in range(WARM_UP + repeats)]
    return [median(column) for column in zip(*rounds[WARM_UP:], strict=True)]


@torch.inference_mode()
def measure_ms(models: Sequence[nn.Module], example_input: Example, repeats: int = REPEATS) -> list[float]:
    """Median wall time of a forward pass of ``example_input`` in each network's own precision, in ms."""
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(frozen_eval(model))
        runs = [partial(run, model, example_input) for model in models]
        return _median_ms(runs, tensors(example_input)[0].device, repeats)


class LatencyCostModel(CostModel):
    """A cost model that also predicts latency: a constant plus, per layer, a measured table over its channels.

    A table holds a layer's latency on a grid of output and input fractions, interpolated bilinearly (as in NetAdapt,
    Yang et al. 2018, §3.2). It is made to grow along both axes, so that a budget's clipping can rely on more channels
    never being faster.
    """

    def __init__(
        self,
        groups: Sequence[LayerGroup],
        layers: Sequence[LayerShape],
        rest: Rest,
        tables: Mapping[str, Sequence[Sequence[float]]],
        total_ms: float,
    ) -> None:
        """``tables``: layer → ``[out, in]`` over :data:`GRID`, ms; ``total_ms``: the dense network's latency."""
        super().__init__(groups, layers, rest)
        self.tables, self.total_ms = {n: [list(row) for row in t] for n, t in tables.items()}, total_ms
        self._rows = np.array([i for i, layer in enumerate(layers) if layer.name in tables], dtype=int)
        grids = [tables[layers[i].name] for i in self._rows]
        stack = np.asarray(grids, dtype=float).reshape(-1, len(GRID), len(GRID))
        self._stack = np.maximum.accumulate(np.maximum.accumulate(stack, axis=1), axis=2)
        self._constant = max(total_ms - float(self._stack[:, -1, -1].sum()), 0.0)

    def latency_ms(self, counts: npt.NDArray[np.float64]) -> float:
        out, inp = self.sizes(counts)
        rows, grid = self._rows, np.asarray(GRID)
        i, u = _cell(out[rows] / self._out_size[rows], grid)
        has_inputs = self._in_size[rows] > 0  # a depthwise layer's inputs are its outputs
        j, v = _cell(np.where(has_inputs, inp[rows] / np.maximum(self._in_size[rows], 1), 1.0), grid)
        n = np.arange(len(rows))
        corners = (
            self._stack[n, i, j] * (1 - u) * (1 - v)
            + self._stack[n, i + 1, j] * u * (1 - v)
            + self._stack[n, i, j + 1] * (1 - u) * v
            + self._stack[n, i + 1, j + 1] * u * v
        )
        return float(corners @ self.runs(counts)[rows]) + self._constant

    def to_json(self) -> dict[str, Any]:
        """Plain data, with which a resumed search need not measure again."""
        return {"total_ms": self.total_ms, "grid": list(GRID), "tables": self.tables}


def read_table(path: Path) -> dict[str, Any]:
    """A file of :meth:`LatencyCostModel.to_json`. Raises ``AmcError`` if it is damaged."""
    data = read_json(path)
    with damaged(path, "no latency table", "the file is damaged, start a new run"):
        tables = {
            text(layer): [[number(ms, 0) for ms in row] for row in rows] for layer, rows in data["tables"].items()
        }
        sizes = {(len(rows), *map(len, rows)) for rows in tables.values()}
        if sizes - {(len(GRID),) * (len(GRID) + 1)}:
            raise ValueError(f"no grid of {len(GRID)} × {len(GRID)}")
        return {"tables": tables, "total_ms": number(data["total_ms"], 0)}


def _cell(
    fraction: npt.NDArray[np.float64], grid: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The grid cell below each fraction and the position in it, in [0, 1]."""
    clipped = np.clip(fraction, grid[0], grid[-1])
    cell = np.clip(np.searchsorted(grid, clipped, side="right") - 1, 0, len(grid) - 2)
    return cell, (clipped - grid[cell]) / (grid[cell + 1] - grid[cell])


@torch.inference_mode()
def measure_tables(model: nn.Module, example_input: Example) -> tuple[dict[str, list[list[float]]], float]:
    """Each mixing layer's latency over :data:`GRID`, and the whole network's latency, in ms.

    Layers of the same shape on inputs of the same size are measured once.
    """
    inputs: dict[str, torch.Size] = {}

    def hook(name: str, x: torch.Tensor) -> None:
        inputs.setdefault(name, x.shape)

    handles = [
        m.register_forward_pre_hook(lambda _, args, n=n: hook(n, args[0]))
        for n, m in model.named_modules()
        if isinstance(m, Mixing)
    ]
    with watched(model, handles):
        (total,) = measure_ms([model], example_input)
    like = next(t for t in (*tensors(example_input), *model.parameters()) if t.is_floating_point())
    measured: dict[tuple[str, torch.Size], list[list[float]]] = {}
    tables = {}
    for name, shape in inputs.items():
        module = model.get_submodule(name)
        key = (repr(module), shape)
        if key not in measured:
            measured[key] = [[_layer_ms(module, shape, o, i, like) for i in GRID] for o in GRID]
        tables[name] = measured[key]
    return tables, total


def _layer_ms(module: nn.Module, shape: torch.Size, out: float, inp: float, like: torch.Tensor) -> float:
    """Latency of a fresh layer of the module's kind with fractions of its channels."""
    size = list(shape)
    bias = module.bias is not None
    if isinstance(module, nn.Linear):
        size[-1] = _part(module.in_features, inp)
        layer: nn.Module = nn.Linear(size[-1], _part(module.out_features, out), bias)
    else:
        assert isinstance(module, _ConvNd)
        depthwise = is_depthwise(module)
        n_out = _part(
            module.out_channels, out, module.out_channels // module.in_channels if depthwise else module.groups
        )
        size[1] = n_out * module.in_channels // module.out_channels
        size[1] = size[1] if depthwise else _part(module.in_channels, inp, module.groups)
        layer = type(module)(
            size[1], n_out, module.kernel_size, module.stride, module.padding,
            dilation=module.dilation, groups=size[1] if depthwise else module.groups, bias=bias,
        )  # type: ignore[call-arg] # fmt: skip
    layer = layer.to(like).to(memory_format=torch.channels_last)
    x = torch.zeros(size, device=like.device, dtype=like.dtype)
    return _median_ms([partial(layer, x)], like.device)[0]


def _part(size: int, fraction: float, unit: int = 1) -> int:
    return max(unit, round(size * fraction / unit) * unit)
