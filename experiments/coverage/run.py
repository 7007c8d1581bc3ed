"""Looks at each network in a process of its own, and appends what comes out to ``results.jsonl``.

    python -m experiments.coverage.run [--only PATTERN …] [--again PATTERN …] [--jobs 2] [--timeout 180] [--memory 8]

Networks with a row are skipped, so a run that was stopped goes on; ``--again 'timm/*'`` drops the rows that match and
looks at these networks anew.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from experiments.coverage.networks import Case, cases

RESULTS = Path(__file__).with_name("results.jsonl")
LAST_WORDS = 300  # characters of a dead process's last line


def read_rows(file: Path = RESULTS) -> list[dict[str, Any]]:
    """The rows so far; a line that a killed run left half written is dropped."""
    rows = []
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def write_rows(rows: Sequence[dict[str, Any]], file: Path = RESULTS) -> None:
    """Replaces the rows."""
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def look(case: Case, timeout: float, memory_gib: float, threads: int) -> dict[str, Any]:
    """The row of one network, whatever becomes of the process that looks at it."""
    command = [sys.executable, "-m", "experiments.coverage.measure", case.name, str(memory_gib)]
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), **offline}
    row = {"name": case.name, "family": case.family}
    began = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return {**row, "outcome": "timeout", "error": f"more than {timeout:g} s"}
    seconds = {"seconds": round(time.perf_counter() - began, 1)}
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        return {**json.loads(lines[-1]), **seconds}
    last = (done.stderr.strip().splitlines() or [""])[-1][:LAST_WORDS]
    if done.returncode < 0:
        last = f"killed by {signal.Signals(-done.returncode).name}"
    lack = done.returncode == -signal.SIGKILL or "MemoryError" in last or "allocate memory" in last
    return {**row, "outcome": "memory" if lack else "crash", "error": last, **seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description="What can be cut of the world's networks?")
    parser.add_argument("--only", nargs="+", default=[], metavar="PATTERN", help="names, such as 'timm/*'")
    parser.add_argument("--again", nargs="+", default=[], metavar="PATTERN", help="look at these anew")
    parser.add_argument("--jobs", type=int, default=2, help="networks at a time")
    parser.add_argument("--timeout", type=float, default=180, help="seconds for each network")
    parser.add_argument("--memory", type=float, default=8, help="GiB for each, beside its libraries")
    given = parser.parse_args()
    wanted = [*given.only, *given.again]
    unknown = [pattern for pattern in wanted if not cases([pattern])]
    if unknown:
        parser.error(f"no network is called {unknown[0]}")
    rows = [row for row in read_rows() if not any(fnmatch.fnmatch(row["name"], p) for p in given.again)]
    write_rows(rows)
    done = {row["name"] for row in rows}
    left = [case for case in cases(wanted) if case.name not in done]
    threads = max(1, (os.cpu_count() or 1) // given.jobs)
    with ThreadPoolExecutor(given.jobs) as pool, RESULTS.open("a") as file:
        futures = [pool.submit(look, case, given.timeout, given.memory, threads) for case in left]
        for number, future in enumerate(as_completed(futures), 1):
            row = future.result()
            file.write(f"{json.dumps(row)}\n")
            file.flush()
            print(
                f"{number}/{len(left)} {row['name']}: {row['outcome']} {row.get('reachable', row.get('error'))}",
                flush=True,
            )


if __name__ == "__main__":
    main()
