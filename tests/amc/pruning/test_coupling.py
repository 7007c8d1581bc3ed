"""Channels followed through operations, and torch-pruning's graph as a second opinion."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.nn import functional as F

from amc.core.types import LayerGroup
from amc.importance.magnitude import MAGNITUDES, magnitude_scores
from amc.pruning.coupling.atoms import Atoms
from amc.pruning.groups import trace
from amc.pruning.layers import Mixing
from amc.pruning.network import Network
from amc.pruning.proof import OUTPUT

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Two convolutions of 8 channels, ``between`` on what they give, a classifier of what comes of it."""

    def __init__(self, between: Callable[[Tensor, Tensor], Tensor], width: int) -> None:
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 3, padding=1), nn.Linear(width, 4)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.between(self.a(x).relu(), self.b(x).relu()))  # type: ignore[no-any-return]


def mean(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def shuffle(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def in_place(a: Tensor, b: Tensor) -> Tensor:
    a += b
    return mean(a)


def into_zeros(a: Tensor, b: Tensor) -> Tensor:
    out = torch.zeros(len(a), 16, 8, 8)
    out[:, :8], out[:, 8:] = a, b
    return mean(out)


@pytest.mark.parametrize(
    ("between", "width", "channels"),
    [
        (lambda a, b: mean(a + b), 8, [8]),
        (lambda a, b: mean(a * b.sigmoid()), 8, [8]),
        (lambda a, b: mean(torch.maximum(a, b)), 8, [8]),
        (in_place, 8, [8]),
        (lambda a, b: mean(torch.cat([a, b], 1)), 16, [8, 8]),
        (lambda a, b: torch.cat([a, b], 1).flatten(1), 1024, [8, 8]),
        (lambda a, b: mean(a + b.flip(1)), 8, [8]),
        (lambda a, b: mean(a + torch.stack(b.unbind(2), 2)), 8, [8]),
        (lambda a, b: mean(F.glu(torch.cat([a, b], 1), 1)), 8, [8]),
        (lambda a, b: mean(a.chunk(2, 1)[0] + a.chunk(2, 1)[1]), 4, [4]),
        (lambda a, b: mean(shuffle(a)) + 0 * mean(b), 8, [4]),
        (lambda a, b: mean(F.pixel_shuffle(a, 2) + F.pixel_shuffle(b, 2)), 2, [2]),
        (lambda a, b: F.interpolate(a, scale_factor=2).mean((2, 3)) + F.max_pool2d(b, 2).mean((2, 3)), 8, [8]),
        (lambda a, b: a.permute(0, 2, 3, 1).flatten(1, 2).mean(1) + mean(b), 8, [8]),
        (lambda a, b: (F.adaptive_avg_pool2d(a, 1) + F.adaptive_avg_pool2d(b, 1)).flatten(1), 8, [8]),
        (lambda a, b: torch.einsum("nchw->nc", a) + b.sum((2, 3)), 8, [8]),
        (lambda a, b: mean(F.normalize(a, dim=1) + b), 8, [8]),
        (lambda a, b: mean((a - a.mean(1, keepdim=True)) / (b.std(1, keepdim=True) + 1) + b), 8, [8]),
        (lambda a, b: mean(a[:, : a.shape[1] // 2] * b[:, b.shape[1] // 2 :]), 4, [4]),
        (lambda a, b: mean(a + torch.zeros(len(a), b.shape[1], 8, 8)) + mean(b), 8, [8]),
        (lambda a, b: mean(a + b.sort(2).values + b.topk(8, 3).values), 8, [8]),
        (lambda a, b: mean(a + b.gather(2, torch.zeros_like(a, dtype=torch.long))), 8, [8]),
        (lambda a, b: torch.einsum("nchw,nchw->nc", a, b), 8, [8]),
        (lambda a, b: mean(a - a.amax(1, keepdim=True) + b), 8, [8]),
        (lambda a, b: mean(F.local_response_norm(a, 3) + b), 8, [8]),
        (lambda a, b: torch.cat([mean(part) for part in a.split(a.shape[1] // 2, 1)], 1) + mean(b), 8, [4]),
    ],
)  # fmt: skip
def test_what_hangs_together(between: Callable[[Tensor, Tensor], Tensor], width: int, channels: list[int]) -> None:
    for layout in (torch.contiguous_format, torch.channels_last):
        free = [g for g in trace(Net(between, width), X.to(memory_format=layout)) if g.frozen is None]
        assert [g.channels for g in free] == channels


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        (lambda a, b: mean(a.cumsum(1) + b), "followed through the network's own cumsum"),
        (lambda a, b: mean(a) + mean(b).softmax(1), "followed through the network's own _softmax"),
        (lambda a, b: mean(a + torch.rand(8, 1, 1)) + mean(b), "meet a tensor of fixed size"),
        (lambda a, b: mean(F.pad(a[:, :4], (0, 0, 0, 0, 2, 2))) + mean(b), "cut off at a fixed channel"),
        (lambda a, b: mean(F.pad(a, (0, 0, 0, 0, 2, 2)))[:, :8] + mean(b), "cut off at a fixed channel"),
        (lambda a, b: mean(F.pad(torch.cat([a, b], 1), (0, 0, 0, 0, 4, 4))) + 0, None),
        (lambda a, b: mean(a[:, [0]] * b), "a single one of its channels is picked"),
        (lambda a, b: mean(a[:, 2:] + b[:, :-2]), "cut off at a fixed channel in the network itself, slice"),
        (into_zeros, "meet a tensor of fixed size"),
        (lambda a, b: mean(a + b.roll(3, 1)), "a trial cut does not agree"),
        (lambda a, b: mean(a) @ torch.ones(8, 8) + mean(b), "multiplied with a tensor of fixed size"),
    ],
)
def test_what_stays_whole_and_why(between: Callable[[Tensor, Tensor], Tensor], reason: str | None) -> None:
    width = between(torch.ones(1, 8, 8, 8), torch.ones(1, 8, 8, 8)).shape[1]
    reasons = [g.frozen for g in trace(Net(between, width), X) if g.frozen != OUTPUT]
    assert any(reason in (found or "") for found in reasons) if reason else reasons == [None, None]


def test_atoms_against_a_plain_union_find() -> None:
    generator = random.Random(0)
    for _ in range(50):
        atoms, parent = Atoms(), list(range(21))
        ids = atoms.new(20)

        def find(i: int, parent: list[int] = parent) -> int:
            return i if parent[i] == i else find(parent[i])

        for _ in range(4):
            first, second = ([generator.randrange(21) for _ in range(5)] for _ in range(2))
            atoms.join(np.array(first), np.array(second))
            for a, b in zip(first, second, strict=True):
                if a and b:  # 0 is no channel
                    parent[find(a)] = find(b)
        roots = atoms.roots(ids)
        for i in range(20):
            for j in range(20):
                assert (roots[i] == roots[j]) == (find(i + 1) == find(j + 1))


def _members(model: nn.Module, groups: tuple[LayerGroup, ...]) -> set[frozenset[tuple[str, str]]]:
    return {frozenset((s.layer, s.axis) for s in g.slices) for g in groups}


def _graphs(network: Network) -> list[tp.dependency.Group]:
    graph = tp.DependencyGraph().build_dependency(network.model, example_inputs=network.example, verbose=False)
    return list(graph.get_all_groups(root_module_types=list(Mixing)))


SURE = ["resnet18", "resnet50", "mobilenet_v2", "vgg16_cifar", "densenet121", "regnet_y_400mf", "efficientnet_b0"]


@pytest.mark.parametrize("name", SURE)
def test_torch_pruning_finds_the_same_groups(get_ready: Callable[[str], Network], name: str) -> None:
    network = get_ready(name)
    theirs = {
        frozenset(
            (item.dep.target.name.split(" ")[0], "in" if item.dep.handler.__name__ == "prune_in_channels" else "out")
            for item in group.items
            if not type(item.dep.target.module).__module__.startswith("torch_pruning")
        )
        for group in _graphs(network)
    }
    assert _members(network.model, network.groups) == theirs


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "regnet_y_400mf"])
@pytest.mark.parametrize("criterion", ["l1", "l2", "bn_scale"])
def test_torch_pruning_scores_the_same(get_ready: Callable[[str], Network], name: str, criterion: str) -> None:
    network = get_ready(name)
    theirs = {
        "l1": tp.importance.GroupMagnitudeImportance(p=1), "l2": tp.importance.GroupMagnitudeImportance(p=2),
        "bn_scale": tp.importance.BNScaleImportance(),
    }[criterion]  # fmt: skip
    ours = magnitude_scores(criterion, network.model, [g for g in network.groups if g.frozen is None])
    roots = {item.dep.target.name.split(" ")[0]: group for group in _graphs(network) for item in group.items
             if item.dep.handler.__name__ == "prune_out_channels"}  # fmt: skip
    assert ours.keys() <= roots.keys()
    for group, scores in ours.items():
        found = theirs(roots[group])
        if found is not None:  # else l1 stands in for it
            np.testing.assert_allclose(scores, found.double().numpy()[: len(scores)], rtol=1e-5)


def test_every_criterion_has_its_table() -> None:
    assert list(MAGNITUDES) == ["l1", "l2", "bn_scale", "taylor"]
