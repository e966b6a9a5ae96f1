"""A YAML document that knows the line of each of its keys."""

from collections.abc import Iterator
from typing import Any

import yaml

from spaces.errors import InputError
from spaces.text import parse_yaml


class Document:
    """One mapping; what is wrong in it is said with the line."""

    def __init__(self, text: str, where: object) -> None:
        """InputError when the text is no YAML, no mapping, or has a key twice."""
        self.where = where
        self.lines: dict[tuple[str, ...], int] = {}
        root, values = parse_yaml(text, where)
        for key, line in _key_lines(root):
            if key in self.lines:
                raise InputError(self._at(line), f"{'.'.join(key)}: is there already, in line {self.lines[key]}")
            self.lines[key] = line
        if not isinstance(values, dict):
            raise InputError(where, "should be a mapping of fields to values")
        self.values: dict[str, Any] = values

    def error(self, key: tuple[str, ...], problem: str) -> InputError:
        """What is wrong with the value of a key, given as the keys on the way to it."""
        return InputError(self.place(key), problem)

    def place(self, key: tuple[str, ...]) -> str:
        """Line and name of the field; the line is that of the innermost key that is there."""
        known = next((key[:n] for n in range(len(key), 0, -1) if key[:n] in self.lines), ())
        return f"{self._at(self.lines.get(known, 1))}: {'.'.join(map(str, key[:2]))}"

    def _at(self, line: int) -> str:
        return f"{self.where}, line {line}"


def _key_lines(node: yaml.Node | None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    """(key path, line) of every mapping key below `node`, lines counted from 1."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            yield here, key.start_mark.line + 1
            yield from _key_lines(value, here)
