"""The steps all commands share: configuration → task and run folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.text import Text

from amc.core.shell import notices
from amc.core.trust import own_callable
from amc.pruning.network import Network
from amc.reporting.console import show
from amc.task.kinds import AUTO
from amc.task.load import Loaded, load_trained
from amc.task.task import Task
from amc.tracking import RunDir, run_folder

FILLED = "filled"  # keys that the configuration of a resumed run lacks, as earlier versions didn't have them
FREE = ("resume", "dry_run", "verbose", "trust", FILLED)  # not stored: they don't affect the result


Main = Callable[[DictConfig, Path], None]
Check = Callable[[Mapping[str, Any]], None]


def plain_of(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration as plain data."""
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return plain


def _own_code(value: object) -> bool:
    """Whether something in a configuration is called that is neither this project's nor torchvision's."""
    if isinstance(value, Mapping):
        target = value.get("_target_")
        own = target is None or own_callable(str(target)) is not None
        return not own or any(map(_own_code, value.values()))
    return isinstance(value, list) and any(map(_own_code, value))


@dataclass(frozen=True)
class Entry:
    """A command: what it does with a configuration, and the check that comes before everything else.

    Attributes:
        check: raises ``AmcError`` for a configuration, as plain data, that can't be.
        main: takes the configuration and the run folder.
    """

    check: Check
    main: Main

    def __call__(self, config: DictConfig, run_dir: Path) -> None:
        """The command, checked."""
        plain = plain_of(config)
        self.check({key: value for key, value in plain.items() if key != FILLED})
        notices.settle(plain["verbose"])
        self.main(config, run_dir)


def checked(check: Check) -> Callable[[Main], Entry]:
    """Decorates a command's function with the check of its configuration."""
    return lambda main: Entry(check, main)


@dataclass(frozen=True)
class Command:
    """One call of a command.

    Attributes:
        name: of the command.
        config: the whole resolved configuration.
        run_dir: where the run is recorded.
    """

    name: str
    config: Mapping[str, Any]
    run_dir: Path
    plain: dict[str, Any] = field(init=False)  # the configuration that is stored

    def __post_init__(self) -> None:
        object.__setattr__(self, "plain", {key: value for key, value in self.config.items() if key not in FREE})

    @property
    def verbose(self) -> bool:
        """Whether progress and result are printed."""
        return bool(self.config["verbose"])

    @property
    def resume(self) -> bool:
        """Whether an earlier run is resumed."""
        return self.config.get("resume") is not None

    @contextmanager
    def folder(self) -> Iterator[RunDir]:
        """The locked run folder, with the configuration stored or compared. See :func:`amc.tracking.run_folder`.

        The same call again goes on with a killed run, unless the user's own code is in it, which may be another now.
        """
        config, filled = {"command": self.name, **self.plain}, self.config.get(FILLED, ())
        again = not _own_code(self.plain)
        with run_folder(self.run_dir, self.resume, config, again=again, ignore=filled) as folder:
            if self.verbose and folder.continued:
                show(Text(f"{folder.path}: the run that was stopped here goes on"))
            yield folder

    def load(self, config: Mapping[str, Any] | None = None, check: Callable[[Network], None] | None = None) -> Task:
        """Loads the task of the configuration or, in a joint search, of one network's ``config``.

        Args:
            config: of one of several networks.
            check: given the untrained network before a baseline is trained, refuses what that would be lost on.

        Raises:
            AmcError: anything wrong in it or in the files that it names.
        """
        began = time.perf_counter()
        plain = self.plain if config is None else {key: value for key, value in config.items() if key not in FREE}
        loaded: Loaded = load_trained({**self.config, **plain}, check)
        task = loaded.task(plain, loading_seconds=time.perf_counter() - began)
        if self.verbose:
            show(Text(f"{task.name}: {loaded.line}"))
        return task

    def arguments(self, task: Task, folder: RunDir) -> dict[str, Any]:
        """Arguments that all public functions share, from task and configuration."""
        return {
            "train": task.train,
            "val": task.val,
            "test": task.test,
            "task": task.wanted or AUTO,
            "seed": self.plain["seed"],
            "device": self.plain["device"],
            "run_dir": folder,
            "facts": {"command": self.name, **task.facts},
            "verbose": self.verbose,
        }
