"""The driver, in a process that may be killed: `python -m benchmarks.faults.drive ASKED.json [--puppets]`.

Runs the sweep of that config, or resumes it where it exists.
"""

import sys
from pathlib import Path

from rich.console import Console

from benchmarks.faults.stand_in import StandIn
from search import config
from search.sweep import resume, run
from search.views.live import PlainLines

if __name__ == "__main__":
    sweep = config.SweepConfig.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    go = resume if (sweep.folder / config.FILE).exists() else run
    trainable = None if "--puppets" in sys.argv else StandIn
    outcome = go(sweep, PlainLines(Console(width=200), sweep.space, sweep.trials), trainable)
    print(outcome.status, flush=True)
