"""The ready configurations, each built and traced once."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from amc.models import build
from amc.pruning.network import Network, trace_network
from tests.support.kept_networks import SHAPE as SMALL
from tests.support.kept_networks import TINY, randomly_cut, save
from tests.support.nets import enliven
from tests.support.own import OwnNet, trained_net

CONFIGS = Path(__file__).resolve().parents[2] / "conf" / "model"
SHAPE = (3, 16, 16)


def ready_names() -> list[str]:
    named = {p.stem: yaml.safe_load(p.read_text()) for p in sorted(CONFIGS.glob("*.yaml"))}
    ready = [name for name, config in named.items() if "???" not in config["net"].values()]  # ???: the user's to give
    assert ready, f"{CONFIGS} holds no ready configuration"
    return ready


@cache
def ready_network(name: str) -> Network:
    net = dict(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())["net"])
    model = build(net.pop("_target_"), 10, SHAPE, **net)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        images = torch.randn(4, *SHAPE)
        return trace_network(enliven(model, images), images[:1])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "ready_name" in metafunc.fixturenames:
        metafunc.parametrize("ready_name", ready_names())


@pytest.fixture
def ready(ready_name: str) -> Network:
    """Each ready network, with lively batch norms."""
    return ready_network(ready_name)


@pytest.fixture(scope="session")
def get_ready() -> Callable[[str], Network]:
    """A ready network by the name of its configuration."""
    return ready_network


@pytest.fixture(scope="session")
def trained() -> OwnNet:
    """A user's own network, which searches leave as it is."""
    return trained_net()


@pytest.fixture(scope="session")
def tiny() -> Network:
    """A residual network of one block a stage, with lively batch norms."""
    model = build(TINY["target"], 10, SMALL, blocks=1)
    images = torch.randn(8, *SMALL, generator=torch.Generator().manual_seed(0))
    return trace_network(enliven(model, images), images[:1])


@pytest.fixture
def saved(tiny: Network, tmp_path: Path) -> tuple[Path, nn.Module]:
    """A folder with the cut network, and that network."""
    small, plan = randomly_cut(tiny.model, tiny.groups)
    save(tmp_path / "pruned", small, plan)
    return tmp_path / "pruned", small


@pytest.fixture(scope="session")
def baselines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of trained baselines: one for all tests, in every process that runs some of them."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "baselines"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def own_folder(baselines: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Commands run in a folder of their own, with the baselines of all tests."""
    monkeypatch.setenv("AMC_CACHE", str(baselines))
    monkeypatch.chdir(tmp_path)
    return tmp_path
