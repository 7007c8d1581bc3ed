"""``model=[resnet20,resnet32]`` on the command line, expanded for Hydra."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from amc.core.errors import AmcError

# Defaults of a joint search that differ from a single one's.
DEFAULTS = {"reward": "accuracy", "observation": "portable"}
FOLDER = "runs/{}-${{dataset.name}}-${{agent.name}}/${{now:%Y-%m-%d_%H-%M-%S}}"


def listed(value: str) -> list[str]:
    """The names in ``[a,b]``; none if ``value`` is not a list."""
    if not (value.startswith("[") and value.endswith("]")):
        return []
    return [name.strip() for name in value[1:-1].split(",") if name.strip()]


def expanded(
    command: str,
    arguments: Sequence[str],
    names: Sequence[str],
    compose_model: Callable[[str], Mapping[str, Any]],
    quoted: Callable[[object], str],
) -> list[str]:
    """``arguments`` with the list of models replaced by the first model, and ``networks`` with all of them.

    Args:
        command: only ``search`` takes several networks.
        arguments: overrides.
        names: of the networks, from :func:`listed`.
        compose_model: name → its composed ``model`` configuration.
        quoted: value → text in the grammar of overrides.

    Raises:
        AmcError: another command, an unknown name, or an override of one model's settings.
    """
    if command != "search":
        raise AmcError(f"model=[{','.join(names)}]: only amc.search takes several networks; give one")
    keys = {argument.lstrip("+").partition("=")[0] for argument in arguments}
    single = min((key for key in keys if key.startswith("model.")), default=None)
    if single is not None:
        raise AmcError(f"{single}: belongs to one network; of several only checkpoints=[file,null,…] can be given")
    models = [dict(compose_model(name)) for name in names]
    folder = FOLDER.format("+".join(model["name"] for model in models))
    defaults = {**DEFAULTS, "hydra.run.dir": quoted(folder)}
    rest = [argument for argument in arguments if argument.partition("=")[0] != "model"]
    return [
        *(f"{key}={value}" for key, value in defaults.items() if key not in keys),
        f"model={names[0]}",
        f"networks={quoted(models)}",
        *rest,
    ]
