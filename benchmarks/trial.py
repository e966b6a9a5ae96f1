"""Where the seconds of a trial go: `python -m benchmarks.trial`, or `python -m benchmarks.trial --sweep runs/demo-1`.

Times the parts alone on one thread of the puppets, in fp32 and bf16: loading, a training step of several recipes, a
panel, a checkpoint. With --sweep it reads a sweep's journal instead and prints what its trials spent on what,
and the orchestration overhead, 1 - busy / (workers x wall).
"""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer

from analysis.spending import spending
from search.journal import read
from spaces import Recipe
from trainables.data.prior import class_prior
from trainables.export import save_adapter
from trainables.finetune import FineTune
from trainables.job import Job, PanelConfig
from trainables.trial import Studio

_COMMON = {"batch_size": 2, "prior_weight": 1.0, "prior_images": 32}
RECIPES = {
    "K/V, rank 4": Recipe(targets="cross-kv", rank=4, **_COMMON),
    "attention, rank 16": Recipe(targets="attention", rank=16, **_COMMON),
    "attention, rank 16, dropout": Recipe(targets="attention", rank=16, dropout=0.2, **_COMMON),
    "attention + FF, rank 32, text encoder": Recipe(targets="attention+ff", rank=32, text_encoder="lora", **_COMMON),
}


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def parts(precision: str, steps: int, work: Path) -> None:
    """Prints seconds of each part, and of the panel as a multiple of a step."""
    job = Job(
        folder=str(work / precision), cache=str(work), subject="puppets/robot", rungs=(1,), panel=PanelConfig(),
        precision=precision,
    )  # fmt: skip
    studio: list[Studio] = []
    print(f"\n{precision}, one thread")
    print(
        f"{'reading base, subject and judges, scoring the base':52s} {timed(lambda: studio.append(Studio(job))):8.2f} s"
    )
    base, subject, panel = studio[0].base, studio[0].subject, studio[0].panel
    print(f"{'32 class pictures, once a base':52s} {timed(lambda: class_prior(base, subject, 32, work)):8.2f} s")
    prior = class_prior(base, subject, 32, work)
    cells = len(panel.cells) + len(panel.drift_cells)
    per_panel = float(np.median([timed(panel.score) for _ in range(3)]))
    print(f"{f'a panel of {cells} pictures':52s} {per_panel:8.2f} s")
    for name, recipe in RECIPES.items():
        tune = FineTune(base, subject, recipe, 0, prior)
        tune.advance(3)
        one = float(np.median([timed(lambda tune=tune: tune.advance(1)) for _ in range(steps)]))
        save = timed(lambda tune=tune: save_adapter(tune, work / "adapter"))
        save += timed(lambda tune=tune: tune.save_state(work / "state.safetensors"))
        tune.remove()
        beside = f"a panel is {per_panel / one:.0f} steps; saving {save:.2f} s"
        print(f"{f'a step of {name}':52s} {one * 1e3:8.1f} ms; {beside}")


def shares(folder: Path) -> None:
    """Prints what a sweep's workers did with their time."""
    ledger = read(folder)
    spent = spending([o.cost for o in ledger.table], ledger.drives)
    workers = ", ".join(str(count) for count in sorted({drive.workers for drive in spent.drives}))
    print(f"{len(ledger.observed)} checkpoints in {spent.wall:.0f} s on {workers} workers")
    rows = spent.parts | ({} if spent.waited is None else {"wait": spent.waited})
    for part, seconds in rows.items():
        name = "wait (orchestration)" if part == "wait" else part
        print(f"{name:24s} {seconds:8.1f} s {spent.shares()[part]:7.1%}")
    if spent.outside:
        print(f"{spent.outside:.1f} s of it in drives that did not end in order: what these waited is not known")


def main(
    sweep: Annotated[Path | None, typer.Option(help="a sweep's folder")] = None,
    steps: Annotated[int, typer.Option(min=1, help="of each recipe")] = 20,
) -> None:
    if sweep is not None:
        shares(sweep)
        return
    torch.set_num_threads(1)
    with TemporaryDirectory() as work:
        for precision in ("fp32", "bf16"):
            parts(precision, steps, Path(work))


if __name__ == "__main__":
    typer.run(main)
