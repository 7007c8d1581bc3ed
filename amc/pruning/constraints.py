"""What is asked of all layer groups and of some by name; made into each group's bounds here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from amc.core.checks import shown
from amc.core.errors import AmcError
from amc.core.types import LayerGroup
from amc.core.values import ByPattern, Kind, Real, Some, Whole
from amc.pruning.bounds import Bounds
from amc.pruning.coupling.branches import SUFFIX

SHARE = Real(high=1, ends="(]")
# What can be asked of single groups.
CONSTRAINTS = ByPattern(
    also=(None,),
    entry=Some(
        {"min_keep": SHARE, "max_keep": SHARE, "min_channels": Whole(), "keep": SHARE, "channel_round": Whole()}
    ),
    example="{layer1.*: {min_keep: 0.5}}",
)


class MinKeep:
    """A keep ratio for all groups."""

    def check(self, name: str, value: Any) -> None:
        """Raises ``AmcError`` for something else; says how to give one for some groups."""
        if isinstance(value, Mapping):
            raise AmcError(
                f"{shown(name, value)}: is one number for all; for some give constraints={CONSTRAINTS.example}"
            )
        SHARE.check(name, value)


class Rounding:
    """A whole number for all groups, or one for each of some kinds of layers."""

    def check(self, name: str, value: Any) -> None:
        """Raises ``AmcError`` for something else."""
        kind: Kind = ByPattern(entry=Whole()) if isinstance(value, Mapping) else Whole()
        kind.check(name, value)


@dataclass(frozen=True)
class Asked:
    """A setting as users write it, with its value."""

    name: str
    value: Any

    def __str__(self) -> str:
        return shown(self.name, self.value)


@dataclass(frozen=True)
class Limits:
    """What is asked of all groups, and of some by name or pattern, which takes its place.

    Attributes:
        min_keep: smallest keep ratio.
        channel_round: kept counts are multiples of it; or kind of layer, by name or pattern → such a number, of which
            the last that matches counts, and 1 for all other kinds.
        min_channels: fewest channels; a group that has no more stays whole.
        constraints: name or pattern of layers → any of ``min_keep``, ``max_keep``, ``min_channels``, ``channel_round``
            and ``keep`` (the ratio itself: nothing is searched), for the groups whose channels are such a layer's own
            (those that it only reads are another's). Of several that match, later ones win key by key. A residual
            branch stays where some of it is asked for, and goes where ``max_keep`` or ``keep`` below 1 is asked of its
            own name (``layer1.0:branch``).
    """

    min_keep: float = 0.1
    channel_round: int | Mapping[str, int] = 1
    min_channels: int = 1
    constraints: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def of(self, groups: Sequence[LayerGroup]) -> dict[str, Bounds]:
        """Name of each group that can be pruned → its bounds.

        Raises:
            AmcError: a pattern that matches nothing, or only what can't be pruned; bounds that contradict each other.
        """
        for pattern in self.constraints:
            _check_pattern(pattern, groups)
        kinds = list(dict.fromkeys(g.kind for g in groups))
        for pattern in self.channel_round if isinstance(self.channel_round, Mapping) else ():
            if not any(fnmatchcase(kind, pattern) for kind in kinds):
                raise AmcError(
                    f"budget.channel_round: {pattern!r} matches no kind; this network has {', '.join(kinds)}"
                )
        return {g.name: self._bounds(g) for g in _free(groups)}

    def check_rounding(self, groups: Sequence[LayerGroup]) -> None:
        """Raises ``AmcError`` for a rounding beyond every group that it is for: only whole groups would be left."""
        asked = {g: self._rounding(g) for g in _free(groups) if g.branch is None}
        for rounding in dict.fromkeys(asked.values()):
            widest = max(g.channels for g in asked if asked[g] == rounding)
            if rounding.value > widest:
                of = "" if len(set(asked.values())) == 1 else " that this is for"
                raise AmcError(
                    f"{rounding}: no layer group{of} has more than {widest} channels, so none could be pruned; give a "
                    "divisor of the channel counts, such as 8"
                )

    def words(self, groups: Sequence[LayerGroup]) -> dict[str, str]:
        """Group name → its bounds, for display; empty without constraints. Raises ``AmcError`` as :meth:`of`."""
        return {name: str(bounds) for name, bounds in self.of(groups).items()} if self.constraints else {}

    def _bounds(self, group: LayerGroup) -> Bounds:
        asked, rounding = self._asked(group), self._rounding(group)
        if group.branch is not None:
            return self._of_branch(group, asked)
        shares = {key: _share(asked[key], group) for key in ("min_keep", "min_channels") if key in asked}
        strictest = max(shares, key=lambda key: shares[key], default=None)
        lowest = group.min_channels(shares[strictest] if strictest else 0.0, rounding.value)
        at_most = asked.get("max_keep")
        highest = group.max_channels(at_most.value, rounding.value) if at_most else group.channels
        few = f"{asked[strictest] if strictest else rounding} asks for at least {lowest}"
        many = f"{at_most} allows {highest or 'none'}"
        if lowest > highest:
            raise _contradiction(group, rounding, few, many, "raise max_keep, or ask for fewer there")
        if "keep" in asked:
            count = group.round_channels(asked["keep"].value, rounding.value)
            if not lowest <= count <= highest:
                other = few if count < lowest else many
                raise _contradiction(group, rounding, f"{asked['keep']} gives {count}", other, "give one of them")
            return Bounds(group, count, count, rounding.value, self.min_keep)
        return Bounds(group, lowest, highest, rounding.value, shares["min_keep"])

    @staticmethod
    def _of_branch(group: LayerGroup, asked: Mapping[str, Asked]) -> Bounds:
        """A branch may be dropped, unless some of it is asked for; by its own name it can be told to go."""
        told = (asked[key] for key in ("keep", "max_keep") if key in asked)
        if any(SUFFIX in one.name and one.value < 1 for one in told):
            return Bounds(group, 0, 0, 1, 0.0)
        some = any(key in asked for key in ("min_keep", "min_channels", "keep"))
        return Bounds(group, int(some), 1, 1, float(some))

    def _asked(self, group: LayerGroup) -> dict[str, Asked]:
        """Key → what is asked of the group. A given ratio takes the place of what is asked of all, as of branches."""
        own = {
            key: Asked(f"constraints.{pattern}.{key}", value)
            for pattern, entry in self.constraints.items()
            if _matches(pattern, group)
            for key, value in entry.items()
        }
        if "keep" in own or group.branch is not None:
            return own
        return {**{key: Asked(f"budget.{key}", getattr(self, key)) for key in ("min_keep", "min_channels")}, **own}

    def _rounding(self, group: LayerGroup) -> Asked:
        own, common = self._asked(group).get("channel_round"), self.channel_round
        if own is not None:
            return own
        if not isinstance(common, Mapping):
            return Asked("budget.channel_round", common)
        fitting = [pattern for pattern in common if fnmatchcase(group.kind, pattern)]
        last = fitting[-1] if fitting else None
        return Asked("budget.channel_round", 1) if last is None else Asked(f"budget.channel_round.{last}", common[last])


def _share(asked: Asked, group: LayerGroup) -> float:
    """A smallest keep ratio, or fewest channels, as a keep ratio of the group; at most 1."""
    return float(asked.value) if asked.name.endswith("min_keep") else min(asked.value / group.channels, 1.0)


def _contradiction(group: LayerGroup, rounding: Asked, one: str, other: str, advice: str) -> AmcError:
    unit = group.unit(rounding.value)
    units = f" in units of {unit}" if unit > 1 else ""
    return AmcError(f"{one} of the {group.channels} channels{units} of group {group.name}, but {other}; {advice}")


def _free(groups: Sequence[LayerGroup]) -> Iterator[LayerGroup]:
    return (g for g in groups if g.frozen is None)


def _matches(pattern: str, group: LayerGroup) -> bool:
    """Whether the group's channels are those of a layer of that name: it makes them, or norms or filters them alone.

    Layers that read the channels don't count, unlike for ``freeze``: in a chain, what is asked of a layer would
    otherwise be asked of the one before it too.
    """
    own = {group.name, *(s.layer for s in group.slices if s.axis == "out")}
    return any(fnmatchcase(layer, pattern) for layer in own)


def _check_pattern(pattern: str, groups: Sequence[LayerGroup]) -> None:
    hits = [g for g in groups if _matches(pattern, g)]
    if not hits:
        example = next((g.name for g in reversed(groups) if g.frozen is None), "conv1")
        raise AmcError(f"constraints: {pattern!r} matches no layer; give names or patterns such as {example!r}")
    if all(g.frozen is not None for g in hits):
        raise AmcError(
            f"constraints: {pattern!r} matches only what can't be pruned (group {hits[0].name}: {hits[0].frozen}); "
            "leave it out"
        )
