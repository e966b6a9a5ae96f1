"""What each method of the recipe does on the puppets: `python -m benchmarks.methods`.

Trains every method on the shipped robot for the same number of steps over several seeds, scores it on a panel larger
than a sweep's, and prints a Markdown table of means with 95 % intervals over seeds, and below it the paired differences
to plain LoRA. What a step costs is measured afterwards, method and plain LoRA by turns, and shown as their ratio: the
machine's load changes over the hours that all this takes. Every finished fine-tune is a line of a file in the work
folder and is not trained again; of another base or another recipe it would be another line. docs/findings.md says what
follows.
"""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from scipy import stats

from spaces import Recipe

if TYPE_CHECKING:
    from trainables.finetune import FineTune

TIMED_STEPS, TIMED_ROUNDS = 12, 3
COMMON = {"learning_rate": 1e-3, "batch_size": 2}
_PRIOR = {"prior": "images", "prior_weight": 1.0, "prior_images": 32}
_TEXT = {"text_encoder": "lora", "text_encoder_rank": 8}
_TOKEN = {"token": "trained", "token_learning_rate": 5e-3}
PLAIN = "LoRA: attention, rank 16, prior by images"
"""What the others are compared with, and differ from by what their names say."""


def methods(steps: int) -> dict[str, Recipe]:
    """Each method's recipe; stages switch at half of the steps."""
    half = steps // 2
    fields: dict[str, dict[str, Any]] = {
        PLAIN: _PRIOR,
        "text encoder too": _PRIOR | _TEXT,
        "token alone": {"unet": "frozen"} | _TOKEN,
        "K/V of cross-attention": _PRIOR | {"targets": "cross-kv"},
        "dropout 0.3 before A": _PRIOR | {"dropout": 0.3},
        "rank 4": _PRIOR | {"rank": 4},
        "rank 64": _PRIOR | {"rank": 64},
        "attention + feed-forward": _PRIOR | {"targets": "attention+ff"},
        "text encoder too, until half": _PRIOR | _TEXT | {"text_encoder_until": half},
        "text encoder alone": _PRIOR | _TEXT | {"unet": "frozen", "text_encoder_learning_rate": 1e-3},
        "token alone, 3 vectors": {"unet": "frozen", "token_vectors": 3} | _TOKEN,
        "pivotal: token, then LoRA": _PRIOR | _TOKEN | {"token_until": half},
        "Custom Diffusion": _PRIOR | _TOKEN | {"unet": "full-kv", "size_augmentation": True},
        "no prior": {},
        "prior by the base": {"prior": "base"},
        "subject-masked loss": _PRIOR | {"mask_weight": 0.0},
        "dropout 0.3 after A": _PRIOR | {"dropout": 0.3, "dropout_kind": "output"},
        "rank dropout 0.3": _PRIOR | {"dropout": 0.3, "dropout_kind": "rank"},
        "module dropout 0.3": _PRIOR | {"dropout": 0.3, "dropout_kind": "module"},
        "T-LoRA: rank 16 to 8": _PRIOR | {"rank_schedule": "timestep"},
        "rsLoRA": _PRIOR | {"adapter": "rslora"},
        "DoRA": _PRIOR | {"adapter": "dora"},
        "PiSSA": _PRIOR | {"init": "pissa"},
        "ControlNet in the loop": _PRIOR | {"pose_from": 0},
        "two stages, UNet": _PRIOR | _TEXT | {"pose_from": half},
        "two stages, ControlNet": _PRIOR | _TEXT | {"pose_from": half, "pose_trains": "controlnet"},
        "two stages, both": _PRIOR | _TEXT | {"pose_from": half, "pose_trains": "both"},
    }  # fmt: skip
    return {name: Recipe(**{**COMMON, **given}) for name, given in fields.items()}


SCORES = ("identity", "pose_plain", "pose_hard", "drift")


class Bench:
    """Base, subject and panel, read once, and the file of what was trained."""

    def __init__(self, work: Path, steps: int) -> None:
        from trainables.base import Base
        from trainables.job import Job, PanelConfig
        from trainables.trial import Studio

        self.steps, self.work, self.file = steps, work, work / "results.jsonl"
        panel = PanelConfig(plain=8, hard=8, drift=4)
        folder = work / Base.load("puppets").fingerprint  # what the untuned base draws is kept by base
        job = Job(folder=str(folder), cache=str(work), subject="puppets/robot", rungs=(steps,), panel=panel)
        self.studio = Studio(job)
        self.untuned = self.studio.panel.reference().scores
        lines = self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else []
        self.done = {self._key(row): row for row in map(json.loads, lines)}

    def row(self, name: str, recipe: Recipe, seed: int) -> dict[str, Any]:
        """What one fine-tune reached, trained now or before."""
        asked = {
            "method": name, "seed": seed, "steps": self.steps, "recipe": recipe.model_dump(),
            "base": self.studio.base.fingerprint,
        }  # fmt: skip
        key = self._key(asked)
        if key not in self.done:
            self.done[key] = asked | self._train(recipe, seed)
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.done[key]) + "\n")
        return self.done[key]

    def _train(self, recipe: Recipe, seed: int) -> dict[str, Any]:
        tune = self._finetune(recipe, seed)
        try:
            tune.advance(self.steps)
            scores = self.studio.panel.score().scores
            parameters = sum(p.numel() for p in tune.parameters.values())
            return {"scores": scores, "parameters": parameters, "loss": tune.validation_loss()}
        finally:
            tune.remove()

    def pace(self, name: str) -> float:
        """A method's seconds per step over plain LoRA's: the median of some rounds, its stages switching half way."""
        recipes = methods(TIMED_STEPS)
        ratios = [self._seconds(recipes[name]) / self._seconds(recipes[PLAIN]) for _ in range(TIMED_ROUNDS)]
        return float(np.median(ratios))

    def _seconds(self, recipe: Recipe) -> float:
        tune = self._finetune(recipe, seed=0)
        try:
            started = time.perf_counter()
            tune.advance(TIMED_STEPS)
            return time.perf_counter() - started
        finally:
            tune.remove()

    def _finetune(self, recipe: Recipe, seed: int) -> "FineTune":
        from trainables.data.prior import class_prior
        from trainables.finetune import FineTune

        base, subject = self.studio.base, self.studio.subject
        prior = class_prior(base, subject, recipe.prior_images, self.work) if recipe.prior_images else None
        return FineTune(base, subject, recipe, seed, prior)

    def _key(self, row: dict[str, Any]) -> str:
        return json.dumps([row[name] for name in ("recipe", "seed", "steps", "base")], sort_keys=True)


def interval(values: np.ndarray) -> str:
    """Mean and half the 95 % interval of Student's t over seeds; with one seed the mean alone."""
    if len(values) < 2:
        return f"{values.mean():.2f}"
    return f"{values.mean():.2f} ± {stats.t.ppf(0.975, len(values) - 1) * stats.sem(values):.2f}"


def table(rows: dict[str, list[dict[str, Any]]], paces: dict[str, float], untuned: dict[str, float], steps: int) -> str:
    """A line a method, its seeds' means."""
    lines = [
        "| method | identity | pose, plain | pose, hard | drift | step | parameters | seeds |",
        "|---|---|---|---|---|---|---|---|",
        "| untuned base | " + " | ".join(f"{untuned[score]:.2f}" for score in SCORES) + " | | | |",
    ]
    for name, of in rows.items():
        scores = " | ".join(interval(np.array([row["scores"][score] for row in of])) for score in SCORES)
        lines.append(f"| {name} | {scores} | {paces[name]:.2f} | {of[0]['parameters']:,} | {len(of)} |")
    head = f"At {steps} steps; mean ± half the 95 % interval over seeds; `step` is a step's time over plain LoRA's."
    return head + "\n\n" + "\n".join(lines)


def differences(rows: dict[str, list[dict[str, Any]]]) -> str:
    """Each method minus plain LoRA, paired by seed."""
    plain = {row["seed"]: row["scores"] for row in rows.get(PLAIN, [])}
    lines = ["| method minus plain LoRA | identity | pose, plain | pose, hard | drift |", "|---|---|---|---|---|"]
    for name, of in rows.items():
        paired = [row for row in of if row["seed"] in plain]
        if name != PLAIN and paired:
            cells = [
                interval(np.array([row["scores"][score] - plain[row["seed"]][score] for row in paired]))
                for score in SCORES
            ]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(
    seeds: Annotated[int, typer.Option(min=1)] = 5,
    steps: Annotated[int, typer.Option(min=2, help="Of every method.")] = 200,
    minutes: Annotated[float, typer.Option(min=0, help="Begin no other fine-tune after these; 0 is never.")] = 0,
    work: Annotated[Path, typer.Option(help="Where results are kept.")] = Path("scratch/methods"),
) -> None:
    work.mkdir(parents=True, exist_ok=True)
    bench, chosen, started = Bench(work, steps), methods(steps), time.monotonic()
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in chosen}
    for seed in range(seeds):
        for name, recipe in chosen.items():
            if minutes and time.monotonic() - started > 60 * minutes:
                continue
            row = bench.row(name, recipe, seed)
            rows[name].append(row)
            scores = " ".join(f"{score} {row['scores'][score]:.3f}" for score in SCORES)
            print(f"{name}, seed {seed}: {scores}", flush=True)
    rows = {name: of for name, of in rows.items() if of}
    paces = {name: bench.pace(name) for name in rows}
    print("\n" + table(rows, paces, bench.untuned, steps) + "\n\n" + differences(rows))


if __name__ == "__main__":
    typer.run(main)
