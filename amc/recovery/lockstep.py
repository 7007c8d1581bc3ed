"""Runs functions in lockstep: one at a time, with stops where they wait for each other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
Arrive = Callable[[T], None]


def in_lockstep(runs: Sequence[Callable[[Arrive[T]], None]], meet: Callable[[list[T]], None]) -> None:
    """Calls every function; each calls ``arrive(item)`` wherever it must wait until all others have come as far.

    Then ``meet`` gets the items, in the functions' order, and they go on, one after another. So what a function holds
    while it waits is kept, and what it needs between two stops is needed only once. A single function simply calls
    ``meet``; several have a thread each, of which never more than one is running. What is thread-local (grad mode,
    function modes) each function sets for itself.

    Raises:
        ValueError: some function ends while others still arrive.
        BaseException: what a function or ``meet`` raises, once; all threads have ended by then.
    """
    if len(runs) == 1:
        runs[0](lambda item: meet([item]))
        return
    runners = [_Runner(run) for run in runs]
    try:
        while True:
            items = [item for runner in runners for item in runner.next_items()]
            if not items:
                return
            if len(items) < len(runs):
                raise ValueError("the network takes different ways for different images")
            meet(items)
            del items  # not to be held while the functions run on
    finally:
        for runner in runners:
            runner.stop()
        for runner in runners:
            runner.join()


class _Stopped(BaseException):
    """Unwinds a thread that is no longer needed."""


class _Runner(Generic[T]):
    """One function in a thread of its own that runs only while :meth:`next_items` waits for it."""

    def __init__(self, run: Callable[[Arrive[T]], None]) -> None:
        self._run = run
        self._turn, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._stopped = False
        self._items: list[T] = []
        self._error: BaseException | None = None
        # a daemon, so that not even a second Ctrl-C while joining can keep the process from ending
        self._thread = threading.Thread(target=self._work, name="amc-lockstep", daemon=True)

    def _work(self) -> None:
        try:
            self._run(self._arrive)
        except _Stopped:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self._back.release()

    def _arrive(self, item: T) -> None:
        self._items = [item]
        self._back.release()
        del item  # the one who meets decides how long it lives
        self._turn.acquire()
        if self._stopped:
            raise _Stopped

    def next_items(self) -> list[T]:
        """Lets the function run until it arrives, with its item, or ends, without."""
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._turn.release()
        self._back.acquire()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        items, self._items = self._items, []
        return items

    def stop(self) -> None:
        """Ends the function at its next stop."""
        self._stopped = True
        self._turn.release()

    def join(self) -> None:
        if self._thread.ident is not None:
            self._thread.join()
