"""Searches that drop residual branches, and that keep all blocks alike."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import agents
import amc
from amc.core.types import PruningPlan
from amc.finetune.run import finetune
from amc.finetune.settings import FineTuneSettings
from amc.models import build
from amc.models.from_transformers import FROM_CONFIG
from amc.pruning.counting import count_macs
from amc.pruning.skipped import skipped_modules
from amc.search import search
from amc.search.result import SearchResult
from amc.training.recipe import Recipe
from tests.support.attentive import plain_vit
from tests.support.small import QUICK, images

RESNET = {"target": "amc.models.cifar_resnet.CifarResNet", "arguments": {"blocks": 2}}
DEPTH = replace(QUICK, prune_depth=True)


def searched(model: nn.Module, folder: Path | None = None, agent: str = "random", **more: object) -> SearchResult:
    arguments = {"settings": DEPTH, "budget": 0.5, "episodes": 4, "recovery": "none", **more}
    return search(
        model,
        train=images(32, 1),
        val=images(32, 2),
        agent=agent,
        device="cpu",
        verbose=False,
        run_dir=folder,
        **arguments,
    )  # type: ignore[arg-type]


def resnet(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build(RESNET["target"], 4, (3, 8, 8), **RESNET["arguments"])  # type: ignore[arg-type]


@pytest.mark.parametrize("agent", [name for name in agents.NAMES if name != "netadapt"])
def test_every_agent_keeps_the_budget(agent: str) -> None:
    curves = {"curves": True} if agent in ("threshold", "size_aware") else {}
    result = searched(resnet(), agent=agent, settings=replace(DEPTH, **curves))
    assert result.best.cost.macs <= 0.5 * result.baseline.cost.macs
    assert result.best.cost.macs == count_macs(result.model, torch.randn(1, 3, 8, 8))


@pytest.mark.parametrize("recovery", ["none", "bn", "least_squares", "sequential"])
def test_small_budgets_drop_branches_and_load_again(recovery: str, tmp_path: Path) -> None:
    result = searched(resnet(), tmp_path, budget=0.45, recovery=recovery, agent="uniform", description=RESNET,
                      settings=replace(DEPTH, constraints={"layer1.1:branch": {"max_keep": 0.5}}))  # fmt: skip
    assert result.plan["layer1.1:branch"] == 0
    x = torch.randn(2, 3, 8, 8)
    assert json.loads((tmp_path / "pruned" / "model.json").read_text())["format"] == 3  # earlier versions refuse it
    again = amc.load(tmp_path / "pruned")
    assert set(skipped_modules(again)) == {f"layer1.1.{name}" for name in ("conv1", "bn1", "conv2", "bn2")}
    assert torch.equal(again(x), result.model(x))


def test_is_fine_tuned_in_stages(tmp_path: Path) -> None:
    model = resnet()
    settings = replace(DEPTH, constraints={"layer2.1:branch": {"max_keep": 0.5}})
    found = searched(model, tmp_path / "search", budget=0.4, settings=settings)
    tuned = finetune(
        model, tmp_path / "search" / "plan.json", train=images(32, 1), val=images(32, 2), recipe=Recipe(epochs=2),
        settings=FineTuneSettings(epochs=2, schedule="iterative", stages=[0.7], recovery="bn", prune_depth=True,
                                  regulariser="group_lasso", regulariser_strength=1e-4),
        device="cpu", run_dir=tmp_path / "tuned", verbose=False, description=RESNET,
    )  # fmt: skip
    assert tuned.plan == found.plan
    assert count_macs(tuned.model, torch.randn(1, 3, 8, 8)) == found.best.cost.macs
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(amc.load(tmp_path / "tuned" / "pruned")(x), tuned.model(x))


def test_all_blocks_stay_alike_and_transformers_loads_them(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra [transformers] is not installed")
    model = plain_vit(classes=4, size=8)
    settings = replace(DEPTH, uniform_per_axis=True, constraints={"*.1:branch": {"max_keep": 0.5}})
    result = searched(model, tmp_path, settings=settings, budget=0.5)
    assert isinstance(result.plan, PruningPlan)
    loaded = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "transformers")
    x = torch.randn(2, 3, 8, 8)
    assert (loaded(x).logits - result.model(x)).abs().max() <= 1e-5
    assert loaded.config.num_hidden_layers < model.config.num_hidden_layers  # type: ignore[union-attr, operator]


def test_what_no_configuration_describes_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A class for images of other heads than the stream has: BERT-like code reckons their width."""
    hf = pytest.importorskip("transformers", reason="the extra [transformers] is not installed")
    config = hf.SwinConfig(embed_dim=16, depths=[2], num_heads=[2], image_size=8, patch_size=2, window_size=2)
    model = build(FROM_CONFIG, 4, (3, 8, 8), config=config.to_json_string())
    only = {"swin.embeddings.*": {"keep": 1}, "*.mlp.fc1": {"keep": 1}}
    searched(model, tmp_path, settings=replace(QUICK, uniform_per_axis=True, constraints=only), budget=0.95)
    assert not (tmp_path / "transformers").exists()
    assert "no folder for transformers: Swin" in caplog.text
