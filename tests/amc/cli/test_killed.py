"""``kill -9`` at any moment: the same call, or ``resume=``, ends as if nothing had happened."""

from __future__ import annotations

import json
import shutil
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
    if resumable and (finished or random.random() < 0.7):
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


def test_a_search_killed_at_any_time(server: ForkServer, whole: Whole, tmp_path: Path) -> None:
    """Between the moments, too. How far it comes depends on the machine, where it ends does not."""
    random, arguments = Random(0), whole.arguments("search")
    for _ in range(3):
        ended = server.one(tmp_path, "search", *arguments, cpu_seconds=random.uniform(0.1, 0.9))
        assert ended.killed or (ended.code, ended.error) == (0, "")
        arguments = again(whole, "search", tmp_path, random)
    ended = server.one(tmp_path, "search", *arguments)
    assert (ended.code, ended.error) == (0, "")
    assert results(tmp_path / "run") == whole.results("search")
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_killed_fine_tuning_does_not_go_on_with_another_plan(
    server: ForkServer, whole: Whole, tmp_path: Path
) -> None:
    plan, arguments = tmp_path / "plan.json", whole.arguments("finetune")
    shutil.copy(whole.folder / "search" / "run" / "config.json", tmp_path)
    plan.write_text((whole.folder / "search" / "run" / "plan.json").read_text())
    arguments = [f"plan={plan}", *arguments[1:], "refine.plans=1"]
    moment = Moment(START, "write", whole.counts["finetune"][START]["write"] // 2)
    assert server.one(tmp_path, "finetune", *arguments, moment=moment).killed
    before = plan.read_text()
    plan.write_text(json.dumps({"format": 1, "groups": {}}))
    ended = server.one(tmp_path, "finetune", *arguments)
    assert ended.refused, ended
    assert "of other plans than these; go on with it by resume=" in ended.error
    plan.write_text(before)
    ended = server.one(tmp_path, "finetune", *arguments)
    assert (ended.code, ended.error) == (0, "")


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
