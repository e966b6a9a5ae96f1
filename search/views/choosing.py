"""Which of a sweep's observations is meant: by name, the knee, or what somebody prefers. One way for all commands."""

import re
from typing import TYPE_CHECKING

from analysis.choice import Choice, choose
from analysis.preference import parse_preference
from spaces import InputError, Observation

if TYPE_CHECKING:
    from search.views.show import Found

NAMED = re.compile(r"(?P<trial>[^@]+)@(?P<steps>\d+)(:(?P<label>.+))?")
"""TRIAL@STEPS, or TRIAL@STEPS:LABEL where it was drawn in several ways."""

_NAMED = 8
"""Of a front, in a message."""


def choice_of(found: "Found", prefer: str | None = None, where: object = "--prefer") -> Choice | None:
    """The knee, or the best by weights, of the confirmed front if there is one; None while there is no front.

    InputError for weights that cannot be.
    """
    weights = None if prefer is None else parse_preference(prefer, found.space.objectives, where)
    confirmation = found.standing.confirmation if found.standing and found.standing.usable else None
    return choose(found.ledger.table, found.space, confirmation, weights)


def preferred_of(found: "Found", wanted: str, where: object = "--pick") -> Observation | None:
    """What `knee` or weights mean; None where `wanted` is neither, or nothing is on the front."""
    if wanted == "knee":
        return found.knee
    if "=" not in wanted:
        return None
    choice = choice_of(found, wanted, where)
    return choice.pick if choice else None


def not_there(found: "Found", wanted: str, what: str) -> InputError:
    """For a pick that is none; `what` would be right beside the knee and weights."""
    example = ",".join(f"{o.name}={2 - min(i, 1)}" for i, o in enumerate(found.space.objectives[:2]))
    names = [o.name for o in found.front]
    there = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    return InputError(
        "--pick", f"{wanted!r} should be knee, weights such as {example}, or {what}: {there or 'none yet'}"
    )
