"""One policy for several networks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import amc
from amc.core.errors import AmcError
from amc.policies.plans import STRENGTHS
from amc.policies.start import read
from amc.search.joint import JointResult, search_jointly
from amc.search.joint_folder import NetworkFolder
from amc.search.run import search
from amc.task.task import Task, as_images
from amc.tracking import read_episodes
from amc.tracking.plans import best_episode
from amc.transfer.run import transfer
from tests.support.small import QUICK, equal_layers, images

SMALL = replace(QUICK, agent={"hidden": [8, 8], "warmup_episodes": 3, "buffer_episodes": 3})
LAYERS = {"three": 3, "five": 5}


def tasks(**models: nn.Module) -> list[Task]:
    networks = models or {name: equal_layers(layers) for name, layers in LAYERS.items()}
    return [
        Task.make(name, model, images(32, 1), images(32, 2), images(32, 3), facts={"dataset": "noise"})
        for name, model in networks.items()
    ]


def run(folder: Path | None = None, **arguments: Any) -> JointResult:
    given: dict[str, Any] = {"episodes": 4, "settings": SMALL, "verbose": False, "run_dir": folder}
    return search_jointly(arguments.pop("tasks", tasks()), **{**given, **arguments})


def episodes_of(folder: Path) -> dict[str, list[dict[str, float]]]:
    """The rows of each network, but for what was timed."""
    return {
        name: [
            {k: v for k, v in row.items() if "seconds" not in k}
            for row in read_episodes(folder / "networks" / name / "episodes.csv")
        ]
        for name in LAYERS
    }


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, JointResult]:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, run(folder)


@pytest.fixture
def whole(recorded: tuple[Path, JointResult]) -> Path:
    return recorded[0]


@pytest.fixture
def result(recorded: tuple[Path, JointResult]) -> JointResult:
    return recorded[1]


def test_every_network_gets_its_best_plan(result: JointResult) -> None:
    assert list(result.networks) == ["three", "five"]
    for name, layers in LAYERS.items():
        outcome = result.networks[name]
        assert len(outcome.result.episodes) == 4
        assert len(outcome.result.plan.kept) == layers + 1  # the classifier's output is a frozen group
        best = best_episode(outcome.result.episodes)
        assert outcome.result.plan == best.plan
        assert outcome.result.best.val == best.metrics
        for scored in (outcome.result.best, outcome.uniform):
            assert scored.cost.macs <= 0.5 * outcome.result.baseline.cost.macs


def test_the_reward_is_the_share_of_the_uncut_accuracy(result: JointResult) -> None:
    for outcome in result.networks.values():
        uncut = outcome.result.baseline.val.score
        assert [e.reward for e in outcome.result.episodes] == [e.metrics.score / uncut for e in outcome.result.episodes]


def test_finals_are_held_on_every_network(tmp_path: Path) -> None:
    more = [replace(task, val=as_images(images(48, 5))) for task in tasks()]
    for name, outcome in run(tmp_path, tasks=more).networks.items():
        found = outcome.result
        assert [e.metrics.images for e in found.episodes] == [32] * 4
        for scored in (found.baseline, found.best, outcome.uniform):
            assert scored.val.images == 48, name
        best = json.loads((tmp_path / "networks" / name / "summary.json").read_text())["best"]
        assert best["reward"] == found.best.val.score / found.baseline.val.score
        with torch.no_grad():
            hits = sum(int((found.model(x).argmax(1) == y).sum()) for x, y in images(48, 5))
        assert found.best.val.score == hits / 48


def test_a_networks_summary_has_all_that_a_single_searchs_has(whole: Path, tmp_path: Path) -> None:
    (task,) = tasks(three=equal_layers(3))
    given = {"train": images(32, 1), "val": images(32, 2), "test": images(32, 3), "episodes": 2}
    search(task.model, **given, settings=SMALL, run_dir=tmp_path / "single", verbose=False)  # type: ignore[arg-type]
    single, joint = (
        json.loads((f / "summary.json").read_text()) for f in (tmp_path / "single", whole / "networks/three")
    )
    assert set(single) <= set(joint)
    seconds = {key for key in single if key.endswith("_seconds")}
    assert {"cut_seconds", "recovery_seconds", "forward_seconds", "agent_seconds", "finals_seconds"} <= seconds
    assert all(joint[key] >= 0 for key in seconds)


def test_a_recorded_run(recorded: tuple[Path, JointResult]) -> None:
    folder, result = recorded
    assert {"policy", "checkpoint", "summary.json", "config.json", "networks"} <= {p.name for p in folder.iterdir()}
    summary = json.loads((folder / "summary.json").read_text())
    for name, outcome in result.networks.items():
        own = folder / "networks" / name
        names = {p.name for p in own.iterdir()}
        assert {"episodes.csv", "plan.json", "best_plan.png", "config.json", "summary.json", "pruned"} <= names
        row = summary["networks"][name]
        assert row["best"]["val"]["accuracy"] == outcome.result.best.val.score
        assert row["uniform"]["val"]["accuracy"] == outcome.uniform.val.score
        assert json.loads((own / "plan.json").read_text()) == outcome.result.plan.to_json()
        loaded, x = amc.load(own / "pruned", equal_layers(LAYERS[name])), torch.randn(2, 3, 8, 8)
        with torch.no_grad():
            assert torch.equal(loaded(x), outcome.result.model(x))
    policy = read(folder)
    assert policy.trained_on["models"] == ["three", "five"]
    assert set(policy.trained_on["accuracy"]) == {"three", "five"}
    assert policy.layout == "portable"
    assert policy.episodes == 8
    assert str(folder.parent) not in "".join(p.read_text() for p in folder.rglob("*.json"))


class Killed(BaseException):
    """Like a signal: nothing in the project catches it."""


@contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, where: type, method: str, call: int) -> Iterator[None]:
    """The process ends at that call of a method, counted from 1."""
    calls, original = 0, getattr(where, method)

    def counting(self: Any, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed
        return original(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(where, method, counting)
        with pytest.raises(Killed):
            yield


def assert_equal(first: Path, second: Path) -> None:
    assert episodes_of(first) == episodes_of(second)
    for file in ("policy/policy.safetensors", *(f"networks/{name}/plan.json" for name in LAYERS)):
        assert (first / file).read_bytes() == (second / file).read_bytes()


@pytest.mark.slow
def test_more_episodes_by_resume(whole: Path, tmp_path: Path) -> None:
    run(tmp_path, episodes=2)
    run(tmp_path, episodes=4, resume=True)
    assert_equal(tmp_path, whole)


@pytest.mark.slow
# before the first episode counts, in the warm-up, while learning; and between an episode's row and its checkpoint
@pytest.mark.parametrize(
    ("method", "call"), [("save_checkpoint", 1), ("save_checkpoint", 3), ("save_checkpoint", 6), ("write_plan", 2)]
)
def test_a_killed_run_ends_as_if_it_had_not_been(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, call: int
) -> None:
    with killed_at(monkeypatch, NetworkFolder, method, call):
        run(tmp_path)
    assert sum(len(read_episodes(file)) for file in tmp_path.rglob("episodes.csv")) >= 1
    run(tmp_path, resume=True)
    assert_equal(tmp_path, whole)


def test_a_run_goes_on_only_with_the_same_networks(tmp_path: Path) -> None:
    run(tmp_path, episodes=1)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.suffix in (".csv", ".pt")}
    with pytest.raises(AmcError, match="started with models"):
        run(tmp_path, episodes=2, resume=True, tasks=tasks(three=equal_layers(3)))
    with pytest.raises(AmcError, match="weights changed"):
        run(tmp_path, episodes=2, resume=True, tasks=tasks(three=equal_layers(3), five=equal_layers(4)))
    assert before == {p: p.read_bytes() for p in before}


def test_a_policy_for_several_can_see_responses(tmp_path: Path) -> None:
    run(tmp_path, episodes=2, settings=replace(SMALL, observation="response"))
    assert read(tmp_path).features == ("response", "macs")
    assert all((tmp_path / "networks" / name / "responses.json").exists() for name in ("three", "five"))


def test_it_can_start_from_a_policy(whole: Path, tmp_path: Path) -> None:
    result = run(tmp_path, episodes=8, policy=whole, settings=QUICK)  # seven on each are warm-up
    for name, layers in LAYERS.items():
        episodes = result.networks[name].result.episodes
        loaders = {"train": images(32, 1), "val": images(32, 2), "settings": QUICK, "verbose": False}
        walked = [transfer(equal_layers(layers), whole, strengths=(s,), **loaders).plan for s in STRENGTHS[1:]]
        assert [episode.plan for episode in episodes[3:7]] == walked  # behind uniform, shallow and deep
        assert episodes[6].scalars.get("sigma") is None
    assert result.networks["three"].result.episodes[7].scalars["sigma"] == 0.1
    assert read(tmp_path).trained_on["started_from"]["trained_on"]["models"] == ["three", "five"]


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    run(episodes=1, verbose=True)
    out = capsys.readouterr().out
    for text in ("three", "five", "dense", "uniform", "best", "nothing was recorded"):
        assert text in out


def test_wrong_input() -> None:
    with pytest.raises(AmcError, match=r"agent=ppo: can't learn on several.*ddpg, amc, td3, sac"):
        run(agent="ppo")
    with pytest.raises(AmcError, match="observation=amc: means something else"):
        run(settings=replace(SMALL, observation="amc"))
    with pytest.raises(AmcError, match="budget=none"):
        run(budget=None)
    with pytest.raises(AmcError, match="prior=true: sensitivity curves are not measured on several networks"):
        run(settings=replace(SMALL, prior=True))
    with pytest.raises(AmcError, match=r"model=\[same,same\]"):
        run(tasks=[replace(task, name="same") for task in tasks()])
    with pytest.raises(AmcError, match=r"model=\[\]"):
        run(tasks=[])


def test_a_network_that_gets_nothing_right_has_no_share() -> None:
    model = equal_layers(3)
    with torch.no_grad():
        model.fc.weight.zero_()  # type: ignore[union-attr, operator]
        model.fc.bias.copy_(torch.tensor([1.0, 0, 0, 0]))  # type: ignore[union-attr, operator]
    (x, _), *_ = images(32, 2)
    never = DataLoader(TensorDataset(x, torch.ones(len(x), dtype=torch.long)), 16)
    with pytest.raises(AmcError, match="deaf: the dense network gets no validation image right"):
        run(tasks=[Task.make("deaf", model, images(32, 1), never)])
