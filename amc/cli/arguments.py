"""A command line, taken apart: overrides and options."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from amc.cli.paths import with_quotes
from amc.core.errors import AmcError

# Options that show something and do nothing, or that compose from other folders: the call itself is checked later.
SHOWING = ("help", "hydra_help", "cfg", "info", "shell_completion")
ELSEWHERE = ("config_path", "config_name", "config_dir")
MODES = ("run", "multirun", "cfg", "info", "shell_completion")
MULTIRUN = "hydra.mode=MULTIRUN"


@dataclass(frozen=True)
class Arguments:
    """A command line.

    Attributes:
        overrides: ``key=value``, with paths in the quotes that they need.
        flags: Hydra's options, and what belongs to them.
        sweep: whether it is several jobs.
        only_shows: whether nothing is to be run, or from a configuration that isn't this project's.
    """

    overrides: tuple[str, ...]
    flags: tuple[str, ...]
    sweep: bool
    only_shows: bool


def read_arguments(arguments: Sequence[str]) -> Arguments:
    """Takes a command line apart.

    Raises:
        AmcError: an option that there isn't, or a word that is no override.
    """
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        options = sorted({option for action in parser._actions for option in action.option_strings})
        word = message.rpartition(": ")[2].split("=")[0].split(" ")[0]
        near = difflib.get_close_matches(word, options, n=1, cutoff=0.75)
        hint = f"did you mean {near[0]}? " if near else ""
        raise AmcError(f"{message}; {hint}a setting is given as KEY=VALUE without hyphens, and --help lists them")

    parser.error = refuse  # type: ignore[method-assign]
    parsed = parser.parse_intermixed_args(list(arguments))
    if parsed.experimental_rerun is not None:
        refuse("argument --experimental-rerun: not supported, as it runs code of a file")
    if parsed.resolve and parsed.cfg is None and not parsed.help:
        refuse("argument --resolve: goes with --cfg")
    modes = [option for option in MODES if getattr(parsed, option)]
    if len(modes) > 1:
        refuse(f"arguments --{', --'.join(modes)}: only one of these at once")
    for word in parsed.overrides:
        if "=" not in word and not word.startswith("~"):
            raise AmcError(f"{word}: is no setting; give KEY=VALUE, such as {word}=VALUE (--help lists them)")
    flags = list(arguments)
    for word in parsed.overrides:
        flags.remove(word)
    sweep = parsed.multirun or MULTIRUN in parsed.overrides
    only_shows = any(bool(getattr(parsed, option)) for option in (*SHOWING, *ELSEWHERE))
    return Arguments(tuple(with_quotes(parsed.overrides, sweep)), tuple(flags), sweep, only_shows)
