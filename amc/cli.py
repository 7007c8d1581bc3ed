"""The shell around every entry point: configuration folder, convenient names, one-line errors, exit codes."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import hydra
import torchvision
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from amc.errors import AmcError
from amc.files import NO_SPACE, read_json, write_error
from amc.learned import overrides
from amc.several import expanded, listed
from amc.tracking import RunDir
from amc.tracking.run_dir import CONFIG, FREE_ON_RESUME

Main = Callable[[DictConfig, Path], None]
EXIT_WRONG_INPUT, EXIT_INTERRUPTED = 2, 130
RESUMABLE = ("search", "finetune", "sensitivity")
# By a plan's fine-tuning.
INHERITED = ("model", "dataset", "training", "importance", "prune_residual", "freeze", "seed")


def run(config_name: str, main: Main, argv: Sequence[str] | None = None) -> None:
    """Composes the configuration from the command line, calls ``main(config, run folder)`` and exits.

    With ``resume=DIR`` the configuration is the one that DIR was started with, and DIR is the run folder.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    sys.path.insert(0, str(Path.cwd()))  # as python -m does: my_pkg.my_net is found from a console script too
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing several lines and exiting with 1
    try:
        resumed = _value_of("resume", arguments)
        if resumed is not None:
            main(_stored_config(config_name, Path(resumed), arguments), Path(resumed))
        else:
            # The policy's settings before those of several networks, which are for what is then still open.
            arguments = _several_networks(config_name, [*_learned(config_name, arguments), *arguments])
            inherited = _inherited(config_name, arguments)
            _compose_and_call(config_name, main, [*inherited, *_named_callables(arguments)])
    except AmcError as error:
        _fail(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        _fail(_in_one_line(error))
    except OSError as error:
        if error.errno in NO_SPACE:
            _fail(str(write_error(error.filename or "the run folder", error)))
        if error.filename is None:
            raise
        _fail(f"{error.filename}: {error.strerror}; check the path and its permissions")
    except KeyboardInterrupt:
        _exit("stopped; what was finished is kept", EXIT_INTERRUPTED)


def _compose_and_call(config_name: str, main: Main, arguments: list[str]) -> None:
    """Runs ``main`` under Hydra; of a sweep, every job, then raises what the first failing one raised."""
    failures: list[BaseException] = []

    def job(config: DictConfig) -> None:
        folder = Path(HydraConfig.get().runtime.output_dir)
        try:
            main(config, folder)
        except (AmcError, OSError, KeyboardInterrupt) as error:
            failures.append(error)  # raised through Hydra, it would come with a line of Hydra's own
        if not any("run.dir" in override for override in HydraConfig.get().overrides.hydra):
            _remove_empty(folder)  # nobody asked for it by name

    sys.argv = [sys.argv[0], *arguments]
    hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=config_name)(job)()
    if failures:
        raise failures[0]


def _remove_empty(folder: Path) -> None:
    """The run folder and the one around it, if nothing is in them and this process isn't."""
    with suppress(OSError):
        for empty in (folder, folder.parent):
            if Path.cwd().is_relative_to(empty):
                return
            empty.rmdir()


def config_folder() -> Path:
    """The checkout's ``conf/``; in an installed package, the copy inside it."""
    package = Path(__file__).resolve().parent
    checkout = package.parent / "conf"
    return checkout if (checkout / "search.yaml").is_file() else package / "conf"


def _in_one_line(error: Exception) -> str:
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"{group}={name}: unknown; give one of {', '.join(error.options)}"
    return " ".join(str(error).split())


def _fail(message: str) -> None:
    _exit(f"error: {message}", EXIT_WRONG_INPUT)


def _exit(message: str, code: int) -> None:
    sys.stderr.write(f"{message}\n")
    sys.exit(code)


def _value_of(key: str, arguments: Sequence[str]) -> str | None:
    values = [a.partition("=")[2] for a in arguments if a.startswith(f"{key}=")]
    return values[-1] if values and values[-1] not in ("", "null") else None


def _named_callables(arguments: Sequence[str]) -> list[str]:
    """Names without a ready configuration, ``model=resnet101`` or ``reward=my_pkg.my_reward``, become ones with one."""
    result: list[str] = []
    for argument in arguments:
        key, _, name = argument.partition("=")
        ready = config_folder() / key / f"{name}.yaml"
        if key == "reward" and "." in name:
            result += ["reward=custom", f"reward.name={name.rpartition('.')[2]}", f"reward._target_={name}"]
        elif key == "model" and name and "," not in name and not ready.is_file():  # a comma: Hydra's sweep
            result += _named_model(name)
        else:
            result.append(argument)
    return result


def _named_model(name: str) -> list[str]:
    """Overrides for a network that is no ready configuration. Raises ``AmcError`` if there is no such network."""
    if "." in name:
        return ["model=custom", f"model.name={name.rpartition('.')[2]}", f"model.net._target_={name}"]
    if name in torchvision.models.list_models(module=torchvision.models):
        return ["model=torchvision", f"model.name={name}", f"model.net._target_=torchvision.models.{name}"]
    ready = sorted(p.stem for p in (config_folder() / "model").glob("*.yaml"))
    raise AmcError(
        f"model={name}: unknown; give one of {', '.join(ready)}, a classifier of torchvision.models, or a dotted path "
        "to your own callable (my_pkg.my_net)"
    )


def _several_networks(command: str, arguments: Sequence[str]) -> list[str]:
    """``model=[a,b]`` as the first model, and a list of all."""
    names = listed(_value_of("model", arguments))
    return expanded(command, arguments, names, _composed_model, _quoted) if names else list(arguments)


def _composed_model(name: str) -> dict[str, Any]:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        model = hydra.compose("search", _named_callables([f"model={name}"])).model
    return OmegaConf.to_container(model, resolve=True)  # type: ignore[return-value]


def _learned(command: str, arguments: Sequence[str]) -> list[str]:
    """Overrides that let a search start from a policy; what the command line says itself goes before them."""
    policy = _value_of("policy", arguments)
    if command != "search" or policy is None:
        return []
    chosen = dict(argument.lstrip("+").split("=", 1) for argument in arguments if "=" in argument)
    return overrides(policy, chosen)


def _inherited(command: str, arguments: Sequence[str]) -> list[str]:
    """Overrides that make a fine-tuning use the network, images and settings of the search that made its plan.

    What the command line says itself goes before it: a group that is chosen there is not inherited at all.
    """
    plan = _value_of("plan", arguments)
    if command != "finetune" or plan is None:
        return []
    folder = Path(plan) if Path(plan).is_dir() else Path(plan).parent
    if not (folder / CONFIG).is_file():
        return []
    stored = read_json(folder / CONFIG)
    chosen = {argument.partition("=")[0] for argument in arguments}
    overrides: list[str] = []
    for key in INHERITED:
        if not isinstance(stored, dict) or key not in stored or key in chosen:
            continue
        value = stored[key]
        if isinstance(value, dict) and (config_folder() / key).is_dir():
            ready = (config_folder() / key / f"{value.get('name')}.yaml").is_file()
            overrides.append(f"{key}={value['name'] if ready else 'custom'}")
        overrides += _leaves(key, value)
    return overrides


def _leaves(key: str, value: object) -> list[str]:
    """``value`` as overrides that set ``key``, or every entry below it."""
    if isinstance(value, dict) and value:
        return [override for name, entry in value.items() for override in _leaves(f"{key}.{name}", entry)]
    return [f"++{key}={_quoted(value)}"]


def _quoted(value: object) -> str:
    """``value`` in the grammar of Hydra's overrides."""
    if isinstance(value, str):
        # a backslash means something only before a quote
        escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), value)
        return f"'{escaped}'"
    if isinstance(value, list):
        return f"[{','.join(map(_quoted, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_quoted(entry)}" for key, entry in value.items()) + "}"  # YAML too
    return json.dumps(value)


def _stored_config(command: str, folder: Path, arguments: Sequence[str]) -> DictConfig:
    """The configuration of the run in ``folder``, with the further overrides that a resumed run may have.

    Raises:
        AmcError: no run there, a run of another command, or an override that contradicts it.
    """
    if command not in RESUMABLE:
        raise AmcError(f"resume={folder}: amc.{command} can't go on with a run; start a new one")
    with RunDir.open(folder) as run_dir:
        stored = run_dir.read_config()
    if stored.pop("command", None) != command or "settings" in stored:
        raise AmcError(f"resume={folder}: no run of python -m amc.{command}; go on with it where it was started")
    config = OmegaConf.create({**stored, "resume": str(folder), "dry_run": False, "verbose": True})
    for argument in _named_callables(_several_networks(command, arguments)):
        key, _, text = argument.lstrip("+").partition("=")
        if key.startswith(("-", "hydra.")) or key == "resume":
            continue
        given = OmegaConf.select(OmegaConf.from_dotlist([f"value={text}"]), "value")
        before = OmegaConf.select(config, key)
        before = before.get("name") if isinstance(before, DictConfig) else before
        if key in FREE_ON_RESUME:
            OmegaConf.update(config, key, given)
        elif before != given:
            raise AmcError(
                f"resume={folder}: the run was started with {key}={before}, now it is {given}; leave the override "
                "out, or start a new run"
            )
    return config
