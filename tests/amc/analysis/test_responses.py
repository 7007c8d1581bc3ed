"""How the outputs respond to each group's cut, and what a search, a transfer and several networks make of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from amc.analysis.responses import measure_responses
from amc.core.errors import AmcError
from amc.pruning.counting import count_macs
from amc.search.joint import search_jointly
from amc.search.run import search
from amc.search.settings import check_agent
from amc.task.problem import Problem
from amc.task.settings import Settings
from amc.task.task import Task
from amc.tracking.once import measured_once
from amc.transfer.run import transfer
from tests.support.small import QUICK, equal_layers, images, noise_problem

SEEING = replace(QUICK, rule="project", observation="response", agent={"hidden": [8, 8], "warmup_episodes": 5})


def problem(recovery: str = "none", settings: Settings = QUICK, width: int = 8) -> Problem:
    return noise_problem(equal_layers(4, width), settings, recovery=recovery)


def run(width: int = 8, **arguments: Any) -> Any:
    given = {"train": images(32, 1), "val": images(32, 2), "settings": SEEING, "episodes": 7, "verbose": False}
    return search(equal_layers(4, width), **{**given, **arguments})


def test_a_response_is_what_masking_the_group_does() -> None:
    own = problem()
    found = measure_responses(own)
    norms = [m for m in own.network.model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(found) == len(norms) == 4
    x = own.task.train.normalised()
    with torch.no_grad():
        uncut = own.network.model(x).log_softmax(1)
        for norm, (name, response) in zip(norms, found.items(), strict=True):
            weak = own.evaluator.pruner.ranking[name][2:].copy()  # all but a quarter of 8 channels
            kept = norm.weight[weak].clone(), norm.bias[weak].clone()
            norm.weight[weak] = norm.bias[weak] = 0  # behind the rectifier they are 0, then
            change = own.network.model(x).log_softmax(1) - uncut
            norm.weight[weak], norm.bias[weak] = kept
            assert response == pytest.approx(float(change.square().mean().sqrt()), rel=1e-4)


def test_where_nothing_reaches_the_outputs_responses_are_smallest() -> None:
    own = problem()
    with torch.no_grad():
        own.network.model.fc.weight.zero_()  # type: ignore[union-attr, operator]
    assert set(measure_responses(own).values()) == {1e-6}


def test_outputs_that_are_no_numbers_are_refused() -> None:
    own = problem()
    with torch.no_grad():
        own.network.model.fc.bias[0] = float("nan")  # type: ignore[union-attr, index, operator]
    with pytest.raises(AmcError, match="outputs of the network: NaN or infinite; check the weights"):
        measure_responses(own)


def test_a_cut_that_makes_them_no_numbers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    own = problem()
    nan = torch.tensor(float("nan"))
    monkeypatch.setattr("amc.analysis.divergence.PrefixCache.lend", lambda self, small: small.fc.bias.data.fill_(nan))
    with pytest.raises(AmcError, match=r"group features\.0\.0: cut to 2 channels, the outputs are no numbers; try an"):
        measure_responses(own)


def test_what_a_run_measured_that_was_killed_before_its_first_episode_is_measured_again(tmp_path: Path) -> None:
    run(run_dir=tmp_path / "whole")
    part, killed = tmp_path / "part", {g.name: 2.5 for g in problem().network.groups if g.frozen is None}

    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("amc.search.joint.make_agent", kill)
        with pytest.raises(KeyboardInterrupt):
            run(run_dir=part)
    (part / "responses.json").write_text(json.dumps(killed))
    run(run_dir=part, resume=True)
    assert (part / "responses.json").read_text() == (tmp_path / "whole" / "responses.json").read_text()


def test_the_rule_takes_one_evaluation_and_keeps_what_responds() -> None:
    result = run(64, agent="response", settings=replace(QUICK, rule="project"))
    assert len(result.episodes) == 1
    responses = problem("least_squares", replace(QUICK, responses=True), 64).measured["response"]
    ratios = np.array([result.plan.keep_ratios()[name] for name in sorted(responses, key=lambda n: responses[n])])
    assert (np.diff(ratios) >= -1 / 64).all()  # the budget's rest goes to some as one more channel
    assert ratios[0] < ratios[-1]
    assert result.best.cost.macs <= 0.5 * result.baseline.cost.macs


def test_a_warm_up_by_rules_plays_the_rules_plan_if_it_was_asked_for() -> None:
    projected = replace(QUICK, rule="project")
    wanted = run(agent="response", settings=projected).plan
    warming = replace(projected, agent={"hidden": [8, 8], "warmup_episodes": 5})
    with_it, without = (run(settings=replace(warming, responses=chosen)) for chosen in (True, "auto"))
    assert with_it.episodes[3].plan == wanted  # behind uniform, shallow and deep
    assert wanted not in [episode.plan for episode in without.episodes[:3]]


def test_a_search_from_a_policy_plays_all_rules_and_all_strengths(tmp_path: Path) -> None:
    run(run_dir=tmp_path / "first", settings=replace(QUICK, agent={"hidden": [8, 8], "warmup_episodes": 2}))
    rich = replace(QUICK, responses=True, curves=True)
    warm = run(run_dir=tmp_path / "warm", policy=tmp_path / "first", settings=rich, episodes=11)
    walked = transfer(
        equal_layers(4), tmp_path / "first", strengths=(1.0,), train=images(32, 1), val=images(32, 2), settings=QUICK,
        verbose=False,
    )  # fmt: skip
    # uniform, shallow, deep, response, threshold, size-aware and four strengths
    assert warm.episodes[9].plan == walked.plan
    assert [episode.scalars.get("sigma") for episode in warm.episodes[9:]] == [None, 0.1]


def test_a_search_from_a_policy_that_sees_responses_begins_with_their_rule(tmp_path: Path) -> None:
    run(run_dir=tmp_path / "first")
    warm = run(
        run_dir=tmp_path / "warm", policy=tmp_path / "first", settings=replace(QUICK, observation="amc"), episodes=9
    )
    assert warm.episodes[3].plan == run(agent="response", settings=replace(QUICK, rule="project")).plan
    assert [episode.scalars.get("sigma") for episode in warm.episodes[7:]] == [None, 0.1]  # after four strengths


def test_they_are_measured_only_where_something_needs_them() -> None:
    for what, other in (("response", "price"), ("price", "response")):
        never: dict[str, Any] = {f"{what}s": False}
        always: dict[str, Any] = {f"{what}s": True}
        seen: dict[str, Any] = {"observation": what}
        for agent in ("uniform", "cma_es", "ddpg", other, None):
            assert not Settings().needs(what, agent)
        assert not Settings(**never).needs(what, what)
        assert Settings().needs(what, what)
        assert Settings(**always).needs(what, "ddpg")
        assert Settings(agent={"start": what}).needs(what, "cma_es")
        assert Settings(**seen).needs(what, None)
        with pytest.raises(AmcError, match=f"observation={what}: is made of the {what}s"):
            Settings(**never, **seen)
        with pytest.raises(AmcError, match=f"{what}s=false: the heuristic '{what}' is made of the {what}s"):
            run(agent=what, settings=replace(QUICK, **never))


@pytest.mark.parametrize("what", ["response", "price"])
def test_a_search_that_goes_on_keeps_what_it_measured(what: Any, tmp_path: Path) -> None:
    seeing: dict[str, Any] = {"settings": replace(SEEING, observation=what)}
    whole = run(run_dir=tmp_path / "whole", **seeing)
    file = tmp_path / "part" / f"{what}s.json"
    run(run_dir=tmp_path / "part", episodes=4, **seeing)
    assert json.loads(file.read_text()) == json.loads((tmp_path / "whole" / file.name).read_text())
    gone_on = run(run_dir=tmp_path / "part", resume=True, **seeing)
    assert [e.plan for e in gone_on.episodes] == [e.plan for e in whole.episodes]
    file.write_text(file.read_text().replace(": ", ": -"))
    with pytest.raises(AmcError, match=rf"{what}s\.json: is not what the run's checkpoint was written with"):
        run(run_dir=tmp_path / "part", episodes=8, resume=True, **seeing)


def test_stored_responses_are_not_measured_again(tmp_path: Path) -> None:
    own, file = problem(), tmp_path / "responses.json"
    names = [g.name for g in own.network.groups if g.frozen is None]
    file.write_text(json.dumps(dict.fromkeys(names, 2.5)))
    assert measured_once(names, file, "response", dict) == dict.fromkeys(names, 2.5)


def test_a_policy_that_sees_responses_walks_on_another_network(tmp_path: Path) -> None:
    run(run_dir=tmp_path)
    policy = json.loads((tmp_path / "policy" / "policy.json").read_text())
    assert policy["observation"]["features"] == ["response", "macs"]
    given = {"train": images(32, 1), "val": images(32, 2), "settings": QUICK, "verbose": False}
    result = transfer(equal_layers(6), tmp_path, **given)  # type: ignore[arg-type]
    assert result.policy.cost.macs <= 0.5 * result.uncut.cost.macs
    assert set(result.tried) == {0, 0.25, 0.5, 0.75, 1}


@pytest.mark.parametrize(
    ("agent", "settings", "message"),
    [
        ("response", {"responses": False}, "responses=false: the heuristic 'response' is made of the responses"),
        ("cma_es", {"responses": False, "agent": {"start": "response"}}, "responses=false: the heuristic 'response'"),
        (
            "price",
            {"prices": False},
            "prices=false: the heuristic 'price' is made of the prices; give prices=auto or true",
        ),
        (
            "threshold",
            {"curves": False},
            "curves=false: the heuristic 'threshold' is made of the sensitivity curves; give",
        ),
        (
            "cma_es",
            {"curves": False, "agent": {"start": "size_aware"}},
            "curves=false: the heuristic 'size_aware' is made",
        ),
    ],
)
def test_what_is_not_measured_can_not_be_played(agent: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AmcError, match=message):
        check_agent(Settings(**settings), agent)
    check_agent(Settings(**{**settings, "curves": "auto", "responses": "auto", "prices": "auto"}), agent)


@pytest.mark.parametrize(
    ("agent", "own", "message"),
    [
        (
            "cma_es",
            {"start": "magic"},
            "agent.start=magic: unknown; give one of uniform, shallow, deep, response, price, thresh",
        ),
        ("ddpg", {"start": "deep"}, "agent.start: ddpg has no such setting; it has"),
        ("ddpg", {"sigma": -1}, "agent.sigma=-1: give a value of 0 or more"),
    ],
)
def test_an_agents_settings_are_refused_before_anything_is_measured(
    agent: str, own: dict[str, Any], message: str
) -> None:
    with pytest.raises(AmcError, match=message):
        check_agent(Settings(agent=own), agent)


def test_a_search_refuses_them_before_it_looks_at_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_reached(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("amc.search.joint.NetworkSearch", not_reached)
    settings = replace(SEEING, agent={"sigma": -1})
    with pytest.raises(AmcError, match=r"agent\.sigma=-1"):
        run(settings=settings)
    with pytest.raises(AmcError, match=r"agent\.sigma=-1"):
        search_jointly([Task.make("four", equal_layers(4), images(32, 1), images(32, 2))], settings=settings)


def test_the_curves_of_a_start_are_measured() -> None:
    settings = replace(QUICK, rule="project")
    wanted = run(agent="threshold", settings=settings, episodes=1).plan
    begun = run(agent="cma_es", settings=replace(settings, agent={"start": "threshold"}), episodes=1)
    assert begun.plan == wanted
    assert wanted != run(agent="uniform", settings=settings, episodes=1).plan


def test_responses_are_measured_without_the_shared_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    own = noise_problem(equal_layers(8), images_each=(256, 32))

    def flops() -> int:
        with FlopCounterMode(display=False) as counted:
            measure_responses(own)
        return int(counted.get_total_flops())

    shared = flops()
    monkeypatch.setattr("amc.evaluation.prefix_cache.PrefixCache.lend", lambda self, other: False)
    dense = 2 * 256 * count_macs(own.network.model, own.task.train.take(1).normalised())
    # Of eight layers each skips those before its own, 3.5 passes in all; remembering and trying out cost some.
    assert 1.5 * dense < flops() - shared < 3.5 * dense


def test_a_refused_run_leaves_nothing_for_the_next_one(tmp_path: Path) -> None:
    def refused(*_: object) -> None:
        assert (tmp_path / "responses.json").exists()
        raise AmcError("full disk")

    with pytest.raises(AmcError, match="full disk"):
        run(run_dir=tmp_path, reward=refused)
    assert not (tmp_path / "responses.json").exists()
    run(run_dir=tmp_path)


def test_what_is_not_measured_need_not_be() -> None:
    check_agent(Settings(responses=False, curves=False), "uniform")
