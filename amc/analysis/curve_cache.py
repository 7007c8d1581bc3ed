"""Cache of sensitivity curves: values are kept by the fingerprint of all that they depend on."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from amc.analysis.curves import CURVES_FORMAT, Curves, Point, measure_curves, wanted_points
from amc.core.errors import WRONG_VALUES, AmcError
from amc.core.files import cache_folder, read_json, write_json
from amc.core.progress import Progress
from amc.core.types import Metrics
from amc.task.problem import Problem

WRITE_SECONDS = 2.0  # between writes: the most work that a killed process loses
LOSS_TOLERANCE, SCORE_TOLERANCE = 0.01, 0.005  # between the dense network's scores now and in the cache
log = logging.getLogger(__name__)


def curve_fingerprint(problem: Problem) -> dict[str, Any]:
    """All that a curve's values depend on, as plain data: the cache's key, the same for every command.

    The budget is not part of it: neither its cost nor its smallest keep ratio changes what a cut group loses.
    """
    network, method, evaluator = problem.network, problem.method, problem.evaluator
    groups = [[g.name, g.kind, g.channels, g.step, g.height, g.width, g.frozen is None] for g in network.groups]
    return {
        "format": CURVES_FORMAT,
        **problem.fingerprint,
        "network": _digest(repr(network.model)),
        "groups": _digest(groups),
        "importance": method.importance,
        "recovery": {"name": method.recovery, **method.recovery_settings},
        "calibration_images": method.calibration_images,
        "images": evaluator.dense.images,
        "precision": str(evaluator.dtype).removeprefix("torch."),
        "device": problem.task.train.device.type,
        "seed": method.seed,
    }


def curves_for(
    problem: Problem,
    keep_ratios: Sequence[float],
    *,
    cache_dir: str | Path | None = None,
    known: Collection[Point] = (),
    on_point: Callable[[Point], None] | None = None,
    verbose: bool = True,
) -> Curves:
    """The network's sensitivity curves; only values missing from the cache and ``known`` are measured.

    Args:
        problem: its evaluator scores plans; its dense network is the value at keep ratio 1.
        keep_ratios: descending, in (0, 1).
        cache_dir: see :func:`amc.core.files.cache_folder`.
        known: values measured before a resume.
        on_point: called with every value that is not in ``known``, whether cached or measured.
        verbose: show the progress.

    Raises:
        AmcError: impossible ratios, zero prunable groups.
    """
    network, evaluator, fingerprint = problem.network, problem.evaluator, curve_fingerprint(problem)
    file = cache_folder(cache_dir) / "curves" / f"{_digest(fingerprint)[:16]}.json"
    kept = _CacheFile(file, fingerprint, evaluator.dense)
    have = {(p.group, p.kept) for p in known}
    wanted = set(wanted_points(network.groups, keep_ratios))
    cached = [p for p in kept.points if (p.group, p.kept) in wanted - have]
    if on_point is not None:
        for point in cached:
            on_point(point)
    with Progress("sensitivity:", verbose, start=len(cached) + len(wanted & have)) as progress:

        def measured(point: Point, done: int, total: int) -> None:
            dense = evaluator.dense
            kept.add(point)
            if on_point is not None:
                on_point(point)
            progress.update(
                done,
                total,
                f"{point.group} with {point.kept} channels: {dense.metric} {dense.scale.text(point.score)}",
            )

        try:
            return measure_curves(
                network.groups, evaluator.in_full, evaluator.dense, keep_ratios,
                known=[*cached, *known], on_point=measured,
            )  # fmt: skip
        finally:
            kept.write()
            evaluator.free_memory()


class _CacheFile:
    """The cached values of one fingerprint. Failures to read or write them are only logged."""

    def __init__(self, path: Path, fingerprint: Mapping[str, Any], dense: Metrics) -> None:
        self._path, self._fingerprint, self._dense = path, dict(fingerprint), dense
        self._written, self._dirty = time.monotonic(), False
        self.points = self._read()

    def add(self, point: Point) -> None:
        self.points.append(point)
        self._dirty = True
        if time.monotonic() - self._written > WRITE_SECONDS:
            self.write()

    def write(self) -> None:
        if not self._dirty:
            return
        dense = {"accuracy": self._dense.score, "loss": self._dense.loss}
        content = {"task": self._fingerprint, "dense": dense, "points": [p.to_json() for p in self.points]}
        try:
            write_json(self._path, content)
        except AmcError as error:
            log.warning("the sensitivity curves are not cached: %s", error)
        self._written, self._dirty = time.monotonic(), False

    def _read(self) -> list[Point]:
        if not self._path.is_file():
            return []
        try:
            content = read_json(self._path)
            dense, points = content["dense"], [Point.from_json(entry) for entry in content["points"]]
            near = abs(dense["accuracy"] - self._dense.score) <= SCORE_TOLERANCE and abs(
                dense["loss"] - self._dense.loss
            ) <= LOSS_TOLERANCE * max(self._dense.loss, 0.01)
        except (AmcError, *WRONG_VALUES):
            log.warning("the cached curves %s are damaged and measured again", self._path)
            return []
        if not near:  # the network's code can change without its structure, which makes old values meaningless
            log.warning(
                "the cached curves %s are of a network that scored otherwise and are measured again", self._path
            )
        return points if near else []


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()
