"""Where the seconds of a trial go: `python -m benchmarks.trial`, or `python -m benchmarks.trial --sweep runs/demo-1`.

Times the parts alone on one thread of the puppets, in fp32 and bf16: loading, a training step of several recipes, a
panel, a checkpoint. With --sweep it reads a finished sweep's journal instead and prints what its trials spent on what,
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

from search.journal import Closed, Observed, events
from spaces import Recipe
from trainables.export import save_adapter
from trainables.finetune import FineTune
from trainables.job import Job, PanelConfig
from trainables.prior import class_prior
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
    """Prints what a finished sweep's workers did with their time."""
    happened = list(events(folder))
    costs = [o.cost for event in happened if isinstance(event, Observed) for o in event.observations]
    timing = next(event.timing for event in reversed(happened) if isinstance(event, Closed))
    capacity = timing.workers * timing.wall
    rows = {part: sum(getattr(cost, part) for cost in costs) for part in ("train", "score", "load")}
    rows["wait (orchestration)"] = capacity - sum(rows.values())
    print(f"{len(costs)} checkpoints in {timing.wall:.0f} s on {timing.workers} workers")
    for part, seconds in rows.items():
        print(f"{part:24s} {seconds:8.1f} s {seconds / capacity:7.1%}")


def main(
    sweep: Annotated[Path | None, typer.Option(help="a finished sweep's folder")] = None,
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
