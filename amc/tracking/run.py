"""One run of a command: folder, cache, resume, verbosity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from amc.tracking.run_dir import RunDir, run_folder


@dataclass(frozen=True)
class Run:
    """One run of a command.

    Attributes:
        where: the folder to record it in, or the same opened by the caller; ``None``: nothing is written.
        cache_dir: see :func:`amc.core.files.cache_folder`.
        resume: continue the run in ``where`` instead of refusing to write there.
        verbose: print the progress and the result.
        folder: ``where``, opened and locked; ``None`` before :meth:`opened`, and where nothing is written.
    """

    where: str | Path | RunDir | None = None
    cache_dir: str | Path | None = None
    resume: bool = False
    verbose: bool = True
    folder: RunDir | None = None

    @contextmanager
    def opened(self, config: Mapping[str, Any]) -> Iterator[Run]:
        """This run with its folder open; ``config`` is written down there, or compared at a resume.

        Raises:
            AmcError: the folder is another run's, or in use; a resumed run had another configuration.
        """
        if self.where is None or isinstance(self.where, RunDir):
            yield replace(self, folder=self.where)
            return
        with run_folder(self.where, self.resume, config) as folder:
            yield replace(self, folder=folder)

    def kept_file(self, name: str) -> Path | None:
        """See :meth:`amc.tracking.run_dir.RunDir.kept_file`; ``None`` where nothing is written."""
        return None if self.folder is None else self.folder.kept_file(name)

    def line(self) -> str:
        """Location of the results, printed at the end of a run."""
        return "nothing was recorded" if self.folder is None else f"run folder: {self.folder.path}"
