"""Searches whose packages cannot be installed beside ours: asked through a process of another interpreter."""

import json
import os
import subprocess
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.tasks import Task
from spaces import InputError

PYTHON = "POSEFRONT_PEERS_PYTHON"
"""The environment variable that names the interpreter."""


class SyneTune:
    """`MOASHA` as shipped, or with its ranking repaired."""

    def __init__(self, task: Task, seed: int, repaired: bool) -> None:
        space = task.space
        if any(parameter.when for parameter in space.parameters):
            raise InputError("Syne Tune MOASHA", "its spaces have no conditions, which this task's has")
        asked = {
            "seed": seed, "repaired": repaired, "rungs": space.rungs, "eta": space.eta,
            "objectives": len(space.objectives), "parameters": [asdict(parameter) for parameter in space.parameters],
        }  # fmt: skip
        self._process = _host(Path(__file__).with_name("syne_tune_host.py"))
        weakref.finalize(self, _end, self._process)
        self._say(asked)

    def suggest(self, trial: str) -> Mapping[str, Any]:
        return self._ask({"trial": trial})

    def report(self, trial: str, steps: int, losses: Sequence[float]) -> bool:
        return self._ask({"trial": trial, "steps": steps, "losses": list(losses)})

    def _ask(self, message: Mapping[str, Any]) -> Any:
        self._say(message)
        answer = self._process.stdout.readline()
        if not answer:
            raise self._ended()
        return json.loads(answer)

    def _say(self, message: Mapping[str, Any]) -> None:
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def _ended(self) -> RuntimeError:
        return RuntimeError(f"the peer's process ended: {self._process.stderr.read()[-2000:]}")


def interpreter() -> str:
    """The peers' Python. InputError where none is named."""
    python = os.environ.get(PYTHON)
    if not python:
        raise InputError(PYTHON, "should name a Python that has syne-tune 0.16 installed; see docs/benchmarks.md")
    return python


def _host(script: Path) -> subprocess.Popen[str]:
    python = interpreter()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(
            [python, str(script)], stdin=pipe, stdout=pipe, stderr=subprocess.PIPE, text=True, env=environment
        )
    except OSError as error:
        raise InputError(PYTHON, f"{python} does not start: {error.strerror}") from None


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    with suppress(BrokenPipeError):  # what was said last, to nobody
        process.stdin.close()
    process.wait()
    process.stdout.close()
    process.stderr.close()
