"""The pictures of a sweep for its report: cut out of the grids of its checkpoints, made small, the best first."""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from analysis.pareto import order_selection
from analysis.report import Album, Key, Strip
from search.views.show import Found
from spaces import REFERENCE_LOSS, InputError, Observation, ranking_losses
from trainables.job import SEARCHED
from trainables.panels.judged import COLUMNS, Asked, Judged, read_cells, read_judged
from trainables.subject import Subject

BUDGET = 6_000_000
"""Bytes of pictures: with Plotly's 4.9 MB, the table and base64's third more a page stays below 15 MB."""
MOST = 240
"""Strips at most: each has a file to read."""
LARGE, SMALL = 160, 96
"""Pixels of a picture on the front, and of any other; never more than it has."""
QUALITY = 78
_BATCH = 16
T = TypeVar("T")


def album_of(found: Found, first: Iterable[Observation]) -> Album:
    """`first` are shown whatever becomes of the rest: the pick, the knee, the front."""
    panel = found.config.job.panel
    count, notes = panel.plain + panel.hard, list[str]()
    asked = _told(lambda: read_cells(found.config.folder / SEARCHED), notes)
    first = {o.key: o for o in first}
    rest = _by_worth(found, first)
    side = _native(found, count)
    gone, strips, size = set[Key](), dict[Key, Strip](), 0

    def strip(o: Observation) -> Strip | None:
        return _told(lambda: strip_of(_grid(found, o), count, LARGE if o.key in first else SMALL, side), notes)

    there = [o for o in [*first.values(), *rest] if _there(found, o, gone)]
    for o, made in _in_order(strip, there[:MOST]):
        if made is None:
            gone.add(o.key)
            continue
        if size + len(made.image) > BUDGET:
            break
        strips[o.key] = made
        size += len(made.image)
    base = found.config.folder / SEARCHED / "base.png"
    found.fetch(base)
    of_base = _told(lambda: strip_of(base, count, LARGE, side), notes) if base.is_file() else None
    reference = _told(lambda: _reference(found), notes) or ()
    return Album(
        reference=reference,
        targets=_targets(found, [base, *(_grid(found, o) for o in there[:1])], count, side),
        base=of_base,
        strips=strips,
        gone=frozenset(gone),
        prompts=asked.prompts if asked else (),
        grades=asked.grades if asked else ("plain",) * panel.plain + ("hard",) * panel.hard,
        limbs=_limbs(found, asked, there),
        notes=(*_about(found, strips, gone), *notes),
    )


def strip_of(grid: Path, count: int, most: int, native: int | None = None) -> Strip:
    """A grid's pictures in a row, each of at most so many pixels; `native` is what they had before they were enlarged.

    InputError where the file is no such grid.
    """
    seen = read_judged(grid)
    cells = _cells(grid, count, targets=False)
    side = min(most, seen.size if seen else native or cells[0].width)
    return _strip(cells, side, _joints(seen, count, grid))


def _strip(cells: Sequence[Image.Image], side: int, joints: np.ndarray | None = None) -> Strip:
    row = Image.new("RGB", (side * len(cells), side))
    for i, cell in enumerate(cells):
        whole = cell.width % side == 0 and side <= 64  # a small world's pixels, that were made larger
        row.paste(cell.resize((side, side), Image.Resampling.NEAREST if whole else Image.Resampling.BOX), (i * side, 0))
    file = io.BytesIO()
    row.save(file, "WEBP", quality=QUALITY if side > 64 else 90, method=2)
    return Strip(file.getvalue(), len(cells), side, joints)


def _cells(grid: Path, count: int, targets: bool) -> list[Image.Image]:
    """Of rows of pictures, each above the row of the poses that it should show."""
    try:
        with Image.open(grid) as sheet:
            sheet.load()
            side = sheet.width // COLUMNS
            rows = -(-count // COLUMNS)
            if side < 1 or sheet.width % COLUMNS or sheet.height != 2 * rows * side:
                raise ValueError(f"{sheet.width} x {sheet.height} pixels are no grid of {count} cells")
            boxes = [(i % COLUMNS * side, (2 * (i // COLUMNS) + targets) * side) for i in range(count)]
            return [sheet.convert("RGB").crop((x, y, x + side, y + side)) for x, y in boxes]
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(grid, f"is no picture of a panel ({error})") from None


def _joints(seen: Judged | None, count: int, grid: Path) -> np.ndarray | None:
    """In shares of a picture's side; third 1 where found."""
    if seen is None:
        return None
    if len(seen.joints) != count:
        raise InputError(grid, f"has joints of {len(seen.joints)} pictures beside it, not of {count}")
    found = seen.joints[..., 2:] >= seen.detected
    return np.concatenate([seen.joints[..., :2] / seen.size, found], axis=-1)


def _in_order(
    make: Callable[[Observation], Strip | None], observations: Sequence[Observation]
) -> Iterator[tuple[Observation, Strip | None]]:
    """A few at a time, so that few are made in vain when there is no room for more."""
    waiting = iter(observations)
    with ThreadPoolExecutor(2) as pool:
        while batch := list(islice(waiting, _BATCH)):
            yield from zip(batch, pool.map(make, batch), strict=True)


def _by_worth(found: Found, first: dict[Key, Observation]) -> list[Observation]:
    """The other rungs of the trials that are shown, since their way is looked at; then from the front backwards."""
    table, space = found.ledger.table, found.space
    trials = {(trial, label) for trial, _, label in first}
    on_the_way = [o for o in table if (o.trial, o.label) in trials and o.key not in first]
    left = [o for o in table if o.key not in first and (o.trial, o.label) not in trials]
    losses = ranking_losses(space.objectives, space.requirements, [o.scores for o in left])
    return on_the_way + [left[i] for i in order_selection(losses, [REFERENCE_LOSS] * len(space.objectives))]


def _grid(found: Found, o: Observation) -> Path:
    return Path(found.ledger.observed[o.trial, o.steps].folder) / f"grid{o.label and '-'}{o.label}.png"


def _there(found: Found, o: Observation, gone: set[Key]) -> bool:
    path = _grid(found, o)
    if len(gone) < MOST or path.exists():
        found.fetch(path)
    if not path.is_file():
        gone.add(o.key)
    return o.key not in gone


def _native(found: Found, count: int) -> int | None:
    """Pixels of a picture as it was drawn: the untuned base's are kept as they were."""
    path = found.config.folder / SEARCHED / "base.npy"
    found.fetch(path)
    try:
        pictures = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return int(pictures.shape[1]) if pictures.ndim == 4 and len(pictures) == count else None


def _targets(found: Found, grids: Iterable[Path], count: int, side: int | None) -> Strip | None:
    """Of the first grid that can be read."""
    for grid in grids:
        cells = _told(lambda grid=grid: _cells(grid, count, targets=True), []) if grid.is_file() else None
        if cells:
            return _strip(cells, min(LARGE, side or cells[0].width))
    return None


def _reference(found: Found) -> tuple[bytes, ...]:
    found.fetch(Path(found.config.job.subject))
    files = []
    for picture in Subject.load(found.config.job.subject).pictures:
        cell = Image.fromarray(picture.pixels)
        files.append(_strip([cell], min(LARGE, cell.width)).image)
    return tuple(files)


def _limbs(found: Found, asked: Asked | None, there: Sequence[Observation]) -> tuple[tuple[int, int], ...]:
    if asked:
        return asked.limbs
    seen = _told(lambda: read_judged(_grid(found, there[0])), []) if there else None
    return seen.limbs if seen else ()


def _about(found: Found, strips: dict[Key, Strip], gone: set[Key]) -> Iterator[str]:
    left = len(found.ledger.table) - len(strips) - len(gone)
    if left:
        yield f"Pictures of {left:,} more observations are in the sweep's folder, left out here for their size."
    if gone:
        yield f"The pictures of {len(gone):,} observations are not on disk any more."
    without = sum(strip.joints is None for strip in strips.values())
    if without:
        whose = "any of them" if without == len(strips) else f"{without} of them"
        yield f"Which joints the judge saw was not kept for {whose}: the sweep is from before that was written down."


def _told(read: Callable[[], T], notes: list[str]) -> T | None:
    """A file that cannot be read is named on the page, and the page goes without it."""
    try:
        return read()
    except InputError as error:
        if str(error) not in notes and len(notes) < 5:
            notes.append(str(error))
        return None
