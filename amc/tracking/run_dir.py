"""The folder of one run: locked while the run lives, never overwritten, and free of absolute paths."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any

from amc.core.errors import AmcError
from amc.core.files import parse_torch, read_bytes, replacing, torch_bytes, write_error, write_json
from amc.core.types import PruningPlan
from amc.tracking.claim import CONFIG, EPISODES, TRACES, claim, clean, difference, read_config
from amc.tracking.lock import holds, lock
from amc.tracking.seal import CHECKPOINT, LAST, PREVIOUS, check_sealed, digest_of, sealed
from amc.tracking.seal import opened as opened_seal

__all__ = ["CONFIG", "EPISODES", "FREE_ON_RESUME", "RunDir", "opened", "run_folder"]

# Settings that may differ at a resume: verbosity, length, and the paths of unchanged inputs.
FREE_ON_RESUME = (
    "verbose", "dry_run", "episodes", "device", "dataset.root", "dataset.path", "dataset.tokenizer", "model.checkpoint",
    "checkpoints", "cache_dir", "plan", "policy",
)  # fmt: skip


class RunDir:
    """Make one with :meth:`create` or :meth:`open`; both lock the folder until :meth:`close` or the process's end.

    Attributes:
        path: of the folder.
        continued: whether the call of a new run turned out to be that of a killed one, which goes on.
    """

    continued = False
    _results: tuple[str, ...] = ()

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock
        self._kept: set[str] = set()
        self._sealed: dict[str, tuple[int | None, str]] = {}  # files that belong to a checkpoint

    @classmethod
    def create(cls, path: str | Path, results: Collection[str] = (), same: Mapping[str, Any] | None = None) -> RunDir:
        """A folder for a new run. What a killed run left there that had finished nothing is removed.

        Args:
            path: made if need be.
            results: further files that the run is going to write and must not find.
            same: the resolved configuration. A killed run with a checkpoint that was started with exactly this one goes
                on; without it, such a run is refused.

        Raises:
            AmcError: the folder holds a run already, another process works in it, or it can't be written.
        """
        path = Path(path)
        run = cls(path, lock(path))
        run._results = tuple(results)
        try:
            run.continued = claim(path, results, same)
        except BaseException:
            run.close()
            raise
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunDir:
        """The folder of an earlier run, to resume it.

        Raises:
            AmcError: the folder holds no run, or another process works in it.
        """
        path = Path(path)
        if not (path / CONFIG).is_file():
            raise AmcError(f"resume={path}: this folder holds no run (no {CONFIG}); give the folder of an earlier run")
        run = cls(path, lock(path))
        clean(path)
        return run

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Stores the resolved configuration, which makes the folder a run's."""
        self.require_here()
        write_json(self.path / CONFIG, config)

    def read_config(self) -> dict[str, Any]:
        """The configuration that the run was started with. Raises ``AmcError`` if the file is damaged."""
        return read_config(self.path)

    def check_config(self, config: Mapping[str, Any], ignore: Collection[str] = ()) -> None:
        """Compares a resume's configuration with the one that the run was started with.

        Args:
            config: the resolved configuration of this process.
            ignore: dotted keys that may differ, with everything below them (``"verbose"``, ``"dataset.root"``).

        Raises:
            AmcError: names the first key that differs and both values.
        """
        other = difference(self.path, config, ignore)
        if other is not None:
            raise AmcError(f"resume={self.path}: the run was {other}; leave the override out, or start a new run")

    def forget_unless_begun(self) -> None:
        """Deletes configuration and kept files if the run has left nothing else: the folder then holds no run."""
        if not self._is_here():  # what is in its place is another's
            return
        if not any((self.path / name).exists() for name in (*TRACES, *self._results) if name != CONFIG):
            for name in (CONFIG, *self._kept):
                (self.path / name).unlink(missing_ok=True)

    def require_here(self) -> None:
        """Raises ``AmcError`` if the folder was deleted, moved or replaced while the run lives.

        Files would be written into a new folder of that name, which this run has no lock on.
        """
        if not self._is_here():
            raise AmcError(
                f"{self.path}: was moved, deleted or replaced while a run was writing to it; a moved one can go on by "
                "resume=, or run the command again"
            )

    def _is_here(self) -> bool:
        return self._lock is None or holds(self._lock, self.path)

    def kept_file(self, name: str) -> Path:
        """File of a measurement made once, before the first episode, and kept for a resume.

        If nothing comes of the run it is removed again, or the next run in this folder would take it for its own. So is
        what a run left that was killed before its first checkpoint, which says what it was measured of.
        """
        self.require_here()
        if name not in self._kept:
            if self._generation() is None:
                (self.path / name).unlink(missing_ok=True)
            else:
                check_sealed(self.path, name)
        self._kept.add(name)
        return self.path / name

    def _generation(self) -> Path | None:
        """The last checkpoint; the one before it where the last was removed, or its process killed just then."""
        paths = (self.path / CHECKPOINT / name for name in (LAST, PREVIOUS))
        return next((path for path in paths if path.exists()), None)

    def seal(self, name: str, lines: int, digest: str) -> None:
        """Has the next checkpoint know the first ``lines`` lines of a log by their SHA-256."""
        self._sealed[name] = (lines, digest)

    def check_sealed(self, name: str) -> None:
        """Raises ``AmcError`` if one of the run's files isn't what the last checkpoint knows it by."""
        check_sealed(self.path, name)

    def _seal_kept(self) -> None:
        for name in (CONFIG, *self._kept):
            if name not in self._sealed and (self.path / name).is_file():
                self._sealed[name] = digest_of(read_bytes(self.path / name))

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Replaces the checkpoint atomically, with its checksum; the one before it is kept.

        Args:
            state: tensors, numbers, strings, lists, tuples and dicts; nothing else could be read back.

        Raises:
            AmcError: full disk; the checkpoint from before is still there.
        """
        self.require_here()
        self._seal_kept()
        last, previous = (self.path / CHECKPOINT / name for name in (LAST, PREVIOUS))
        content = sealed(torch_bytes(dict(state)), self._sealed)
        try:
            with replacing(last) as temporary:
                temporary.write_bytes(content)
                if last.exists():
                    last.replace(previous)  # killed now, the run goes on from there
        except OSError as error:
            raise write_error(last, error) from error

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint; ``None`` if the run was stopped before its first.

        Raises:
            AmcError: it is damaged; says how to go on from the one before.
        """
        path = self._generation()
        if path is None:
            return None
        try:
            return _read_checkpoint(path)
        except AmcError as error:
            raise AmcError(f"{error}; {self._way_on(path)}") from error

    def _way_on(self, damaged_one: Path) -> str:
        previous = self.path / CHECKPOINT / PREVIOUS
        if damaged_one == previous or not previous.exists():
            return "start a new run"
        try:
            _read_checkpoint(previous)
        except AmcError:
            return "the checkpoint before it is damaged, too: start a new run"
        return f"the checkpoint before it is whole: to go on from there, rm {shlex.quote(str(damaged_one))} and resume"

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Writes ``summary.json``."""
        self.require_here()
        write_json(self.path / "summary.json", summary)

    def write_plan(self, plan: PruningPlan) -> None:
        """Writes ``plan.json``."""
        self.require_here()
        write_json(self.path / "plan.json", plan.to_json())

    def close(self) -> None:
        """Releases the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> RunDir:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read_checkpoint(path: Path) -> dict[str, Any]:
    state = parse_torch(path, opened_seal(path))
    if not isinstance(state, dict):
        raise AmcError(f"{path}: holds no checkpoint; the file is damaged")
    return state


@contextmanager
def run_folder(
    path: str | Path,
    resume: bool,
    config: Mapping[str, Any],
    *,
    results: Collection[str] = (),
    again: bool = False,
    ignore: Collection[str] = (),
) -> Iterator[RunDir]:
    """The locked run folder, with the configuration written down or, at a resume, compared.

    Args:
        path: of the folder.
        resume: it holds a run, which goes on.
        config: the resolved configuration.
        results: further files that a new run is going to write and must not find.
        again: a new run may turn out to be a killed one, which goes on; see :meth:`RunDir.create`.
        ignore: keys that a resumed run's configuration lacks.

    A new run that is refused before its first episode leaves no configuration behind, so that the corrected command
    can use the same folder.

    Raises:
        AmcError: the folder is another run's, or in use; a resumed run had another configuration.
    """
    with RunDir.open(path) if resume else RunDir.create(path, results, config if again else None) as folder:
        if resume:
            folder.check_config(config, ignore=(*FREE_ON_RESUME, *ignore))
        elif not folder.continued:
            folder.write_config(config)
        try:
            yield folder
        except AmcError:
            folder.forget_unless_begun()
            raise


def opened(
    path: str | Path | RunDir | None, resume: bool, config: Mapping[str, Any]
) -> AbstractContextManager[RunDir | None]:
    """The run folder as a context: none, one that the caller has opened, or one to open here."""
    if path is None or isinstance(path, RunDir):
        return nullcontext(path)
    return run_folder(path, resume, config)
