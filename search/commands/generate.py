"""`posefront generate`."""

from pathlib import Path
from typing import Annotated

import typer

from search.commands.options import Home, Name, Pick, Storage


def generate(
    name: Name,
    pose: Annotated[Path, typer.Option(help="JSON file with skeleton, size and keypoints.")],
    prompt: Annotated[str, typer.Option(help="What to draw; the subject's token names it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the picture goes.")],
    pick: Pick = "knee",
    seed: Annotated[int, typer.Option(min=0, help="Of the picture's noise.")] = 0,
    lora_scale: Annotated[
        float | None, typer.Option(min=0, max=4, help="Factor on what was trained; default: the pick's.")
    ] = None,
    home: Home = Path("runs"),
    storage: Storage = None,
) -> None:
    """Draws a picture with one of the sweep's fine-tunes."""
    from search.finetunes import generate as drawing
    from search.views.show import find

    found = find(home.absolute(), name, storage)
    observation = drawing.pick(found, pick)
    drawing.generate(found, observation, pose, prompt, seed, out, lora_scale)
    print(f"{out}: {observation.name}, seed {seed}")
