"""MkDocs hook: the reference of all settings, made of ``conf/`` with the comments there as descriptions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

REPO = Path(__file__).resolve().parents[2]
PAGE = "reference/settings.md"
LINE = re.compile(
    r"^(?P<indent> *)(?P<key>[A-Za-z_]\w*):(?:\s+(?P<value>[^#\s].*?))?\s*(?:(?:^|\s)#\s*(?P<comment>.*))?$"
)
HYDRAS_OWN = ("defaults", "hydra")

INTRODUCTION = """\
# Settings

Every setting is an override on the command line: `python -m amc.search model=resnet20 budget.keep=0.3`. What is listed
here is what `conf/` holds; `python -m amc.search --help` prints the same for one command. A nested setting is named
with dots (`evaluate.images=500`), a list is written without spaces (`freeze=[conv1,'layer1.*']`), and `null` means
*none given*. A path is written as it is, whatever characters are in it.

A *group* (`model`, `dataset`, `agent` …) is a choice with settings of its own: `agent=cma_es agent.sigma=0.5`.
"""

# In the order of the page: what each command is for, and what each group decides.
COMMANDS = {
    "search": "Searches a plan: `python -m amc.search`.",
    "sensitivity": "Cuts every layer group alone: `python -m amc.sensitivity`.",
    "transfer": "Walks a learned policy over another network: `python -m amc.transfer policy=RUN_DIR`.",
    "finetune": "Cuts, recovers and trains: `python -m amc.finetune plan=RUN_DIR`.",
    "export": "Writes the small network for other programs: `python -m amc.export run=RUN_DIR`.",
    "train": "Trains a baseline and nothing else: `python -m amc.train`.",
}
GROUPS = {
    "model": "The network. Any other classifier of torchvision goes by its name (`model=resnet101`), a callable of "
    "yours by its dotted path (`model=my_pkg.my_net`).",
    "dataset": "The examples; a callable of yours goes by its dotted path (`dataset=my_pkg.my_data`).",
    "task": "What the network's predictions are worth: see [Tasks](../tasks/index.md).",
    "training": "How a baseline is trained.",
    "budget": "The cost that no plan may exceed.",
    "reward": "What a plan is worth to the agent; a callable of yours goes by its dotted path "
    "(`reward=my_pkg.my_reward`).",
    "importance": "Which channels of a group go first.",
    "recovery": "What is done to the weights after channels go and before any training.",
    "agent": "Who chooses the keep ratios.",
    "regulariser": "A penalty while training between the steps of `schedule=iterative`.",
    "experiment": "Recipes: overrides with a name, on top of all defaults.",
}


@dataclass(frozen=True)
class Setting:
    """A key of a YAML file: its dotted name, its default as written there, and the comment on it."""

    name: str
    default: str
    description: str


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the page."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, PAGE, content=page()))
    return files


def page() -> str:
    """The whole page in Markdown."""
    parts = [INTRODUCTION, "## Commands\n"]
    for command, purpose in COMMANDS.items():
        path = REPO / "conf" / f"{command}.yaml"
        groups = ", ".join(f"[`{g}={choice}`](#{g})" for g, choice in defaults_of(path).items() if g in GROUPS)
        head = f"{purpose}\n\nGroups and their defaults: {groups}.\n" if groups else f"{purpose}\n"
        parts += [f"### {command}\n", head, _table(settings_in(path))]
    parts.append("## Groups\n")
    for group, decides in GROUPS.items():
        parts += [f"### {group}\n", f"{decides}\n", *_group(group)]
    return "\n".join(parts)


def settings_in(path: Path) -> list[Setting]:
    """Every key of a file with its description: the comment beside it, or the lines of comment right above it."""
    settings: list[Setting] = []
    parents: list[tuple[int, str]] = []
    above: list[str] = []
    for line in _body(path):
        if line.lstrip().startswith("#"):
            text, indent = line.strip("# "), len(line) - len(line.lstrip())
            if parents and indent > parents[-1][0] + 2:  # goes on from the line before, below its comment
                last = settings.pop()
                settings.append(Setting(last.name, last.default, f"{last.description} {text}"))
            else:
                above.append(text)
            continue
        match = LINE.match(line)
        if match is None:
            above = []
            continue
        indent = len(match["indent"])
        parents = [parent for parent in parents if parent[0] < indent] + [(indent, match["key"])]
        name = ".".join(key for _, key in parents)
        description = match["comment"] or " ".join(above)
        settings.append(Setting(name, match["value"] or "", description))
        above = []
    return [s for s in settings if s.name.split(".")[0] not in HYDRAS_OWN and s.name != "name"]


def header_of(path: Path) -> str:
    """The comment at the top of a file, in one paragraph."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.strip("# "))
    return " ".join(line for line in lines if not line.startswith("@package"))


def defaults_of(path: Path) -> dict[str, str]:
    """Group → default choice, from a command's list of defaults."""
    entries = re.findall(r"^  - (\w+): (\w+)", path.read_text(), re.MULTILINE)
    return dict(entries)


def choices_of(group: str) -> list[Path]:
    """The files of a group."""
    return sorted((REPO / "conf" / group).glob("*.yaml"))


def _body(path: Path) -> Iterator[str]:
    """The lines after the header, without blank ones."""
    lines = path.read_text().splitlines()
    while lines and lines[0].startswith("#"):
        lines.pop(0)
    return (line for line in lines if line.strip())


def _group(group: str) -> Iterator[str]:
    """What there is to choose; then the settings, once for choices that share them all."""
    choices = choices_of(group)
    rows = [f"| `{group}={path.stem}` | {header_of(path)} |" for path in choices]
    yield "| choice | what it is |\n|---|---|\n" + "\n".join(rows) + "\n"
    if group == "experiment":
        return
    shared: dict[tuple[Setting, ...], list[str]] = {}
    for path in choices:
        settings = tuple(s for s in settings_in(path) if "_target_" not in s.name and s.default + s.description)
        if settings:
            shared.setdefault(settings, []).append(path.stem)
    for settings, names in shared.items():
        who = "all choices" if len(names) == len(choices) else ", ".join(f"`{group}={name}`" for name in names)
        prefixed = [Setting(f"{group}.{s.name}", s.default, s.description) for s in settings]
        yield f"Settings of {who}:\n\n{_table(prefixed)}"


def _table(settings: list[Setting]) -> str:
    rows = []
    for s in settings:
        if not s.default and not s.description:
            continue  # a parent key whose name says it all
        default = f"`{s.default}`" if s.default else ""
        description = s.description.replace("|", "\\|")
        rows.append(f"| `{s.name}` | {default} | {description} |")
    return "| setting | default | what it does |\n|---|---|---|\n" + "\n".join(rows) + "\n"
