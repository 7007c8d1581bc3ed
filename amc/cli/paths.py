"""Paths and patterns on the command line, with quotes or without, as Hydra's grammar needs them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from amc.core.conf import key_of, quoted

KEYS = (
    "resume", "plan", "run", "policy", "cache_dir", "model.checkpoint", "dataset.root", "dataset.path",
    "dataset.tokenizer", "hydra.run.dir", "hydra.sweep.dir",
)  # fmt: skip
# Whose keys are the user's own: patterns, names of arguments.
MAPPINGS = ("constraints", "budget.channel_round", "dataset.arguments", "task.metric_arguments")
QUOTED_KEY = re.compile(r"""(['"])(.*?)\1(?=\s*:)""")
INTERPOLATION = re.compile(r"(\\*)\$\{")


def with_quotes(arguments: Sequence[str], sweep: bool) -> list[str]:
    """``arguments`` with every path in the quotes that Hydra's grammar needs, and no pattern in those it doesn't know.

    What is in such quotes already, and isn't the name of a file as it stands, is left as it is; so is ``${…}``.

    Args:
        arguments: overrides.
        sweep: whether a comma separates the values of several jobs.
    """
    return [_with_quotes(argument, sweep) for argument in arguments]


def path_of(key: str, arguments: Sequence[str]) -> str | None:
    """The path that is given last for ``key``, as the file system has it; ``None`` if there is none.

    Args:
        key: one of :data:`KEYS`.
        arguments: from :func:`with_quotes`.
    """
    given = [argument for argument in arguments if argument.lstrip("+").startswith(f"{key}=")]
    if not given:
        return None
    value = OverridesParser.create().parse_override(given[-1]).value()
    return None if value is None else INTERPOLATION.sub(lambda found: found[1][: len(found[1]) // 2] + "${", str(value))


def literal(value: Any) -> Any:
    """Plain data that OmegaConf gives back as it is: what looks like ``${…}`` in it stands for nothing else."""
    if isinstance(value, str):
        return INTERPOLATION.sub(lambda found: 2 * found[1] + "\\${", value)
    if isinstance(value, list):
        return [literal(entry) for entry in value]
    return {key: literal(entry) for key, entry in value.items()} if isinstance(value, dict) else value


def _with_quotes(argument: str, sweep: bool) -> str:
    key, equals, value = argument.partition("=")
    if key.lstrip("+") in MAPPINGS:
        # ++: Hydra adds no keys to a mapping that a recipe has begun, else
        return f"++{key.lstrip('+')}{equals}{QUOTED_KEY.sub(lambda found: key_of(found[2]), value)}"
    if key.lstrip("+") not in KEYS or value in ("", "null"):
        return argument
    there = os.path.lexists(value)
    if not there and (_is_quoted(value) or (sweep and any(mark in value for mark in ",("))):
        return argument
    return f"{key}{equals}{quoted(literal(value) if there else value)}"


def _is_quoted(value: str) -> bool:
    if value[0] not in "'\"":
        return False
    try:
        return isinstance(OverridesParser.create().parse_override(f"path={value}").value(), str)
    except HydraException:
        return False
