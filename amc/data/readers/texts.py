"""Windows of tokens from text files, for language models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from amc.core.errors import AmcError
from amc.core.memory import require_memory
from amc.core.values import Kind, OneOf, Text, Whole, check_all
from amc.data.examples import ExampleSet
from amc.data.parts import ROLES, Division, Rule, files_by_role, given_folder, listing, order_of
from amc.data.readers.common import ExampleSplits, splits_of
from amc.data.readers.tokens import BOUNDARIES, Ids, Stream, load_tokenizer, text_of, tokenise

NAME = "text"
LAYOUT = "It needs train.txt, val.txt and test.txt (or two of them), or one text file, which is divided."
SUFFIXES = (".txt", ".raw", ".tokens", ".md")
KINDS: dict[str, Kind] = {
    "tokenizer": Text(also=(None,), what="a folder"),
    "length": Whole(low=2, high=2**20),
    "boundary": OneOf(names=BOUNDARIES),
}
Cut = Mapping[str, tuple[Ids, str]]  # role → ids of its windows [n, length], and where they come from


def read_text(
    path: str | Path,
    tokenizer: str | Path | None,
    length: int = 512,
    rule: Rule | None = None,
    boundary: str = "auto",
) -> ExampleSplits:
    """Reads text files as windows of tokens, ``[n, length]`` int64, that are their own targets.

    Windows don't overlap, and none belongs to two parts. One text is divided by position: its beginning is the test,
    what follows is searched on, and the rest trains and calibrates; each of these begins at a ``boundary``, so that no
    article is in two of them. Within a part the windows are mixed by ``rule.split_seed``.

    Args:
        path: a folder with a text file for each part (``train``, ``val``, ``test`` as a word of its name), or with one
            file; or that file. UTF-8.
        tokenizer: a folder with a ``tokenizer.json``.
        length: tokens in a window.
        rule: which part is for what. Of a text that is divided, ``test_examples`` and ``val_examples`` are, if given,
            the number of windows that are set aside, in place of the shares.
        boundary: see :func:`amc.data.readers.tokens.tokenise`.

    Raises:
        AmcError: no such files, no UTF-8, a text too short for its parts, or no tokeniser.
    """
    given = given_folder(path, NAME, LAYOUT, file=True)
    check_all("dataset", {"length": length, "boundary": boundary}, KINDS)
    coder = load_tokenizer(tokenizer, NAME)
    streams = {role: tokenise(text_of(file), coder, boundary, file.name) for role, file in _files(given).items()}
    return window_splits(NAME, streams, length, rule or Rule(), coder.get_vocab_size())


def window_splits(name: str, streams: Mapping[str, Stream], length: int, rule: Rule, vocabulary: int) -> ExampleSplits:
    """Cuts texts into windows; see :func:`read_text`. ``vocabulary``: number of different tokens."""
    source = rule.source(streams)
    held_out = "test" if "test" in streams else "val"
    needed = sum(len(stream.ids) for stream in streams.values()) * 8
    require_memory(f"dataset={name}", 2 * needed, "give a shorter text")
    if source == "all":
        (stream,) = streams.values()
        found = _cut(stream, length, rule, [("test", rule.test_share), ("val", rule.val_share), ("train", None)])
    else:
        found = dict(_cut(streams["train"], length, rule, _shares("train", source, rule)))
        found.update(_cut(streams[held_out], length, rule, _shares("test", source, rule)))
        if source == "val":
            found.update(_cut(streams["val"], length, rule, [("val", None)]))
    sets = {}
    for role in ROLES:
        windows, _ = found[role]
        mixed = windows[order_of(len(windows), rule.split_seed)][: rule.limit(role)]
        sets[role] = ExampleSet(torch.from_numpy(mixed))
    division: Division[Any] = Division({}, source, {role: found[role][1] for role in ROLES}, {})
    return splits_of(name, sets, division, num_classes=vocabulary, facts={"length": length})


def _shares(role: str, source: str, rule: Rule) -> list[tuple[str, float | None]]:
    """What the file of ``role`` is cut into: the windows to validate on come first, if they are in it."""
    if source != role:
        return [(role, None)]
    return [("val", rule.val_share if role == "train" else 0.5), (role, None)]


def _cut(stream: Stream, length: int, rule: Rule, shares: Sequence[tuple[str, float | None]]) -> Cut:
    """Windows by role, in the order of ``shares``: parts of the stream, ``None`` for what is left.

    Raises:
        AmcError: nothing is left for one of them.
    """
    found, place = {}, 0
    for role, share in shares:
        begin = stream.next_start(place) if place else 0
        windows = (len(stream.ids) - begin) // length
        if share is not None:
            windows = min(windows, rule.limit(role) or int(share * len(stream.ids)) // length)
        if windows < 1:
            raise AmcError(
                f"dataset: {stream.name} has {len(stream.ids)} tokens, too few for {role} in windows of "
                f"{length} ({stream.boundary}); give a longer text, smaller shares, or a smaller dataset.length"
            )
        place = begin + windows * length
        found[role] = (
            np.ascontiguousarray(stream.ids[begin:place]).reshape(windows, length),
            f"tokens {begin}–{place - 1} of {stream.name}",
        )
    return found


def _files(given: Path) -> Mapping[str, Path]:
    """Role → its text file; a sole file is ``train``."""
    if given.is_file():
        return {"train": given}
    files = [path for path in listing(given) if path.suffix.lower() in SUFFIXES and path.is_file()]
    files = [path for path in files if path.stem.lower() not in ("readme", "license")]
    return files_by_role(given, files, "text", LAYOUT)
