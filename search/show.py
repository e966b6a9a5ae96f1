"""What a sweep found so far: for people, and as JSON."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from analysis.paces import paces
from search import journal, remote
from search.budget import in_hold, of
from search.config import SweepConfig
from search.front import front_of, hypervolume_of, knee_of
from search.journal import Ledger
from search.lease import is_driven
from search.recorder import BASE_SCORES, base_scores
from search.words import in_words
from spaces import InputError, Observation, Requirements, Space, violation

SCORE_COLUMNS = {"identity": "identity", "pose": "pose", "pose_plain": "plain", "pose_hard": "hard", "drift": "drift"}
"""What the table calls them."""
WIDE = 110
"""Columns of a terminal from which on a recipe has room beside its scores."""


@dataclass(frozen=True)
class Found:
    """A sweep's results."""

    config: SweepConfig
    space: Space
    ledger: Ledger
    status: str
    """`running`, `finished`, `finished: budget spent` or `interrupted`."""
    front: list[Observation]
    knee: Observation | None
    hypervolume: float
    base: dict[str, float] | None
    """The untuned base's scores."""
    fetch: Callable[[Path], None] = lambda path: None
    """Brings a file or a folder of the sweep's to this machine, if it is on a storage alone."""


def find(home: Path, name: str, where: str | None = None) -> Found:
    """Reads a sweep, running or not, of the home or of the storage `where`. InputError when there is none."""
    settings = remote.locate(home, name, where)
    fetch = Found.fetch
    if settings.job.storage is not None:
        store = remote.store_of(settings.job)
        remote.refresh(settings, store)
        fetch = partial(remote.fetch, store, settings.folder)
        fetch(settings.folder / BASE_SCORES)
    ledger, space = journal.read(settings.folder), settings.space
    table = ledger.table
    check_scores(table, space, settings.folder / journal.FILE)
    return Found(
        config=settings,
        space=space,
        ledger=ledger,
        status=_status(settings, ledger),
        front=front_of(table, space.objectives, space.requirements),
        knee=knee_of(table, space.objectives, space.requirements),
        hypervolume=hypervolume_of(table, space.objectives, space.requirements),
        base=base_scores(settings.folder),
        fetch=fetch,
    )


def check_scores(table: Sequence[Observation], space: Space, where: Path) -> None:
    """InputError where an observation lacks a score that the sweep trades, or it is no number."""
    for o in table:
        for traded in (*space.objectives, *space.requirements):
            if not math.isfinite(o.scores.get(traded.name, math.nan)):
                raise InputError(where, f"{o.name} has no score {traded.name}; this journal is of another space")


def as_json(found: Found) -> str:
    """One object: sweep, status, objectives, trials (how many), observations, front, knee, hypervolume, devices,
    tried, required."""
    ledger = found.ledger
    document = {
        "sweep": found.config.name,
        "status": found.status,
        "objectives": [{"name": o.name, "direction": o.direction} for o in found.space.objectives],
        "trials": len(ledger.proposals),
        "observations": [_point(o) | {"cost": vars(o.cost)} for o in ledger.table],
        "front": [_point(o) | {"recipe": o.recipe.model_dump()} for o in found.front],
        "knee": found.knee and _point(found.knee) | {"recipe": found.knee.recipe.model_dump()},
        "hypervolume": found.hypervolume,
        "devices": [vars(pace) for pace in paces(ledger.table, found.space.rungs)],
        "tried": [_trial(ledger, trial) for trial in ledger.proposals],
        "required": [str(each) for each in found.space.requirements],
    }
    return json.dumps(document, indent=2, allow_nan=False)


def to_console(found: Found, console: Console) -> None:
    """The front as a table, the knee's recipe, and what failed."""
    ledger, meter = found.ledger, found.config.meter
    ended = f"{of(len(ledger.endings), meter.plan(ledger).trials)} trials ended"
    console.print(f"[bold]{found.config.name}[/]: {found.status}, {ended}, {len(ledger.table)} observations, "
                  f"hypervolume {found.hypervolume:.4f}", highlight=False)  # fmt: skip
    if ledger.learned:
        count, sweeps = sum(len(each.observations) for each in ledger.learned), {each.sweep for each in ledger.learned}
        console.print(f"Proposals began with {count} observations of {', '.join(sorted(sweeps))}.", highlight=False)
    if budget := meter.in_words(ledger):
        console.print(f"Spent: {budget}.", highlight=False)
    if required := found.space.requirements:
        console.print(in_need(ledger.table, required), highlight=False)
    if not found.front:
        console.print("No observation is on the front." if ledger.table else "No observation yet.")
    else:
        wide = console.width >= WIDE
        console.print(_front_table(found, wide))
        if not wide:
            console.print(_recipes(found))
    if found.knee is not None:
        console.print(
            f"\nRecommended (the front's knee): {found.knee.trial} at {found.knee.steps} steps"
            + (f", drawn as {found.knee.label}" if found.knee.label else ""),
            highlight=False,
        )
        console.print(recipe_yaml(found.knee), markup=False, highlight=False)
    devices = paces(ledger.table, found.space.rungs)
    if len(devices) > 1:
        console.print("\nDevices:", highlight=False)
        for pace in devices:
            console.print(f"  {pace.in_words}", markup=False, highlight=False, soft_wrap=True)
    for ending in ledger.endings.values():
        if ending.status == "failed":
            console.print(f"{ending.trial} failed: {ending.reason}", markup=False, highlight=False, soft_wrap=True)
    if found.status == "interrupted":
        console.print(f"`posefront resume {found.config.name}` goes on with it.", highlight=False)
    elif found.status != "running" and ledger.unfinished:
        console.print(f"{in_hold(ledger)}: `posefront resume {found.config.name}` with a larger budget, such as "
                      "--gpu-hours +1 or --hours +1, goes on with it.", highlight=False)  # fmt: skip


def in_need(table: Sequence[Observation], required: Requirements) -> str:
    """How many observations meet what is required, and where none does which is nearest."""
    met = sum(violation(required, o.scores) == 0 for o in table)
    said = f"Required: {', '.join(map(str, required))}. {met} of {len(table)} observations meet it."
    if met or not table:
        return said
    nearest = min(table, key=lambda o: violation(required, o.scores))
    scores = ", ".join(f"{each.name} {nearest.scores[each.name]:.3f}" for each in required)
    return f"{said} Nearest is {nearest.name} with {scores}."


def recipe_yaml(observation: Observation) -> str:
    """The recipe as a space's `recipe` could fix it, steps and seed beside, and how to draw where not as the main."""
    fields = {"recipe": observation.recipe.flat(), "steps": observation.steps, "seed": observation.seed}
    if observation.label:
        fields["inference"] = observation.inference.model_dump()
    return yaml.safe_dump(fields, sort_keys=False).rstrip()


def _front_table(found: Found, wide: bool) -> Table:
    """A row for each observation by the name that `--pick` takes; where there is room, with its recipe."""
    shown = dict.fromkeys([*(o.name for o in found.space.objectives), *SCORE_COLUMNS])
    scores = [name for name in shown if all(name in o.scores for o in found.front)]
    table = Table("checkpoint", title="The front", title_justify="left")
    table.columns[0].no_wrap = True
    for name in scores:
        table.add_column(SCORE_COLUMNS.get(name, name), justify="right", no_wrap=True)
    if wide:
        table.add_column("recipe")
    for o in found.front:
        values = [f"{o.scores[name]:.3f}" for name in scores]
        recipe = [in_words(o.recipe)] if wide else []
        table.add_row(o.name, *values, *recipe, style="bold green" if found.knee == o else None)
    if found.base is not None:
        values = [f"{found.base[name]:.3f}" if name in found.base else "" for name in scores]
        table.add_row("untuned base", *values, *([""] if wide else []), style="dim")
    return table


def _recipes(found: Found) -> Table:
    """The recipes of the front's trials, each once."""
    table = Table.grid(padding=(0, 2))
    for trial, recipe in sorted({o.trial: o.recipe for o in found.front}.items()):
        table.add_row(trial, in_words(recipe))
    return table


def _status(settings: SweepConfig, ledger: Ledger) -> str:
    if journal.is_running(settings.folder):
        return "running"
    if settings.job.storage is not None and is_driven(remote.store_of(settings.job)):
        return "running"
    return settings.meter.over(ledger) or "interrupted"


def _trial(ledger: Ledger, trial: str) -> dict[str, Any]:
    proposal, ending = ledger.proposals[trial], ledger.endings.get(trial)
    return {
        "trial": trial,
        "seed": proposal.seed,
        "status": ending.status if ending else "unfinished",
        "reason": ending.reason if ending else None,
        "steps": ledger.reached(trial),
        "recipe": proposal.recipe.model_dump(),
    }


def _point(o: Observation) -> dict[str, Any]:
    drawn = {"label": o.label, "inference": o.inference.model_dump()}
    return {"trial": o.trial, "steps": o.steps, "seed": o.seed, "scores": o.scores} | drawn
