"""A sweep's plots as files in its folder."""

import io
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
SMALL = "pareto-small.png"
"""For a page that shows pictures in their own size."""


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


def warm_up() -> None:
    """Imports what plots are drawn with: seconds, once, that are no part of what a plot costs."""
    import matplotlib.figure  # noqa: F401
    import plotly.graph_objects  # noqa: F401


def shrink(plot: Path) -> Path:
    """`pareto-small.png`: the plot at half its size, in its folder."""
    from PIL import Image

    small, buffer = plot.with_name(SMALL), io.BytesIO()
    with Image.open(plot) as picture:
        picture.convert("RGB").reduce(2).save(buffer, format="png")
    replace(small, buffer.getvalue())
    return small


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
