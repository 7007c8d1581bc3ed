"""The built wheel alone, in an environment of its own and far from the checkout, runs a search."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# Asked inside the new environment: are the packages its own, and is everything the wheel says it needs there?
INSPECT = """
import importlib, importlib.metadata as metadata, json, pathlib
from packaging.requirements import Requirement

missing = []
for text in metadata.requires("amc-pruning"):
    need = Requirement(text)
    if need.marker is None or need.marker.evaluate({"extra": ""}):
        try:
            found = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            found = None
        if found is None or not need.specifier.contains(found, prereleases=True):
            missing.append(f"{text}: {found}")
files = {name: importlib.import_module(name).__file__ for name in ("amc.core.types", "amc.search", "envs", "agents")}
print(json.dumps({"missing": missing, "files": files}))
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed, with nothing of this process's Python set-up passed on."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "COVERAGE"))}
    environment |= {"OMP_NUM_THREADS": "1", "AMC_CACHE": str(cwd / "cache")}
    result = subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, f"{command}:\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def wheel(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the checkout, built from a copy so that nothing is left in the checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("amc", "envs", "agents", "conf"):
        shutil.copytree(repo / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repo / name, source / name)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, cwd=source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the wheel and the third-party packages, but not the checkout.

    Fetching gigabytes of torch again would prove nothing about the wheel: links stand for what it needs.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    import torch

    for entry in Path(torch.__file__).parent.parent.iterdir():
        # An editable install is a .pth file, a record under the project's name and the configuration: they stay behind,
        # or the wheel would be installed through the links.
        if entry.suffix != ".pth" and not entry.name.lower().startswith(("amc", "__pycache__", "_virtualenv")):
            (packages / entry.name).symlink_to(entry)
    interpreter = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", interpreter, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    return interpreter


def test_the_wheel_holds_the_packages_and_the_configuration_only(wheel: Path, repo: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    (record,) = {name.split("/")[0] for name in names} - {"amc", "envs", "agents"}
    assert record.startswith("amc_pruning-")
    configs = {f"amc/{path.relative_to(repo)}" for path in (repo / "conf").rglob("*.yaml")}
    assert {name for name in names if name.endswith(".yaml")} == configs
    assert configs
    assert {f"{package}/py.typed" for package in ("amc", "envs", "agents")} <= set(names)


def test_what_it_needs_is_declared_and_its_modules_are_its_own(python: Path, tmp_path: Path) -> None:
    found = json.loads(run(python, "-c", INSPECT, cwd=tmp_path))
    assert found["missing"] == []
    for module, file in found["files"].items():
        assert Path(file).is_relative_to(python.parent.parent / "lib"), module


@pytest.mark.parametrize("command", [("bin/python", "-m", "amc.search"), ("bin/amc-search",), ("bin/amc-train",)])
def test_help_from_another_folder(python: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    text = run(python.parent.parent / command[0], *command[1:], "--help", cwd=tmp_path)
    assert "model" in text
    assert "dataset" in text


def test_a_search_of_two_episodes_from_another_folder(python: Path, tmp_path: Path) -> None:
    arguments = ("model=resnet20", "dataset=digits", "episodes=2", "training.epochs=1", "hydra.run.dir=run")
    run(python, "-m", "amc.search", *arguments, cwd=tmp_path)
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert plan["groups"]
    assert len((tmp_path / "run" / "episodes.csv").read_text().splitlines()) == 3
