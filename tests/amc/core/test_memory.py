from __future__ import annotations

import pytest

from amc.core import memory
from amc.core.errors import AmcError
from amc.core.memory import GIB, free_bytes, require_memory


def test_what_fits_passes_and_what_does_not_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda: 2 * GIB)
    require_memory("a=1", 2 * GIB, "give less")
    with pytest.raises(AmcError, match=r"^a=1: takes about 3 GiB of memory, 2 GiB are free; give less$"):
        require_memory("a=1", 3 * GIB, "give less")
    with pytest.raises(AmcError, match=r"^x{200}…: takes about "):
        require_memory("x" * 10**6, 10**400, "give less")


def test_some_memory_is_free_and_a_limit_of_the_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < free_bytes() < 1 << 50
    monkeypatch.setattr(memory.resource, "getrlimit", lambda _: (1, 1))
    assert free_bytes() == 0
