"""Runs or resumes a small sweep in a process that may be killed.

`python -m tests.search.drive HOME TRIALS SECONDS [STORAGE [without-ray]]`; without Ray one trial after the other.
`--address HOST:PORT` joins the Ray that is there.
"""

import argparse
from pathlib import Path

import pytest
from rich.console import Console

from search.storage.remote import is_taken, locate
from search.sweep import resume, run
from search.views.live import PlainLines
from tests.search.curves import Curves
from tests.search.examples import make_cache, small_sweep
from tests.search.inprocess import without_ray

if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    for name, kind in (("home", Path), ("trials", int), ("seconds", float)):
        arguments.add_argument(name, type=kind)
    for name in ("where", "without"):
        arguments.add_argument(name, nargs="?")
    arguments.add_argument("--address")
    given = arguments.parse_args()
    if given.without:
        without_ray(pytest.MonkeyPatch())
    home, where = given.home, given.where
    known = (home / "small").exists() or (where is not None and is_taken(where, "small"))
    make_cache(home, given.seconds)
    there = {"address": given.address, "workers": None} if given.address else {}
    sweep = locate(home, "small", where) if known else small_sweep(home, given.trials, given.seconds, where, **there)
    (resume if known else run)(sweep, PlainLines(Console(), sweep.space, sweep.trials), Curves)
