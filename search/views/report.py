"""A sweep's report: what its files have, as one page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.choice import recommend
from analysis.confirmed import Confirmation
from analysis.course import Course, course
from analysis.paces import paces
from analysis.report import Material, Rival, report_html
from analysis.spending import spending
from analysis.stops import stops
from search.budget import gpu_share
from search.recording.drawing import replace
from search.tracking import attach
from search.tracking.outage import in_short
from search.views.choosing import choice_of, not_there
from search.views.comparable import check_same_panel
from search.views.pictures import album_of
from search.views.show import Found
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


def write(
    found: Found, out: Path | None, pick: str, rivals: Sequence[Found], command: str, prefer: str | None = None
) -> Written:
    """Writes the page into the sweep's folder, or elsewhere, and gives it to the sweep's run in MLflow.

    InputError where the pick is no observation, a rival's scores cannot be compared, or the file cannot be written.
    """
    for rival in rivals:
        check_same_panel(rival.config, found.config, "--against")
    page = report_html(material_of(found, pick, rivals, command, prefer))
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


def material_of(found: Found, pick: str, rivals: Sequence[Found], command: str, prefer: str | None = None) -> Material:
    """`pick`: `knee`, in whose place `prefer` puts what it likes best, or an observation's name."""
    ledger, space, job = found.ledger, found.space, found.config.job
    table, (chosen, why) = ledger.table, picked(found, pick, prefer)
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
        confirmation=_confirmation(found),
        knee=found.knee,
        pick=chosen,
        pick_words=why,
        spending=spending([o.cost for o in table], ledger.drives),
        stops=stops(table, space.rungs, {e.trial: (e.status, e.steps) for e in ledger.endings.values()}),
        devices=[pace.in_words for pace in devices] if len(devices) > 1 else [],
        album=album_of(found, shown),
        rivals=[Rival(rival.config.name, course_of(rival)) for rival in rivals],
        command=command,
    )


def picked(found: Found, wanted: str, prefer: str | None) -> tuple[Observation | None, list[str]]:
    """What `knee`, weights, a preference or an observation's name means, and why that one; None without a front.

    InputError where there is none.
    """
    if prefer and wanted != "knee":
        raise InputError("--prefer", "goes with no --pick: it says which one to pick")
    if wanted == "knee" or "=" in wanted:
        choice = choice_of(found, prefer) if wanted == "knee" else choice_of(found, wanted, "--pick")
        return (choice.pick, list(recommend(choice))) if choice else (None, [])
    chosen = next((o for o in found.ledger.table if o.name == wanted), None)
    if chosen is None:
        raise not_there(found, wanted, "an observation such as those on the front")
    return chosen, ["It was asked for."]


def _confirmation(found: Found) -> Confirmation | None:
    """As soon as it has a front."""
    return found.standing.confirmation if found.standing and found.standing.usable else None


def course_of(found: Found) -> Course:
    """Of what counts: nothing scored before the sweep, and each observation at the time of its arrival."""
    gpus = found.config.gpus_per_trial
    worked = [o.cost.total * gpu_share(o.cost, gpus) for o in found.ledger.table]
    return course(found.ledger.table, found.ledger.arrived, worked, found.space.objectives, found.space.requirements)


def on_gpus(found: Found) -> bool:
    """Whether its trials had cards."""
    gpus = found.config.gpus_per_trial
    return any(o.cost.card_memory for o in found.ledger.table) if gpus == "auto" else gpus > 0 and math.isfinite(gpus)
