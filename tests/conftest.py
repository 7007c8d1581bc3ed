"""What all tests share."""

from __future__ import annotations

import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import settings

REPO = Path(__file__).resolve().parent.parent

# Nothing is timed: a slow machine must not fail a property. The same examples every time: a failure can be repeated.
settings.register_profile("amc", deadline=None, derandomize=True, max_examples=50, database=None)
settings.load_profile("amc")


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    """A test's outcome depends neither on chance nor on the tests before it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _own_modules() -> Iterator[None]:
    """Modules that a test writes and imports are gone after it: another's may have the same name."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        # An environment may itself lie in the folder for temporary files: what is installed stays.
        if file.startswith(tempfile.gettempdir()) and not file.startswith(sys.prefix):
            del sys.modules[name]


@pytest.fixture(scope="session")
def repo() -> Path:
    """The checkout."""
    return REPO


@pytest.fixture(scope="session")
def shared(repo: Path) -> Path:
    """The folder with real data and trained weights beside the checkout; tests that need it skip without."""
    folder = repo.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("no shared/data beside the checkout")
    return folder


@pytest.fixture
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """``with full_disk(size)``: the kernel refuses to write any file beyond ``size`` bytes, as on a full disk."""

    @contextmanager
    def limit(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)

    return limit
