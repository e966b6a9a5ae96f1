"""Confirms a small sweep, which is run first, in a process that may be killed: `python -m ... HOME SECONDS`."""

import sys
from pathlib import Path

from rich.console import Console

from search.config import load
from search.confirm.live import ConfirmLines
from search.confirm.run import confirm
from search.sweep import run
from search.views.live import PlainLines
from tests.search.curves import Curves
from tests.search.examples import make_cache, small_sweep

if __name__ == "__main__":
    home, seconds = Path(sys.argv[1]), float(sys.argv[2])
    if not (home / "small").exists():
        config = small_sweep(home, 5, 0.01)
        run(config, PlainLines(Console(), config.space, 5), Curves)
    make_cache(home, seconds)
    (home / "cache" / "noise").write_text("0.03")
    config = load(home, "small")
    new = not (home / "small" / "confirmation.jsonl").exists()
    confirm(
        config, ConfirmLines(Console(), config.space, None), 1e4 if new else None, 3 if new else None, False, Curves
    )
