"""Random numbers of an agent's own on torch, whose layers and samplers know only a global generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class TorchStream:
    """A stream of torch's random numbers that nothing outside moves, and that moves nothing outside."""

    def __init__(self, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs as well
            self.state = torch.get_rng_state()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Torch's global generator continues this stream in the block, and the world's after it."""
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.state)
            yield
            self.state = torch.get_rng_state()


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs torch on one thread: faster for matrices this small, and sums don't depend on the thread count."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
