from __future__ import annotations

import io

import pytest
from rich.console import Console

from amc.core.progress import Progress, duration


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def lines(total: int, seconds: float, start: int = 0, verbose: bool = True) -> list[str]:
    """What a search prints into a pipe whose every episode takes ``seconds``."""
    clock, out = Clock(), io.StringIO()
    with Progress("episode", verbose, start, Console(file=out, width=40), clock) as progress:
        for done in range(start + 1, total + 1):
            clock.now += seconds
            progress.update(done, total, "best -0.5000")
    return out.getvalue().splitlines()


def test_quick_episodes_give_a_line_each_twentieth() -> None:
    found = lines(400, seconds=0.1)
    assert len(found) == 20
    assert found[0] == "episode 20/400  best -0.5000  left 0:00:38"
    assert found[-1] == "episode 400/400  best -0.5000  left 0:00:00"


def test_slow_episodes_give_a_line_each_ten_seconds() -> None:
    assert [line.split()[1] for line in lines(100, seconds=5.0)][:3] == ["2/100", "4/100", "6/100"]


def test_a_resumed_search_counts_its_own_time_only() -> None:
    # 10 episodes of 2 s done here, 40 to go
    found = lines(100, seconds=2.0, start=50)
    assert found[1] == "episode 60/100  best -0.5000  left 0:01:20"


def test_quiet_means_quiet() -> None:
    assert lines(10, seconds=60.0, verbose=False) == []


def test_a_narrow_terminal_shows_all_of_it() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=None, legacy_windows=False)
    with Progress("episode", start=10, console=console) as progress:
        progress.update(400, 400, "best -12.3456  MACs 0.500  accuracy 0.9512")
    shown = out.getvalue()
    assert "400/400" in shown
    assert "best -12.3456  MACs 0.500  accuracy 0.9512" in shown


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3661, "1:01:01"), (360000, "100:00:00")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
