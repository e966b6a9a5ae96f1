"""Searches whose packages cannot be installed beside ours: asked through a process of another interpreter."""

import json
import os
import subprocess
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from benchmarks.peers.conditions import applying
from benchmarks.tasks import Task
from spaces import InputError

PYTHON = "POSEFRONT_PEERS_PYTHON"
"""The environment variable that names the interpreter."""
TOLD = 2000
"""Characters, of the last that an ended process said."""


class Foreign:
    """A search that a script of this folder runs there, by lines of JSON (lines.py).

    It is told of every parameter and of no condition: what it proposes beyond what applies is dropped.
    """

    def __init__(self, script: str, task: Task, **asked: Any) -> None:
        """InputError where no interpreter is named."""
        self._space = space = task.space
        # Not a pipe, which nobody reads and which would fill up.
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = _host(Path(__file__).with_name(script), self._errors)
        weakref.finalize(self, _end, self._process, self._errors)
        self._say({
            "rungs": space.rungs, "objectives": len(space.objectives),
            "parameters": [asdict(parameter) for parameter in space.parameters], **asked,
        })  # fmt: skip

    def suggest(self, trial: str) -> Mapping[str, Any]:
        return applying(self._space, self._ask("suggest", trial))

    def report(self, trial: str, steps: int, losses: Sequence[float]) -> bool:
        return self._ask("report", trial, steps, list(losses))

    def _ask(self, *message: Any) -> Any:
        self._say(message)
        answer = self._process.stdout.readline()
        if not answer:
            raise self._ended()
        return json.loads(answer)

    def _say(self, message: Any) -> None:
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def _ended(self) -> RuntimeError:
        self._process.wait()
        self._errors.seek(0)
        return RuntimeError(f"the peer's process ended: {self._errors.read()[-TOLD:]}")


def interpreter() -> str:
    """The peers' Python. InputError where none is named."""
    python = os.environ.get(PYTHON)
    if not python:
        raise InputError(
            PYTHON, "should name a Python that has syne-tune or neural-pipeline-search; see docs/benchmarks.md"
        )
    return python


def _host(script: Path, errors: IO[str]) -> subprocess.Popen[str]:
    python = interpreter()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(
            [python, str(script)], stdin=pipe, stdout=pipe, stderr=errors, text=True, env=environment
        )
    except OSError as error:
        raise InputError(PYTHON, f"{python} does not start: {error.strerror}") from None


def _end(process: subprocess.Popen[str], errors: IO[str]) -> None:
    process.terminate()
    with suppress(BrokenPipeError):  # what was said last, to nobody
        process.stdin.close()
    process.wait()
    process.stdout.close()
    errors.close()
