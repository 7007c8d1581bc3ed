from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fork_server import ForkServer, fork_server
from tests.support.whole_runs import Whole, whole_runs


@pytest.fixture(scope="session")
def server() -> Iterator[ForkServer]:
    """Forks processes for commands."""
    with fork_server() as server:
        yield server


@pytest.fixture(scope="session")
def whole(server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Every command run to its end."""
    return whole_runs(server, tmp_path_factory.mktemp("whole"))
