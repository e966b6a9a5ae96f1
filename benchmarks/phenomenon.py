"""Does the conflict of identity and pose happen on the puppets? `python -m benchmarks.phenomenon`.

Trains a handful of recipes on the shipped robot over several seeds, scores them at every rung on a panel larger than a
sweep's, prints means with 95% intervals over seeds and the paired differences that the claims are about, and draws
docs/phenomenon.png. Finished fine-tunes are kept in the work folder and are not trained again.
"""

import json
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import numpy as np
import typer
from scipy import stats

from spaces import Recipe

matplotlib.use("Agg")
import matplotlib.pyplot as plt

RUNGS = (50, 200, 400)
OVERTRAINED = 800
"""Where the two recipes that learn fastest go on to."""
_COMMON = {"batch_size": 2, "prior_weight": 1.0, "prior_images": 32, "learning_rate": 1e-3}
RECIPES = {
    "K/V, rank 16": Recipe(targets="cross-kv", rank=16, **_COMMON),
    "attention, rank 4": Recipe(targets="attention", rank=4, **_COMMON),
    "attention, rank 16": Recipe(targets="attention", rank=16, **_COMMON),
    "attention, rank 16, text encoder": Recipe(
        targets="attention", rank=16, text_encoder="lora", text_encoder_rank=8, **_COMMON
    ),
    "everything, rank 32, no prior": Recipe(
        targets="attention+ff", rank=32, text_encoder="lora", text_encoder_rank=16, learning_rate=2e-3, batch_size=2
    ),
}
_ALL = "everything, rank 32, no prior"
_LONG = {_ALL, "attention, rank 16, text encoder"}
SCORES = ("identity", "pose_plain", "pose_hard", "drift")
_CLAIMS = (
    # what is claimed, score, (recipe, steps) that should have more, (recipe, steps) that should have less
    ("identity rises with steps", "identity", ("attention, rank 16", 400), ("attention, rank 16", 50)),
    ("identity rises with rank", "identity", ("attention, rank 16", 400), ("attention, rank 4", 400)),
    ("the text encoder brings identity", "identity", ("attention, rank 16, text encoder", 400),
     ("attention, rank 16", 400)),
    ("overtraining costs hard poses", "pose_hard", (_ALL, 50), (_ALL, 800)),
    ("overtraining costs plain poses", "pose_plain", (_ALL, 50), (_ALL, 800)),
    ("all targets drift more than K/V", "drift", (_ALL, 400), ("K/V, rank 16", 400)),
    ("K/V keeps more hard pose than everything", "pose_hard", ("K/V, rank 16", 400), (_ALL, 400)),
    ("K/V keeps more hard pose than attention", "pose_hard", ("K/V, rank 16", 400), ("attention, rank 16", 400)),
)  # fmt: skip


def rungs_of(name: str) -> tuple[int, ...]:
    return (*RUNGS, OVERTRAINED) if name in _LONG else RUNGS


def run(name: str, seed: int, work: str) -> list[dict[str, Any]]:
    """One fine-tune, scored at every rung; read back where it was finished before."""
    from trainables.data.prior import class_prior
    from trainables.finetune import FineTune

    path = Path(work) / f"{name.replace(' ', '_').replace('/', '')}-{seed}.json"
    if path.exists() and len(rows := json.loads(path.read_text())) == len(rungs_of(name)):
        return rows
    studio, recipe = _studio(work), RECIPES[name]
    prior = class_prior(studio.base, studio.subject, recipe.prior_images, Path(work)) if recipe.prior_images else None
    tune = FineTune(studio.base, studio.subject, recipe, seed, prior)
    rows = []
    for rung in rungs_of(name):
        tune.advance(rung - tune.steps)
        rows.append({"recipe": name, "seed": seed, "steps": rung, **studio.panel.score().scores})
    tune.remove()
    path.write_text(json.dumps(rows))
    return rows


_STUDIOS: dict[str, Any] = {}


def _studio(work: str) -> Any:
    """What a worker process reads once."""
    from trainables.job import Job, PanelConfig
    from trainables.trial import Studio

    if work not in _STUDIOS:
        panel = PanelConfig(plain=8, hard=8, drift=4)
        _STUDIOS[work] = Studio(Job(folder=work, cache=work, subject="puppets/robot", rungs=RUNGS, panel=panel))
    return _STUDIOS[work]


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half the 95% interval of Student's t."""
    return float(values.mean()), float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def table(rows: list[dict[str, Any]]) -> dict[tuple[str, int, str], np.ndarray]:
    """(recipe, steps, score) -> one value a seed, in the seeds' order."""
    rows = sorted(rows, key=lambda row: row["seed"])
    keys = {(row["recipe"], row["steps"]) for row in rows}
    of = {key: [row for row in rows if (row["recipe"], row["steps"]) == key] for key in keys}
    return {(*key, score): np.array([row[score] for row in of[key]]) for key in keys for score in SCORES}


def report(values: dict[tuple[str, int, str], np.ndarray], base: dict[str, float]) -> None:
    print(f"{'recipe':34s} {'steps':>5s} " + " ".join(f"{score:>15s}" for score in SCORES))
    print(f"{'untuned base':34s} {0:5d} " + " ".join(f"{base[score]:15.3f}" for score in SCORES))
    for name in RECIPES:
        for steps in rungs_of(name):
            cells = ["{:.3f} ± {:.3f}".format(*interval(values[name, steps, score])) for score in SCORES]
            print(f"{name:34s} {steps:5d} " + " ".join(f"{cell:>15s}" for cell in cells))
    print("\npaired over seeds:")
    for claim, score, more, less in _CLAIMS:
        mean, half = interval(values[(*more, score)] - values[(*less, score)])
        verdict = "holds" if mean - half > 0 else "the opposite holds" if mean + half < 0 else "undecided"
        print(f"{claim:42s} {score:10s} difference {mean:+.3f} ± {half:.3f}: {verdict}")


def draw(values: dict[tuple[str, int, str], np.ndarray], base: dict[str, float], path: Path) -> None:
    """Each score over steps, a line a recipe, bands of the 95% interval over seeds."""
    colours = ["#0072B2", "#56B4E9", "#009E73", "#D55E00", "#000000"]
    figure, axes = plt.subplots(1, 4, figsize=(15, 4.2), layout="constrained")
    better = {"drift": "lower is better"}
    for axis, score in zip(axes, SCORES, strict=True):
        for (name, colour), marker in zip(zip(RECIPES, colours, strict=True), "osD^v", strict=True):
            rungs = rungs_of(name)
            means, halves = np.array([interval(values[name, steps, score]) for steps in rungs]).T
            axis.plot(rungs, means, color=colour, marker=marker, markersize=4, label=name)
            axis.fill_between(rungs, means - halves, means + halves, color=colour, alpha=0.15, linewidth=0)
        axis.axhline(base[score], color="grey", linestyle=":", label="untuned base")
        axis.set(xscale="log", xlabel="training steps")
        axis.set_xticks((*RUNGS, OVERTRAINED), (*RUNGS, OVERTRAINED))
        axis.set_title(f"{score.replace('_', ', ')} ({better.get(score, 'higher is better')})", fontsize=10)
        axis.minorticks_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    figure.savefig(path, dpi=110)


def folder_of(work: Path) -> Path:
    """Where the fine-tunes of today's base are kept: of another one they would be others."""
    from trainables.base import Base

    return work / Base.load("puppets").fingerprint


def collect(seeds: int, workers: int, work: Path) -> list[dict[str, Any]]:
    """All fine-tunes' rows, trained now or before."""
    folder = folder_of(work)
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        waiting = [pool.submit(run, name, seed, str(folder)) for seed in range(seeds) for name in RECIPES]
        for number, finished in enumerate(as_completed(waiting), 1):
            rows += finished.result()
            print(f"{number} of {len(waiting)} fine-tunes", flush=True)
    return rows


def main(
    seeds: Annotated[int, typer.Option(min=2)] = 5,
    workers: Annotated[int, typer.Option(min=1)] = 2,
    work: Annotated[Path, typer.Option()] = Path("scratch/phenomenon"),
    out: Annotated[Path, typer.Option()] = Path("docs/phenomenon.png"),
) -> None:
    rows = collect(seeds, workers, work)
    base = json.loads((folder_of(work) / "panel" / "base.json").read_text())["scores"]
    values = table(rows)
    report(values, base)
    draw(values, base, out)


if __name__ == "__main__":
    typer.run(main)
