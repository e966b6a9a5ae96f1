"""What earlier sweeps scored, as far as it tells a new one something."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from search.config import SweepConfig
from search.journal import Learned
from search.storage.pruning import ADAPTER
from search.views.show import find
from spaces import InputError, Observation, Space
from trainables import hub
from trainables.fingerprint import fingerprint
from trainables.job import Job
from trainables.judge_choice import choose
from trainables.subject import Subject

OPTION = "--from"


@dataclass(frozen=True)
class Taken:
    """What a new sweep takes from one earlier sweep."""

    learned: tuple[Learned, ...]
    """One for each of its trials that can be used."""
    in_words: str
    """How many were used and how many left out, and why."""


def take(config: SweepConfig, clock: Callable[[], float]) -> list[Taken]:
    """From the sweeps that the config names, of its own home. InputError where scores of one cannot be compared."""
    taken = []
    for name in config.earlier:
        if name in config.earlier[: config.earlier.index(name)] or name == config.name:
            raise InputError(OPTION, f"{name!r} should be there once, and be another sweep")
        store = config.job.storage
        found = find(config.folder.parent, name, store.uri.rpartition("/")[0] if store else None)
        check_comparable(found.config, config)
        if not found.ledger.table:
            raise InputError(OPTION, f"{name} has no scored checkpoint yet")
        about = _about_subject(found.config.job, config.job)
        taken.append(from_table(found.ledger.table, config.space, name, clock(), about))
    return taken


def from_table(table: Sequence[Observation], space: Space, sweep: str, time: float, about: str = "") -> Taken:
    """What a table of observations says about a space: of recipes that lie in it, drawn in a way that it draws."""
    names = [each.name for each in (*space.objectives, *space.requirements)]
    ways = dict.fromkeys(space.inferences)
    learned, outside, unlike, used = list[Learned](), 0, 0, 0
    for of_trial in _by_trial(table):
        values = space.point(of_trial[0].recipe)
        fit = [
            replace(o, cells={})
            for o in of_trial
            if o.inference in ways and all(math.isfinite(o.scores.get(name, math.nan)) for name in names)
        ]
        if values is None:
            outside += len(of_trial)
            continue
        unlike, used = unlike + len(of_trial) - len(fit), used + len(fit)
        if fit:
            learned.append(Learned(time, sweep, values, tuple(sorted(fit, key=lambda o: o.steps))))
    reasons = [
        f"{outside} of recipes that are not in this space" if outside else "",
        f"{unlike} drawn in another way or without a score that counts" if unlike else "",
    ]
    left_out = ", ".join(reason for reason in reasons if reason)
    said = f"from {sweep}: {used} observations of {len(learned)} trials are used"
    said += f"; left out: {left_out}" if left_out else ", all that it has"
    return Taken(tuple(learned), said + (f"; {about}" if about else ""))


def check_comparable(earlier: SweepConfig, config: SweepConfig, where: str = OPTION, this: str = "this sweep") -> None:
    """InputError, in one line, where scores of the two would not mean the same; `this` is what it calls the second."""
    before, now = earlier.job, config.job
    had, has = ({o.name for o in each.space.objectives} for each in (earlier, config))
    if had != has:
        raise _refused(where, earlier, f"trades {', '.join(sorted(had))}, {this} {', '.join(sorted(has))}")
    for what in ("base", "controlnet"):
        if getattr(before, what) != getattr(now, what):
            raise _refused(where, earlier, f"has {what} {getattr(before, what)}, {this} {getattr(now, what)}")
    recorded, folder = _recorded_base(earlier.folder), hub.folder_of(now.base)
    if recorded is not None and folder is not None:
        control = hub.folder_of(now.controlnet) if now.controlnet else folder / "controlnet"
        if control is not None and fingerprint(folder, control) != recorded:
            raise _refused(where, earlier, f"was made on {now.base} as it was then; its files have changed since")
    alike = {"inferences": ()}
    if before.panel.model_copy(update=alike) != now.panel.model_copy(update=alike):
        raise _refused(where, earlier, "has another panel; --panel-steps and the like should be the same")
    if before.poses != now.poses and before.subject == now.subject:
        raise _refused(where, earlier, f"has target poses {before.poses}, {this} {now.poses}")
    judges = _judges(before), _judges(now)
    if judges[0] != judges[1]:
        raise _refused(where, earlier, f"was judged by {judges[0]}, {this} is by {judges[1]}")


def _refused(where: str, earlier: SweepConfig, why: str) -> InputError:
    return InputError(where, f"{earlier.name} {why}: their scores cannot be compared")


def _about_subject(before: Job, now: Job) -> str:
    was, new = (job.storage.subject if job.storage else job.subject for job in (before, now))
    return "" if was == new else f"its subject is another ({was}), which recipes do well may carry over"


def _judges(job: Job) -> str:
    """Who judges, as far as that can be told: what is chosen for a subject that is not there is what was asked for."""
    asked = job.judges
    if Path(job.subject).is_dir() or job.subject.startswith("puppets/"):
        chosen = choose(asked, hub.folder_of(job.base), Subject.load(job.subject))
        return f"{chosen.identity}, {chosen.pose}, {chosen.prompt or 'nobody for prompts'}"
    return ", ".join(name or "the default" for name in (asked.identity, asked.pose, asked.prompt))


def _recorded_base(folder: Path) -> str | None:
    """The base's fingerprint, as an adapter that is still there has it."""
    for path in folder.glob(f"trials/*/step-*/{ADAPTER}/adapter_config.json"):
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["base_fingerprint"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def _by_trial(table: Iterable[Observation]) -> Iterator[list[Observation]]:
    trials: dict[str, list[Observation]] = {}
    for observation in table:
        trials.setdefault(observation.trial, []).append(observation)
    yield from trials.values()
