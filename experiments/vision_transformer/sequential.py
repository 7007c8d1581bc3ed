"""Every plan of the study cut, refitted by sequential least squares and scored on the test images.

    python -m experiments.vision_transformer.sequential DATA WEIGHTS RUNS

Reads ``RUNS/*/plan.json``, writes ``sequential.json`` beside each; plans that have one are left alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from amc.core.files import write_json
from amc.core.types import PruningPlan
from amc.evaluation.scoring import measure
from amc.pruning.network import trace_network
from amc.search.finals import CALIBRATION_IMAGES
from amc.task.method import Method
from amc.task.problem import make_pruner
from experiments.vision_transformer.network_task import load


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit("give the folder of CIFAR-10, the file with the weights, and the folder of the study's runs")
    missing = [f for f in sorted(Path(sys.argv[3]).glob("*/plan.json")) if not (f.parent / "sequential.json").exists()]
    if not missing:
        return
    task = load(*sys.argv[1:3])
    assert task.test is not None
    network = trace_network(task.model, task.train.take(1).normalised())
    pruner = make_pruner(network, task, Method("l1", "sequential", 0, CALIBRATION_IMAGES))
    for file in missing:
        with torch.no_grad():
            small = pruner.cut(PruningPlan.load(file, network.groups))
            found = measure(small, task.test, 250, criterion=task.criterion)
        write_json(file.parent / "sequential.json", {"test": found.to_json()})
        print(file.parent.name, found, flush=True)


if __name__ == "__main__":
    main()
