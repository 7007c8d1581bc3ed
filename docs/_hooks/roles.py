"""Griffe extension: Sphinx roles in docstrings (``:func:`amc.load```) become links, or plain code without a target."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:py:)?(?:func|class|meth|mod|attr|data|obj|exc|const):`(~?)([^`]+)`")

SHARED = re.compile(r"    ((?:\w+, )+\w+): (.*)")


class Roles(griffe.Extension):
    """Rewrites the docstrings of a package as soon as it is loaded."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        _rewrite(pkg)


def _rewrite(scope: griffe.Object) -> None:
    if scope.docstring is not None:
        linked = ROLE.sub(lambda match: _link(scope, match), scope.docstring.value)
        scope.docstring.value = "\n".join(_one_name_each(linked.splitlines()))
    for member in scope.members.values():
        if not member.is_alias and isinstance(member, griffe.Object):
            _rewrite(member)


def _one_name_each(lines: list[str]) -> list[str]:
    """``mean, std: per channel`` in a list of arguments or attributes becomes an entry for each name."""
    result: list[str] = []
    inside = False
    names: list[str] = []
    entry: list[str] = []
    for line in [*lines, ""]:
        deeper = line.startswith(" " * 8)
        if names and not deeper:
            result += [row for name in names for row in (f"    {name}: {entry[0]}", *entry[1:])]
            names = []
        if line and not line.startswith(" "):
            inside = line in ("Args:", "Attributes:")
        match = SHARED.match(line) if inside else None
        if match:
            names, entry = match[1].split(", "), [match[2]]
        elif names:
            entry.append(line)
        else:
            result.append(line)
    return result[:-1]


def _link(scope: griffe.Object, match: re.Match[str]) -> str:
    """An optional cross reference: what the site doesn't know stays code, and the build goes on."""
    short, name = match.groups()
    shown = name.rsplit(".", 1)[-1] if short else name
    return f'<autoref identifier="{_full_name(scope, name)}" optional><code>{shown}</code></autoref>'


def _full_name(scope: griffe.Object, name: str) -> str:
    """``NAMES`` → ``amc.importance.NAMES``: looked up as Python would from where the docstring stands."""
    first, _, rest = name.partition(".")
    try:
        found = scope.resolve(first)
    except griffe.NameResolutionError:
        return name
    return f"{found}.{rest}" if rest else found
