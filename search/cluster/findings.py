"""One line of a check: a field, its value, what would be right."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

LONGEST = 400
"""Characters of a line: what is wrong may itself be very long."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with one field of a cluster file."""

    kind: Literal["error", "warn"]
    """An error costs money, safety or the cluster; a warning is weak, and may be meant."""
    where: str
    """The field, such as `available_node_types.head.node_config.ImageId`."""
    text: str
    """The value, and what would be right."""

    def __str__(self) -> str:
        line = " ".join(f"{self.where}: {self.text}".split())
        return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."


def error(where: str, text: str) -> Finding:
    return Finding("error", where, text)


def warn(where: str, text: str) -> Finding:
    return Finding("warn", where, text)


def unknown(where: str, name: object, known: Iterable[str], of: str) -> Finding:
    """A field that does not exist, with those that were perhaps meant."""
    return error(f"{where}.{name}".lstrip("."), f"is no field of {of}{meant(name, known)}")


def meant(name: object, known: Iterable[str]) -> str:
    """`; did you mean ...?`, or nothing."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = get_close_matches(str(name).lower(), by_lower, n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(by_lower[match] for match in close)}?" if close else ""


def short(value: Any) -> str:
    """A value as a line can have it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
