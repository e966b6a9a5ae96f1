"""Runs or resumes a small sweep in a process that may be killed.

`python -m tests.search.drive HOME TRIALS SECONDS [STORAGE [without-ray]]`; without Ray one trial after the other.
"""

import sys
from pathlib import Path

import pytest
from rich.console import Console

from search.live import PlainLines
from search.remote import is_taken, locate
from search.sweep import resume, run
from tests.search.curves import Curves
from tests.search.examples import make_cache, small_sweep
from tests.search.inprocess import without_ray

if __name__ == "__main__":
    home, trials, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    where = sys.argv[4] if len(sys.argv) > 4 else None
    if len(sys.argv) > 5:
        without_ray(pytest.MonkeyPatch())
    known = (home / "small").exists() or (where is not None and is_taken(where, "small"))
    make_cache(home, seconds)
    sweep = locate(home, "small", where) if known else small_sweep(home, trials, seconds, where)
    (resume if known else run)(sweep, PlainLines(Console(), sweep.space, sweep.trials), Curves)
