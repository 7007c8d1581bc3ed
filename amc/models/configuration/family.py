"""A class of networks, seen as a function from a configuration's content to a signature."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from amc.models.configuration.signature import Signature, signature_of

Content = Mapping[str, Any]  # of config.json
Path = tuple[str | int, ...]  # ("text_config", "hidden_sizes", 2)
# Entries that no architecture is made from.
APART = {"id2label", "label2id", "task_specific_params", "architectures", "dtype", "model_type", "problem_type"}


class Family:
    """The networks of one class, by the content of their configuration.

    Attributes:
        error: why the last content that was refused was refused; empty if none was.
        built: how many networks were built.
    """

    def __init__(self, model_class: Any, config_class: Any) -> None:
        self.model_class = model_class
        self.config_class = config_class
        self.error = ""
        self.built = 0
        self._seen: dict[str, Signature | None] = {}

    @property
    def aliases(self) -> Mapping[str, str]:
        """Names of entries → the entries' own names."""
        found: Mapping[str, str] = getattr(self.config_class, "attribute_map", {})
        return found

    def config(self, content: Content) -> Any:
        """The configuration as an object. Raises what its class raises."""
        own = copy.deepcopy({key: value for key, value in content.items() if key != "model_type"})
        return self.config_class.from_dict(own)

    def signature(self, content: Content) -> Signature | None:
        """Of the network that the content describes, built without values; ``None`` if it describes none."""
        key = json.dumps(content, sort_keys=True, default=str)
        if key not in self._seen:
            self.built += 1
            try:
                with torch.device("meta"):
                    self._seen[key] = signature_of(self.model_class(self.config(content)))
            except Exception as error:  # of the library's checks, or of code that meets sizes it can't work with
                self.error = _reason(error)
                self._seen[key] = None
        return self._seen[key]


def _reason(error: Exception) -> str:
    """The first line that says something: some only say which check failed, and go on below."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    says = lines[1] if lines[0].endswith(":") and len(lines) > 1 else lines[0]
    return re.sub(r"^\w+Error: ", "", says).rstrip(".")


def levels(content: Content) -> Iterator[Path]:
    """Where the configurations in it are: itself, and those of its parts (an encoder, a text model)."""
    yield ()
    for key, value in content.items():
        if isinstance(value, Mapping) and key not in APART and "model_type" in value:
            yield from ((key, *path) for path in levels(value))


def entries(content: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every number and every empty entry, also in lists and below other entries."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            if key not in APART:
                yield from entries(value, (*path, key))
    elif isinstance(content, list):
        for i, value in enumerate(content):
            if value is not None:
                yield from entries(value, (*path, i))
    elif content is None or type(content) in (int, float):
        yield path, content


def lookup(content: Any, path: Path) -> Any:
    """The entry there, ``None`` if there is none."""
    for key in path:
        if isinstance(content, Mapping):
            content = content.get(key)
        else:
            content = content[key] if isinstance(content, Sequence) and isinstance(key, int) else None
    return content


def with_entries(content: Content, changes: Mapping[Path, Any]) -> dict[str, Any]:
    """A copy with other values at some places."""
    changed: Any = copy.deepcopy(dict(content))
    for path, value in changes.items():
        *above, last = path
        lookup(changed, tuple(above))[last] = value
    whole: dict[str, Any] = changed
    return whole
