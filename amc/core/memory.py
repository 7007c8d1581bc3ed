"""How much memory is free, and one line for what would take more."""

from __future__ import annotations

import resource
from pathlib import Path

from amc.core.errors import AmcError

GIB = 1 << 30
LONGEST = 200  # characters of a setting with its value


def free_bytes() -> int:
    """Memory that can still be taken: of the machine, of the container, of the process."""
    found = [_meminfo("MemAvailable"), *_container()]
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        found.append(max(0, limit - taken))
    return min(found)


def require_memory(setting: str, needed_bytes: float, advice: str) -> None:
    """Refuses what would take more memory than is free, before it is taken.

    Args:
        setting: with its value, as in ``agent.hidden=[300, 300]``; or where the size is claimed.
        needed_bytes: estimated.
        advice: what to do.

    Raises:
        AmcError: with the estimate and the limit.
    """
    limit = free_bytes()
    if needed_bytes > limit:
        named = setting if len(setting) <= LONGEST else f"{setting[:LONGEST]}…"
        needed = min(needed_bytes, 1e300) / GIB  # a whole number may be too large for a division
        free = limit / GIB
        raise AmcError(f"{named}: takes about {needed:.3g} GiB of memory, {free:.3g} GiB are free; {advice}")


def _meminfo(key: str) -> int:
    """Of ``/proc/meminfo``; where there is none, no limit is known."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 1 << 62
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(f"{key}:")), 1 << 62)


def _container() -> list[int]:
    """What a control group (version 2) still allows, if there is one with a limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = (folder / "memory.max").read_text().strip(), int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return []
    return [max(0, int(limit) - used)] if limit.isdigit() else []
