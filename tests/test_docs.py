"""README and manual: short, no link into the void, no command or setting that doesn't exist."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml

REPO = Path(__file__).resolve().parent.parent
if not (REPO / "mkdocs.yml").is_file():
    pytest.skip("a source distribution has no manual", allow_module_level=True)

PAGES = sorted([REPO / "README.md", REPO / "CONTRIBUTING.md", *(REPO / "docs").rglob("*.md")])
NOTEBOOKS = sorted((REPO / "docs").rglob("*.ipynb"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"python -m (amc\.\w+)([^`\n#]*)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
OPEN_GROUPS = {"model", "reward", "dataset"}  # dotted paths and torchvision's names go, too


def _hook(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", REPO / "docs" / "_hooks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


settings = _hook("settings")


def _named(path: Path) -> str:
    return path.relative_to(REPO).as_posix()


def _anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def _broken(link: str, page: Path) -> str | None:
    """Why a link leads nowhere; ``None`` if it leads somewhere."""
    target, _, anchor = link.partition("#")
    if re.match(r"\w+:", target):
        return None
    path = (page.parent / target).resolve() if target else page
    if path == REPO / "docs" / settings.PAGE:
        return None if not anchor or anchor in _anchors(settings.page()) else f"{link}: no such heading"
    if not path.exists():
        return f"{link}: no such file"
    if anchor and path.suffix == ".md" and anchor not in _anchors(path.read_text()):
        return f"{link}: no such heading"
    return None


def _sources(path: Path) -> str:
    """The text of a page or of a notebook's Markdown."""
    if path.suffix != ".ipynb":
        return path.read_text()
    cells = json.loads(path.read_text())["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def _commands() -> Iterator[tuple[str, str, str]]:
    """Page, module and overrides of every command in README and manual."""
    for page in [*PAGES, *NOTEBOOKS]:
        for module, rest in COMMAND.findall(_sources(page)):
            yield _named(page), module, rest


def test_readme_is_one_screen() -> None:
    assert len((REPO / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=_named)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", _sources(page))
    assert [why for link in LINK.findall(text) if (why := _broken(link, page))] == []


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_lines_are_wrapped(page: Path) -> None:
    """At 120 columns; tables and pictures can't be."""
    lines = FENCE.sub("", page.read_text()).splitlines()
    assert [line for line in lines if len(line) > 120 and not line.lstrip().startswith(("|", "![", "("))] == []


def test_commands_exist() -> None:
    missing = [
        f"{page}: python -m {module}"
        for page, module, _ in _commands()
        if not (
            (path := REPO / module.replace(".", "/")).with_suffix(".py").is_file() or (path / "__main__.py").is_file()
        )
    ]
    assert missing == []


def _unknown(command: str, override: str) -> bool:
    """Whether a command knows no such setting, or a group no such choice."""
    key, _, value = override.partition("=")
    path = REPO / "conf" / f"{command}.yaml"
    groups = set(settings.defaults_of(path))
    group, _, below = key.lstrip("+").partition(".")
    if group not in groups:
        return key not in {s.name for s in settings.settings_in(path)} and not key.startswith("hydra.")
    if below:
        known = {s.name for choice in settings.choices_of(group) for s in settings.settings_in(choice)}
        return not key.startswith("+") and below not in known
    choices = {choice.stem for choice in settings.choices_of(group)}
    return not set(value.strip("[]").split(",")) <= choices and group not in OPEN_GROUPS


def test_overrides_in_commands_exist() -> None:
    unknown = []
    for page, module, rest in _commands():
        command = module.removeprefix("amc.")
        if not (REPO / "conf" / f"{command}.yaml").is_file():
            continue
        unknown += [
            f"{page}: {module} {word}"
            for word in rest.split()
            if "=" in word and _unknown(command, word.strip("',.;:)"))
        ]
    assert unknown == []


def test_every_setting_is_described() -> None:
    """The comment beside a key in ``conf/`` is what the manual says about it."""
    files = [path for path in (REPO / "conf").rglob("*.yaml") if path.parent.name != "experiment"]
    silent = [
        f"{_named(path)}: {s.name}"
        for path in sorted(files)
        for s in settings.settings_in(path)
        if s.default and not s.description and not s.name.endswith("_target_")
    ]
    assert silent == []
    assert [_named(path) for path in sorted(files) if not settings.header_of(path)] == []


def test_every_command_and_group_is_in_the_reference() -> None:
    assert {path.stem for path in (REPO / "conf").glob("*.yaml")} == set(settings.COMMANDS)
    folders = {path.name for path in (REPO / "conf").iterdir() if path.is_dir() and any(path.glob("*.yaml"))}
    assert folders == set(settings.GROUPS)


def test_settings_are_read_with_their_comments(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("# What it is.\nname: some\na: 1 # one\n# two\n# lines\nb: [1, 2]\nc: # nested\n  d: x # deep\n")
    assert settings.header_of(path) == "What it is."
    assert [(s.name, s.default, s.description) for s in settings.settings_in(path)] == [
        ("a", "1", "one"),
        ("b", "[1, 2]", "two lines"),
        ("c", "", "nested"),
        ("c.d", "x", "deep"),
    ]


def _files_of(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for entry in nav.values():
            yield from _files_of(entry)
    elif isinstance(nav, list):
        for entry in nav:
            yield from _files_of(entry)


def test_pages_of_the_navigation_exist() -> None:
    generated = {settings.PAGE, "changelog.md", "contributing.md", "experiments/README.md"}
    generated |= {path.relative_to(REPO / "docs").with_suffix(".md").as_posix() for path in NOTEBOOKS}
    listed = set(_files_of(yaml.safe_load((REPO / "mkdocs.yml").read_text())["nav"]))
    assert {page for page in listed - generated if not (REPO / "docs" / page).is_file()} == set()
    unlisted = {path.relative_to(REPO / "docs").as_posix() for path in (REPO / "docs").rglob("*.md")} - listed
    assert unlisted == set()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=_named)
def test_notebooks_are_kept_without_outputs(path: Path) -> None:
    code = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell for cell in code if cell["outputs"] or cell["execution_count"]] == []


def test_roles_in_docstrings_become_links(tmp_path: Path) -> None:
    griffe = pytest.importorskip("griffe", reason="make docs installs what the manual needs")
    package = tmp_path / "toy"
    package.mkdir()
    (package / "__init__.py").write_text(
        '"""See :func:`~toy.run` and :data:`nothing.here`."""\n\n\ndef run(a, b):\n    """Runs.\n\n    Args:\n'
        '        a, b: what :func:`run`\n            needs.\n    """\n'
    )
    loaded = griffe.load("toy", search_paths=[tmp_path], extensions=griffe.load_extensions(_hook("roles").Roles))
    assert loaded.docstring.value == (
        'See <autoref identifier="toy.run" optional><code>run</code></autoref> and '
        '<autoref identifier="nothing.here" optional><code>nothing.here</code></autoref>.'
    )
    described = loaded["run"].docstring.value.splitlines()
    needs = ['what <autoref identifier="toy.run" optional><code>run</code></autoref>', "        needs."]
    assert described[3:] == [f"    a: {needs[0]}", needs[1], f"    b: {needs[0]}", needs[1]]


@pytest.mark.slow
def test_the_site_builds(tmp_path: Path) -> None:
    """Without its notebook, which takes longer than all other pages; a warning is an error."""
    pytest.importorskip("material", reason="make docs installs what the manual needs")
    pytest.importorskip("mkdocstrings", reason="make docs installs what the manual needs")
    config = (REPO / "mkdocs.yml").read_text().replace("  - docs/_hooks/notebook.py\n", "")
    config = re.sub(r"^.*tutorials/digits\.md\n|^watch:.*\n(?:  - .*\n)+", "", config, flags=re.MULTILINE)
    config = config.replace("docs/_hooks/", f"{REPO}/docs/_hooks/").replace("docs_dir: docs", f"docs_dir: {REPO}/docs")
    config = config.replace("paths: [.]", f"paths: [{REPO}]").replace("site_dir: site", f"site_dir: {tmp_path}/site")
    (tmp_path / "mkdocs.yml").write_text(config)
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--config-file",
        str(tmp_path / "mkdocs.yml"),
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    site = tmp_path / "site"
    assert "budget.keep" in (site / "reference" / "settings" / "index.html").read_text()
    study = (site / "experiments" / "half_macs" / "index.html").read_text()
    assert 'src="training.png"' in study
    assert 'href="../faster_looks/#finals"' in study
    assert 'id="amc.search.search"' in (site / "api" / "amc" / "search" / "index.html").read_text()
    pages = "".join(page.read_text() for page in site.rglob("*.html"))
    assert re.findall(r"<(?:script|img|link)[^>]+(?:src|href)=\"https?:", pages) == []  # it works offline
