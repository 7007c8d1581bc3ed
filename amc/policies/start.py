"""Learned policies of earlier searches: reading them, and starting a search from one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import agents
from agents.policy.files import JSON, WEIGHTS, read_policy
from agents.policy.policy import Policy
from amc.core.errors import AmcError
from amc.core.files import write_error
from amc.task.settings import Settings
from amc.tracking import RunDir
from envs.observations import PRIOR

FOLDER = "policy"  # of a run, beside its plan
START = "start"  # copy of the policy that a run began with, so that a resume doesn't need the other run's folder
GENTLE_SIGMA = 0.1  # a search that starts from a policy explores near its actions


def policy_folder(path: str | Path) -> Path:
    """The policy's folder: ``path`` itself, or ``policy/`` in a run folder."""
    path = Path(path)
    inside = path / FOLDER
    return inside if (inside / JSON).is_file() and not (path / JSON).is_file() else path


def read(path: str | Path) -> Policy:
    """The policy in ``path``, a run folder or its ``policy/``; no code of it is run.

    Raises:
        AmcError: there is none, it is damaged, or it needs its own search's prior.
    """
    try:
        policy = read_policy(policy_folder(path))
    except ValueError as error:
        raise AmcError(f"policy={path}: {error}") from error
    if PRIOR in policy.features:
        raise AmcError(
            f"policy={path}: it reads the prior '{PRIOR}', which other networks have no curves for here; train one "
            "without the prior"
        )
    return policy


def settings_from(settings: Settings, agent: str, policy: Policy, path: str | Path) -> Settings:
    """``settings`` for a search that starts from ``policy``: what they leave open is the policy's, or explores little.

    After a warm-up that may lack the policy's own plans, the actor is not fitted to the best of them: that would
    overwrite the policy.

    Raises:
        AmcError: the policy belongs to another agent.
    """
    if agent != policy.agent:
        raise AmcError(f"agent={agent}: the policy {path} is of agent {policy.agent}; give agent={policy.agent}")
    layout: Any = policy.layout if settings.observation == Settings.observation else settings.observation
    own = {"hidden": list(policy.hidden), **_gentle(policy, settings.agent)}
    chosen = {**own, **settings.agent}
    if chosen.get("warmup_episodes", 0) is not None and chosen.get("actor_start", "auto") == "auto":
        chosen["actor_start"] = "default"
    return replace(settings, observation=layout, agent=chosen)


def _gentle(policy: Policy, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a search that starts from ``policy``, if its agent warms up; ``chosen``: those that the user gives.

    It plays each heuristic once, the policy's plans at four strengths among them.
    """
    if policy.agent not in ("ddpg", "amc", "td3", "sac"):
        return {}
    rules = chosen.get("warmup", "rules") == "rules"
    begin = {"warmup": "rules", "warmup_episodes": None} if rules else {}
    return begin if policy.agent == "sac" else {**begin, "sigma": GENTLE_SIGMA}  # sac has no sigma


def starting_policy(path: str | Path | None, folder: RunDir | None) -> tuple[Policy, Path] | None:
    """The policy that a run begins with, and the folder it is read from; on resume the run's own copy."""
    if folder is not None and folder.load_checkpoint() is not None:
        copy = folder.path / START
        begun = (read(copy), copy) if (copy / JSON).is_file() else None
        if folder.continued and begun is not None and path is not None:
            _require_copy(folder.path, policy_folder(path), copy)
        return begun
    if folder is not None:  # of a run here that was given up before its first episode
        for name in (JSON, WEIGHTS):
            (folder.path / START / name).unlink(missing_ok=True)
    return None if path is None else (read(path), policy_folder(path))


def _require_copy(run: Path, policy: Path, copy: Path) -> None:
    """Raises ``AmcError`` if ``policy``, which a call for a new run names, is not what the killed run began with."""
    for name in (JSON, WEIGHTS):
        if not (policy / name).is_file() or (policy / name).read_bytes() != (copy / name).read_bytes():
            raise AmcError(
                f"{run}: holds a run that was stopped, from another policy than {policy}; go on with it by "
                f"resume={run}, or give another folder by hydra.run.dir="
            )


def origin(policy: Policy) -> dict[str, Any]:
    """Origin of a policy, for the files of a run that uses it."""
    return {"agent": policy.agent, "episodes": policy.episodes, "trained_on": dict(policy.trained_on)}


def start_from(agent: agents.Agent, policy: Policy, source: Path, folder: RunDir | None) -> None:
    """Loads the policy's actor and critic into a new ``agent``, and copies the policy into the run folder.

    Raises:
        AmcError: the policy does not fit the agent or its environment's observation, or the copy can't be written.
    """
    load = getattr(agent, "load_policy", None)
    try:
        if load is None:
            raise ValueError(f"agent {agent.name} can't start from a policy")
        load(policy)
    except ValueError as error:
        raise AmcError(f"policy={source}: {error}") from error
    if folder is not None and source != folder.path / START:
        target = folder.path / START
        try:
            target.mkdir(exist_ok=True)
            for name in (JSON, WEIGHTS):
                shutil.copyfile(source / name, target / name)
        except OSError as error:
            raise write_error(target, error) from error
