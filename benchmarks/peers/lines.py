"""The other side of benchmarks/peers/foreign.py: a search behind lines of JSON, where its package is installed.

The pins of such packages and ours exclude each other, so nothing here knows anything of ours. The first line says what
is searched; each other one is a method of the search and what it is given, and has one line for an answer. Losses are
minimised.
"""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any


def valued(parameters: list[dict[str, Any]], config: Mapping[str, Any]) -> dict[str, Any]:
    """What a config stands for whose choices are indices: packages want the values of one all of a type."""
    return {
        name: parameter["values"][config[name]] if "values" in parameter else config[name]
        for parameter in parameters
        for name in [parameter["name"]]
    }


def serve(make: Callable[[dict[str, Any]], Any]) -> None:
    """Answers until there are no more lines. What a package prints goes where its errors go."""
    answers, sys.stdout = sys.stdout, sys.stderr
    search = make(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        method, *given = json.loads(line)
        print(json.dumps(getattr(search, method)(*given)), file=answers, flush=True)
