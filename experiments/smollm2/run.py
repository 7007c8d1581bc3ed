"""A language model cut to four fifths: how well does it still write, by what is done about its weights?

    python -m experiments.smollm2.run --model FOLDER --text wiki.test.raw

``FOLDER`` holds SmolLM2-135M-Instruct as Hugging Face saves it (config.json, model.safetensors, tokenizer). Every layer
loses the same share of its feed-forward neurons, so that the decoder keeps ``--keep`` of its MACs; heads and the stream
stay. Neurons are ranked, and weights refitted, on articles far behind the text that the perplexity is measured on.
Nothing is trained. Rows go to ``results.jsonl`` as they come; those that are there are skipped.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amc.core.types import LayerGroup, PruningPlan
from amc.importance.magnitude import Scores, magnitude_scores
from amc.importance.reconstruction import reconstruction_scores
from amc.pruning.counting import count_macs
from amc.pruning.network import Network, trace_network
from amc.pruning.surgery import Surgeon, rank_channels, select_channels
from amc.recovery import make_recovery
from amc.recovery.calibration import Calibration

RESULTS = Path(__file__).with_name("results.jsonl")
WINDOW, MEASURED = 2048, 8192  # tokens
CALIBRATION, LENGTH = 32, 512  # sequences, and tokens of each
FIRST = 100_000  # token from which on calibration text is taken
WAYS = [("l1", "none"), ("reconstruction", "none"), ("reconstruction", "least_squares"),
        ("reconstruction", "sequential")]  # fmt: skip
PROMPTS = ("The capital of France is", "Water boils when")


class Logits(nn.Module):
    """The network from token ids to logits, without the cache."""

    def __init__(self, language_model: nn.Module) -> None:
        super().__init__()
        self.language_model = language_model

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.language_model(input_ids=ids, use_cache=False).logits
        return logits


@torch.inference_mode()
def perplexity(model: nn.Module, ids: Tensor) -> float:
    """Of the tokens behind the first of each window."""
    losses = []
    for window in ids[:MEASURED].split(WINDOW):
        logits = model(window[None])[0, :-1]
        losses.append(F.cross_entropy(logits.float(), window[1:]))
    return float(torch.stack(losses).mean().exp())


def plan_of(network: Network, keep: float) -> PruningPlan:
    """All feed-forward widths alike, so narrow that the decoder (without vocabulary head) keeps this share of MACs."""
    widths = [g for g in network.groups if g.frozen is None and "mlp" in g.name]
    cost, head = network.cost_model, _head_macs(network)
    dense = cost.cost().macs - head
    for share in range(1000, 0, -1):
        kept = {g.name: g.round_channels(share / 1000) for g in widths}
        if cost.cost(kept).macs - head <= keep * dense:
            return PruningPlan.make(network.groups, kept)
    raise SystemExit(f"keep={keep} can't be reached with feed-forward widths alone")


def _head_macs(network: Network) -> int:
    layer = next(s for s in network.cost_model.layers if s.name.endswith("lm_head"))
    return round(layer.macs_per_pair * layer.out_size * layer.in_size)


def scores_of(name: str, network: Network, groups: list[LayerGroup], text: Tensor) -> Scores:
    if name == "l1":
        return magnitude_scores("l1", network.model, groups)
    return reconstruction_scores(network.model, groups, text, Calibration(positions=128, batch_size=4))


@torch.inference_mode()
def written(model: nn.Module, tokenizer: Any, prompt: str, tokens: int = 24) -> str:
    """The most likely continuation."""
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    for _ in range(tokens):
        ids = torch.cat([ids, model(ids)[:, -1].argmax(-1, keepdim=True)], dim=1)
    text: str = tokenizer.decode(ids[0])
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--keep", type=float, default=0.8)
    given = parser.parse_args()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(given.model, local_files_only=True)
    ids = tokenizer(given.text.read_text(), return_tensors="pt").input_ids[0]
    text = ids[FIRST : FIRST + CALIBRATION * LENGTH].view(CALIBRATION, LENGTH)
    model = Logits(AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.float32, local_files_only=True)).eval()
    began = time.perf_counter()
    network = trace_network(model, text[:1, :64])
    traced = time.perf_counter() - began
    done = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    if not any(row["way"] == "dense" for row in done):
        report("dense", network.model, network, ids, tokenizer, {"keep": 1.0, "trace_seconds": round(traced, 1)})
    plan = plan_of(network, given.keep)
    groups = [g for g in network.groups if g.frozen is None and plan[g.name] < g.channels]
    surgeon = Surgeon(model, network.groups)
    rankings: dict[str, dict[str, Any]] = {}
    for importance, recovery in WAYS:
        way = f"{importance}, {recovery}"
        if any((row["way"], row["keep"]) == (way, given.keep) for row in done):
            continue
        began = time.perf_counter()
        if importance not in rankings:
            scores = scores_of(importance, network, groups, text)
            rankings[importance] = {g.name: rank_channels(g, scores[g.name]) for g in groups}
        ranking = rankings[importance]
        ranked = time.perf_counter() - began
        recover = make_recovery(recovery, surgeon, groups, ranking, text, positions=128, batch_size=4)
        kept = select_channels(dict(plan.kept), ranking)
        small = surgeon.cut(kept)
        recover(small, kept)
        seconds = {"rank_seconds": round(ranked, 1), "seconds": round(time.perf_counter() - began, 1)}
        report(way, small, network, ids, tokenizer, {"keep": given.keep, **seconds})


def report(way: str, model: nn.Module, network: Network, ids: Tensor, tokenizer: Any, more: dict[str, Any]) -> None:
    """Appends a row."""
    row = {
        "way": way,
        "perplexity": round(perplexity(model, ids), 2),
        "macs": count_macs(model, network.example),
        "params": sum(p.numel() for p in model.parameters()),
        **more,
        "written": [written(model, tokenizer, prompt) for prompt in PROMPTS],
    }
    print(json.dumps(row), flush=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
