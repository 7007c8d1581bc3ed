"""Commands in processes of their own, forked from one that has everything imported: a start costs milliseconds.

A process that is forked can be killed, starved of disk space or of permissions like any other.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.support.moments import Moment, Moments

REPO = Path(__file__).resolve().parents[2]
WEIGHTS = REPO / "tests" / "data" / "run_0_1" / "weights.safetensors"
CAPABILITIES = 0x20080522  # version 3 of the kernel's structure: two sets of three words
NETWORK = [
    "model=amc.models.cifar_resnet.CifarResNet", "+model.net.blocks=1", "dataset=digits", "dataset.train_images=64",
    "dataset.val_images=60", "dataset.test_images=20", "training.epochs=1", "device=cpu", "cache_dir=cache",
    "verbose=false",
]  # fmt: skip
SEARCH = [
    *NETWORK, "evaluate.images=30", "evaluate.calibration_images=32", "evaluate.precision=fp32", "agent.hidden=[4,4]",
    "agent.actor_start=default", "agent.warmup_episodes=3", "episodes=6", "observation=response", "curves=true",
    "finalists=2",
]  # fmt: skip


@dataclass(frozen=True)
class Job:
    """A command, what happens to it meanwhile, and under what limits it runs.

    Attributes:
        cwd: the folder that it is called in.
        command: its name.
        arguments: of the command line.
        moment: when it is killed, if it is.
        counts: file for the number of moments that there were.
        most_bytes: the kernel refuses to make any file larger, as on a full disk.
        cpu_seconds: after so many of its own it is killed.
        unprivileged: permissions bind, although the tests may be root's.
    """

    cwd: Path
    command: str
    arguments: Sequence[str]
    moment: Moment | None = None
    counts: Path | None = None
    most_bytes: int | None = None
    cpu_seconds: float | None = None
    unprivileged: bool = False


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, or the negative number of a signal, and what it wrote to stderr."""

    code: int
    error: str

    @property
    def killed(self) -> bool:
        return self.code in (-signal.SIGKILL, -signal.SIGPROF)

    @property
    def refused(self) -> bool:
        """Exit code 2 and one line."""
        return self.code == 2 and self.error.startswith("error: ") and self.error.count("\n") == 1


class ForkServer:
    """The process that the commands are forked from."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, *jobs: Job) -> list[Ended]:
        """Runs the jobs at the same time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([asdict(job) for job in jobs], default=str) + "\n")
        self._process.stdin.flush()
        return [Ended(**ended) for ended in json.loads(self._process.stdout.readline())]

    def one(self, cwd: Path, command: str, *arguments: str, **given: Any) -> Ended:
        """Runs one job."""
        return self.run(Job(cwd, command, arguments, **given))[0]


@contextmanager
def fork_server() -> Iterator[ForkServer]:
    """A server, warmed up."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.fork_server"],
        cwd=REPO, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        yield ForkServer(process)
        assert process.stdin is not None
        process.stdin.close()


def call(command: str, arguments: Sequence[str]) -> int:
    """Calls a command as its entry point does. Returns its exit code."""
    from importlib import import_module

    from amc.cli.run import run

    module = import_module("amc.train" if command == "train" else f"amc.{command}.__main__")
    try:
        if command == "report":
            module.main(list(arguments))
        else:
            run(command, module.main_from_config, list(arguments))
    except SystemExit as stopped:
        return int(stopped.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def serve() -> None:
    """Answers a line of jobs with a line of results until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    warm_up()
    for line in sys.stdin:
        started = [start(job) for job in json.loads(line)]
        answers.write(json.dumps([finish(*process) for process in started]) + "\n")
        answers.flush()
    os._exit(0)  # there is nothing to tidy up, which would take seconds


def warm_up() -> None:
    """Commands are called once, so that their children need not import or compile anything."""
    from matplotlib.figure import Figure

    Figure.draw = lambda self, renderer: None  # pictures take longer than all the rest; these are white
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        code = call("search", [*SEARCH, "hydra.run.dir=run"])
        code |= call("export", ["run=run", "format=torch_export", "verbose=false"])
        os.chdir("/")
    assert code == 0


def start(job: dict[str, Any]) -> tuple[int, int]:
    """Forks a job. Returns its process id, and a pipe of what it writes to stderr."""
    readable, writable = os.pipe()
    process = os.fork()
    if process:
        os.close(writable)
        return process, readable
    code = 1
    try:
        os.dup2(writable, 2)
        sys.stderr = os.fdopen(2, "w", buffering=1)
        code = _run(job)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _run(job: dict[str, Any]) -> int:
    os.chdir(job["cwd"])
    moment = job["moment"] and Moment(**job["moment"])
    with Moments(job["command"], moment) as moments:
        if job["most_bytes"] is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (job["most_bytes"], job["most_bytes"]))
        if job["cpu_seconds"] is not None:
            signal.setitimer(signal.ITIMER_PROF, job["cpu_seconds"])  # SIGPROF, which nothing handles
        if job["unprivileged"] and os.geteuid() == 0:
            give_up_privileges()
        code = call(job["command"], job["arguments"])
    if job["counts"] is not None:
        Path(job["counts"]).write_text(json.dumps(moments.counts()))
    return code


def give_up_privileges() -> None:
    """Root without capabilities: the permissions of files bind it like their owner."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, none = (ctypes.c_uint32 * 2)(CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    assert libc.capset(header, none) == 0, os.strerror(ctypes.get_errno())


def finish(process: int, readable: int) -> dict[str, Any]:
    """Waits for a job's end."""
    with os.fdopen(readable) as pipe:
        error = pipe.read()
    _, status = os.waitpid(process, 0)
    return {"code": os.waitstatus_to_exitcode(status), "error": error}


if __name__ == "__main__":
    serve()
