"""What Ray 2.60 writes of an actor's end, as it was seen; tests/benchmarks/test_faults.py sees it happen."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from search.deaths import death

_DIED = "The actor died unexpectedly before finishing this task.\n\tclass_name: RemoteTrial\n\tpid: 13557\n"
KILLED = (
    f"{_DIED}The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: "
    "Worker unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process"
)
LEFT = (
    f"{_DIED}The actor is dead because its worker process has died. Worker exit type: INTENDED_USER_EXIT Worker exit "
    "detail: Worker exits by an user request. Worker exits with an exit code 0. exit_actor() is called."
)
NODE = (
    f"{_DIED}The actor died because its node has died. Node Id: 6aecf6\n"
    "\tthe actor's node was terminated unexpectedly: health check failed due to missing too many heartbeats"
)
CUT_OFF = (
    "The actor 1444ef is unavailable: The actor is temporarily unavailable: RpcError: RPC Error message: Socket closed "
    ". The task may or may not have been executed on the actor."
)
WANTING = (
    "RayActorError: OutOfMemoryError: Task was killed due to the node running low on memory.\nRay killed 1 worker(s)\n"
    "Selected to kill: (Actor(ebca): job ID=01000000, pid=21630, actual memory used=4.15GB, worker ID=a971)\nRefer to"
)
RAISED = "Traceback (most recent call last):\n  File ...\nImportError: no module named torch"


@pytest.mark.parametrize(
    ("text", "cause", "reason"),
    [
        (KILLED, "process", "Worker unexpectedly exits with a connection error code 2. End of file."),
        (LEFT, "preempted", "its machine was taken away"),
        (NODE, "node", "its node was lost"),
        (WANTING, "process", "its machine ran out of memory, and Ray ended it at 4.15GB"),
        (CUT_OFF, "node", "its node was lost"),
        (RAISED, "error", "ImportError: no module named torch"),
    ],
)
def test_what_a_process_died_of(tmp_path: Path, text: str, cause: str, reason: str):
    """Of the last time, if there were more."""
    file = tmp_path / "error.txt"
    file.write_text(f"Failure # 1 (occurred at noon)\n{NODE}\nFailure # 2 (occurred later)\n{text}\n")
    assert death(SimpleNamespace(error_file=str(file))) == (cause, reason)
