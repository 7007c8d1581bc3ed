"""MkDocs hook: pages that live outside ``docs/`` (studies, changelog) become part of the site, and links follow them.

Links in the sources are those of the checkout (``../experiments/bench/README.md``), so that they work wherever the
files are read. Here they are turned into links of the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPO = Path(__file__).resolve().parents[2]
STUDIES = "experiments"
SHOWN = {".md", ".png", ".svg", ".csv", ".json", ".sh", ".py"}  # of a study's files
PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
SECTION = "Studies"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the studies to the navigation."""
    for entry in config.nav or []:
        if isinstance(entry, dict) and SECTION in entry:
            entry[SECTION] += [f"{STUDIES}/{path.parent.name}/README.md" for path in _readmes()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the studies with their figures and numbers, the changelog and the contributors' page."""
    for path in sorted((REPO / STUDIES).rglob("*")):
        if path.suffix in SHOWN and path.is_file():
            uri = path.relative_to(REPO).as_posix()
            files.append(File.generated(config, uri, abs_src_path=str(path)))
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(REPO / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Turns links of the checkout into links of the site; what the site doesn't hold becomes plain text."""
    markdown = markdown.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
    origin = _origin(page.file.src_uri)
    if not (REPO / origin).is_file():  # generated: its links are those of the site already
        return markdown
    known = {file.src_uri for file in files}

    def translated(match: re.Match[str]) -> str:
        image, text, link = match.groups()
        target, hash_sign, anchor = link.partition("#")
        if not target or ":" in target:
            return match[0]
        uri = site_uri(posixpath.normpath(posixpath.join(posixpath.dirname(origin), target)))
        if uri not in known:
            return text
        relative = posixpath.relpath(uri, posixpath.dirname(page.file.src_uri) or ".")
        return f"{image}[{text}]({relative}{hash_sign}{anchor})"

    return LINK.sub(translated, markdown)


def site_uri(path: str) -> str:
    """Where the site's sources hold what lies at ``path`` in the checkout."""
    if path in PAGES:
        return PAGES[path]
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        page = path.removeprefix("docs/")
        return page.removesuffix(".ipynb") + ".md" if page.endswith(".ipynb") else page
    if path.split("/")[0] == "conf":
        return "reference/settings.md"
    if path.split("/")[0] in ("amc", "agents", "envs"):
        folder = path.removesuffix("__init__.py").rstrip("/")
        return (
            f"api/{path.removesuffix('.py')}.md"
            if path.endswith(".py") and folder == path
            else f"api/{folder}/index.md"
        )
    if (REPO / path).is_dir():
        return f"{path}/README.md"
    return path


def _origin(uri: str) -> str:
    """The file in the checkout that a page is made of."""
    for source, page in PAGES.items():
        if uri == page:
            return source
    return uri if uri.startswith(f"{STUDIES}/") else f"docs/{uri}"


def _readmes() -> list[Path]:
    return sorted((REPO / STUDIES).glob("*/README.md"))
