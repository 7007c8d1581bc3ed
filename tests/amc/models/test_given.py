"""Networks as users hand them over."""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.optim.swa_utils import AveragedModel

from amc.core.errors import AmcError
from amc.models.given import check_model, own_copy, remarks

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )


def with_tensor(make: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
    model = net()
    value = make(model[5].weight.detach())
    model[5].weight = nn.Parameter(value, requires_grad=value.is_floating_point() or value.is_complex())
    return model


def with_buffer(value: torch.Tensor) -> nn.Module:
    model = net()
    model.register_buffer("table", value)
    return model


def with_layer(change: Callable[[nn.Module], Any], layer: int = 0) -> nn.Module:
    model = net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what torch itself calls old
        change(model[layer])
    return model


def lazy() -> nn.Module:
    model = net()
    model[5] = nn.LazyLinear(5)
    return model


def half_scripted() -> nn.Module:
    model = net()
    model[0] = torch.jit.script(model[0])
    return model


def damaged_statistics() -> nn.Module:
    model = net()
    model[1].running_var[2] = float("nan")
    return model


def holding(value: object) -> nn.Module:
    model = net()
    model.kept = value  # type: ignore[assignment]
    return model


class Doubling(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "complex": (lambda: with_tensor(lambda w: w.to(torch.complex64)), r"5\.weight is complex \(complex64\)"),
    "whole numbers": (lambda: with_tensor(torch.Tensor.int), r"5\.weight holds whole numbers \(int32\)"),
    "truth values": (lambda: with_tensor(lambda w: w > 0), r"5\.weight holds whole numbers \(bool\)"),
    "sparse": (lambda: with_tensor(torch.Tensor.to_sparse), r"5\.weight is sparse \(sparse_coo\); .*to_dense"),
    "sparse rows": (lambda: with_tensor(torch.Tensor.to_sparse_csr), r"5\.weight is sparse \(sparse_csr\)"),
    "no values": (lambda: with_tensor(lambda w: w.to("meta")), r"5\.weight has a shape but no values \(device meta\)"),
    "eight bits": (lambda: with_tensor(lambda w: w.to(torch.float8_e4m3fn)), r"5\.weight is float8_e4m3fn"),
    "NaN": (lambda: with_tensor(lambda w: w * float("nan")), r"5\.weight has NaN or infinite values"),
    "infinite": (lambda: with_tensor(lambda w: w / 0), r"5\.weight has NaN or infinite values"),
    "statistics": (damaged_statistics, r"1\.running_var has NaN"),
    "quantized buffer": (
        lambda: with_buffer(torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)),
        r"table is quantized \(qint8\)",
    ),
    "complex buffer": (lambda: with_buffer(torch.ones(2, dtype=torch.complex64)), "table is complex"),
    "quantized layer": (
        lambda: torch.ao.quantization.quantize_dynamic(net(), {nn.Linear}, dtype=torch.qint8),
        r"layer '5' is quantized \(Linear\)",
    ),
    "lazy": (lazy, r"5\.weight belongs to a lazy layer .*; run the network on a batch once"),
    "scripted": (lambda: torch.jit.script(net()), "is TorchScript, .*; give the nn.Module it was made from"),
    "traced": (lambda: torch.jit.trace(net().eval(), IMAGES), "is TorchScript"),
    "scripted inside": (half_scripted, "layer '0' is TorchScript"),
    "exported": (lambda: torch.export.export(net().eval(), (IMAGES,)), "is an exported program"),
    "class": (lambda: nn.Identity, "is the class Identity; give a network made of it"),
    "state dict": (lambda: net().state_dict(), "is of type OrderedDict; .*load_state_dict"),
    "path": (lambda: "model.pt", "is the text 'model.pt'"),
    "nothing": (lambda: None, "is of type NoneType; give an nn.Module"),
    "function": (lambda: net().forward, "is of type method"),
    "mask": (
        lambda: with_layer(lambda m: prune.l1_unstructured(m, "weight", 0.5)),
        r"layer '0' has a pruning mask \(L1Unstructured\) on its weight; .*prune\.remove\(layer, 'weight'\)",
    ),
    "mask of a bias": (lambda: with_layer(lambda m: prune.random_unstructured(m, "bias", 0.5)), r"on its bias"),
    "two masks": (
        lambda: with_layer(
            lambda m: (prune.identity(m, "weight"), prune.ln_structured(m, "weight", 0.5, 2, 0)),
        ),
        r"pruning mask \(PruningContainer\)",
    ),
    "lock": (lambda: holding(threading.Lock()), "can't be copied, .*; take off hooks and attributes"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REFUSED)
def test_refused_in_one_line_that_names_it(kind: str) -> None:
    make, message = REFUSED[kind]
    with pytest.raises(AmcError, match=message) as caught:
        own_copy(make())  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("model: ")


REMADE: dict[str, Callable[[], nn.Module]] = {
    "weight norm": lambda: with_layer(parametrizations.weight_norm),
    "spectral norm": lambda: with_layer(parametrizations.spectral_norm, 5),
    "own parametrization": lambda: with_layer(lambda m: parametrize.register_parametrization(m, "bias", Doubling())),
    "old weight norm": lambda: with_layer(nn.utils.weight_norm),
    "old spectral norm": lambda: with_layer(nn.utils.spectral_norm),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REMADE)
def test_weights_that_are_remade_are_taken_as_they_are(kind: str) -> None:
    model = REMADE[kind]().eval()
    twin = own_copy(model)
    torch.testing.assert_close(twin(IMAGES), model(IMAGES))
    assert set(twin.state_dict()) == set(net().state_dict())
    assert set(model.state_dict()) != set(net().state_dict())  # theirs stays
    assert "taken as they are now" in remarks(model)[0]


def inside(wrap: Callable[[nn.Module], Any]) -> nn.Module:
    model = net()
    return nn.Sequential(wrap(model[:3]), *model[3:])


WRAPPED: dict[str, Callable[[], nn.Module]] = {
    "compiled": lambda: torch.compile(net(), backend="eager"),  # type: ignore[return-value]
    "compiled inside": lambda: inside(lambda m: torch.compile(m, backend="eager")),
    "parallel": lambda: nn.DataParallel(net()),
    "parallel, compiled": lambda: torch.compile(nn.DataParallel(net()), backend="eager"),  # type: ignore[return-value]
    "averaged": lambda: AveragedModel(net()),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_wrappers_are_looked_through(kind: str) -> None:
    twin = own_copy(WRAPPED[kind]())
    types = {type(module).__name__ for module in twin.modules()}
    assert not types & {"OptimizedModule", "DataParallel", "AveragedModel"}
    torch.testing.assert_close(twin(IMAGES), net().eval()(IMAGES))


def test_what_was_compiled_in_place_runs_as_it_is() -> None:
    model = net()
    model.compile(backend="eager")
    torch.testing.assert_close(own_copy(model)(IMAGES), net().eval()(IMAGES))


def test_tied_weights_stay_tied_and_strides_stay() -> None:
    one = nn.Linear(4, 4)
    model = nn.Sequential(one, torch.compile(nn.Sequential(one), backend="eager"), nn.Linear(4, 4))  # type: ignore[list-item]
    model[2].weight = nn.Parameter(torch.randn(4, 4).T)
    twin = own_copy(model)
    assert twin.get_parameter("0.weight") is twin.get_parameter("1.0.weight")
    assert not twin.get_parameter("2.weight").is_contiguous()


def test_masks_of_attention_may_be_infinite() -> None:
    assert own_copy(with_buffer(torch.full((2, 2), -torch.inf))).get_buffer("table").isinf().all()


def test_hooks_run_in_the_copy_too() -> None:
    seen, model = [], net()
    model[0].register_forward_hook(lambda module, inputs, output: setattr(module, "seen", output))
    model[0].register_forward_pre_hook(lambda module, inputs: seen.append(1))
    model(IMAGES)  # what the first hook stored is no leaf of autograd's graph
    own_copy(model)(IMAGES)
    assert len(seen) == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32_and_are_told(dtype: torch.dtype) -> None:
    model = net().to(dtype).train().requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    twin = own_copy(model)
    assert {p.dtype for p in twin.parameters()} == {torch.float32}
    assert not twin.training
    assert not any(p.requires_grad for p in twin.parameters())
    assert model.training
    assert {p.dtype for p in model.parameters()} == {dtype}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert remarks(model) == [
        f"model: has weights in {str(dtype)[6:]}; all work and the resulting network are in float32"
    ]


def test_layers_of_zeros_are_told() -> None:
    model = net()
    assert remarks(model) == []
    nn.init.zeros_(model[5].weight)
    assert remarks(model) == ["model: all weights are zero in 5; check that the right checkpoint was loaded"]
    many = nn.Sequential(*(nn.Linear(2, 2) for _ in range(8)))
    for parameter in many.parameters():
        nn.init.zeros_(parameter)
    assert "zero in 0, 1, 2, 3, 4 and 3 more;" in remarks(many)[0]


def test_a_copy_made_without_gradients_can_be_trained() -> None:
    with torch.inference_mode():
        model = net()
        twin = own_copy(model)
    twin(IMAGES).sum().backward()
    assert twin.get_parameter("5.weight").grad is not None


def test_accepted_networks_are_given_back() -> None:
    model = net()
    assert check_model(model) is model
