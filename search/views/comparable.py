"""Whether scores of two sweeps mean the same."""

import json
from pathlib import Path
from typing import Any

from search.config import SweepConfig
from search.proposals.earlier import check_comparable
from search.recording.drawing import BASE_SCORES
from spaces import InputError

TOLERANCE = 0.02
"""By so much two devices may differ in what the untuned base scores on a cell, on average."""


def check_same_panel(other: SweepConfig, config: SweepConfig, where: str) -> None:
    """InputError, in one line, where the two were not scored on the same panel: another subject, poses, prompts, noise,
    judges or base. What is settled from the configs is settled first; then the untuned base's own scores have to
    agree, cell by cell, since files may have changed by the same name.
    """
    was, now = (_subject(each) for each in (other, config))
    if was != now:
        raise _refused(where, other, f"has the subject {was}, {config.name} has {now}")
    check_comparable(other, config, where, config.name)
    mains = [each.job.panel.inferences[0].untuned for each in (other, config)]
    before, after = _base(other), _base(config)
    if before is None or after is None or mains[0] != mains[1]:
        return
    for name in before.keys() & after.keys():
        mine, theirs = ([v for v in cells[name] if v is not None and v == v] for cells in (before, after))
        if len(mine) != len(theirs) or _far(mine, theirs):
            raise _refused(where, other, f"has another panel: the untuned base scores otherwise on it ({name})")


def _far(mine: list[float], theirs: list[float]) -> bool:
    return sum(abs(a - b) for a, b in zip(mine, theirs, strict=True)) > TOLERANCE * max(1, len(mine))


def _subject(config: SweepConfig) -> str:
    job = config.job
    return job.storage.subject if job.storage else job.subject


def _refused(where: str, other: SweepConfig, why: str) -> InputError:
    return InputError(where, f"{other.name} {why}: their scores cannot be compared")


def _base(config: SweepConfig) -> dict[str, Any] | None:
    """The cells of the untuned base; None where they are not there."""
    path = Path(config.folder) / BASE_SCORES
    try:
        return json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError):
        return None
