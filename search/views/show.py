"""What a sweep found so far: for people, and as JSON."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.choice import Choice, recommend
from analysis.findings import Finding, findings
from analysis.paces import paces
from analysis.sketch import ASCII, WIDTH, Marks, legend, sketch
from search import journal
from search.budget import in_hold, of
from search.config import SweepConfig
from search.confirm.summary import Standing, standing_of
from search.front import check_scores, front_of, hypervolume_of, knee_of
from search.journal import Ledger
from search.recording.drawing import BASE_SCORES, base_scores
from search.storage import remote
from search.storage.lease import is_driven
from search.views.choosing import choice_of
from search.views.words import in_words
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
    standing: Standing | None = None
    """Of the confirmation, if there is one. As soon as it has a front of its own, that front's knee is the knee."""

    @property
    def confirmed(self) -> list[Observation]:
        """What the search scored of the confirmed front; empty without one."""
        if self.standing is None:
            return []
        by_key = {o.key: o for o in self.ledger.table}
        return [by_key[each.key] for each in self.standing.confirmation.front]


def find(home: Path, name: str, where: str | None = None, required: Requirements = ()) -> Found:
    """Reads a sweep, running or not, of the home or of the storage `where`, as if more had been required of it.

    InputError when there is none, or nothing of it has a score that is required.
    """
    settings = remote.locate(home, name, where)
    fetch = Found.fetch
    if settings.job.storage is not None:
        store = remote.store_of(settings.job)
        remote.refresh(settings, store)
        fetch = partial(remote.fetch, store, settings.folder)
        fetch(settings.folder / BASE_SCORES)
    ledger, space = journal.read(settings.folder), settings.space
    check_scores(ledger.table, space, settings.folder / journal.FILE)
    for each in required:
        if ledger.table and not any(each.name in o.scores for o in ledger.table):
            there = ", ".join(ledger.table[0].scores)
            raise InputError("--require", f"{name} has no score {each.name!r}; it has {there}")
    space = replace(space, requirements=(*space.requirements, *required))
    standing = standing_of(settings.folder, ledger, space)
    return found_in(settings, ledger, _status(settings, ledger), standing, fetch, space)


def found_in(
    settings: SweepConfig,
    ledger: Ledger,
    status: str,
    standing: Standing | None,
    fetch: Callable[[Path], None] = Found.fetch,
    space: Space | None = None,
) -> Found:
    """What a ledger comes to, in the sweep's own space unless another is given."""
    table, space = ledger.table, space or settings.space
    return Found(
        config=settings,
        space=space,
        ledger=ledger,
        status=status,
        front=front_of(table, space.objectives, space.requirements),
        knee=_knee(table, space, standing),
        hypervolume=hypervolume_of(table, space.objectives, space.requirements),
        base=base_scores(settings.folder),
        fetch=fetch,
        standing=standing,
    )


def _knee(table: Sequence[Observation], space: Space, standing: Standing | None) -> Observation | None:
    """Of the confirmed front, where there is one."""
    confirmed = standing.confirmation.knee if standing else None
    if confirmed is None:
        return knee_of(table, space.objectives, space.requirements)
    return next(o for o in table if o.key == confirmed.key)


def as_json(found: Found, prefer: str | None = None) -> str:
    """One object: sweep, status, objectives, trials (how many), observations, front, knee, hypervolume, devices,
    tried, required, confirmation (null without one), choice (null without a front), findings."""
    ledger, choice = found.ledger, choice_of(found, prefer)
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
        "confirmation": found.standing and found.standing.to_json(),
        "choice": choice and choice.to_json() | {"recipe": choice.pick.recipe.model_dump()},
        "findings": [each.to_json() for each in findings_of(found)],
    }
    return json.dumps(document, indent=2, allow_nan=False)


def findings_of(found: Found) -> tuple[Finding, ...]:
    """What the numbers say, in words."""
    confirmation = found.standing.confirmation if found.standing and found.standing.usable else None
    return findings(found.ledger.table, found.space, confirmation)


def to_console(found: Found, console: Console, prefer: str | None = None) -> None:
    """The front as a plot and a table, what to take and why, its recipe, and what failed."""
    ledger, meter, choice = found.ledger, found.config.meter, choice_of(found, prefer)
    pick = choice.pick if choice else None
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
        _sketch(found, pick, console)
        console.print(_front_table(found, wide, pick))
        if not wide:
            console.print(_recipes(found))
    if found.standing is not None:
        _confirmation(found, found.standing, console, pick)
    if differing := [each.text for each in findings_of(found) if each.verdict == "difference"]:
        console.print("\n[bold]What differed[/] (a search is no experiment; `posefront report` has the rest):")
        console.print(_listed(differing))
    if choice is not None:
        _choice(found, choice, console)
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
    elif not found.status.startswith("running") and ledger.unfinished:
        go_on = f"`posefront resume {found.config.name} {meter.more(ledger)}`"
        console.print(f"{in_hold(ledger)}: {go_on} goes on with it.", highlight=False)


def _sketch(found: Found, pick: Observation | None, console: Console) -> None:
    """The first two objectives: of all as scored, or once there is a confirmed front of what was tried again."""
    marks = ASCII if console.options.ascii_only else Marks()
    x, y, *others = found.space.objectives
    if found.confirmed:
        tried = [each for each in found.standing.confirmation.candidates if each.means]
        scores, keys = [each.means for each in tried], [each.key for each in tried]
        front, base = [i for i, each in enumerate(tried) if each.on_front], found.standing.confirmation.base
        called, names = "confirmed front", {i: tried[i].name for i in front}
    else:
        table = found.ledger.table
        scores, keys, base = [o.scores for o in table], [o.key for o in table], found.base
        on = {o.key for o in found.front}
        front, called = [i for i, key in enumerate(keys) if key in on], "front"
        names = {i: table[i].name for i in front}
    points = np.array([[each[x.name], each[y.name]] for each in scores])
    at = keys.index(pick.key) if pick is not None else None
    untuned = (base[x.name], base[y.name]) if base and x.name in base and y.name in base else None
    lines = sketch(points, front, at, untuned, names, (x, y), marks, min(WIDTH, max(20, console.width - 20)))
    if others:
        called += f" (also of {', '.join(o.name for o in others)})"
    for line in ["", *lines, legend(marks, "the pick", called, untuned is not None), ""]:
        console.print(line, markup=False, highlight=False, no_wrap=True)


def _choice(found: Found, choice: Choice, console: Console) -> None:
    """What to take, why in three lines, and its recipe."""
    pick = choice.pick
    whose = "confirmed front" if found.confirmed else "front"
    how = f"the {whose}'s knee" if choice.prefer is None else f"the {whose}'s best for {choice.prefer}"
    drawn = f", drawn as {pick.label}" if pick.label else ""
    console.print(f"\n[bold]Recommended[/] ({how}): {pick.trial} at {pick.steps} steps{drawn}", highlight=False)
    console.print(_listed(recommend(choice)))
    own = found.config.space.requirements
    kept = front_of(found.ledger.table, found.space.objectives, own) if found.space.requirements != own else [pick]
    if pick not in kept:
        console.print("Its adapter may be gone: a sweep keeps those of its own front, which it is not on.")
    console.print(recipe_yaml(pick), markup=False, highlight=False)


def _listed(lines: Sequence[str]) -> Table:
    table = Table.grid(padding=(0, 1))
    for line in lines:
        table.add_row("-", Text(line))
    return table


def _confirmation(found: Found, standing: Standing, console: Console, pick: Observation | None) -> None:
    """What was tried again: the confirmed front, then what was on the front as scored and is not on it."""
    console.print(f"\nConfirmation: {standing.in_words}.", highlight=False)
    if standing.usable:
        console.print(_confirmed_table(found, standing, pick))
    for each in standing.confirmation.candidates:
        if each.missed:
            console.print(f"{each.name} misses {', '.join(each.missed)} on the panel that is new.", highlight=False)
        if each.failure:
            console.print(f"{each.name} failed: {each.failure}", markup=False, highlight=False, soft_wrap=True)
    if standing.chosen.left_out:
        console.print(f"{standing.chosen.left_out} others were left out, which the share did not pay for.")
    if standing.since:
        console.print(f"The search made {standing.since} observations since: `posefront confirm {found.config.name} "
                      "--again` takes them in.", highlight=False)  # fmt: skip
    elif not standing.over and not standing.running:
        console.print(f"`posefront confirm {found.config.name}` goes on with it.", highlight=False)


def _confirmed_table(found: Found, standing: Standing, pick: Observation | None) -> Table:
    """Means with their 95 % intervals on the panel that is new, beside what the search scored."""
    objectives, before = found.space.objectives, {o.key: o for o in found.ledger.table}
    table = Table("checkpoint", title="The confirmed front, and what is not on it", title_justify="left")
    for objective in objectives:
        table.add_column(objective.name, justify="right", no_wrap=True)
    for name in ("on front", "seeds"):
        table.add_column(name, justify="right", no_wrap=True)
    if beside := len(objectives) < 3:
        table.add_column("as scored", justify="right", no_wrap=True)
    for each in sorted(standing.confirmation.candidates, key=lambda each: not each.on_front):
        values = [_with_half(each.means.get(o.name), each.halves.get(o.name)) for o in objectives]
        scored = " ".join(f"{before[each.key].scores[o.name]:.3f}" for o in objectives) if beside else None
        odds = "" if each.chance is None else f"{each.chance:.0%}"
        style = "bold green" if pick and each.key == pick.key else None if each.on_front else "dim"
        table.add_row(each.name, *values, odds, str(each.seeds), *([scored] if scored else []), style=style)
    if (base := standing.confirmation.base) is not None:
        values = [f"{base[o.name]:.3f}" for o in objectives]
        table.add_row("untuned base", *values, style="dim")
    return table


def _with_half(mean: float | None, half: float | None) -> str:
    if mean is None:
        return ""
    return f"{mean:.3f}" if half is None else f"{mean:.3f} ±{half:.3f}"


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


def _front_table(found: Found, wide: bool, pick: Observation | None) -> Table:
    """A row for each observation by the name that `--pick` takes; where there is room, with its recipe."""
    shown = dict.fromkeys([*(o.name for o in found.space.objectives), *SCORE_COLUMNS])
    scores = [name for name in shown if all(name in o.scores for o in found.front)]
    table = Table("checkpoint", title="The front as scored" if found.confirmed else "The front", title_justify="left")
    table.columns[0].no_wrap = True
    for name in scores:
        table.add_column(SCORE_COLUMNS.get(name, name), justify="right", no_wrap=True)
    if wide:
        table.add_column("recipe")
    for o in found.front:
        values = [f"{o.scores[name]:.3f}" for name in scores]
        recipe = [in_words(o.recipe)] if wide else []
        table.add_row(o.name, *values, *recipe, style="bold green" if pick == o else None)
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
    if journal.is_running(settings.folder, journal.CONFIRMATION):
        return "running: confirmation"
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
        "status": ending.status if ending else "paused" if trial in ledger.paused else "unfinished",
        "reason": ending.reason if ending else None,
        "steps": ledger.reached(trial),
        "recipe": proposal.recipe.model_dump(),
    }


def _point(o: Observation) -> dict[str, Any]:
    drawn = {"label": o.label, "inference": o.inference.model_dump()}
    return {"trial": o.trial, "steps": o.steps, "seed": o.seed, "scores": o.scores} | drawn
