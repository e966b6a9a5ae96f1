"""What Ray 2.60 writes of an actor's end, as it was seen, and what comes of it; tests/benchmarks/test_faults.py sees it
happen."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from search.bridge import Losses
from search.simulate import Clock, virtual
from search.trials.deaths import death
from tests.search.examples import small_space

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


def test_word_of_one_death_that_comes_twice_counts_once_and_the_trial_is_started_anew(tmp_path: Path):
    """Tune gives up a trial that it hears of while that waits for its next process."""
    state = virtual(small_space(), Clock(), trials=1)
    name = state.next_trial().trial
    file = tmp_path / "error.txt"
    file.write_text(f"Failure # 1 (occurred at noon)\n{KILLED}\n")
    trial = SimpleNamespace(error_file=str(file), config={"trial": name})
    controller = SimpleNamespace(stop_trial=lambda trial: None)
    losses = Losses(state, SimpleNamespace(controller=controller), SimpleNamespace(took=lambda trial: ""))
    for times in (1, 2):
        losses.on_trial_recover(0, [], trial)
        losses.on_trial_error(0, [], trial)
        assert len(state.ledger.lost[name]) == times and not state.ledger.endings and losses.gave_up
        assert state.next_trial().trial == name
        losses.on_trial_start(0, [], trial)
    losses.on_trial_recover(0, [], trial)
    assert state.ledger.endings[name].reason.startswith("its process died 3 times without a new checkpoint")
    losses.on_trial_error(0, [], trial)
    assert state.next_trial() is None
