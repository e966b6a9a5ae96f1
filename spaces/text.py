"""Text that others wrote, read into plain values within bounds: no file can take all memory, or for ever."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import yaml

from spaces.errors import InputError

YAML_BYTES = 200_000
"""A space has some thousand; PyYAML reads 100,000 in a few seconds."""
JSON_BYTES = 16_000_000
DEEPEST = 50
"""How far lists and mappings may be nested."""
_MOST_NODES = 50_000
"""Of a YAML document with its aliases written out: a few lines of them can stand for billions."""


def read_text(path: Path, most: int = JSON_BYTES) -> str:
    """UTF-8, with or without a byte order mark.

    OSError and UnicodeDecodeError are for the caller to explain. InputError where it is no plain file (a pipe would
    never end) or has more than `most` bytes.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:
        raise InputError(repr(str(path)), f"is no name of a file ({error})") from None
    with os.fdopen(handle, "rb") as file:
        kind = os.fstat(file.fileno()).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(None, "Is a directory")
        if not stat.S_ISREG(kind):
            raise InputError(path, "is no plain file")
        data = file.read(most + 1)
    if len(data) > most:
        raise InputError(path, f"is too large; at most {most:,} bytes are read")
    return data.decode("utf-8-sig")


def parse_yaml(text: str, where: object) -> tuple[yaml.Node | None, Any]:
    """The tree of a document, which knows lines, and its values. Plain values alone: no tag makes an object.

    InputError names the line of what is no YAML, and refuses what contains itself, is nested too deep, or grows
    beyond all bounds when its aliases are written out.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None:
            _measure(root, where, {}, set())
        return root, yaml.safe_load(text)  # from a tree of its own, since `<<` changes it
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or error
        raise InputError(f"{where}, line {mark.line + 1 if mark else 1}", f"is not YAML: {problem}") from None
    except RecursionError:
        raise InputError(where, f"is not YAML: it is nested more than {DEEPEST} deep") from None
    except InputError:
        raise
    except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError) as error:
        # a value that is not what its tag says, such as the date 2001-99-99
        raise InputError(where, f"is not YAML: {error}") from None


def parse_json(text: str, where: object) -> Any:
    """InputError for what is no JSON, has a name twice in one object, or is nested too deep."""
    try:
        values = json.loads(text, object_pairs_hook=_each_once)
    except RecursionError:
        raise InputError(where, f"is not JSON (it is nested more than {DEEPEST} deep)") from None
    except ValueError as error:
        raise InputError(where, f"is not JSON ({error})") from None
    level, depth = [values], 0
    while level := [inner for value in level for inner in _inside(value)]:
        depth += 1
        if depth > DEEPEST:
            raise InputError(where, f"is not JSON (it is nested more than {DEEPEST} deep)")
    return values


def _inside(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers differ in which of two values counts."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return values


def _measure(node: yaml.Node, where: object, known: dict[int, tuple[int, int]], above: set[int]) -> tuple[int, int]:
    """How many nodes there are below one and how deep, aliases written out."""
    if id(node) in known:
        return known[id(node)]
    line = f"{where}, line {node.start_mark.line + 1}"
    if id(node) in above:
        raise InputError(line, "is not YAML for us: an alias contains itself")
    if isinstance(node, yaml.MappingNode):
        below = [part for pair in node.value for part in pair]
    else:
        below = node.value if isinstance(node, yaml.SequenceNode) else []
    parts = [_measure(part, where, known, above | {id(node)}) for part in below]
    count, depth = 1 + sum(n for n, _ in parts), 1 + max((d for _, d in parts), default=0)
    if depth > DEEPEST:
        raise InputError(line, f"is nested more than {DEEPEST} deep")
    if count > _MOST_NODES:
        raise InputError(line, f"has more than {_MOST_NODES:,} values (aliases written out)")
    known[id(node)] = count, depth
    return count, depth
