"""MkDocs hook: a page for every module of the packages, made of its docstrings, and their place in the navigation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

REPO = Path(__file__).resolve().parents[2]
PACKAGES = ("amc", "agents", "envs")
SECTION = "API"
PAGE = """\
---
title: {name}
---

::: {name}
    options:
      heading_level: 1
      show_root_heading: true
      show_root_full_path: true
"""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the modules to the navigation, as they lie in their packages."""
    for entry in config.nav or []:
        if isinstance(entry, dict) and SECTION in entry:
            entry[SECTION] += [{name: _section(REPO / name)} for name in PACKAGES]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages themselves."""
    for name in PACKAGES:
        for path in _modules(REPO / name):
            dotted = ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__")
            package = path.name == "__init__.py"
            text = PAGE.format(name=dotted)
            if package and (rows := _contents(path.parent)):
                text += "\n## Modules\n\n" + "\n".join(rows) + "\n"
            files.append(File.generated(config, page_of(path), content=text))
    return files


def page_of(path: Path) -> str:
    """Where the page of a module lies in the site's sources; a package's is the index of its folder."""
    page = path.with_name("index.md") if path.name == "__init__.py" else path.with_suffix(".md")
    return (Path("api") / page.relative_to(REPO)).as_posix()


def _modules(folder: Path) -> Iterator[Path]:
    """The modules to document: not ``__main__``, nothing private."""
    yield folder / "__init__.py"
    for path in sorted(folder.iterdir()):
        if path.is_dir() and any(path.rglob("*.py")) and not path.name.startswith("_"):
            yield from _modules(path)
        elif path.suffix == ".py" and not path.name.startswith("_"):
            yield path


def _section(folder: Path) -> list[Any]:
    """Navigation of a package: its own page, then packages and modules."""
    entries: list[Any] = [page_of(folder / "__init__.py")]
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_file(), path.name)):
        if path.is_dir() and any(path.rglob("*.py")) and not path.name.startswith("_"):
            entries.append({path.name: _section(path)})
        elif path.suffix == ".py" and not path.name.startswith("_"):
            entries.append({path.stem: page_of(path)})
    return entries


def _contents(folder: Path) -> list[str]:
    """A line for each module right below a package: link and first line of its docstring."""
    lines = []
    for path in _modules(folder):
        if path.name == "__init__.py":
            if path.parent.parent != folder:
                continue
            name, page = path.parent.name, f"{path.parent.name}/index.md"
        elif path.parent == folder:
            name, page = path.stem, f"{path.stem}.md"
        else:
            continue
        lines.append(f"- [`{name}`]({page}): {_summary(path)}")
    return lines


def _summary(path: Path) -> str:
    import ast

    docstring = ast.get_docstring(ast.parse(path.read_text())) if path.is_file() else None
    return (docstring or "").partition("\n")[0].replace("``", "`")
