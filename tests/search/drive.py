"""Runs or resumes a small sweep in a process that may be killed: `python -m tests.search.drive HOME TRIALS SECONDS`."""

import sys
from pathlib import Path

from rich.console import Console

from search import config
from search.live import PlainLines
from search.sweep import resume, run
from tests.search.curves import Curves
from tests.search.examples import small_sweep

if __name__ == "__main__":
    home = Path(sys.argv[1])
    known = (home / "small").exists()
    sweep = config.load(home, "small") if known else small_sweep(home, int(sys.argv[2]), float(sys.argv[3]))
    (resume if known else run)(sweep, PlainLines(Console(), sweep.space, sweep.trials), Curves)
