from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import amc.data.readers.tokens
from amc.core.errors import AmcError
from amc.data.parts import ROLES
from amc.data.readers import ExampleSplits, load_examples
from tests.support.tokenizers import word_tokenizer

HEADING, NEWLINE = 300, 301


def article(first: int, words: int) -> str:
    """A heading of four tokens (= w = and the line's end), and a line of ``words`` words."""
    return f" = w{first} = \n" + " ".join(f"w{first + i}" for i in range(words)) + "\n"


def load(path: Path, folder: Path, **settings: Any) -> ExampleSplits:
    return load_examples("text", path, tokenizer=word_tokenizer(folder / "tokenizer"), **settings)


def windows(found: ExampleSplits, role: str) -> list[list[int]]:
    ids: Any = getattr(found, role).raw
    assert ids.dtype == torch.int64
    return sorted(ids.tolist())


def one_file(tmp_path: Path, text: str) -> Path:
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data" / "wiki.test.raw").write_text(text)
    return tmp_path / "data"


def test_one_text_is_divided_by_position_at_articles(tmp_path: Path) -> None:
    # Articles of 4 + 15 + 1 = 20 tokens: 10 of them are 200 tokens.
    data = one_file(tmp_path, "".join(article(20 * i, 15) for i in range(10)))
    found = load(data, tmp_path, length=10, test_examples=3, val_examples=2)
    # Test: tokens 0–29, in the middle of the second article; the third begins at 40, and two windows end at 60.
    assert dict(found.origins) == {
        "test": "tokens 0–29 of wiki.test.raw",
        "val": "tokens 40–59 of wiki.test.raw",
        "train": "tokens 60–199 of wiki.test.raw",
    }
    assert [len(getattr(found, role)) for role in ROLES] == [14, 2, 3]
    assert windows(found, "val")[1][:5] == [HEADING, 40, HEADING, NEWLINE, 40]
    assert found.train.answers is found.train.raw  # the tokens themselves are told
    assert (found.num_classes, found.val_from) == (303, "all")
    assert "test is reported: 3 examples (tokens 0–29 of wiki.test.raw)" in found.line


def test_windows_are_mixed_by_the_seed_and_complete(tmp_path: Path) -> None:
    data = one_file(tmp_path, "".join(article(20 * i, 15) for i in range(10)))
    first, again, other = (load(data, tmp_path, length=10, split_seed=seed) for seed in (0, 0, 1))
    assert first.train.fingerprint() == again.train.fingerprint() != other.train.fingerprint()
    for role in ROLES:
        assert windows(first, role) == windows(other, role)
    seen = [tuple(w) for role in ROLES for w in windows(first, role)]
    assert len(set(seen)) == len(seen)


def test_shares_of_tokens(tmp_path: Path) -> None:
    text = " ".join(f"w{i % 300}" for i in range(1000))
    found = load(one_file(tmp_path, text), tmp_path, length=10, test_share=0.1, val_share=0.3)
    assert [len(getattr(found, role)) for role in ROLES] == [60, 30, 10]  # no articles: at any position
    few = load(one_file(tmp_path, text), tmp_path, length=10, test_share=0.1, val_share=0.3, train_examples=5)
    assert torch.equal(few.train.raw, found.train.raw[:5])  # type: ignore[index, arg-type]


def test_parts_of_their_own(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for i, name in enumerate(("train.txt", "corpus_valid.txt", "wiki.test.raw", "README.txt")):
        (data / name).write_text(" ".join(f"w{100 * (i % 3) + j}" for j in range(50)))
    found = load(data, tmp_path, length=10)
    assert [windows(found, role)[0][0] for role in ROLES] == [0, 100, 200]
    (data / "corpus_valid.txt").unlink()
    for imported, sizes in ((False, [4, 1, 5]), (True, [5, 2, 3])):
        found = load(data, tmp_path, length=10, imported_weights=imported)
        assert [len(getattr(found, role)) for role in ROLES] == sizes
        assert windows(found, "test")[-1][0] == 240
        seen = [tuple(w) for role in ROLES for w in windows(found, role)]
        assert len(set(seen)) == len(seen)


def test_long_texts_are_tokenised_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = one_file(tmp_path, "".join(article(20 * i, 15) for i in range(10)))
    whole = load(data, tmp_path, length=10)
    monkeypatch.setattr(amc.data.readers.tokens, "CHUNK", 100)
    pieces = load(data, tmp_path, length=10)
    assert pieces.origins == whole.origins
    assert pieces.train.fingerprint() == whole.train.fingerprint()


def test_paragraphs_and_ends_of_lines(tmp_path: Path) -> None:
    # 8 words and 2 line ends a paragraph, as Windows writes them
    text = "".join(" ".join(f"w{8 * i + j}" for j in range(8)) + "\r\n\r\n" for i in range(10))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_bytes(text.encode())
    found = load(tmp_path / "data", tmp_path, length=4, boundary="paragraphs", test_examples=1, val_examples=1)
    assert windows(found, "test") == [[0, 1, 2, 3]]
    assert windows(found, "val") == [[8, 9, 10, 11]]
    assert [NEWLINE, NEWLINE, 24, 25] in windows(found, "train")


def write_bytes(folder: Path, content: bytes) -> Path:
    (folder / "data").mkdir()
    (folder / "data" / "a.txt").write_bytes(content)
    return folder / "data"


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        (b"w1 " * 30, {"length": 10}, r"a.txt has 30 tokens, too few for val in windows of 10|too few for test"),
        (b"  \n", {}, "a.txt: holds no text"),
        (b"w1 \xff", {}, r"a.txt: is no UTF-8 text \(byte 3\)"),
        (b"w1 " * 30, {"length": 1}, "dataset.length=1: give a whole number in"),
        (b"w1 " * 30, {"boundary": "articles"}, "dataset.boundary=articles: a.txt has none; give positions"),
        (b"w1 " * 30, {"boundary": "pages"}, "dataset.boundary=pages: unknown"),
        (b"w1 " * 30, {"tokenizer": None}, "needs dataset.tokenizer=FOLDER with a tokenizer.json"),
        (b"w1 " * 30, {"tokenizer": "/nowhere"}, "dataset.tokenizer=/nowhere: no tokenizer.json"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, content: bytes, settings: dict[str, Any], message: str) -> None:
    data = write_bytes(tmp_path, content)
    given = {"tokenizer": word_tokenizer(tmp_path / "tokenizer"), **settings}
    with pytest.raises(AmcError, match=message) as caught:
        load_examples("text", data, **given)
    assert "\n" not in str(caught.value)


def test_a_damaged_tokeniser_is_named(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(AmcError, match=r"tokenizer.json: can't be loaded"):
        load_examples("text", write_bytes(tmp_path, b"w1"), tokenizer=tmp_path)


def test_texts_for_nothing_are_named(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("w1")
    with pytest.raises(AmcError, match="2 text files, none of them for a part"):
        load(tmp_path, tmp_path / "t")
    (tmp_path / "test_a.txt").write_text("w1")
    (tmp_path / "test_b.txt").write_text("w1")
    with pytest.raises(AmcError, match=r"both test_a.txt and test_b.txt are for test"):
        load(tmp_path, tmp_path / "t")


def test_wikitext(shared: Path, tmp_path: Path) -> None:
    """A real text with articles; its own words as tokens."""
    folder = shared / "data" / "wikitext-2-raw"
    if not folder.is_dir():
        pytest.skip("no wikitext-2-raw in shared/data")
    found = load(folder, tmp_path, length=128, test_examples=16)
    begin = int(found.origins["val"].split()[1].split("–")[0])
    assert begin > 16 * 128
    first: Any = min(w for w in windows(found, "val") if w[0] == HEADING)
    assert first[2] in (HEADING, 302)
