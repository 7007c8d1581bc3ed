"""``kill -9`` at any moment: the same call, or ``resume=``, ends as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from amc.tracking.claim import CONFIG, FINISHED, RESUMABLE
from tests.support.fork_server import ForkServer
from tests.support.moments import PHASES, START, Moment
from tests.support.whole_runs import Whole, results

pytestmark = pytest.mark.slow


def drawn(whole: Whole, command: str, phase: str, random: Random) -> Moment:
    """Any moment of a phase; half of them are writes, if it has both."""
    counts = whole.counts[command][phase]
    kind = random.choice(sorted(counts))
    return Moment(phase, kind, random.randint(1, counts[kind]))


def again(whole: Whole, command: str, cwd: Path, random: Random) -> list[str]:
    """The call after a kill: the same, or a resume where that can be. A finished run can only be resumed."""
    finished = any((cwd / "run" / name).exists() for name in FINISHED)
    resumable = command in RESUMABLE and (cwd / "run" / CONFIG).exists()
    if resumable and (finished or random.random() < 0.5):
        return ["resume=run", "verbose=false"]
    return whole.arguments(command)


@pytest.mark.parametrize("seed", range(3))
def test_a_search_killed_in_every_phase(server: ForkServer, whole: Whole, tmp_path: Path, seed: int) -> None:
    random, arguments = Random(seed), whole.arguments("search")
    for phase in (START, *PHASES["search"]):
        moment = drawn(whole, "search", phase, random)
        ended = server.one(tmp_path, "search", *arguments, moment=moment)
        assert ended.killed, (moment, ended)
        arguments = again(whole, "search", tmp_path, random)
    ended = server.one(tmp_path, "search", *arguments)
    assert (ended.code, ended.error) == (0, "")
    assert results(tmp_path / "run") == whole.results("search")
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("command", "kills"),
    [("finetune", 6), ("sensitivity", 4), ("transfer", 3), ("train", 3), ("export", 3), ("report", 3)],
)
def test_other_commands_killed_anywhere(
    server: ForkServer, whole: Whole, tmp_path: Path, command: str, kills: int
) -> None:
    random, interrupted, place = Random(command), 0, 0
    while interrupted < kills:
        cwd, place = tmp_path / str(place), place + 1
        cwd.mkdir()
        whole.prepare(command, cwd)
        arguments = whole.arguments(command)
        while interrupted < kills:
            ended = server.one(cwd, command, *arguments, moment=drawn(whole, command, START, random))
            assert ended.killed, ended
            if any((cwd / "run" / name).exists() for name in FINISHED) and command != "report":
                break  # it was over, or was as good as over
            interrupted += 1
            arguments = again(whole, command, cwd, random)
        arguments = again(whole, command, cwd, random)
        if command in RESUMABLE or interrupted == kills:
            ended = server.one(cwd, command, *arguments)
            assert (ended.code, ended.error) == (0, "")
        assert results(cwd / "run") == whole.results(command)
        assert not list(cwd.rglob("*.tmp"))
