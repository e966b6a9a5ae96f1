"""A sweep's confirmation as it stands, read from its journal."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.confirmed import Confirmation, Confirmed
from analysis.pareto import knee, non_dominated
from search import journal
from search.confirm.choose import Search
from search.confirm.state import failures, repeated, standing
from search.journal import CONFIRMATION, Candidate, Chosen, Ledger
from search.storage.remote import LAST
from spaces import DECIMALS, InputError, Objective, Space, to_losses
from trainables.job import HELD_OUT


@dataclass(frozen=True)
class Standing:
    """How far a confirmation is, and what it says by now."""

    chosen: Chosen
    ledger: Ledger
    """The confirmation's own."""
    confirmation: Confirmation
    """Empty of verdicts while the first round is under way."""
    trainings: int
    """So many have ended."""
    spent: float
    """Seconds of workers."""
    over: bool
    running: bool
    since: int
    """Observations that the search made after the candidates were chosen."""

    @property
    def usable(self) -> bool:
        """Whether there is a confirmed front."""
        return bool(self.confirmation.front)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        c, found = self.chosen, self.confirmation
        return {
            "over": self.over, "running": self.running, "share": c.share, "seconds": c.seconds, "spent": self.spent,
            "seeds": c.seeds, "alpha": c.alpha, "left_out": c.left_out, "observations_since": self.since,
            "knee": found.knee and found.knee.name, "candidates": [each.to_json() for each in found.candidates],
        }  # fmt: skip

    @property
    def in_words(self) -> str:
        """In one line."""
        c, found = self.chosen, self.confirmation
        counts = Counter(each.verdict for each in found.candidates)
        how = "running" if self.running else "over" if self.over else "interrupted"
        decided = f"{counts['on']} on the front, {counts['off']} off it, {counts['open']} undecided"
        share = f"{self.spent:.0f} of {c.seconds:.0f} s ({c.share:g} of the search's)"
        return f"{how}, {self.trainings} trainings with fresh seeds, {decided}; {share}"


def standing_of(folder: Path, search: Ledger, space: Space) -> Standing | None:
    """None where there is no confirmation. InputError for a journal that makes no sense."""
    ledger = journal.read(folder, CONFIRMATION)
    if ledger.chosen is None:
        return None
    check_candidates(ledger.chosen, search, folder)
    return Standing(
        chosen=ledger.chosen,
        ledger=ledger,
        confirmation=summary(ledger, Search(search), space, folder),
        trainings=len(ledger.endings),
        spent=sum(o.cost.total for o in ledger.table),
        over=ledger.closed is not None and ledger.closed.status == "finished",
        running=journal.is_running(folder, CONFIRMATION),
        since=len(search.table) - ledger.chosen.observations,
    )


def check_candidates(chosen: Chosen, search: Ledger, folder: Path) -> None:
    """InputError where the search has nothing of a candidate: its journal may have been cut."""
    there = {o.key for o in search.table}
    for candidate in chosen.candidates:
        if candidate.key not in there:
            about = f"is about {candidate.name}, which the search's journal does not have"
            raise InputError(folder / CONFIRMATION, f"{about}; move it aside, and `posefront confirm` begins anew")


def summary(ledger: Ledger, search: Search, space: Space, folder: Path) -> Confirmation:
    """What a confirmation's ledger says of its candidates; before the first look no front."""
    chosen, objectives = ledger.chosen, space.objectives
    losses, failed = repeated(chosen, ledger, search, objectives), failures(chosen, ledger, search)
    odds = standing(chosen, ledger, search, objectives)
    latest = ledger.judged[-1] if ledger.judged else None
    ideal, span = (np.array([getattr(o, name) for o in objectives]) for name in ("ideal", "nadir"))
    span = span - ideal
    found = []
    for i, candidate in enumerate(chosen.candidates):
        means, halves = ideal + odds.means[i] * span, odds.halves[i] * np.abs(span)
        seen, known = np.isfinite(odds.means[i]).all(), np.isfinite(odds.halves[i]).all()
        found.append(
            Confirmed(
                candidate.key,
                candidate.name,
                candidate.layer,
                int(np.isfinite(losses[:, i]).all(axis=1).sum()),
                {o.name: round(float(m), DECIMALS) for o, m in zip(objectives, means, strict=True)} if seen else {},
                {o.name: float(h) for o, h in zip(objectives, halves, strict=True)} if known else {},
                None if math.isnan(odds.chances[i]) else float(odds.chances[i]),
                latest.verdicts[candidate.name] if latest else "open",
                False,
                failed.get(candidate.name),
                _missed(candidate, ledger, search, space),
                tuple(tuple(row) for row in losses[:, i].tolist()),
            )
        )
    if latest is not None:
        found = _with_front(found, objectives)
    found.sort(key=lambda each: to_losses(objectives[:1], [each.means])[0, 0] if each.means else math.inf)
    front = [each for each in found if each.on_front]
    at = knee(to_losses(objectives, [each.means for each in front])) if front else None
    return Confirmation(found, None if at is None else front[at], _base(folder))


def _missed(candidate: Candidate, ledger: Ledger, search: Search, space: Space) -> tuple[str, ...]:
    """The requirements that the means over seeds do not meet."""
    if not space.requirements:
        return ()
    wanted = search.recipe(candidate), candidate.steps, candidate.label
    seen = [o.scores for o in ledger.table if (o.recipe, o.steps, o.label) == wanted]
    means = {r.name: float(np.mean([scores[r.name] for scores in seen])) for r in space.requirements} if seen else {}
    return tuple(str(r) for r in space.requirements if seen and r.excess(means) > 0)


def _with_front(found: list[Confirmed], objectives: Sequence[Objective]) -> list[Confirmed]:
    """Of those that are not off it, the means that none dominates."""
    left = [i for i, each in enumerate(found) if each.means and each.verdict != "off" and not each.missed]
    front = non_dominated(to_losses(objectives, [found[i].means for i in left]))
    on = {i for i, member in zip(left, front, strict=True) if member}
    return [replace(each, on_front=i in on) for i, each in enumerate(found)]


def _base(folder: Path) -> dict[str, float] | None:
    path = folder / HELD_OUT / LAST
    return json.loads(path.read_text(encoding="utf-8"))["scores"] if path.is_file() else None
