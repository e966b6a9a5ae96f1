"""What earlier work found, tested on the puppets: `python -m benchmarks.findings` writes it into docs/findings.md.

Every finding predicts differences: of a score, between two recipes, or between two step counts of one. They are taken
from the fine-tunes of `benchmarks.phenomenon` (five recipes over steps) and `benchmarks.methods` (27 methods), which
are trained where they are missing, and from what the untuned base draws of people and of robots. Differences are
paired by seed and turned so that positive is what was found before; intervals are Student's t over seeds, 95 %, and
p-values of all of them together are corrected by Holm's method. The table and docs/findings.png are written anew; the
rest of the page is by hand.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import numpy as np
import typer
from scipy import stats

from benchmarks import methods, phenomenon
from benchmarks.phenomenon import interval
from spaces import OBJECTIVES, to_losses

matplotlib.use("Agg")
import matplotlib.pyplot as plt

STEPS = 200
"""Of the methods."""
LEVEL = 0.05
BEGIN, END = "<!-- findings: written by the command -->", "<!-- findings: end -->"
COLOURS = {"holds": ("#0072B2", "o"), "the contrary": ("#D55E00", "s"), "undecided": ("#7F7F7F", "D")}
"""Of the palette of Okabe and Ito; the marks tell them apart in grey."""
_NAMES = {"pose_plain": "plain poses", "pose_hard": "hard poses"}
_TRADED = OBJECTIVES["identity"], OBJECTIVES["pose"]

Values = Mapping[str, np.ndarray]
"""By score, one value a seed, in the seeds' order."""


@dataclass(frozen=True)
class Contrast:
    """One difference that a finding predicts to be positive."""

    finding: str
    tested: str
    score: str
    differences: np.ndarray
    """One a seed."""

    @property
    def verdict(self) -> str:
        mean, half = interval(self.differences)
        return "holds" if mean - half > 0 else "the contrary" if mean + half < 0 else "undecided"

    @property
    def p(self) -> float:
        """Of Student's paired test against no difference; without any spread 0, or 1 where there is none at all."""
        if np.ptp(self.differences) == 0:
            return float(self.differences[0] == 0)
        return float(stats.ttest_1samp(self.differences, 0.0).pvalue)


def holm(ps: Sequence[float]) -> list[float]:
    """Adjusted p-values (Holm 1979), in the order given."""
    order = np.argsort(ps, kind="stable")
    raised = np.maximum.accumulate((len(ps) - np.arange(len(ps))) * np.asarray(ps, dtype=float)[order])
    adjusted = np.empty(len(ps))
    adjusted[order] = np.minimum(raised, 1.0)
    return adjusted.tolist()


def with_balance(rows: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
    """The scores by name, and `balance`: the share of the objectives' square that the checkpoint alone dominates."""
    gains = np.clip(1 - to_losses(_TRADED, rows), 0, None)
    scores = {name: np.array([row[name] for row in rows]) for name in (*methods.SCORES, "pose")}
    return scores | {"balance": gains.prod(axis=1)}


def contrasts(
    over_steps: Mapping[tuple[str, int], Values], of: Mapping[str, Values], untuned: Mapping[str, Values]
) -> Iterator[Contrast]:
    """`over_steps` by recipe and steps, `of` by method, `untuned` the base's panels of `person` and `robot`."""
    attention, text = "attention, rank 16", "attention, rank 16, text encoder"
    everything, kv, plain = "everything, rank 32, no prior", "K/V, rank 16", methods.PLAIN

    def steps(finding: str, recipe: str, score: str, more: int, less: int) -> Contrast:
        difference = over_steps[recipe, more][score] - over_steps[recipe, less][score]
        return Contrast(finding, f"{recipe}: {more} over {less} steps", score, difference)

    def recipes(finding: str, more: str, less: str, score: str, at: int = 400, sign: int = 1) -> Contrast:
        difference = over_steps[more, at][score] - over_steps[less, at][score]
        return Contrast(finding, f"{more}, over {less}; {at} steps", score, sign * difference)

    def method(finding: str, more: str, score: str, less: str = plain, sign: int = 1) -> Contrast:
        beside = "" if less == plain else f", over {less}"
        return Contrast(finding, f"{more}{beside}; {STEPS} steps", score, sign * (of[more][score] - of[less][score]))

    few = "200 to 600 steps balance best"
    yield steps(few, text, "balance", 400, 50)
    yield steps(few, text, "balance", 400, 200)
    yield steps(few, text, "balance", 400, 800)
    yield steps(few, everything, "balance", 400, 50)
    yield steps(few, everything, "balance", 400, 800)
    yield steps("more steps bring identity", attention, "identity", 400, 50)
    yield steps("more steps forget structure", everything, "pose_hard", 50, 800)
    yield steps("more steps forget structure", everything, "pose_plain", 50, 800)
    rank = "rank 16 or more balances best"
    yield recipes(rank, attention, "attention, rank 4", "balance")
    yield method(rank, plain, "balance", "rank 4")
    yield method(rank, "rank 64", "balance", "rank 4")
    yield recipes("the text encoder brings identity", text, attention, "identity")
    yield method("the text encoder brings identity", "text encoder too", "identity")
    forgets = "tuning the text encoder forgets structure"
    yield recipes(forgets, text, attention, "pose_hard", sign=-1)
    yield method(forgets, "text encoder too", "pose_hard", sign=-1)
    yield recipes(forgets, text, attention, "drift")
    keeps = "keys and values alone keep the pose"
    yield recipes(keeps, kv, attention, "pose_hard")
    yield recipes(keeps, kv, everything, "pose_hard")
    yield recipes(keeps, kv, everything, "drift", sign=-1)
    yield method(keeps, "Custom Diffusion", "pose_hard")
    for kind in ("dropout 0.3 before A", "dropout 0.3 after A", "rank dropout 0.3", "module dropout 0.3"):
        yield method("dropout keeps the pose", kind, "pose_hard")
    tokens, stages = ("token alone", "token alone, 3 vectors"), ("two stages, UNet", "two stages, both")
    for token in tokens:
        yield method("the token alone forgets least", token, "drift", sign=-1)
        yield method("the token alone forgets least", token, "pose_hard")
    for token in tokens:
        yield method("the token alone resembles least", token, "identity", sign=-1)
    for two in stages:
        yield method("two stages keep identity", two, "identity", "text encoder too")
    for two in stages:
        yield method("two stages keep the pose", two, "pose_hard", "text encoder too")
    yield method("a prior keeps the class", "no prior", "drift")
    bias, person, robot = "a ControlNet of people breaks robots in unusual poses", untuned["person"], untuned["robot"]
    lost = {name: values["pose_plain"] - values["pose_hard"] for name, values in untuned.items()}
    yield Contrast(bias, "untuned, people over robots", "pose_plain", person["pose_plain"] - robot["pose_plain"])
    yield Contrast(bias, "untuned, people over robots", "pose_hard", person["pose_hard"] - robot["pose_hard"])
    yield Contrast(bias, "untuned, what robots lose from plain to hard poses, over what people lose", "pose",
                   lost["robot"] - lost["person"])  # fmt: skip


def untuned_scores(work: Path, seeds: int) -> dict[str, Values]:
    """What the base draws of a person and of a robot that it never saw, with other noise for each seed."""
    from trainables.base import Base
    from trainables.job import Job, PanelConfig
    from trainables.trial import Studio

    found: dict[str, list[dict[str, float]]] = {"person": [], "robot": []}
    for name, rows in found.items():
        for seed in range(seeds):
            panel = PanelConfig(plain=8, hard=8, drift=1, seed=seed)
            folder = work / Base.load("puppets").fingerprint / f"{name}-{seed}"
            job = Job(folder=str(folder), cache=str(work), subject=f"puppets/{name}", rungs=(STEPS,), panel=panel)
            rows.append(Studio(job).panel.reference().scores)
    return {name: with_balance(rows) for name, rows in found.items()}


def markdown(found: Sequence[Contrast]) -> str:
    """The table, each finding named once."""
    lines = ["| earlier finding | tested as | score | effect | verdict |", "| --- | --- | --- | --- | --- |"]
    before = None
    for each, p in zip(found, holm([each.p for each in found]), strict=True):
        mean, half = interval(each.differences)
        verdict = each.verdict + ("" if each.verdict == "undecided" or p < LEVEL else " (not by Holm)")
        name = "" if each.finding == before else each.finding
        score = _NAMES.get(each.score, each.score)
        lines.append(f"| {name} | {each.tested} | {score} | {mean:+.3f} ± {half:.3f} | {verdict} |")
        before = each.finding
    return "\n".join(lines)


def draw(found: Sequence[Contrast], path: Path) -> None:
    """Every effect with its interval, by finding; to the right is what was found before."""
    rows: list[Contrast | str] = []
    for finding, group in groupby(found, key=lambda each: each.finding):
        rows += [finding, *group]
    figure, axis = plt.subplots(figsize=(11, 0.25 * len(rows) + 1.2), layout="constrained")
    seen = set()
    for row, each in enumerate(rows):
        if isinstance(each, str):
            continue
        colour, marker = COLOURS[each.verdict]
        mean, half = interval(each.differences)
        axis.errorbar(mean, row, xerr=half, color=colour, marker=marker, markersize=5, capsize=2, linewidth=1.4,
                      label=None if each.verdict in seen else each.verdict)  # fmt: skip
        seen.add(each.verdict)
    axis.axvline(0, color="black", linewidth=0.8)
    labels = [row if isinstance(row, str) else f"{row.tested}: {_NAMES.get(row.score, row.score)}" for row in rows]
    axis.set_yticks(range(len(rows)), labels, fontsize=8)
    for label, row in zip(axis.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if isinstance(row, str) else "normal")
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlabel("difference of the score, 95 % interval over seeds; to the right: as found before")
    axis.grid(axis="x", color="#e5e5e5")
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside upper right", ncols=3, frameon=False)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def into(page: str, table: str) -> str:
    """The page with the table between its marks."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page has no {BEGIN} with {END} after it")
    return pattern.sub(lambda _: f"{BEGIN}\n\n{table}\n\n{END}", page)


def main(
    seeds: Annotated[int, typer.Option(min=2)] = 5,
    workers: Annotated[int, typer.Option(min=1, help="Processes for the recipes over steps.")] = 2,
    work: Annotated[Path, typer.Option(help="Where fine-tunes are kept, and read from.")] = Path("scratch"),
    docs: Annotated[Path, typer.Option()] = Path("docs"),
) -> None:
    from trainables.base import Base

    rows: list[dict[str, Any]] = phenomenon.collect(seeds, workers, work / "phenomenon")
    table = {
        (name, steps): with_balance(sorted(group, key=lambda row: row["seed"]))
        for name in phenomenon.RECIPES
        for steps in phenomenon.rungs_of(name)
        if (group := [row for row in rows if (row["recipe"], row["steps"]) == (name, steps)])
    }
    (work / "methods").mkdir(parents=True, exist_ok=True)
    bench, recipes = methods.Bench(work / "methods", STEPS), methods.methods(STEPS)
    of = {
        name: with_balance([bench.row(name, recipe, seed)["scores"] for seed in range(seeds)])
        for name, recipe in recipes.items()
    }
    found = list(contrasts(table, of, untuned_scores(work / "findings", seeds)))
    said = markdown(found)
    print(said)
    page = docs / "findings.md"
    page.write_text(into(page.read_text(encoding="utf-8"), said), encoding="utf-8")
    draw(found, docs / "findings.png")
    kept = {"seeds": seeds, "base": Base.load("puppets").fingerprint}
    print(json.dumps(kept | {verdict: sum(each.verdict == verdict for each in found) for verdict in COLOURS}))


if __name__ == "__main__":
    typer.run(main)
