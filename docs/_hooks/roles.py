"""Griffe extension: Sphinx roles in docstrings (``:func:`amc.load```) become links, or plain code without a target."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:py:)?(?:func|class|meth|mod|attr|data|obj|exc|const):`(~?)([^`]+)`")


class Roles(griffe.Extension):
    """Rewrites the docstrings of a package as soon as it is loaded."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        _rewrite(pkg)


def _rewrite(scope: griffe.Object) -> None:
    if scope.docstring is not None:
        scope.docstring.value = ROLE.sub(lambda match: _link(scope, match), scope.docstring.value)
    for member in scope.members.values():
        if not member.is_alias and isinstance(member, griffe.Object):
            _rewrite(member)


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
