"""Trains a baseline: ``python -m amc.train model=resnet56 dataset=cifar10``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from torch import nn

from amc.cli.command import checked, plain_of
from amc.cli.run import run
from amc.cli.schema import COMMON, check_config
from amc.core.errors import AmcError
from amc.core.files import write_json, write_safetensors
from amc.core.progress import Progress, duration
from amc.core.scores import Scale
from amc.core.values import Section
from amc.data import Splits
from amc.evaluation.catalogue import DIVERGENCE
from amc.evaluation.metrics import CLASSIFICATION, Criterion
from amc.evaluation.outputs import check_trainable
from amc.reporting.console import show
from amc.task.load import load_recipe, load_untrained
from amc.tracking import EventFile, run_folder
from amc.training.fit import TrainResult, evaluate, train
from amc.training.recipe import Recipe
from amc.training.trainer import Epoch, Objective

if TYPE_CHECKING:
    from omegaconf import DictConfig

WEIGHTS = "model.safetensors"

__all__ = ["Epoch", "Recipe", "TrainResult", "evaluate", "main", "main_from_config", "run_training", "train"]


def run_training(
    model: nn.Module,
    splits: Splits,
    recipe: Recipe,
    run_dir: Path,
    *,
    config: Mapping[str, Any],
    seed: int = 0,
    verbose: bool = True,
    criterion: Criterion = CLASSIFICATION,
) -> dict[str, Any]:
    """Trains ``model`` in place and leaves ``model.safetensors``, ``train.json`` and TensorBoard scalars behind.

    Returns:
        The content of ``train.json``: scores as fractions, losses in nats.

    Raises:
        AmcError: ``run_dir`` holds a run, can't be written, or the training fails.
    """
    check_trainable(model.to(splits.train.device), splits.train, criterion)
    with run_folder(run_dir, False, {"command": "train", **config}, results=(WEIGHTS,)) as folder:
        fit = partial(train, model, splits.train, splits.val, recipe, seed=seed, objective=Objective(criterion))
        result = _train(run_dir, verbose, lambda on_epoch: fit(on_epoch=on_epoch))
        held = {"val": splits.val, **({} if splits.test is None else {"test": splits.test})}
        scores = {name: evaluate(model, split, criterion=criterion) for name, split in held.items()}
        metric, scale = criterion.metric.name, criterion.metric.scale
        notes = {"dataset": splits.name, "val_from": splits.val_from, "train_images": splits.train.fingerprint()}
        folder.require_here()
        write_safetensors(run_dir / WEIGHTS, model.state_dict(), notes)
        summary = {
            "dataset": splits.name,
            "val_from": splits.val_from,
            "seed": seed,
            "recipe": dataclasses.asdict(recipe),
            "images": {"train": len(splits.train), **{name: len(split) for name, split in held.items()}},
            "train_loss": result.last.train_loss,
            "metric": metric,
            **{name: {metric: scale.value_of(score), "loss": loss} for name, (score, loss) in scores.items()},
            "wall_seconds": result.seconds,
            "history": [epoch.to_json() for epoch in result.history],
        }
        write_json(run_dir / "train.json", summary)
    return summary


def _train(run_dir: Path, verbose: bool, fit: Callable[[Callable[[Epoch], None]], TrainResult]) -> TrainResult:
    """``fit``, which is given what to call after every epoch, with a progress bar and TensorBoard."""
    with closing(EventFile(run_dir, purge_step=0)) as board, Progress("epoch", verbose) as progress:

        def on_epoch(epoch: Epoch) -> None:
            progress.update(epoch.number, epoch.epochs, str(epoch))
            values = {"train/loss": epoch.train_loss, "train/lr": epoch.lr}
            if epoch.val is not None:
                values |= {f"val/{epoch.val.metric}": epoch.val.value, "val/loss": epoch.val.loss}
            board.scalars(values, epoch.number)

        return fit(on_epoch)


SCHEMA = Section(COMMON)


def check(plain: Mapping[str, Any]) -> None:
    """Raises ``AmcError`` for anything wrong in the configuration alone."""
    check_config(SCHEMA, plain)
    if plain["task"]["metric"] == DIVERGENCE:
        raise AmcError(f"task.metric={DIVERGENCE}: is measured from a trained network; leave it out for training")
    load_recipe(plain)


@checked(check)
def main_from_config(config: DictConfig, run_dir: Path) -> None:
    """Loads data and network as configured, trains, and prints the result."""
    plain = plain_of(config)
    recipe = load_recipe(plain)
    task = load_untrained(plain)
    summary = run_training(
        task.model, task.splits, recipe, run_dir,
        config=plain, seed=plain["seed"], verbose=plain["verbose"], criterion=task.criterion,
    )  # fmt: skip
    if plain["verbose"]:
        show(_table(plain["model"]["name"], summary, run_dir, task.criterion.metric.scale))


def _table(name: str, summary: Mapping[str, Any], run_dir: Path, scale: Scale) -> Table:
    images = summary["images"]
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(f"{name} on {summary['dataset']}")
    table.add_column("", justify="right")
    metric = summary["metric"]
    for split, label in (("val", "validation"), ("test", "test")):
        if split in summary:
            value = summary[split][metric]
            shown = f"{100 * value:.2f} %" if scale.is_fraction else f"{value:.4g}"
            table.add_row(f"{label} {metric} ({images[split]} images)", shown)
    table.add_row("training loss", f"{summary['train_loss']:.4f}")
    table.add_row("time", duration(summary["wall_seconds"]))
    table.add_row("folder", str(run_dir))
    return table


def main() -> None:
    """``python -m amc.train`` and the console script."""
    run("train", main_from_config)


if __name__ == "__main__":
    main()
