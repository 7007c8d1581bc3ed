"""Every command's schema: what can't be is one line, whatever the setting; what can be passes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from amc.cli.jobs import jobs
from amc.cli.overrides import _named_callables, _several_networks
from amc.core.conf import config_folder
from amc.core.errors import AmcError
from tests.support.configs import ENTRIES, GIVEN, WRONG, changed, composed, leaves, needed, sections, without

# The settings that can have a value of ``WRONG`` after all. Anything else must be refused.
FLAGS = re.compile(
    r"verbose|dry_run|prior|prune_residual|prune_depth|uniform_per_axis|curves|responses|prices|evaluate\.early_stop"
    r"|(training|finetuning)\.bf16|dataset\.(binary|difficult|standardise)"
)
TEXTS = re.compile(
    r"(model|reward)\.name|model\.checkpoint|dataset\.(root|path|tokenizer|targets?|\w+_column)|cache_dir|resume"
    r"|task\.output"
)
NULLS = re.compile(
    r"model\.checkpoint|cache_dir|resume|trust|policy|constraints|rule|accuracy_drop|finals_recovery|evaluate\.images|network"
    r"|training\.\w+|finetuning\.\w+|dataset\.(root|train_images|val_images|test_images|image_size|mean|std)"
    r"|dataset\.(path|train_examples|val_examples|test_examples|num_classes|tokenizer|targets?)"
    r"|task\.(metric|loss|output)|recovery\.positions|agent\.(population|spread|keep_ratio|steps|warmup_episodes)"
)
EMPTY_LISTS = re.compile(r"freeze|trust|stages|networks|checkpoints|dataset\.drop")
ALLOWED = [
    (FLAGS, {"true"}),
    (TEXTS, {"text", "number as text"}),
    (NULLS, {"null"}),
    (EMPTY_LISTS, {"empty list"}),
    (re.compile(r"constraints"), {"empty section"}),
    (re.compile(r"budget\.channel_round|(task\.metric_|dataset\.)arguments"), {"section", "empty section"}),
    (re.compile(r"agent\.ent_coef"), {"number as text"}),
]


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def error_of(command: str, config: dict[str, Any]) -> str | None:
    """The line that a configuration is refused with; ``None`` if it isn't."""
    try:
        ENTRIES[command].check(config)
    except AmcError as error:
        return str(error)
    return None


def allowed(config: dict[str, Any], path: tuple[str, ...], what: str) -> bool:
    name = ".".join(path)
    if name in ("policy", "plan") and "dry_run" not in config:
        return False  # what the command is about
    if name == "agent.ent_coef" and config["agent"]["name"] != "sac":
        return False
    if name == "training.name" or (name == "agent.warmup_episodes" and config["agent"].get("warmup") == "random"):
        return False
    if name in ("budget.keep", "agent.keep_ratio") and what == "null":
        return config["budget"]["name"] == "none" or name == "agent.keep_ratio"
    return any(pattern.fullmatch(name) and what in values for pattern, values in ALLOWED)


def try_all(command: str, config: dict[str, Any], below: str = "") -> int:
    """Puts every wrong value in place of every setting below ``below``; how many were tried."""
    assert error_of(command, config) is None
    tried, differ = 0, []
    for path in leaves(config):
        if below and path[0] != below:
            continue
        for what, value in WRONG.items():
            error = error_of(command, changed(config, path, value))
            one_line = error is None or ("\n" not in error and len(error) < 1200)
            if (error is None) != allowed(config, path, what) or not one_line:
                differ.append(f"{command}: {'.'.join(path)}={value!r}: {error}")
            tried += 1
    assert differ == []
    return tried


@pytest.fixture(params=[name for name in ENTRIES if name != "export"])
def command(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def config(command: str, tmp_path: Path) -> dict[str, Any]:
    return composed(command, "model=mobilenet_v1", *needed(command, tmp_path))


def test_every_setting_refuses_what_it_cannot_be(command: str, config: dict[str, Any]) -> None:
    assert try_all(command, config) >= 400


def test_settings_of_an_export(saved: tuple[Path, nn.Module]) -> None:
    assert try_all("export", composed("export", f"run={saved[0]}")) == 4 * len(WRONG)


PACKAGES = {"timm": "timm", "hf": "transformers"}  # that networks come from
CHOICES = [
    ("finetune" if group == "regulariser" else "search", group, path.stem)
    for group in ("agent", "budget", "dataset", "importance", "model", "recovery", "regulariser", "reward", "training")
    for path in sorted((config_folder() / group).glob("*.yaml"))
]


@pytest.mark.parametrize(("command", "group", "name"), CHOICES)
def test_every_choice_refuses_what_it_cannot_be(command: str, group: str, name: str, tmp_path: Path) -> None:
    if group == "model":
        pytest.importorskip(PACKAGES.get(name, "torch"))
    more = GIVEN.get((group, name), [])
    assert try_all(command, composed(command, f"{group}={name}", *more, *needed(command, tmp_path)), group) > 0


def test_sections_are_sections_with_all_their_settings_and_no_others(command: str, config: dict[str, Any]) -> None:
    for path in sections(config):
        name = ".".join(path)
        for value in (7, None, "x", [1], True):
            assert error_of(command, changed(config, path, value)) is not None, (name, value)
        if name == "task.metric_arguments":  # what a metric takes is its own
            continue
        error = error_of(command, changed(config, (*path, "nope"), 1))
        assert error is not None, name
        assert ("nope=1" if name == "reward" else f"{name}.nope: ") in error
    for path in [*sections(config), *leaves(config)]:
        if path != ("model", "net", "width"):  # an argument with a default
            error = error_of(command, without(config, path))
            assert error is not None, path
            assert path[-1] in error
    assert (error_of(command, {**config, "nope": 1}) or "").startswith("nope: unknown; ")
    assert "did you mean seed?" in (error_of(command, {**config, "sede": 1}) or "")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["agent=random", "+agent.sigma=1"], "agent.sigma: agent=random has no such setting; give one of name, spread"),
        (["+agent.sigm=1"], "agent.sigm: agent=ddpg has no such setting; did you mean sigma? "),
        (["budget=none", "budget.keep=0.5"], "budget.keep=0.5: contradicts budget=none"),
        (["budget.keep=null"], "budget.keep=null: budget=macs sets a limit"),
        (["model=resnet20", "model.pretrained=true"], "model.pretrained=true: resnet20 has no trained weights"),
        (["model=resnet18", "model.pretrained=true"], "dataset has 10"),
        (["model=resnet18", "+model.net.nope=1"], "model.net.nope: torchvision.models.resnet18 has no such setting"),
        (["model=resnet18", "+model.net.zero_init_residual=maybe"], "model.net.zero_init_residual=maybe"),
        (["reward=custom", "reward.name=x", "reward._target_=math.isnan"], "can't be called with (metrics, cost"),
        (["+reward.nope=1"], "reward=amc.rewards.error_log_flops: can't be called"),
        (["reward=custom", "reward.name=x", "reward._target_=torch.nn.Linear"], "is no function"),
        (["device=cpu:7"], "device=cpu:7"),
        (["device=1"], "device=1"),
        (["freeze=conv1"], "freeze=conv1: give a list, such as freeze=[conv1]"),
        (["model.checkpoint=[a.pt]"], "model.checkpoint=['a.pt']: give a file, or null"),
        (["networks=[1]"], "networks=1: is a section"),
        (["seed=9223372036854775808"], "seed=9223372036854775808"),
        (["training.lr=inf"], "training.lr=inf"),
        (["dataset=digits", "+dataset.root=x"], "dataset.root: dataset=digits has no such setting"),
        (["evaluate.early_stop=true", "budget=none"], "judges plans by accuracy alone"),
        (["model.name=../../x"], "model.name=../../x: give a name"),
        (["agent.hidden=[1000000,1000000]"], "none above 4096"),
    ],
)
def test_what_is_said(overrides: list[str], says: str) -> None:
    assert says in (error_of("search", composed("search", *overrides)) or "accepted")


def test_recipes_are_valid() -> None:
    for path in (config_folder() / "experiment").glob("*.yaml"):
        assert error_of("search", composed("search", f"experiment={path.stem}")) is None


@pytest.mark.parametrize(
    ("command", "overrides"),
    [
        ("search", ["model.stem=small", "seed=9223372036854775807"]),
        ("search", ["freeze=[conv1,'layer1.*']", "finals_recovery=sequential", "prior=true", "episodes=1"]),
        ("search", ["constraints={layer1.*: {min_keep: 0.5, channel_round: 8}}", "budget.channel_round={conv*: 4}"]),
        ("search", ["agent=sac", "agent.ent_coef=0.2"]),
        ("search", ["agent=cma_es", "agent.start=price", "agent.population=8"]),
        ("search", ["agent.warmup_episodes=null", "evaluate.images=null", "observation=price"]),
        ("search", ["agent=uniform", "agent.keep_ratio=0.5", "budget=none", "evaluate.early_stop=false"]),
        ("search", ["model=resnet18", "+model.net.zero_init_residual=false"]),
        ("search", ["model=torchvision", "model.name=x", "model.net._target_=torchvision.models.mobilenet_v2",
                    "+model.net.width_mult=0.5", "+model.net.dropout=0"]),
        ("search", ["dataset=imagefolder", "dataset.root=x", "dataset.mean=[-0.5,0,1]", "dataset.std=[1,1,1]"]),
        ("search", ["dataset=imagenet", "model.pretrained=true"]),
        ("sensitivity", ["rule=threshold", "accuracy_drop=0.01", "interactions.pairs=20"]),
        ("transfer", ["strengths=[0,1]", "strength_by=accuracy", "budget.rule=clip"]),
        ("finetune", ["schedule=iterative", "stages=[0.8,0.65]", "regulariser=group_lasso", "finetuning.bf16=false"]),
        ("train", ["training.lr=1", "training.bf16=true", "training.schedule=cosine"]),
    ],
)  # fmt: skip
def test_what_can_be_passes(command: str, overrides: list[str], tmp_path: Path) -> None:
    assert error_of(command, composed(command, *overrides, *needed(command, tmp_path))) is None


REPO = Path(__file__).resolve().parents[3]
PAGES = [REPO / "README.md", *sorted((REPO / "docs").rglob("*.md"))]
DOCUMENTED = re.compile(r"python -m amc\.(\w+)([^`\n#]*)")
# Folders and packages that a reader has.
GIVEN_HERE = ("policy=", "plan=", "run=", "resume=", "model=timm/", "model=hf/")


def test_every_documented_command_passes(tmp_path: Path) -> None:
    refused, checked = [], 0
    for page in PAGES if (REPO / "mkdocs.yml").is_file() else []:
        for command, rest in DOCUMENTED.findall(page.read_text()):
            given = shlex.split(rest.rstrip("\\ "))
            words = [word for word in given if "=" in word and not word.startswith(GIVEN_HERE)]
            if command not in ENTRIES or command == "export" or "my_pkg" in rest or "…" in rest:
                continue
            overrides = [*_named_callables(_several_networks(command, words)), *needed(command, tmp_path)]
            for job in jobs(command, overrides, " -m " in rest):
                error = error_of(command, dict(job.config))
                checked += 1
                if error is not None:
                    refused.append(f"{page.name}: {command}{rest}: {error}")
    assert refused == []
    assert checked > 20 or not (REPO / "mkdocs.yml").is_file()
