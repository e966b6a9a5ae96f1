"""`posefront subject`: looks after a subject folder."""

from pathlib import Path
from typing import Annotated

import typer

from spaces import InputError

app = typer.Typer(
    name="subject", no_args_is_help=True, help="Checks a subject folder, and writes the poses to draw it in."
)

Folder = Annotated[str, typer.Argument(help="The subject's folder.")]


@app.command()
def check(folder: Folder) -> None:
    """Says all that is wrong with a subject folder, and what is weak about it; exit code 2 if anything is wrong."""
    from rich.console import Console

    from trainables.subject.check import check_subject

    console = Console()
    findings = check_subject(folder)
    for finding in findings:
        style = "bold red" if finding.kind == "error" else "yellow"
        console.print(f"{finding.kind:5}", style=style, end=" ", highlight=False)
        console.print(finding.text, markup=False, highlight=False, soft_wrap=True)
    errors = sum(finding.kind == "error" for finding in findings)
    console.print(f"{folder}: {errors} errors, {len(findings) - errors} weak points", highlight=False, soft_wrap=True)
    if errors:
        raise typer.Exit(2)


@app.command()
def poses(
    folder: Folder,
    source: Annotated[str, typer.Option("--from", help="`shipped`, or a folder of poses.")] = "shipped",
    force: Annotated[bool, typer.Option(help="Replace the poses that are there.")] = False,
) -> None:
    """Writes target poses to the subject's poses.jsonl: people's named ones, or its own pose with its limbs turned."""
    from trainables.poses import pose_lines, target_poses
    from trainables.prepare.writing import write_whole
    from trainables.subject import Subject

    subject = Subject.load(folder)
    path = Path(subject.folder) / "poses.jsonl"
    if subject.poses and not force:
        raise InputError(path, f"has {len(subject.poses)} poses; --force replaces them")
    made = target_poses(subject, source)
    write_whole(path, pose_lines(made).encode())
    plain = sum(pose.grade == "plain" for pose in made)
    print(f"{path}: {plain} plain and {len(made) - plain} hard poses")
