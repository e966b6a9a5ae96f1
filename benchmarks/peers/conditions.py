"""Spaces with conditions, for packages that know of none."""

from collections.abc import Mapping
from typing import Any

from spaces import Space


def applying(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of a value for every parameter those whose conditions hold: what users of such a package do with the others."""
    kept: dict[str, Any] = {}
    for parameter in space.parameters:
        if space.active(parameter, kept):
            kept[parameter.name] = values[parameter.name]
    return kept
