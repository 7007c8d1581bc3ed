"""MkDocs hook: runs the notebooks in ``docs/`` and shows them with what they print and draw.

A notebook is run again only when it, the code or the configuration has changed; a cell that fails fails the build.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient
from traitlets.config import Config

REPO = Path(__file__).resolve().parents[2]
CACHE = REPO / "cache" / "docs"  # git ignores it
TIMEOUT_SECONDS = 1200  # of one cell
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
BLANK = re.compile(r"\n\s*\n")
STYLE = re.compile(r"<style.*?</style>", re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for each notebook, and its pictures; the notebook itself stays there to be downloaded."""
    for path in sorted(Path(config.docs_dir).rglob("*.ipynb")):
        uri = path.relative_to(config.docs_dir).as_posix()
        text, pictures = render(executed(path), Path(uri))
        files.append(File.generated(config, uri.removesuffix(".ipynb") + ".md", content=text))
        for name, content in pictures.items():
            files.append(File.generated(config, name, content=content))
    return files


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs; from the cache where nothing has changed that they depend on."""
    kept = CACHE / f"{path.stem}-{_digest(path)}.ipynb"
    if kept.is_file():
        return nbformat.read(kept, as_version=4)
    notebook = nbformat.read(path, as_version=4)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(REPO)
    try:
        with tempfile.TemporaryDirectory() as folder:  # what the notebook writes goes with it
            socket = Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})  # no open port
            place = {"metadata": {"path": folder}}
            NotebookClient(
                notebook, kernel_name="python3", timeout=TIMEOUT_SECONDS, resources=place, config=socket
            ).execute()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before
    CACHE.mkdir(parents=True, exist_ok=True)
    for old in CACHE.glob(f"{path.stem}-*.ipynb"):
        old.unlink()
    nbformat.write(notebook, kept)
    return notebook


def render(notebook: nbformat.NotebookNode, uri: Path) -> tuple[str, dict[str, bytes]]:
    """Markdown of a notebook that has been run, and its pictures: site path → content."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        if cell.cell_type != "code":
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            picture = output.get("data", {}).get("image/png")
            if picture is not None:
                name = f"{uri.stem}-{len(pictures) + 1}.png"
                pictures[uri.with_name(name).as_posix()] = base64.b64decode(picture)
                parts.append(f"![]({name})")
            elif (shown := _shown(output)) is not None:
                parts.append(shown)
    return "\n\n".join(parts) + "\n", pictures


def _shown(output: Any) -> str | None:
    data = output.get("data", {})
    if "text/html" in data:
        html = BLANK.sub("\n", STYLE.sub("", data["text/html"]))  # a blank line would end the block in Markdown
        html = html.replace('<table border="1" class="dataframe">', "<table>")  # pandas: as the site's own tables
        return f'<div class="cell-output">{html}</div>'
    text = output["text"] if output.output_type == "stream" else data.get("text/plain", "")
    text = ANSI.sub("", text).strip("\n")
    return f"```{{ .text .cell-output }}\n{text}\n```" if text.strip() else None


def _digest(path: Path) -> str:
    """Changes with the notebook and with everything that it runs."""
    digest = hashlib.sha256(path.read_bytes())
    sources = [file for name in ("amc", "agents", "envs", "conf") for file in (REPO / name).rglob("*")]
    for file in sorted(file for file in sources if file.suffix in (".py", ".yaml")):
        digest.update(file.relative_to(REPO).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()[:16]
