"""`posefront judge`."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from spaces import InputError
from trainables.hub import folder_of
from trainables.job import JudgesConfig
from trainables.judge_choice import Choice, choose, is_source
from trainables.subject import Subject

if TYPE_CHECKING:
    from trainables.judges.check import Verdict


def judge(
    subject: Annotated[str, typer.Option(help="Subject folder.")],
    base: Annotated[str, typer.Option(help="Base whose own judges and picture size count.")] = "puppets",
    check: Annotated[bool, typer.Option("--check", help="Measure what they can tell; exit 2 if one cannot.")] = False,
    identity_judge: Annotated[str | None, typer.Option(help="dinov2, clip, siglip2, a folder or hub id.")] = None,
    pose_judge: Annotated[
        str | None, typer.Option(help="openpose, vitpose, correspondence, a folder or hub id.")
    ] = None,
    prompt_judge: Annotated[str | None, typer.Option(help="clip, a folder or hub id.")] = None,
    other: Annotated[list[str] | None, typer.Option(help="Another subject to tell it from; may be repeated.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
) -> None:
    """Says who judges a subject's pictures, and with --check how well they can."""
    folder, read = folder_of(base), Subject.load(subject)
    if folder is None and not is_source(base):
        raise InputError("--base", f"{base!r} should be a diffusers folder, a hub id such as owner/name, or puppets")
    config = JudgesConfig(identity=identity_judge, pose=pose_judge, prompt=prompt_judge)
    console = Console()
    console.print(_chosen(choose(config, folder, read)), markup=False, highlight=False, soft_wrap=True)
    if not check:
        return
    from trainables.judges.check import measure

    verdicts = measure(config, folder, read, [Subject.load(name) for name in other or []], device)
    console.print(_table(verdicts), highlight=False)
    for verdict in verdicts:
        if verdict.problem is not None:
            raise InputError(f"{verdict.judge} judge", f"{verdict.problem}; --{verdict.judge}-judge takes another")


def _chosen(choice: Choice) -> str:
    pose = {"own": "", "named": ""}.get(choice.kind, f"{choice.kind}, ")
    return f"identity: {choice.identity}\npose: {pose}{choice.pose}\nprompt: {choice.prompt or 'not judged'}"


def _table(verdicts: "list[Verdict]") -> Table:
    table = Table("judge", "measure", "own pictures", "floor", "AUC", "can it tell", title_justify="left")
    for verdict in verdicts:
        floor = "\n".join(f"{what} {value:.2f}" for what, value in verdict.floors.items())
        table.add_row(
            verdict.judge, verdict.measure, f"{verdict.ceiling:.2f}", floor, f"{verdict.auc:.2f}", verdict.tells
        )
    return table
