"""Text → token ids, and the places at which a part of a text may begin."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from amc.core.errors import AmcError, first_line
from amc.core.files import read_bytes
from amc.core.memory import require_memory

Ids = npt.NDArray[np.int64]
CHUNK = 1_000_000  # characters that are tokenised at once
TIMES = 40  # memory that a text takes while it becomes tokens, in its own size
BOUNDARIES = ("auto", "articles", "paragraphs", "positions")
STARTS = {
    "articles": re.compile(r"^ ?= [^=\n]+ = ?$", re.MULTILINE),  # a heading of the first level, as in WikiText
    "paragraphs": re.compile(r"(?<=\n)[ \t]*\n(?=[ \t]*\S)"),
}
FEWEST = 3  # articles that make a text one of articles


@dataclass(frozen=True, eq=False)
class Stream:
    """A text as tokens.

    Attributes:
        ids: ``[t]``.
        starts: places in ``ids`` at which a part may begin, ascending; ``None``: anywhere.
        boundary: what begins there: ``articles``, ``paragraphs`` or ``positions``.
        name: of the file.
    """

    ids: Ids
    starts: Ids | None
    boundary: str
    name: str

    def next_start(self, place: int) -> int:
        """The first place from ``place`` on at which a part may begin; the end if there is none."""
        if self.starts is None:
            return place
        after = self.starts[np.searchsorted(self.starts, place) :]
        return int(after[0]) if len(after) else len(self.ids)


def load_tokenizer(folder: str | Path | None, name: str) -> Any:
    """The tokeniser in a folder of Hugging Face's, from its ``tokenizer.json`` alone: no code of it is run.

    Raises:
        AmcError: none was given, there is no such file, it is damaged, or the package isn't installed.
    """
    if folder is None:
        raise AmcError(f"dataset={name}: needs dataset.tokenizer=FOLDER with a tokenizer.json")
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise AmcError(
            f"dataset={name}: needs tokenizers ({error}); pip install 'amc-pruning[transformers]'"
        ) from error
    file = Path(folder).expanduser() / "tokenizer.json"
    if not file.is_file():
        raise AmcError(
            f"dataset.tokenizer={folder}: no tokenizer.json; save it there with save_pretrained of a fast tokeniser"
        )
    try:
        tokenizer = Tokenizer.from_str(read_bytes(file).decode())
    except AmcError:
        raise
    except Exception as error:  # the library's own kind for damaged files is plain Exception
        raise AmcError(f"{file}: can't be loaded ({first_line(error)}); the file is damaged") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def text_of(file: Path) -> str:
    """A text file, with newlines as Python reads them. Raises ``AmcError`` if it is empty or no UTF-8."""
    content = read_bytes(file)
    require_memory(str(file), TIMES * len(content), "give a shorter text")
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise AmcError(f"{file}: is no UTF-8 text (byte {error.start}); convert it") from error
    if not text.strip():
        raise AmcError(f"{file}: holds no text; give another file")
    return text


def tokenise(text: str, tokenizer: Any, boundary: str, name: str) -> Stream:
    """The tokens of a text, without special ones around it.

    Args:
        text: all of it; chunks of a million characters are tokenised one by one, each up to a line's end.
        tokenizer: see :func:`load_tokenizer`.
        boundary: where parts may begin: at ``articles`` (a line ``= Title =``), ``paragraphs`` (a blank line) or
            ``positions`` (anywhere); ``auto``: articles if the text has three or more, else positions.
        name: of the text, in errors.

    Raises:
        AmcError: the text has no such boundaries.
    """
    found = [match.start() for match in STARTS["articles"].finditer(text)] if boundary in ("auto", "articles") else []
    if boundary == "auto":
        boundary = "articles" if len(found) >= FEWEST else "positions"
    if boundary == "paragraphs":
        found = [match.end() for match in STARTS["paragraphs"].finditer(text)]
    if boundary != "positions" and not found:
        raise AmcError(f"dataset.boundary={boundary}: {name} has none; give positions")
    ids, places, ends = [], [], 0
    for start, stop in _chunks(text):
        encoded = tokenizer.encode(text[start:stop], add_special_tokens=False)
        ids.append(np.array(encoded.ids, dtype=np.int64))
        if boundary != "positions":
            firsts = np.array([offset[0] for offset in encoded.offsets], dtype=np.int64) + start
            inside = [place for place in found if start <= place < stop]
            places.append(np.searchsorted(firsts, inside) + ends)
        ends += len(ids[-1])
    starts = None if boundary == "positions" else np.unique(np.concatenate(places)).astype(np.int64)
    return Stream(np.concatenate(ids), starts, boundary, name)


def tokenise_several(texts: Iterable[str], tokenizer: Any, name: str) -> Stream:
    """The tokens of texts that stand by themselves, each the beginning of an article."""
    ids, starts, ends = [], [], 0
    for text in texts:
        found = np.array(tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int64)
        if len(found):
            starts.append(ends)
            ids.append(found)
            ends += len(found)
    if not ids:
        raise AmcError(f"{name}: holds no text; give another")
    return Stream(np.concatenate(ids), np.array(starts, dtype=np.int64), "articles", name)


def _chunks(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    while start < len(text):
        stop = start + CHUNK
        stop = len(text) if stop >= len(text) else text.find("\n", stop) + 1 or len(text)
        yield start, stop
        start = stop
