"""The shell around every entry point: configuration folder, shorthand, one-line errors, exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from amc.cli.overrides import _inherited, _learned, _named_callables, _several_networks, _value_of
from amc.cli.resume import _stored_config
from amc.cli.trust import search_current_folder
from amc.core.conf import config_folder
from amc.core.errors import AmcError
from amc.core.files import NO_SPACE, write_error

Main = Callable[[DictConfig, Path], None]
EXIT_WRONG_INPUT, EXIT_INTERRUPTED = 2, 130


def run(config_name: str, main: Main, argv: Sequence[str] | None = None) -> None:
    """Composes the configuration from the command line, calls ``main(config, run folder)`` and exits.

    With ``resume=DIR`` the configuration is the one that DIR was started with, and DIR is the run folder.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    search_current_folder(arguments)  # from a console script too, my_pkg.my_net is found
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing several lines and exiting with 1
    try:
        resumed = _value_of("resume", arguments)
        if resumed is not None:
            main(_stored_config(config_name, Path(resumed), arguments), Path(resumed))
        else:
            # The policy's settings first: the defaults of a joint search are for what is then still open.
            arguments = _several_networks(config_name, [*_learned(config_name, arguments), *arguments])
            inherited = _inherited(config_name, arguments)
            _compose_and_call(config_name, main, [*inherited, *_named_callables(arguments)])
    except AmcError as error:
        _fail(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        _fail(_in_one_line(error))
    except OSError as error:
        if error.errno in NO_SPACE:
            _fail(str(write_error(error.filename or "the run folder", error)))
        if error.filename is None:
            raise
        _fail(f"{error.filename}: {error.strerror}; check the path and its permissions")
    except KeyboardInterrupt:
        _exit("stopped; what was finished is kept", EXIT_INTERRUPTED)


def _compose_and_call(config_name: str, main: Main, arguments: list[str]) -> None:
    """Runs ``main`` under Hydra; of a sweep, every job, then raises the first error."""
    failures: list[BaseException] = []

    def job(config: DictConfig) -> None:
        folder = Path(HydraConfig.get().runtime.output_dir)
        try:
            main(config, folder)
        except (AmcError, OSError, KeyboardInterrupt) as error:
            failures.append(error)  # raised through Hydra, it would come with a line of Hydra's own
        if not any("run.dir" in override for override in HydraConfig.get().overrides.hydra):
            _remove_empty(folder)  # nobody asked for it by name

    sys.argv = [sys.argv[0], *arguments]
    hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=config_name)(job)()
    if failures:
        raise failures[0]


def _remove_empty(folder: Path) -> None:
    """Removes the run folder and its parent if they are empty and don't hold the working directory."""
    with suppress(OSError):
        for empty in (folder, folder.parent):
            if Path.cwd().is_relative_to(empty):
                return
            empty.rmdir()


def _in_one_line(error: Exception) -> str:
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"{group}={name}: unknown; give one of {', '.join(error.options)}"
    return " ".join(str(error).split())


def _fail(message: str) -> None:
    _exit(f"error: {message}", EXIT_WRONG_INPUT)


def _exit(message: str, code: int) -> None:
    sys.stderr.write(f"{message}\n")
    sys.exit(code)
