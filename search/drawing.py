"""A sweep's plots as files in its folder."""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spaces import Observation, Space

if TYPE_CHECKING:
    from analysis.confirmed import Confirmation

BASE_SCORES = "panel/base.json"
PLOTS = ("pareto.html", "pareto.png")


def draw(
    observations: Sequence[Observation],
    base: dict[str, float] | None,
    space: Space,
    folder: Path,
    confirmation: "Confirmation | None" = None,
) -> list[Path]:
    """`pareto.html` and `pareto.png` of all observations, in the sweep's folder."""
    from analysis.plots import pareto_html, pareto_png

    html = pareto_html(observations, space.objectives, base, space.name, space.requirements, confirmation)
    png = pareto_png(observations, space.objectives, base, space.name, space.requirements, confirmation)
    paths = [folder / name for name in PLOTS]
    for path, content in zip(paths, (html.encode(), png), strict=True):
        replace(path, content)
    return paths


def base_scores(folder: Path) -> dict[str, float] | None:
    """What the untuned base scored on the sweep's panel, once the first trial has seen to it."""
    path = folder / BASE_SCORES
    return json.loads(path.read_text(encoding="utf-8"))["scores"] if path.is_file() else None


def replace(path: Path, content: bytes) -> None:
    """A reader sees the old file or the new one, never half of it."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(content)
            file.flush()
        except OSError:
            os.unlink(file.name)
            raise
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)
