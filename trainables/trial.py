"""A trial as Ray Tune runs it: one step of Tune is one rung, and the actor keeps the base for the trials to come."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ray.tune import Trainable

from spaces import Cost, Observation, Recipe, labels
from trainables.base import Base
from trainables.checkpoints.checksums import write_checksums
from trainables.checkpoints.restore import drop_old, restore
from trainables.data.prior import class_prior
from trainables.export import save_adapter
from trainables.finetune import FineTune
from trainables.job import Job
from trainables.judges import judges_for
from trainables.machine.device import device_named
from trainables.machine.disk import disk_trouble
from trainables.machine.meter import Meter, card_memory, device_name, limit
from trainables.machine.notice import Evicted, Notice, current
from trainables.machine.pulse import Pulse
from trainables.panels.panel import Panel, Scored
from trainables.poses import with_poses
from trainables.storage import Carrier, StorageError
from trainables.subject import Subject

OBSERVATIONS = "observation.json"


class Studio:
    """What an actor reads once: base, subject and panel. Only adapters come and go, on the base."""

    def __init__(self, job: Job, carrier: Carrier | None = None) -> None:
        self.job = job
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = job.tf32
        self.base = Base.load(job.base, job.controlnet, job.device, job.precision)
        self.subject = with_poses(Subject.load(job.subject), job.poses)
        judges = judges_for(job.judges, self.base.folder, self.subject, self.base.size, str(self.base.device))
        self.panel = Panel(self.base, self.subject, judges, job.panel, Path(job.folder) / job.panel.folder)
        (carrier or Carrier(job)).share(self.panel.reference, job.panel.folder, "base.json")


class Trial(Trainable):
    """Trains to the next rung, scores, writes the checkpoint, reports.

    Whatever is on disk already is read instead of done again, so a trial that is started anew, by a retry or a resumed
    sweep, goes on where it was. What goes wrong is reported as its failure, and the actor lives on; it raises only
    Evicted, when this machine is about to be taken away and the state is on disk.
    """

    def setup(self, config: dict[str, Any], imported_in: float = 0.0) -> None:
        """`imported_in`: seconds that the actor took to import this; its first rung's loading has them."""
        self._studio: Studio | None = None
        self._imported_in = imported_in
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._end()
        self._carrier.end()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        try:
            return self._next_rung()
        except Evicted:
            raise
        except torch.OutOfMemoryError as error:
            self._end()
            return self._ran_out(error)
        except Exception as error:
            self._end()
            if trouble := disk_trouble(error):
                return {"trial": self._name, "steps": 0, "halt": f"{self._folder}: {trouble}", "done": True}
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            steps = self._rungs[self._rung - 1] if self._rung else 0
            if isinstance(error, StorageError):  # no fault of the recipe's: the sweep stops, to be resumed
                return {"trial": self._name, "steps": steps, "halt": str(error), "failure": None, "done": True}
            return {"trial": self._name, "steps": steps, "failure": reason, "done": True}

    def cleanup(self) -> None:
        self._end()
        self._carrier.end()

    def _ran_out(self, error: torch.OutOfMemoryError) -> dict[str, Any]:
        """Not done: who shares cards out may give it more, and it goes on from its newest state."""
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        steps, toward = self._rungs[self._rung - 1] if self._rung else 0, self._rungs[self._rung]
        card = {"out_of_memory": True, "toward": toward, "card_memory": card_memory(device_named(self._job.device))}
        return {"trial": self._name, "steps": steps, "failure": reason, "done": False} | card

    def _begin(self, config: dict[str, Any]) -> None:
        self._carrier = Carrier(Job.model_validate(config["job"]))
        self._job = self._carrier.job
        self._name, self._seed = config["trial"], config["seed"]
        score = config.get("score")  # pairs of steps and labels: where a confirmation needs it; None is everywhere
        self._rungs = self._job.rungs if score is None else tuple(steps for steps, _ in score)
        self._labels: dict[int, list[str]] | None = None if score is None else dict(score)
        self._memory: int | None = config.get("memory")  # bytes of a card that it shares; None is all
        self._recipe = Recipe.parse(config["recipe"])
        self._folder = Path(self._job.folder) / "trials" / self._name
        self._rung = 0
        self._finetune: FineTune | None = None
        self._heeded: Notice | None = None
        self._pulse, self._notes = Pulse(config["job"]["folder"], self._name), list[str]()

    def _end(self) -> None:
        """Takes the adapters off the base."""
        if self._finetune is not None:
            self._finetune.remove()
            self._finetune = None

    def _next_rung(self) -> dict[str, Any]:
        if self._rung == 0:
            self._carrier.begin(self._name)
        steps = self._rungs[self._rung]
        folder = self._folder / f"step-{steps:06d}"
        self._pulse.beat()
        observations = self._known(steps, folder) or self._make(steps, folder)
        self._carrier.push(folder)
        self._rung += 1
        done = self._rung == len(self._rungs)
        if done:
            self._end()
        return {
            "trial": self._name,
            "steps": steps,
            "observations": [
                {key: values[key] for key in ("inference", "label", "scores", "cells", "cost")}
                for values in (o.to_json() for o in observations)
            ],
            "folder": self._carrier.told(folder),
            "failure": None,
            "notes": self._notes,
            "done": done,
        }

    def _known(self, steps: int, folder: Path) -> list[Observation]:
        """The observations of a checkpoint that is there; none of one that cannot be read, which is made again."""
        try:
            found = read_observations(folder)
            if any((o.recipe, o.seed) != (self._recipe, self._seed) for o in found):
                raise ValueError("it is of another recipe or seed")
            if found and self._labels is not None and not {*self._labels[steps]} <= {o.label for o in found}:
                raise ValueError("it is not drawn in all ways that are asked for")
            return found
        except (ValueError, KeyError, TypeError) as error:
            self._notes.append(f"{folder / OBSERVATIONS} cannot be used ({error}); the checkpoint is made again")
            return []

    def _make(self, steps: int, folder: Path) -> list[Observation]:
        started = time.perf_counter()
        self._heed_notice()
        device = device_named(self._job.device)
        limit(device, self._memory)
        meter = Meter(device)
        finetune, panel = self._wake(steps), self._studio.panel
        loaded = time.perf_counter()
        if finetune.steps < steps:
            while finetune.steps < steps:
                finetune.advance(1)
                self._pulse.beat()
                if finetune.steps < steps:
                    self._heed_notice()
            folder.mkdir(parents=True, exist_ok=True)
            save_adapter(finetune, folder / "adapter")
            write_checksums(folder / "adapter")
            finetune.save_state(folder / "state.safetensors")
        diagnosed = {"validation_loss": finetune.validation_loss()}
        trained = time.perf_counter()
        self._carrier.push(folder)
        observations = []
        for inference, label in zip(panel.config.inferences, labels(panel.config.inferences), strict=True):
            if self._labels is not None and label not in self._labels[steps]:
                continue
            began = time.perf_counter()
            self._pulse.beat()
            scored = panel.score(inference)
            check_finite(scored)
            panel.keep(scored, folder / f"grid{label and '-'}{label}.png")
            cost = Cost(device=device_name(device), score=time.perf_counter() - began)
            if not observations:
                cost = replace(cost, train=trained - loaded, load=loaded - started + self._imported_in)
            scores = scored.scores | diagnosed
            o = Observation(self._name, self._recipe, self._seed, steps, scores, scored.cells, cost, inference, label)
            observations.append(o)
        memory = replace(observations[0].cost, peak_memory=meter.peak(), card_memory=card_memory(device))
        observations[0] = replace(observations[0], cost=memory)
        write_observations(folder, observations)
        self._imported_in = 0.0
        drop_old(self._states(steps))
        return observations

    def _heed_notice(self) -> None:
        """Where this machine is about to be taken away: saves the state, once, and leaves if there is an elsewhere."""
        notice = current()
        if notice is None or notice == self._heeded:
            return
        self._heeded = notice
        if self._finetune is not None and self._finetune.steps:
            state = self._folder / f"step-{self._finetune.steps:06d}" / "state.safetensors"
            state.parent.mkdir(parents=True, exist_ok=True)
            self._finetune.save_state(state)
            self._carrier.push(state.parent)
        if notice.leave:
            raise Evicted(notice.reason)

    def _wake(self, steps: int) -> FineTune:
        """The fine-tune as it was at the newest checkpoint of so many steps or fewer, or new."""
        if self._finetune is not None and self._finetune.steps > steps:  # it was ahead of what is to be done again
            self._end()
        if self._finetune is None:
            if self._studio is None or self._studio.job != self._job:
                self._studio = Studio(self._job, self._carrier)
            studio, recipe = self._studio, self._recipe
            prior = None
            if recipe.prior_images:
                prior = class_prior(studio.base, studio.subject, recipe.prior_images, self._job.cache)
            engine = replace(self._job.engine, halves=self._memory is None)
            self._finetune = FineTune(studio.base, studio.subject, recipe, self._seed, prior, engine)
            self._notes += restore(self._finetune, self._states(steps))
        return self._finetune

    def _states(self, most: int) -> list[Path]:
        """Those of so many steps or fewer, oldest first."""
        states = sorted(self._folder.glob("step-*/state.safetensors"))
        return [state for state in states if int(state.parent.name.removeprefix("step-")) <= most]


def check_finite(scored: Scored) -> None:
    """ArithmeticError when a mean score is not a number: such a checkpoint cannot be ranked."""
    bad = [name for name, value in scored.scores.items() if not math.isfinite(value)]
    if bad:
        raise ArithmeticError(f"not finite: {', '.join(bad)}")


def read_observations(folder: Path) -> list[Observation]:
    """The observations of a complete checkpoint, the main one first; none when there is no such checkpoint."""
    path = folder / OBSERVATIONS
    if not path.exists():
        return []
    values = json.loads(path.read_text(encoding="utf-8"))
    return [Observation.from_json(value) for value in (values if isinstance(values, list) else [values])]


def write_observations(folder: Path, observations: list[Observation]) -> None:
    """Last of a checkpoint's files, and whole or not at all: its presence says that the checkpoint is complete."""
    partial = folder / "observation.partial"
    try:
        partial.write_text(json.dumps([o.to_json() for o in observations]), encoding="utf-8")
        partial.replace(folder / OBSERVATIONS)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
