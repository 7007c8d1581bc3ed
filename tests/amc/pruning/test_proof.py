"""Trial cuts: wrong couplings freeze their groups, right ones pass, in whatever precision the network runs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from amc.core.errors import AmcError
from amc.pruning import proof
from amc.pruning.groups import trace
from amc.pruning.proof import OUTPUT
from amc.pruning.surgery import Kept
from tests.support import nets
from tests.support.groups import IMAGE, by_name, prunable


@pytest.mark.parametrize("between", [nets.Permutes(8), nn.Softmax(dim=1)])
def test_wrong_couplings_are_proved_wrong(between: nn.Module) -> None:
    groups = by_name(nets.chain(between))
    first, second, output = groups.values()
    assert first.frozen is not None
    assert first.frozen != OUTPUT
    assert second.frozen is None
    assert output.frozen == OUTPUT


def test_a_clash_of_two_groups_freezes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    real = proof._Trials.failure

    def clashes(self: proof._Trials, kept: Kept) -> str | None:
        return "they clash" if {"features.0.0", "features.1.0"} <= set(kept) else real(self, kept)

    monkeypatch.setattr(proof._Trials, "failure", clashes)
    first, second, _ = trace(nets.chain(), IMAGE)
    assert first.frozen is None
    assert second.frozen == "together with other groups they clash"


class Float32(nn.Module):
    """Code that was written for float32: in float64 the next layer's input doesn't fit its weights."""

    def forward(self, x: Tensor) -> Tensor:
        return x.to(torch.float32)


def test_networks_that_run_in_float32_alone_are_proved_in_it() -> None:
    assert prunable(by_name(nets.chain(Float32()))) == ["features.0.0", "features.2.0"]
    first, second, _ = trace(nets.chain(Float32(), nets.Permutes(8)), IMAGE)
    assert first.frozen is not None
    assert "trial cut" in first.frozen
    assert second.frozen is None


def test_float32_outputs_of_a_float64_proof() -> None:
    model = nn.Sequential(nets.chain(), Float32())
    assert len([g for g in trace(model, IMAGE) if g.frozen is None]) == 2


def test_a_network_that_fails_is_one_line() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise NotImplementedError

    with pytest.raises(
        AmcError, match=r"^model: can't run on inputs of 3×8×8 \(NotImplementedError: NotImplementedError\)"
    ):
        trace(nets.chain(Fails()), IMAGE)


def test_a_network_that_cannot_be_proved_is_one_line() -> None:
    class OneImage(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 1:
                raise RuntimeError("one image\nat a time")
            return x

    with pytest.raises(AmcError, match=r"\(RuntimeError: one image\); ") as caught:
        trace(nets.chain(OneImage()), IMAGE)
    assert "\n" not in str(caught.value)


def test_one_cut_proves_a_network_without_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    cuts: list[int] = []
    real = proof._Trials.failure

    def count(self: proof._Trials, kept: Kept) -> str | None:
        cuts.append(len(kept))
        return real(self, kept)

    monkeypatch.setattr(proof._Trials, "failure", count)
    trace(nets.residual(), IMAGE)
    assert cuts == [3]
