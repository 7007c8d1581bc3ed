"""Moments of a running command at which something can happen to it: each write, and each convolution."""

from __future__ import annotations

import functools
import importlib
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import nn

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
START = "start"  # the phase before, between and after the others
# Phase → the function that it is, where it is looked up. In the order in which they come.
PHASES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "search": {
        "loading": ("amc.cli.command", "load_trained"),
        "curves": ("amc.search.network_search", "hints_for"),
        "responses": ("amc.search.network_search", "measure_groups"),
        "warm-up": ("amc.search.network_search.NetworkSearch", "play_one"),
        "learning": ("amc.search.network_search.NetworkSearch", "play_one"),
        "finals": ("amc.search.network_search", "hold_finals"),
        "results": ("amc.search.network_search.NetworkSearch", "write"),
        "report": ("amc.search.run", "leave_report"),
    }
}


@dataclass(frozen=True)
class Moment:
    """When something happens, and what.

    Attributes:
        phase: of the command.
        kind: ``write`` (a file is opened, half written, renamed or removed) or ``compute`` (a convolution).
        number: of such moments in the phase, from 1; if there are fewer, it happens when a later phase begins.
        act: ``kill``, or what another process does to the folder ``run``: ``delete``, ``move`` (to ``moved``).
    """

    phase: str
    kind: str
    number: int
    act: str = "kill"


class Moments:
    """Counts the moments of a process, which must be one that ends with it."""

    def __init__(self, command: str, moment: Moment | None) -> None:
        self._moment, self._phase, self._acted = moment, START, False
        self._counted: Counter[tuple[str, str]] = Counter()
        self._folder = Path.cwd()
        self._phases = PHASES.get(command, {})

    def counts(self) -> dict[str, dict[str, int]]:
        """Phase → kind → number."""
        found: dict[str, dict[str, int]] = {}
        for (phase, kind), number in self._counted.items():
            found.setdefault(phase, {})[kind] = number
        return found

    def __enter__(self) -> Moments:
        for name, (owner, function) in self._phases.items():
            if name != "learning":  # the other half of the episodes
                self._wrap(name, _resolve(owner), function)
        forward, write = nn.Conv2d.forward, Path.write_bytes

        def counted(layer: nn.Conv2d, x: Any) -> Any:
            self._count("compute")
            return forward(layer, x)

        def halved(path: Path, data: bytes) -> int:
            write(path, data[: len(data) // 2])
            self._count("write")
            with path.open("ab") as file:
                return len(data) // 2 + file.write(data[len(data) // 2 :])

        nn.Conv2d.forward, Path.write_bytes = counted, halved  # type: ignore[method-assign, assignment]
        sys.addaudithook(self._audit)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._moment is not None and self._moment.act == "kill":
            self._act()  # there were fewer moments

    def _wrap(self, name: str, owner: Any, function: str) -> None:
        original = getattr(owner, function)

        @functools.wraps(original)
        def entered(*arguments: Any, **given: Any) -> Any:
            with self._in(_half(arguments[0]) if name == "warm-up" else name):
                return original(*arguments, **given)

        setattr(owner, function, entered)

    @contextmanager
    def _in(self, phase: str) -> Iterator[None]:
        before, self._phase = self._phase, phase
        order = list(self._phases)
        if (
            self._moment is not None
            and self._moment.phase in order
            and order.index(phase) > order.index(self._moment.phase)
        ):
            self._act()
        yield
        self._phase = before

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, (str, Path)) and isinstance(flags, int) and flags & WRITES:
                self._written(path)
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir"):
            self._written(arguments[0])

    def _written(self, path: Any) -> None:
        if (Path.cwd() / os.fsdecode(path)).is_relative_to(self._folder):
            self._count("write")

    def _count(self, kind: str) -> None:
        self._counted[self._phase, kind] += 1
        moment = self._moment
        now = Moment(self._phase, kind, self._counted[self._phase, kind])
        if moment is not None and now == replace(moment, act=now.act):
            self._act()

    def _act(self) -> None:
        assert self._moment is not None
        if not self._acted:
            self._acted = True
            ACTS[self._moment.act]()


def _half(search: Any) -> str:
    warm_up: int = search._choices.settings.agent["warmup_episodes"]
    return "warm-up" if search.finished < warm_up else "learning"


def _resolve(owner: str) -> Any:
    try:
        return importlib.import_module(owner)
    except ModuleNotFoundError:
        module, _, name = owner.rpartition(".")
        return getattr(importlib.import_module(module), name)


ACTS: Mapping[str, Callable[[], Any]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "delete": lambda: shutil.rmtree("run"),
    "move": lambda: Path("run").rename("moved"),
}
