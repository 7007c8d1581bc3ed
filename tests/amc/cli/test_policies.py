"""Learned policies on the command line: transfer, warm starts, several networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from amc.cli.run import run
from amc.core.files import write_safetensors
from amc.finetune import __main__ as finetune
from amc.models import build
from amc.policies.start import read
from amc.search.__main__ import main_from_config
from amc.tracking import read_episodes
from amc.transfer import __main__ as transfer
from tests.support import commands
from tests.support.small import saved_policy

# One epoch of small networks: baselines that every test shares through the cache.
IMAGES = ["dataset=digits", "training.epochs=1", "device=cpu", "verbose=false"]
AGENT = ["agent.hidden=[8,8]", "agent.warmup_episodes=1"]


pytestmark = pytest.mark.usefixtures("own_folder")


def search(*overrides: str) -> None:
    run("search", main_from_config, [*IMAGES, *overrides])


def transferred(*overrides: str) -> None:
    run("transfer", transfer.main_from_config, [*IMAGES, *overrides])


def refused(capsys: pytest.CaptureFixture[str], command: str, *overrides: str) -> str:
    """The one line that a wrong call prints; it must exit with 2."""
    main = transfer.main_from_config if command == "transfer" else main_from_config
    return commands.refused(capsys, command, main, [*IMAGES, *overrides])


@pytest.mark.slow
def test_a_transferred_plan_can_be_fine_tuned(tmp_path: Path) -> None:
    saved_policy(tmp_path / "policy")
    transferred("policy=policy", "model=resnet32", "budget.keep=0.4", "hydra.run.dir=run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert 0.38 < summary["policy"]["macs"] / summary["uncut"]["macs"] <= 0.4
    assert summary["budget"] == {"cost": "macs", "keep": 0.4, "rule": "project"}
    run("finetune", finetune.main_from_config, ["plan=run", "epochs=1", "verbose=false", "hydra.run.dir=tuned"])
    tuned = json.loads((tmp_path / "tuned" / "summary.json").read_text())
    assert tuned["model"] == "resnet32"
    assert tuned["cut"]["macs"] == summary["policy"]["macs"]


def test_a_warm_started_search(tmp_path: Path) -> None:
    saved_policy(tmp_path / "first" / "policy", agent="td3")
    search("model=resnet20", "policy=first", "episodes=2", "hydra.run.dir=run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["agent"]["name"] == "td3"
    assert (config["agent"]["hidden"], config["agent"]["sigma"]) == ([4, 4], 0.1)
    assert (config["agent"]["warmup"], config["agent"]["warmup_episodes"]) == ("rules", None)
    assert config["observation"] == "portable"
    (tmp_path / "first" / "policy" / "policy.json").unlink()
    run("search", main_from_config, ["resume=run", "episodes=3", "verbose=false"])
    assert read(tmp_path / "run").episodes == 3


@pytest.mark.parametrize(("given", "expected"), [((), "response"), (("observation=portable",), "refused")])
def test_a_search_over_several_networks_sees_what_the_policy_sees(
    given: tuple[str, ...], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved_policy(tmp_path / "policy", observation="response", measured={"response": {"0": 1.0, "1": 1.0}})
    seen: list[Any] = []
    command = ["model=[resnet20,resnet32]", "policy=policy", "hydra.run.dir=run", *given]
    if expected == "refused":
        with pytest.raises(SystemExit):
            run("search", lambda config, folder: seen.append(config), command)
        assert "observation=portable: the policy policy has observation=response" in capsys.readouterr().err
    else:
        run("search", lambda config, folder: seen.append(config), command)
        (config,) = seen
        assert (config.observation, config.reward.name, config.agent.warmup_episodes) == (expected, "accuracy", None)
        assert [network.name for network in config.networks] == ["resnet20", "resnet32"]


def test_what_is_set_goes_before_the_policys(tmp_path: Path) -> None:
    saved_policy(tmp_path / "policy")
    search("model=resnet20", "policy=policy", "agent.warmup_episodes=1", "episodes=1", "hydra.run.dir=run")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["agent"]["warmup_episodes"] == 1


@pytest.mark.slow
def test_several_networks(tmp_path: Path) -> None:
    search("model=[resnet20,resnet32]", *AGENT, "episodes=1", "hydra.run.dir=run")
    run("search", main_from_config, ["resume=run", "model=[resnet20,resnet32]", "episodes=2", "verbose=false"])
    for name in ("resnet20", "resnet32"):
        assert len(read_episodes(tmp_path / "run" / "networks" / name / "episodes.csv")) == 2
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["models"] == list(summary["networks"]) == ["resnet20", "resnet32"]
    tuned = ["plan=run/networks/resnet32", "epochs=1", "verbose=false", "hydra.run.dir=tuned"]
    run("finetune", finetune.main_from_config, tuned)
    assert json.loads((tmp_path / "tuned" / "summary.json").read_text())["model"] == "resnet32"


@pytest.mark.slow
def test_several_networks_with_weights(tmp_path: Path) -> None:
    model = build("amc.models.cifar_resnet.resnet32", 10, (3, 8, 8))
    write_safetensors(tmp_path / "weights.safetensors", model.state_dict())
    given = "checkpoints=[null,weights.safetensors]"
    search("model=[resnet20,resnet32]", given, *AGENT, "episodes=1", "hydra.run.dir=run")
    summaries = [
        json.loads((tmp_path / "run" / "networks" / name / "summary.json").read_text())
        for name in ("resnet20", "resnet32")
    ]
    assert "baseline resnet20-digits" in summaries[0]["weights"]
    assert summaries[1]["weights"] == "checkpoint weights.safetensors"


def test_the_groups_of_several_networks(capsys: pytest.CaptureFixture[str]) -> None:
    search("model=[resnet20,torchvision.models.resnet18]", "dry_run=true")
    assert capsys.readouterr().out.count("layer groups") == 2


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["policy=null"], "policy: not given"),
        (["policy=nowhere"], "policy=nowhere: "),
        (["policy=prior"], "prior 'sensitivity'"),
        (["policy=damaged"], "cut off or altered"),
        (["policy=newer"], "version 99"),
        (["policy=good", "model=resnet51"], "model=resnet51: unknown"),
        (["policy=good", "budget.keep=0.001"], "smallest reachable value"),
        (["policy=good", "budget.rule=hope"], "budget.rule=hope"),
        (["policy=good", "episodes=3"], "episodes"),
        (["policy=good", "model=[resnet20,resnet32]"], "only amc.search takes several"),
        (["policy=good", "resume=run"], "amc.transfer can't go on"),
    ],
)
def test_wrong_transfers(overrides: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policies(tmp_path)
    assert says in refused(capsys, "transfer", "model=resnet20", *overrides)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["policy=nowhere"], "policy=nowhere: "),
        (["policy=damaged"], "cut off or altered"),
        (["policy=good", "agent=td3"], "agent=td3: the policy good has agent=ddpg"),
        (["policy=good", "observation=amc"], "observation=amc: the policy good has observation=portable"),
        (["policy=good", "agent.hidden=[5,5]"], "agent.hidden=[4, 4]"),
        (["model=[resnet20,resnet20]"], "each of another name"),
        (["model=[resnet20,resnet51]"], "model=resnet51: unknown"),
        (["model=[resnet20,resnet32]", "observation=amc"], "need observation=portable"),
        (["model=[resnet20,resnet32]", "reward=error_log_flops"], "reward=error_log_flops"),
        (["model=[resnet20,resnet32]", "budget=none"], "budget=none"),
        (["model=[resnet20,resnet32]", "agent=random"], "agent=random: can't learn on several"),
        (["model=[resnet20,resnet32]", "model.stem=small"], "model.stem: belongs to one network"),
        (["model=[resnet20,resnet32]", "checkpoints=[a.pt]"], "checkpoints: 1 for 2 networks"),
        (["model=[resnet20,resnet32]", "checkpoints=[null,nowhere.pt]"], "nowhere.pt"),
        (["model=resnet20", "checkpoints=[a.pt]"], "give model.checkpoint for one"),
    ],
)
def test_wrong_searches(overrides: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policies(tmp_path)
    model = [] if any(o.startswith("model=") for o in overrides) else ["model=resnet20"]
    assert says in refused(capsys, "search", *model, *overrides)


def policies(folder: Path) -> None:
    """A good one, and others that aren't."""
    for name in ("good", "damaged", "newer"):
        saved_policy(folder / name)
    saved_policy(folder / "prior", prior={"0": 0.5, "1": 0.5})
    (folder / "damaged" / "policy.safetensors").write_bytes(b"short")
    content = json.loads((folder / "newer" / "policy.json").read_text())
    content["observation"]["version"] = 99
    (folder / "newer" / "policy.json").write_text(json.dumps(content))
