"""What became of a trial's process, by what Ray writes of it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import LocalRayletDiedError, RayActorError, RayError, RayTaskError
from ray.tune.experiment import Trial as TuneTrial

from search.journal import Cause

_WANTING = "low on memory"


def death(trial: TuneTrial) -> tuple[Cause, str]:
    """What the last of the trial's processes died of, and the same in one line."""
    last = Path(trial.error_file).read_text(encoding="utf-8").rpartition("Failure # ")[2]
    if "exit_actor()" in last or "preempt" in last:
        return "preempted", "its machine was taken away"
    if _WANTING in last:
        had = re.search(r"actual memory used=([\d.]+ ?[KMG]?B)", last)
        return "process", f"its machine ran out of memory, and Ray ended it{f' at {had[1]}' if had else ''}"
    # A node's sudden end is first seen as connections that break; when a process ends, its node says so.
    if "its node has died" in last or "temporarily unavailable" in last:
        return "node", "its node was lost"
    line = [line.strip() for line in last.splitlines() if line.strip()][-1]
    detail = line.partition("Worker exit detail: ")[2].partition(" Some common causes")[0]
    return ("process", detail) if detail else ("error", line)


@contextmanager
def ends_of_processes() -> Iterator[None]:
    """Inside, whatever Ray raises of a trial's process beside the trial's own error is told to Tune as its end.

    Ray 2.60 has errors of its own for some ends, such as that by its watch over the machine's memory. Tune's actor
    manager knows none of them, and would end the sweep. The end of the driver's own node still does.
    """
    known = RayActorManager._actor_task_failed

    def told(self: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(
            exception, RayActorError | RayTaskError | LocalRayletDiedError
        ):
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {exception}")
        known(self, tracked_actor_task, exception)

    RayActorManager._actor_task_failed = told
    try:
        yield
    finally:
        RayActorManager._actor_task_failed = known
