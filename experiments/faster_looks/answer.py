"""Which validation images does each of many plans get right? ResNet-20 / CIFAR-10, plans around half the MACs.

    python -m experiments.faster_looks.answer --data … --checkpoint … --out runs/faster_looks

Keeps an ``answers.npz`` with a row for each plan, and goes on where it was.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import torch

from amc.core.device import has_fast_bf16
from amc.core.files import write_bytes, write_json
from amc.evaluation.scoring import score
from amc.recovery.norms import fold_norms, following_norms
from experiments.common.networks import inputs, load, macs_ratio, pruner_of, scattered, uniform

MACS_RATIO = 0.5
SPREADS = (0.2, 1.5)  # of the logits' normal noise: from a search that has settled to one that still explores
SAVE_EVERY = 5  # plans


def plans(network, count):
    """The uniform plan, then plans whose keep ratios' logits have more or less noise, all just below the budget."""
    rng = np.random.default_rng(0)
    spreads = rng.permutation(np.linspace(*SPREADS, count - 1))  # mixed: the first few are fair, too
    return [uniform(network, MACS_RATIO), *(scattered(network, spread, MACS_RATIO, rng) for spread in spreads)]


def answer(network, splits, wanted, path):
    """Right answers [plans, images], and the seconds that cutting and recovering, and the forward passes took."""
    pruner = pruner_of(network, splits)
    rows, seconds = [], []
    if path.exists():
        with np.load(path) as stored:
            rows, seconds = list(stored["right"]), list(stored["seconds"])
    norms = following_norms(network.model, network.example)
    dtype = torch.bfloat16 if has_fast_bf16(splits.val.device) else torch.float32
    for index, plan in list(enumerate(wanted))[len(rows) :]:
        started = time.perf_counter()
        small = pruner.cut(plan)
        cut = time.perf_counter()
        fold_norms(small, norms)  # as in a search
        small.to(dtype).to(memory_format=torch.channels_last)
        right = torch.as_tensor(score(small, splits.val, 125, dtype).worth)
        rows.append(right.numpy())
        seconds.append((cut - started, time.perf_counter() - cut))
        if (index + 1) % SAVE_EVERY == 0 or index + 1 == len(wanted):
            store(path, rows, seconds)
            print(f"plan {index}: {right.double().mean():.4f}, {seconds[-1][1]:.1f} s", flush=True)


def store(path, rows, seconds):
    unfinished = path.with_suffix(".part.npz")
    np.savez_compressed(unfinished, right=np.stack(rows), seconds=np.array(seconds))
    write_bytes(path, unfinished.read_bytes())
    unfinished.unlink()


def main():
    parser = inputs(__doc__, "ResNet-20")
    parser.add_argument("--plans", type=int, default=150)
    parser.add_argument("--out", type=Path, required=True, help="folder for answers.npz, which is not committed")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    network, splits = load("resnet20", arguments.data, arguments.checkpoint)
    wanted = plans(network, arguments.plans)
    facts = {
        "macs_ratios": [macs_ratio(network, plan) for plan in wanted],
        "classes_by_prefix": {
            n: np.bincount(splits.val.labels[:n].numpy(), minlength=splits.num_classes).tolist()
            for n in (100, 250, 1000, 5000)
        },
    }
    write_json(arguments.out / "facts.json", facts)
    print(json.dumps(facts["classes_by_prefix"]))
    answer(network, splits, wanted, arguments.out / "answers.npz")


if __name__ == "__main__":
    main()
