from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amc.core.errors import AmcError
from amc.core.types import Cost, Episode, LayerGroup, Metrics, PruningPlan
from amc.tracking import EpisodeLog, read_episodes

GROUPS = [
    LayerGroup("conv1", "conv3x3", 8, 1, False, 3, 8, 8, 1, 3, 100, 10),
    LayerGroup("a,b", "conv1x1", 3, 1, False, 8, 8, 8, 1, 1, 100, 10),
]
ORIGINAL = Cost(200, 40)


def episode(
    index: int, reward: float = -0.5, loss: float = 1.25, latency_ms: float | None = None, part: str = "forward"
) -> Episode:
    plan = PruningPlan.make(GROUPS, {"conv1": 2, "a,b": 1})
    metrics = Metrics(0.75, loss, 100, {part: 0.5, "unknown": 9.0})
    return Episode(index, reward, plan, metrics, Cost(50, 30, latency_ms), 2.0)


def log(folder: Path) -> EpisodeLog:
    return EpisodeLog(folder / "episodes.csv", [g.name for g in GROUPS], ORIGINAL, parts=("forward", "agent"))


def test_the_file_literally(tmp_path: Path) -> None:
    log(tmp_path).append(episode(0))
    log(tmp_path).append(episode(1, latency_ms=0.1, part="agent"))
    assert (tmp_path / "episodes.csv").read_text().splitlines() == [
        "episode,reward,accuracy,loss,images,macs,macs_ratio,params,params_ratio,latency_ms,within_budget,"
        'seconds,forward_seconds,agent_seconds,keep_ratio/conv1,"keep_ratio/a,b"',
        "0,-0.5,0.75,1.25,100,50,0.25,30,0.75,,1,2.0,0.5,0.0,0.25,0.3333333333333333",
        "1,-0.5,0.75,1.25,100,50,0.25,30,0.75,0.1,1,2.0,0.0,0.5,0.25,0.3333333333333333",
    ]


@given(st.lists(st.tuples(st.floats(), st.floats(allow_nan=False)), min_size=1, max_size=5))
def test_numbers_come_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, numbers: list) -> None:
    folder = tmp_path_factory.mktemp("log")
    for index, (reward, loss) in enumerate(numbers):
        log(folder).append(episode(index, reward, loss))
    rows = read_episodes(folder / "episodes.csv")
    # repr tells NaN, infinities and both zeros apart
    assert [(row["episode"], repr(row["reward"]), repr(row["loss"])) for row in rows] == [
        (index, repr(reward), repr(loss)) for index, (reward, loss) in enumerate(numbers)
    ]
    assert all("latency_ms" not in row for row in rows)


def test_truncation_gives_the_bytes_of_the_shorter_run(tmp_path: Path) -> None:
    path = tmp_path / "episodes.csv"
    for index in range(3):
        log(tmp_path).append(episode(index))
    three = path.read_bytes()
    for index in range(3, 6):
        log(tmp_path).append(episode(index))
    log(tmp_path).truncate(3)
    assert path.read_bytes() == three
    log(tmp_path).truncate(0)
    assert path.read_bytes() == three.splitlines(keepends=True)[0]
    assert read_episodes(path) == []


def test_a_line_cut_off_by_a_kill_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "episodes.csv"
    for index in range(2):
        log(tmp_path).append(episode(index))
    whole = path.read_bytes()
    start = whole.rfind(b"\n", 0, -1) + 1
    for length in (start + 1, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert [row["episode"] for row in read_episodes(path)] == [0]
        log(tmp_path).truncate(1)
        assert path.read_bytes() == whole[:start]
    log(tmp_path).append(episode(1))
    assert path.read_bytes() == whole


def test_a_kill_within_the_header_or_before_it(tmp_path: Path) -> None:
    log(tmp_path).truncate(0)
    path = tmp_path / "episodes.csv"
    assert not path.exists()
    path.write_text("episode,rew")
    log(tmp_path).truncate(0)
    log(tmp_path).append(episode(0))
    assert [row["reward"] for row in read_episodes(path)] == [-0.5]


def test_a_file_shorter_than_the_checkpoint_is_refused(tmp_path: Path) -> None:
    log(tmp_path).append(episode(0))
    with pytest.raises(AmcError, match="has 1 episodes, the checkpoint 2"):
        log(tmp_path).truncate(2)


def test_a_full_disk_is_one_line_and_resume_finds_whole_rows(
    tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "episodes.csv"
    log(tmp_path).append(episode(0))
    whole = path.read_bytes()
    with full_disk(len(whole) + 10), pytest.raises(AmcError, match="free some disk space"):
        log(tmp_path).append(episode(1))
    assert path.stat().st_size == len(whole) + 10
    log(tmp_path).truncate(1)
    assert path.read_bytes() == whole


def test_another_networks_file_is_refused(tmp_path: Path) -> None:
    log(tmp_path).append(episode(0))
    with pytest.raises(AmcError, match="other columns"):
        EpisodeLog(tmp_path / "episodes.csv", ["conv1"], ORIGINAL).truncate(1)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\n", b"a,b\n1\n", b"a,b\n1,x\n"])
def test_files_that_are_no_table_are_one_line(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "e.csv").write_bytes(content)
    with pytest.raises(AmcError, match=r"e\.csv: ") as caught:
        read_episodes(tmp_path / "e.csv")
    assert "\n" not in str(caught.value)
