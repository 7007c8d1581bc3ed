"""Searches replayed on answers that were computed once: what a search sees of each plan, and at how many images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amc.evaluation.racing import StopRule, estimate

BATCH = 125
DRAWS = 200


@dataclass(frozen=True)
class Look:
    """How a search looks at its plans: at so many images, stopping early by a rule or not."""

    images: int
    rule: StopRule | None = None

    @property
    def name(self):
        if self.rule is None:
            return "off"
        usual = StopRule()
        changed = [f"{key} {value:g}" for key, value in vars(self.rule).items() if value != getattr(usual, key)]
        return ", ".join(["on", *changed])


@dataclass(frozen=True)
class Seen:
    """A replayed search: what it saw of each plan, at how many images, and which plan was best after each."""

    accuracy: np.ndarray
    images: np.ndarray
    best: np.ndarray  # position of the best plan so far


def replay(right, look):
    """Looks at the plans [plans, images] one after the other."""
    right = right[:, : look.images]
    accuracy, images = right.mean(1), np.full(len(right), right.shape[1])
    best, bests = 0, []
    for index, answers in enumerate(right):
        if look.rule is not None and index > 0:
            images[index], difference = race(answers, right[best], look)
            if images[index] < look.images:
                accuracy[index] = estimate(accuracy[best], difference)
        if images[index] == look.images and accuracy[index] > accuracy[best]:
            best = index
        bests.append(best)
    return Seen(accuracy, images, np.array(bests))


def race(answers, champion, look):
    """Images seen of a plan, and the mean difference to the champion on them."""
    ends = np.arange(BATCH, look.images, BATCH)
    won = np.add.reduceat(answers & ~champion, np.arange(0, look.images, BATCH), dtype=int).cumsum()
    lost = np.add.reduceat(~answers & champion, np.arange(0, look.images, BATCH), dtype=int).cumsum()
    for seen, w, m in zip(ends.tolist(), won.tolist(), lost.tolist(), strict=False):
        if look.rule.stops(w, m, seen, look.images, BATCH):
            return seen, (w - m) / seen
    return look.images, (int(won[-1]) - int(lost[-1])) / look.images


def draws(right):
    """Each plan's worth and its answers, plans and images ever in another order."""
    worth = right.mean(1)
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        plans = rng.permutation(len(right))
        yield worth[plans], right[plans][:, rng.permutation(right.shape[1])]
