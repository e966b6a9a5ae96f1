"""A sweep's report: what its files have, as one page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.course import Course, course
from analysis.paces import paces
from analysis.report import Material, Rival, report_html
from analysis.spending import spending
from analysis.stops import stops
from search.budget import gpu_share
from search.comparable import check_same_panel
from search.drawing import replace
from search.generate import PICK
from search.outage import in_short
from search.pictures import album_of
from search.show import Found
from search.tracking import attach
from spaces import InputError, Observation

FILE = "report.html"


@dataclass(frozen=True)
class Written:
    """What became of a page."""

    path: Path
    size: int
    """Bytes."""
    recorded: str
    """Whether MLflow has it, in words."""


def write(found: Found, out: Path | None, pick: str, rivals: Sequence[Found], command: str) -> Written:
    """Writes the page into the sweep's folder, or elsewhere, and gives it to the sweep's run in MLflow.

    InputError where the pick is no observation, a rival's scores cannot be compared, or the file cannot be written.
    """
    for rival in rivals:
        check_same_panel(rival.config, found.config, "--against")
    page = report_html(material_of(found, pick, rivals, command))
    return save(page, out or found.config.folder / FILE, found)


def save(page: str, path: Path, found: Found) -> Written:
    """Whole or not at all. InputError where the file cannot be written."""
    content = page.encode()
    try:
        replace(path, content)
    except OSError as error:
        raise InputError("--out", f"{path} cannot be written ({error.strerror or error})") from None
    return Written(path, len(content), recorded(found, path))


def recorded(found: Found, path: Path) -> str:
    """Gives the page to the sweep's run in MLflow, where that is there."""
    run, uri = found.ledger.parent_run_id, found.config.tracking_uri
    if run is None:
        return "not in MLflow: the sweep has no run there"
    try:
        attach(uri, run, path)
    except Exception as error:  # whatever a server, a database or a disk can do
        return f"not in MLflow: {uri} {in_short(error)}"
    return f"in MLflow, an artifact of the sweep's run {run}"


def material_of(found: Found, pick: str, rivals: Sequence[Found], command: str) -> Material:
    """`pick`: `knee`, or an observation's name."""
    ledger, space, job = found.ledger, found.space, found.config.job
    table, chosen = ledger.table, picked(found, pick)
    confirmation = found.standing.confirmation if found.standing and found.standing.usable else None
    shown = [o for o in (chosen, found.knee, *found.confirmed, *found.front) if o is not None]
    devices = paces(table, space.rungs)
    subject = job.storage.subject if job.storage else job.subject
    return Material(
        name=found.config.name,
        status=found.status,
        facts={"subject": Path(subject).name, "base": job.base if job.base == "puppets" else Path(job.base).name},
        space=space,
        observations=table,
        course=course_of(found),
        on_gpus=on_gpus(found),
        base_scores=found.base,
        confirmation=confirmation,
        knee=found.knee,
        pick=chosen,
        pick_words=pick_words(found, chosen),
        spending=spending([o.cost for o in table], ledger.drives),
        stops=stops(table, space.rungs, {e.trial: (e.status, e.steps) for e in ledger.endings.values()}),
        devices=[pace.in_words for pace in devices] if len(devices) > 1 else [],
        album=album_of(found, shown),
        rivals=[Rival(rival.config.name, course_of(rival)) for rival in rivals],
        command=command,
    )


def picked(found: Found, wanted: str) -> Observation | None:
    """The observation that `knee` or its name means; None for the knee of nothing. InputError where there is none."""
    if wanted == "knee":
        return found.knee
    chosen = next((o for o in found.ledger.table if o.name == wanted), None)
    if chosen is None or not PICK.fullmatch(wanted):
        there = ", ".join(o.name for o in found.front) or "none yet"
        raise InputError("--pick", f"{wanted!r} should be knee, or an observation such as those on the front: {there}")
    return chosen


def pick_words(found: Found, chosen: Observation | None) -> list[str]:
    """Why this one."""
    if chosen is None:
        return []
    again = found.standing.confirmation.of(chosen.key) if found.standing else None
    words = ["It is the knee of the " + ("confirmed front." if found.confirmed else "front as scored.")]
    if chosen is not found.knee:
        words = ["It was asked for."]
    if again is not None and again.means:
        means = ", ".join(
            f"{name} {mean:.3f}" + (f" ± {again.halves[name]:.3f}" if name in again.halves else "")
            for name, mean in again.means.items()
        )
        odds = "" if again.chance is None else f"; on the front with a probability of {again.chance:.0%}"
        words.append(f"Over {again.seeds} fresh seeds on a panel that is new: {means}{odds}.")
    elif not found.confirmed:
        words.append(f"It was scored once; `posefront confirm {found.config.name}` says whether that was luck.")
    return words


def course_of(found: Found) -> Course:
    """Of what counts: nothing scored before the sweep, and each observation at the time of its arrival."""
    gpus = found.config.gpus_per_trial
    worked = [o.cost.total * gpu_share(o.cost, gpus) for o in found.ledger.table]
    return course(found.ledger.table, found.ledger.arrived, worked, found.space.objectives, found.space.requirements)


def on_gpus(found: Found) -> bool:
    """Whether its trials had cards."""
    gpus = found.config.gpus_per_trial
    return any(o.cost.card_memory for o in found.ledger.table) if gpus == "auto" else gpus > 0 and math.isfinite(gpus)
