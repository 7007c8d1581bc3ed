from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import pytest

from amc.recovery.lockstep import in_lockstep

Arrive = Callable[[str], None]


def names_of_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "amc-lockstep"]


def steps(log: list[str], who: str, count: int) -> Callable[[Arrive], None]:
    def run(arrive: Arrive) -> None:
        for i in range(count):
            log.append(f"{who}{i}")
            arrive(f"{who}{i}")

    return run


@pytest.mark.parametrize("runs", [1, 2, 3])
def test_all_arrive_in_order_before_any_goes_on(runs: int) -> None:
    log: list[str] = []
    names = "abc"[:runs]
    in_lockstep([steps(log, who, 2) for who in names], lambda items: log.append("+".join(items)))
    expected = []
    for i in range(2):
        arrived = [f"{who}{i}" for who in names]
        expected += [*arrived, "+".join(arrived)]
    assert log == expected
    assert not names_of_threads()


def test_functions_that_never_arrive_simply_run() -> None:
    done: list[int] = []
    in_lockstep([lambda arrive: done.append(1), lambda arrive: done.append(2)], lambda items: None)
    assert done == [1, 2]


def test_one_that_ends_early_is_an_error() -> None:
    with pytest.raises(ValueError, match="different ways"):
        in_lockstep([steps([], "a", 2), steps([], "b", 1)], lambda items: None)
    assert not names_of_threads()


def test_an_error_of_a_function_is_raised_once_and_ends_all() -> None:
    unwound: list[str] = []

    def waits(arrive: Arrive) -> None:
        try:
            arrive("")
            arrive("")
        finally:
            unwound.append("waits")

    def breaks(arrive: Arrive) -> None:
        arrive("")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        in_lockstep([waits, breaks, waits], lambda items: None)
    assert unwound == ["waits", "waits"]
    assert not names_of_threads()


def test_an_error_where_they_meet_ends_all() -> None:
    def refuse(items: list[str]) -> None:
        raise ValueError("not finite")

    with pytest.raises(ValueError, match="not finite"):
        in_lockstep([steps([], "a", 2), steps([], "b", 2)], refuse)
    assert not names_of_threads()


def test_an_interrupt_ends_all() -> None:
    """Ctrl-C reaches the main thread, which is waiting for one of the others."""

    def interrupted(arrive: Arrive) -> None:
        arrive("")
        signal.raise_signal(signal.SIGINT)
        arrive("")
        raise AssertionError("went on")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            in_lockstep([interrupted, steps([], "b", 3)], lambda items: None)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not names_of_threads()
