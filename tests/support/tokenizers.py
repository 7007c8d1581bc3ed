"""A tokeniser whose tokens are words."""

from __future__ import annotations

from pathlib import Path

import pytest


def word_tokenizer(folder: Path, words: int = 300) -> Path:
    """A folder with a ``tokenizer.json`` in which the word ``w7`` is the token 7; skips without tokenizers."""
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {f"w{i}": i for i in range(words)} | {"=": words, "\n": words + 1, "?": words + 2}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="?"))
    split = tokenizers.pre_tokenizers.Split
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([split(" ", "removed"), split("\n", "isolated")])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
