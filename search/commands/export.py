"""`posefront export`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from search.commands.options import Home, Name, Storage


def export(
    name: Name,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")],
    pick: Annotated[
        str,
        typer.Option(
            help="knee, weights such as identity=2,pose=1, TRIAL@STEPS[:LABEL] as `show` names them, or front for all "
            "of it."
        ),
    ] = "knee",
    form: Annotated[
        Literal["diffusers", "kohya", "merged"],
        typer.Option(
            "--format", help="For diffusers' loaders; for ComfyUI and A1111; or a whole model with it merged in."
        ),
    ] = "diffusers",
    half: Annotated[bool, typer.Option("--half", help="fp16 files (kohya and merged).")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")] = False,
    home: Home = Path("runs"),
    storage: Storage = None,
) -> None:
    """Writes a fine-tune as files that other programs load, with a page that says how."""
    from search.finetunes import export as exporting
    from search.views.show import find
    from spaces import InputError

    if half and form == "diffusers":
        raise InputError("--half", "is for kohya and merged: diffusers' loaders cast to the pipeline's precision")
    found = find(home.absolute(), name, storage)
    observations = exporting.picks(found, pick)
    exporting.check_form(observations, form)
    for observation, folder in zip(observations, exporting.folders(out, observations, force), strict=True):
        exporting.export(found, observation, folder, form, half)
        print(f"{folder}: {observation.name}, {form}; {folder / 'README.md'} says how to load it")
