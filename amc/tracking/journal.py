"""A run's checkpoint, and the fingerprint that a resume compares."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from amc.core.errors import AmcError, damaged
from amc.tracking.run_dir import RunDir

FINGERPRINT = "task"  # its key in the checkpoint
PRECISIONS = {"bfloat16": "bf16", "float32": "fp32"}


class Journal:
    """Checkpoint of a run with its fingerprint. Without a folder nothing is kept."""

    def __init__(self, folder: RunDir | None) -> None:
        """Reads what an earlier part of the run left. Raises ``AmcError`` if that is damaged."""
        self._folder = folder
        self.stored = _stored(folder)
        self._fingerprint: dict[str, Any] = {}

    def begin(self, fingerprint: Mapping[str, Any], ignore: Collection[str] = ()) -> None:
        """Sets the run's fingerprint: name of an input → its hash or value.

        Args:
            fingerprint: of this process.
            ignore: names that may differ at a resume.

        Raises:
            AmcError: an earlier part of the run had another input; names it.
        """
        before = {} if self.stored is None else self.stored[FINGERPRINT]
        for what, value in before.items():
            if what not in ignore and fingerprint.get(what) != value and self._folder is not None:
                raise AmcError(f"resume={self._folder.path}: the {what} changed since the run began; start a new run")
        self._fingerprint = dict(fingerprint)

    def save(self, state: Mapping[str, Any]) -> None:
        """Replaces the checkpoint atomically; nothing before :meth:`begin`."""
        if self._folder is not None and self._fingerprint:
            self._folder.save_checkpoint({FINGERPRINT: self._fingerprint, **state})


def stored_precision(folder: RunDir | None) -> str | None:
    """``bf16`` or ``fp32``, as an earlier part of the run began with; ``None`` if there is none, or it has none."""
    stored = _stored(folder)
    precision = None if stored is None else stored[FINGERPRINT].get("precision")
    if precision is None or folder is None:
        return None
    with damaged(folder.path, "the checkpoint has an unknown precision", "start a new run"):
        return PRECISIONS[str(precision).removeprefix("torch.")]


def _stored(folder: RunDir | None) -> dict[str, Any] | None:
    stored = None if folder is None else folder.load_checkpoint()
    if stored is not None and folder is not None and not isinstance(stored.get(FINGERPRINT), dict):
        raise AmcError(f"{folder.path}: the checkpoint has no fingerprint; it is damaged, start a new run")
    return stored
