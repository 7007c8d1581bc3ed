"""The shell around every entry point: configuration folder, shorthand, one-line errors, exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from amc.cli.arguments import Arguments, read_arguments
from amc.cli.command import Entry, Main
from amc.cli.jobs import Job, jobs
from amc.cli.overrides import _inherited, _learned, _named_callables, _several_networks
from amc.cli.paths import path_of
from amc.cli.resume import _stored_config
from amc.cli.trust import search_current_folder
from amc.core.conf import config_folder
from amc.core.errors import AmcError, first_line
from amc.core.shell import shell
from amc.tracking.lock import remove_unused


def run(config_name: str, main: Main | Entry, argv: Sequence[str] | None = None) -> None:
    """Composes the configuration from the command line, checks it, calls ``main(config, run folder)`` and exits.

    With ``resume=DIR`` the configuration is the one that DIR was started with, and DIR is the run folder.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    search_current_folder(arguments)  # from a console script too, my_pkg.my_net is found
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing several lines and exiting with 1
    with shell(), _in_one_line():
        given = read_arguments(arguments)
        resumed = path_of("resume", given.overrides)
        if resumed is not None and not given.only_shows:
            main(_stored_config(config_name, Path(resumed), given.overrides), Path(resumed))
            return
        # The policy's settings before those of several networks, which are for what is then still open.
        overrides = _several_networks(config_name, [*_learned(config_name, given.overrides), *given.overrides])
        inherited = _inherited(config_name, overrides)
        _compose_and_call(config_name, main, given, [*inherited, *_named_callables(overrides)])


def _compose_and_call(name: str, main: Main | Entry, given: Arguments, overrides: list[str]) -> None:
    """Checks every job, then runs them under Hydra; raises what the first failing one raised."""
    failures: list[BaseException] = []
    checked = [] if given.only_shows else _checked(name, main, given, overrides)
    missing = {folder for job in checked for folder in job.missing_folders}  # before any of them begins

    def call(config: DictConfig) -> None:
        folder = Path(HydraConfig.get().runtime.output_dir)
        try:
            main(config, folder)
        except (AmcError, OSError, KeyboardInterrupt) as error:
            failures.append(error)  # raised through Hydra, it would come with a line of Hydra's own
        named = any("run.dir" in override for override in HydraConfig.get().overrides.hydra)
        if failures or not named:  # what nobody asked for by name goes, if it is empty
            _remove_empty(folder, missing if named else {*missing, folder, folder.parent})

    sys.argv = [sys.argv[0], *overrides, *given.flags]
    hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=name)(call)()
    if failures:
        raise failures[0]


def _checked(name: str, main: Main | Entry, given: Arguments, overrides: Sequence[str]) -> list[Job]:
    """The jobs of a call, all of them checked before the first begins."""
    found = list(jobs(name, overrides, given.sweep))
    if isinstance(main, Entry):
        for job in found:
            main.check(job.config)
    return found


def _remove_empty(folder: Path, among: set[Path]) -> None:
    """Removes a run folder with nothing in it, and the folders around it that are empty then, if they are ``among``."""
    with suppress(OSError):
        remove_unused(folder)
        for empty in (folder, *folder.parents):
            if Path.cwd().is_relative_to(empty) or empty not in among:
                return
            empty.rmdir()


@contextmanager
def _in_one_line() -> Iterator[None]:
    """Hydra's errors as this project's."""
    try:
        yield
    except MissingConfigException as error:
        if not error.options:
            raise AmcError(_joined(error)) from error
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        raise AmcError(f"{group}={name}: unknown; give one of {', '.join(error.options)}") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise AmcError(_joined(error)) from error


def _joined(error: Exception) -> str:
    return " ".join(str(error).replace("'++", "'").split()) or first_line(error)  # as the user wrote it
