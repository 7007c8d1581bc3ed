"""A command line, taken apart."""

from __future__ import annotations

import pytest

from amc.cli.arguments import read_arguments
from amc.core.errors import AmcError


def test_overrides_and_options() -> None:
    given = read_arguments(["seed=1", "-m", "~resume", "plan=a=b"])
    assert given.overrides == ("seed=1", "~resume", "plan='a=b'")
    assert given.flags == ("-m",)
    assert (given.sweep, given.only_shows) == (True, False)
    assert read_arguments(["hydra.mode=MULTIRUN"]).sweep
    assert read_arguments(["--cfg", "job", "seed=1"]).flags == ("--cfg", "job")
    assert read_arguments(["--help"]).only_shows


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--nope"], "unrecognized arguments: --nope"),
        (["--nope=1"], "unrecognized arguments: --nope=1"),
        (["-x"], "unrecognized arguments: -x"),
        (["--multirn"], "did you mean --multirun?"),
        (["--cfg"], "argument --cfg/-c: expected one argument"),
        (["--cfg=nope"], "invalid choice"),
        (["foo"], "foo: is no setting; give KEY=VALUE"),
        (["seed"], "seed: is no setting"),
        ([""], ": is no setting"),
        (["-5"], "-5"),
        (["--resolve"], "--resolve: goes with --cfg"),
        (["-m", "--cfg=job"], "--multirun, --cfg: only one"),
        (["--experimental-rerun", "x"], "not supported"),
    ],
)
def test_what_is_neither_is_one_line(arguments: list[str], says: str) -> None:
    with pytest.raises(AmcError) as caught:
        read_arguments(arguments)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
