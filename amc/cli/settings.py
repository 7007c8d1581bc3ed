"""Composed configuration, as plain data → settings, choices and method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from amc.core.checks import refuse_unknown
from amc.pruning.budget import Budget, check_budget
from amc.pruning.constraints import Limits
from amc.pruning.network import Network
from amc.rewards import Reward, get_reward
from amc.task.method import Method
from amc.task.settings import SCOPE, Settings

# keys that are settings of the same name
PLAIN = (
    "observation", *SCOPE, "constraints", "curves", "prior", "responses", "prices", "finalists", "finals_recovery",
)  # fmt: skip


def settings_of(plain: Mapping[str, Any], **given: Any) -> Settings:
    """The settings in ``plain``, with ``given`` as further ones.

    Raises:
        AmcError: a setting that doesn't exist or has an impossible value.
    """
    for section, apart in (("budget", ("name", "keep")), ("evaluate", ())):
        values = {key: value for key, value in plain[section].items() if key not in apart}
        refuse_unknown(section, values, (f.name for f in fields(Settings)))
        given |= values
    given |= {key: plain[key] for key in PLAIN if key in plain}
    given |= {key: unnamed(plain[key]) for key in ("agent", "recovery") if key in plain}
    settings = Settings(**given)
    check_budget(settings.cost, plain["budget"].get("keep"), settings.limits)
    return settings


def budget_check(settings: Settings, keep: float | None) -> Callable[[Network], None]:
    """What refuses a network on which ``settings`` and ``keep`` leave nothing to search; see :class:`Budget`."""

    def check(network: Network) -> None:
        limit = None if settings.cost == "latency_ms" else keep  # that table isn't measured before there are weights
        cost = "macs" if settings.cost == "latency_ms" else settings.cost
        Limits(**settings.limits).check_rounding(network.groups)
        Budget(network.cost_model, cost, limit, **settings.limits)

    return check


def choices_of(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Reward, agent and number of episodes, as arguments of a search."""
    return {
        "reward": _reward(**plain["reward"]),
        "agent": plain["agent"]["name"],
        "episodes": plain["episodes"],
    }


def method_of(plain: Mapping[str, Any], settings: Settings) -> Method:
    """How networks are cut and recovered. Raises ``AmcError`` for an unknown name."""
    names = (plain["importance"]["name"], plain["recovery"]["name"])
    return Method(*names, plain["seed"], settings.calibration_images, settings.recovery)


def unnamed(section: Mapping[str, Any]) -> dict[str, Any]:
    """A group's own settings, without its name."""
    return {key: value for key, value in section.items() if key != "name"}


def _reward(name: str, _target_: str, **arguments: Any) -> str | Reward:
    """The configured reward: by name or dotted path, or as a callable if it has arguments."""
    path = name if _target_ == f"amc.rewards.{name}" else _target_
    return get_reward(path, **arguments) if arguments else path
