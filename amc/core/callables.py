"""User callables by dotted path."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from typing import Any

from amc.core.errors import AmcError, first_line


def find_callable(setting: str, path: str, advice: str) -> Callable[..., Any]:
    """The callable at ``path``, such as ``my_package.my_module.my_net``.

    Args:
        setting: the errors' first word, such as ``reward``.
        path: module and name.
        advice: alternatives to a path that has no module.

    Raises:
        AmcError: no such module or name, with the nearest name that exists.
    """
    module_name, _, name = path.rpartition(".")
    if not all(path.split(".")) or not module_name:
        raise AmcError(f"{setting}={path}: unknown; {advice}")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a module can raise anything
        raise AmcError(f"{setting}={path}: {module_name} can't be imported ({first_line(error)}); {advice}") from error
    found = getattr(module, name, None)
    if not callable(found):
        near = difflib.get_close_matches(name, [n for n in dir(module) if not n.startswith("_")], n=1)
        hint = f"did you mean {near[0]}?" if near else advice
        raise AmcError(f"{setting}={path}: {module_name} has no callable {name!r}; {hint}")
    return found  # type: ignore[no-any-return]
