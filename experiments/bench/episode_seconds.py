"""Where an episode's time goes: forward, recovery, cutting, agent, everything else, beside one dense fp32 forward.

    python -m experiments.bench.episode_seconds resnet50-digits
    python -m experiments.bench.episode_seconds resnet56-cifar10 dataset.root=… model.checkpoint=…

Further arguments are overrides of ``amc.search``. Prints medians over the episodes behind the warm-up, and the peak
memory of the whole process.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from hydra import compose, initialize_config_dir
from torch import nn

from amc.cli.command import plain_of
from amc.core.conf import config_folder
from amc.data import ImageSet
from amc.search.__main__ import main_from_config
from amc.task.load import load_trained
from amc.tracking import read_episodes
from experiments.common.runs import summary_of

EPISODES, WARM_UP = 40, 10
CASES = {
    "resnet50-digits": ["model=resnet50", "dataset=digits"],
    "resnet56-cifar10": ["model=resnet56", "dataset=cifar10"],
}


@torch.inference_mode()
def dense_forward_seconds(model: nn.Module, images: ImageSet, batch_size: int, repeats: int = 5) -> float:
    """Median seconds of one float32 pass of the dense network over the images."""
    model = model.eval().to(memory_format=torch.channels_last)
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        for x, _ in images.batches(batch_size):
            model(x)
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def main() -> None:
    case, *overrides = sys.argv[1:] or ["resnet50-digits"]
    with initialize_config_dir(str(config_folder()), version_base="1.3"), tempfile.TemporaryDirectory() as folder:
        fixed = [
            f"episodes={EPISODES}",
            "agent=amc",
            "budget.rule=clip",
            f"agent.warmup_episodes={WARM_UP}",
            "verbose=false",
        ]
        config = compose("search", [*CASES[case], *fixed, *overrides])
        loaded = load_trained(plain_of(config))
        images = loaded.splits.val.take(config.evaluate.images)
        dense = dense_forward_seconds(loaded.model, images, config.evaluate.batch_size)
        started = time.perf_counter()
        main_from_config(config, Path(folder) / "run")
        wall = time.perf_counter() - started
        rows = read_episodes(Path(folder) / "run" / "episodes.csv")[WARM_UP:]
        summary = summary_of(Path(folder) / "run")
    total = median(row["seconds"] for row in rows)
    print(f"{case}: {len(images)} images, medians over {len(rows)} episodes, mean MACs ratio "
          f"{sum(r['macs_ratio'] for r in rows) / len(rows):.3f}")  # fmt: skip
    for part in ("forward", "recovery", "cut", "agent"):
        seconds = median(row[f"{part}_seconds"] for row in rows)
        print(f"  {part:9s} {seconds * 1e3:8.1f} ms  {seconds / total:6.1%}")
    forward = median(row["forward_seconds"] for row in rows)
    print(f"  episode   {total * 1e3:8.1f} ms  beside forward {(total - forward) / total:.1%}")
    print(f"  dense fp32 forward over the same images {dense * 1e3:.1f} ms; an episode is {total / dense:.2f} of it")
    recording = summary["recording_seconds"] / EPISODES
    print(f"  recording (table, checkpoint, TensorBoard, figures), mean beside the above {recording * 1e3:.1f} ms")
    print(f"  precision {summary['precision']}")
    print(f"  whole run of {EPISODES} episodes with preparation and recording {wall:.1f} s")
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
