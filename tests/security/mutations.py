"""Strategies that spoil what is right: values in a document, and bytes in a file."""

import copy
import math
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spaces import InputError
from spaces.wording import MOST

SECONDS = 20.0
"""So long a file may keep its reader; a busy machine is slow."""

TEXTS = st.sampled_from(
    ["", " ", "..", "../../x", "/etc/passwd", "a\\..\\b", "a\0b", "\x1b[2J", "𝕬" * 9, "x" * 5000, "1e-4", "sks", "NaN"]
) | st.text(max_size=12)
NUMBERS = st.sampled_from(
    [0, -1, 1, 2**31, 2**63, 10**30, 10**400, -(10**400), 0.5, 1e-320, 1e308, math.inf, -math.inf, math.nan]
) | st.integers(-5, 2000)
PLAIN = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=8
)
"""Anything that YAML or JSON can say."""
BYTES = st.binary(max_size=64) | st.sampled_from(
    [
        b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"[" * 4000, b'{"a":' * 4000, b"&a [*a]", b"- " * 3000, b"9" * 5000, b"\t",
        b"!!python/object/apply:os.system [ls]", b"!!timestamp x", b"!!bool x", b"!!int ''", b"2001-99-99",
        b"? [a]\n: b", b"NaN", b"Infinity",
    ]
)  # fmt: skip
BRIEFLY_AND_AT_LENGTH = pytest.mark.parametrize("examples", [60, pytest.param(1500, marks=pytest.mark.slow)])
"""How many files a test tries: few and always the same in the ordinary run, many and always others in the slow one."""


def fuzz(examples: int, check: Callable[..., None], **strategies: st.SearchStrategy) -> None:
    """Calls `check` with so many draws; what it raises is shown with the smallest draw that makes it do so."""
    quiet = settings(
        max_examples=examples, derandomize=examples < 1000, database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    quiet(given(**strategies)(check))()


def refused_or_read(read: Callable[[], object]) -> None:
    """Whatever is in a file, it is read, or refused in one line that can be printed; and that in a moment."""
    began = time.monotonic()
    try:
        read()
    except InputError as mistake:
        line = str(mistake)
        assert line.isprintable() and 0 < len(line) <= MOST + 20, line
        line.encode()
    assert time.monotonic() - began < SECONDS


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


@st.composite
def spoiled(draw: st.DrawFn, right: Any) -> Any:
    """The document with one or two of its values changed, taken out, doubled or renamed."""
    value = copy.deepcopy(right)
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(places(value)))
        if not path:
            if draw(st.booleans()):
                return draw(VALUES)
            continue
        *way, last = path
        holder = value
        for key in way:
            holder = holder[key]
        change = draw(st.sampled_from(["set", "set", "set", "remove", "double", "rename"]))
        if change == "set":
            holder[last] = draw(VALUES)
        elif change == "remove":
            del holder[last]
        elif change == "double" and isinstance(holder, list):
            holder.insert(last, copy.deepcopy(holder[last]))
        elif change == "rename" and isinstance(holder, dict):
            holder[draw(TEXTS)] = holder.pop(last)
    return value


@st.composite
def spoiled_bytes(draw: st.DrawFn, right: bytes) -> bytes:
    """The file cut short, with some bytes changed, or with others put in; or other bytes altogether."""
    if draw(st.integers(0, 5)) == 0:
        return draw(BYTES)
    data = bytearray(right)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        change = draw(st.sampled_from(["flip", "insert", "cut", "remove"]))
        if change == "flip" and at < len(data):
            data[at] = draw(st.integers(0, 255))
        elif change == "insert":
            data[at:at] = draw(BYTES)
        elif change == "cut":
            del data[at:]
        elif change == "remove":
            del data[at : at + draw(st.integers(1, 40))]
    return bytes(data)
