"""Several sweeps as one page."""

from collections.abc import Sequence
from pathlib import Path

from analysis.report import Group, Run, compare_html
from search.views.comparable import check_same_panel
from search.views.report import Written, course_of, on_gpus, save
from search.views.show import Found
from spaces import InputError

OPTION = "compare"


def parse_groups(given: Sequence[str]) -> dict[str, list[str]]:
    """Sweeps by group: `NAME` is a group of its own, `GROUP=NAME,NAME` are repeats. InputError where unclear."""
    groups: dict[str, list[str]] = {}
    for text in given:
        name, sign, names = text.partition("=")
        sweeps = names.split(",") if sign else [name]
        if not name or not all(sweeps):
            raise InputError(OPTION, f"{text!r} should be a sweep's name, or GROUP=SWEEP,SWEEP")
        if name in groups:
            raise InputError(OPTION, f"{name!r} is there twice; sweeps of one group are GROUP=SWEEP,SWEEP")
        groups[name] = sweeps
    every = [sweep for sweeps in groups.values() for sweep in sweeps]
    if len(groups) < 2:
        raise InputError(OPTION, "should have two sweeps or more, or two groups such as ours=a-1,a-2 theirs=b-1,b-2")
    if twice := [sweep for sweep in every if every.count(sweep) > 1]:
        raise InputError(OPTION, f"{twice[0]!r} is there twice")
    return groups


def page_of(groups: dict[str, list[Found]], command: str) -> str:
    """InputError, in one line, where not all were scored on the same panel, or one has no score."""
    every = [found for several in groups.values() for found in several]
    first = every[0]
    for found in every[1:]:
        check_same_panel(found.config, first.config, OPTION)
        if found.space.requirements != first.space.requirements:
            texts = [", ".join(map(str, each.space.requirements)) or "nothing" for each in (found, first)]
            names = f"{found.config.name} requires {texts[0]}, {first.config.name} requires {texts[1]}"
            raise InputError(OPTION, f"{names}: their fronts cannot be compared")
    for found in every:
        if not found.ledger.table:
            raise InputError(OPTION, f"{found.config.name} has no scored checkpoint yet")
    made = [Group(name, [_run(found) for found in several]) for name, several in groups.items()]
    job = first.config.job
    facts = {"subject": Path(job.storage.subject if job.storage else job.subject).name, "base": Path(job.base).name}
    return compare_html(made, first.space.objectives, first.space.requirements, facts, command)


def _run(found: Found) -> Run:
    return Run(found.config.name, found.ledger.table, course_of(found), on_gpus(found))


def write(groups: dict[str, list[Found]], out: Path | None, command: str) -> Written:
    """Into the first sweep's folder, or elsewhere, and to that sweep's run in MLflow."""
    first = next(iter(groups.values()))[0]
    path = out or first.config.folder / f"compare-{'-'.join(groups)}.html"
    return save(page_of(groups, command), path, first)
