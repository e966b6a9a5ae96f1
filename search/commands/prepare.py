"""`posefront prepare`."""

import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spaces import InputError

if TYPE_CHECKING:
    from trainables.prepare.prepare import Detect

OPENPOSE = "lllyasviel/Annotators"


def prepare(
    photos: Annotated[Path, typer.Argument(help="Folder of photographs; masks/ inside it may hold their masks.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The subject's folder, which is made.")],
    class_noun: Annotated[str, typer.Option("--class", help="What it is one of, such as robot or person.")],
    token: Annotated[str, typer.Option(help="The rare word that comes to mean it.")] = "sks",
    skeleton: Annotated[
        str | None, typer.Option(help="A shipped name or a YAML file; default: openpose-18 for people.")
    ] = None,
    size: Annotated[int, typer.Option(help="Pixels of a picture's side.")] = 512,
    openpose: Annotated[
        str | None,
        typer.Option(help=f"Who finds people's joints: folder or hub id, or none; default for people: {OPENPOSE}."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the subject that is there.")] = False,
) -> None:
    """Makes a subject's folder of photographs: crops, captions, masks, joints and target poses."""
    from rich.console import Console

    from trainables.prepare import is_person
    from trainables.prepare import prepare as make
    from trainables.prepare.photos import find_photos

    paths = find_photos(photos)
    person = is_person(class_noun) and skeleton in (None, "openpose-18")
    source = (openpose or OPENPOSE) if person or openpose not in (None, "none") else "none"
    detect = None
    if source != "none":
        detect = _openpose(source)
    made = make(photos, out, class_noun, token, skeleton, size, detect, force)
    say = partial(Console().print, markup=False, highlight=False, soft_wrap=True)
    for note in made.notes:
        say(f"note  {note}")
    for finding in made.findings:
        say(f"{finding.kind:5} {finding.text}")
    joints = sum(picture.keypoints is not None for picture in made.subject.pictures)
    masks = sum(picture.mask is not None for picture in made.subject.pictures)
    counted = f"{len(paths)} pictures, {joints} with joints, {masks} with masks, {len(made.subject.poses)} target poses"
    say(f"{out}: {counted}")
    for number, step in enumerate(made.steps, 1):
        say(f"{number}. {step}")


def _openpose(source: str) -> "Detect":
    """What finds people's joints; the libraries' warnings at import say nothing to a person."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trainables.judges.people import OpenPoseJudge

        try:
            return OpenPoseJudge.load(source).detect
        except InputError as error:
            hint = "name a folder that has OpenPose's files, or none to mark the joints by hand"
            raise InputError("--openpose", f"{error}; {hint}") from None
