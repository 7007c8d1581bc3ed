"""Learned policies on networks that they have not seen."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import amc
from amc.core.errors import AmcError
from amc.policies.plans import STRENGTHS, walks
from amc.pruning.counting import count_macs
from amc.task.settings import Settings
from amc.transfer.result import TransferResult
from amc.transfer.run import transfer
from tests.support.small import QUICK, equal_layers, images, known_policy, noise_problem, saved_policy

PROJECTED = replace(QUICK, rule="project")


def run(policy: Any, **arguments: Any) -> TransferResult:
    given = {"train": images(32, 1), "val": images(32, 2), "test": images(32, 3), "settings": PROJECTED}
    given |= {"verbose": False, "strengths": (1.0,)}
    return transfer(arguments.pop("model", equal_layers(4)), policy, **{**given, **arguments})


def test_a_policy_of_one_action_gives_the_uniform_plan() -> None:
    result = run(known_policy(start=0.3))
    assert result.policy.cost == replace(result.uniform.cost, latency_ms=result.policy.cost.latency_ms)
    assert result.policy.val == result.uniform.val
    # alike but for rounding: the budget's rest goes to some layers as one more channel
    assert set(list(result.plan.keep_ratios().values())[:-1]) <= {5 / 8, 6 / 8}
    assert 0.44 < result.policy.cost.macs / result.uncut.cost.macs <= 0.5


def test_a_policy_that_prunes_the_first_layers_does_so_on_a_deeper_network() -> None:
    for layers in (3, 6):
        result = run(known_policy(slope=3.0, start=-1.5), model=equal_layers(layers, 16))
        ratios = list(result.plan.keep_ratios().values())[:-1]  # the last group is the classifier's output
        assert ratios == sorted(ratios)
        assert ratios[-1] - ratios[0] > 0.3


def test_weaker_policies_lie_between_the_uniform_plan_and_the_policys() -> None:
    problem = noise_problem(equal_layers(4, 64), PROJECTED)
    plans = walks(known_policy(slope=3.0, start=-1.5), problem, STRENGTHS)
    first, last = ([list(plans[s].keep_ratios().values())[i] for s in STRENGTHS] for i in (0, 3))
    assert first == sorted(first, reverse=True)
    assert last == sorted(last)
    assert len(set(first)) == len(set(last)) == 5
    assert plans[0.0] == problem.uniform_plan()
    assert plans[1.0] == run(known_policy(slope=3.0, start=-1.5), model=equal_layers(4, 64)).plan


def test_the_best_strength_on_the_validation_images_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(known_policy(slope=3.0, start=-1.5), strengths=STRENGTHS, strength_by="accuracy", verbose=True)
    assert list(result.tried) == list(STRENGTHS)
    assert result.policy.val.score == result.tried[result.strength] == max(result.tried.values())
    assert result.tried[0.0] == result.uniform.val.score
    alone = run(known_policy(slope=3.0, start=-1.5), strengths=(result.strength,))
    assert alone.plan == result.plan
    assert f"taken: {result.strength:g}" in capsys.readouterr().out


def test_a_strength_can_be_chosen_without_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy, train = known_policy(slope=3.0, start=-1.5), images(32, 1)
    result = run(policy, strengths=STRENGTHS, run_dir=tmp_path, verbose=True)
    model = equal_layers(4)
    with torch.no_grad():
        x = torch.cat([x for x, _ in train])
        for strength, divergence in result.tried.items():
            cut = run(policy, strengths=(strength,)).model
            logs = (cut(x).log_softmax(1), model(x).log_softmax(1))
            expected = torch.nn.functional.kl_div(*logs, log_target=True, reduction="batchmean")
            assert divergence == pytest.approx(float(expected), rel=1e-3)
    assert list(result.tried) == list(STRENGTHS)
    assert result.tried[result.strength] == min(result.tried.values())
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["strength_by"] == result.strength_by == "divergence"
    assert summary["strengths"] == {f"{s:g}": d for s, d in result.tried.items()}
    assert f"taken: {result.strength:g}" in capsys.readouterr().out
    other = run(policy, strengths=STRENGTHS, val=images(32, 4), test=None)
    shuffled = [(x, (y + 1) % 4) for x, y in train]  # other labels, other validation images
    again = run(policy, strengths=STRENGTHS, train=shuffled)
    assert other.tried == again.tried == result.tried


def test_outputs_that_are_no_numbers_choose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amc.evaluation.readout.Readout.distance", lambda self, dense, now: float("nan"))
    with pytest.raises(AmcError, match="strength 1: the outputs are no numbers; try another recovery"):
        run(known_policy())


def test_without_a_budget_a_policy_is_played_as_it_is() -> None:
    assert list(run(known_policy(), strengths=STRENGTHS, budget=None).tried) == [1.0]


def test_precisions_are_compared_only_if_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bool] = []
    monkeypatch.setattr("amc.evaluation.evaluator.has_fast_bf16", lambda device: True)
    monkeypatch.setattr("amc.evaluation.evaluator.Evaluator._bf16_agrees", lambda self, probes: compared.append(True))
    run(known_policy(start=0.3), settings=None)
    assert not compared
    run(known_policy(start=0.3), settings=Settings(images=32, calibration_images=32))
    assert compared == [True]


def test_the_returned_network_is_the_plans() -> None:
    model = equal_layers(4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = run(known_policy(slope=2.0), model=model)
    example = torch.zeros(1, 3, 8, 8)
    assert count_macs(result.model, example) == result.policy.cost.macs <= 0.5 * count_macs(model, example)
    assert result.policy.test is not None
    with torch.no_grad():
        hits = sum(int((result.model(x).argmax(1) == y).sum()) for x, y in images(32, 3))
    assert result.policy.test.score == hits / 32
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())


def test_actions_mean_the_keep_ratios_of_the_training() -> None:
    # action ½ with min_keep=0.5 is the keep ratio 0.75: 6 of 8 channels, although min_keep is 0.1 now
    result = run(known_policy(min_keep=0.5), budget=None)
    assert list(result.plan.keep_ratios().values())[:-1] == [0.75] * 4
    assert list(run(known_policy(min_keep=0.1), budget=None).plan.keep_ratios().values())[:-1] == [0.5] * 4  # 0.55


def test_the_budget_can_clip_instead() -> None:
    result = run(known_policy(start=3.0), settings=replace(QUICK, rule="clip"))
    ratios = list(result.plan.keep_ratios().values())[:-1]
    assert ratios[0] == 1.0 > ratios[-1]  # Algorithm 1: the last layers pay
    assert result.policy.cost.macs <= 0.5 * result.uncut.cost.macs


def test_a_recorded_run(tmp_path: Path) -> None:
    saved_policy(tmp_path / "search" / "policy")
    for i, path in enumerate(("search", "search/policy")):  # the run or its policy
        result = run(tmp_path / path, run_dir=tmp_path / str(i), facts={"model": "own"})
    folder = tmp_path / "1"
    names = {p.name for p in folder.iterdir()}
    assert {"plan.json", "summary.json", "config.json", "best_plan.png", "pruned"} <= names
    assert (folder / "plan.json").read_bytes() == (tmp_path / "0" / "plan.json").read_bytes()
    summary = json.loads((folder / "summary.json").read_text())
    assert [summary[k]["macs"] for k in ("uncut", "uniform", "policy")] == [
        s.cost.macs for s in (result.uncut, result.uniform, result.policy)
    ]
    assert summary["learned"]["agent"] == "ddpg"
    assert str(tmp_path) not in "".join(p.read_text() for p in folder.glob("*.json"))
    loaded = amc.load(folder / "pruned", equal_layers(4))
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(loaded(x), result.model(x))
    with pytest.raises(AmcError, match="holds a run already"):
        run(tmp_path / "search", run_dir=folder)


def test_a_policy_scaled_to_its_network_is_allowed_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        run(known_policy(layout="amc"))
    assert "'portable' is meant for new ones" in caplog.text
    caplog.clear()
    run(known_policy())
    assert not caplog.text


def test_the_table_has_a_column_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    run(known_policy(), verbose=True)
    out = capsys.readouterr().out
    for text in ("dense", "uniform", "policy", "validation accuracy", "test accuracy", "parameters", "latency"):
        assert text in out


def test_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(AmcError, match=r"version 99 of the observation 'portable'.*train again"):
        run(known_policy(layout_version=99))
    with pytest.raises(AmcError, match="observation=oracle: unknown"):
        run(known_policy(layout="oracle"))
    with pytest.raises(AmcError, match=r"no policy, policy\.json: No such file"):
        run(tmp_path)
    prior = {str(i): 0.5 for i in range(2)}
    with pytest.raises(AmcError, match="prior 'sensitivity'"):
        run(saved_policy(tmp_path / "p", prior=prior))
    with pytest.raises(AmcError, match="smallest reachable value"):
        run(known_policy(), budget=0.001)
    for wrong in (-0.1, 2.5, True, "strong"):
        with pytest.raises(
            AmcError, match=rf"strengths={str(wrong).replace('True', 'true')}: give a number in \[0, 2\]"
        ):
            run(known_policy(), strengths=(1.0, wrong))
    with pytest.raises(AmcError, match=r"strengths=\[\]: give one or more"):
        run(known_policy(), strengths=())
    with pytest.raises(AmcError, match="recovery=magic"):
        run(known_policy(), recovery="magic")
    with pytest.raises(AmcError, match="strength_by=luck: unknown; give one of divergence, accuracy"):
        run(known_policy(), strength_by="luck")
