"""A trial's run in MLflow, nested in its sweep's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.observations import DEVICE_TAG, devices_of, devices_tag, history, in_mlflow, metrics
from search.tracking.server import milliseconds
from spaces import Observation, Recipe

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RUN_STATUS = {"finished": "FINISHED", "stopped": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
"""What MLflow calls the end of a trial or sweep. Being stopped at a rung is no fault, and killed is shown as one."""
FRONT_TAG, FRONT_STEPS_TAG = "front", "front_steps"
"""Whether a trial has a checkpoint on the front, and at which steps."""


@dataclass
class TrialRun:
    """Writes one trial's run, and knows what MLflow has of it, so that nothing is logged twice."""

    client: "MlflowClient"
    fetch: Callable[[Path], None]
    """Brings a picture or an adapter to this machine, if it is elsewhere."""
    run_id: str
    observed: set[int] = field(default_factory=set)
    """Steps whose scores are there."""
    devices: dict[int, str] = field(default_factory=dict)
    """By the rungs whose checkpoints they made."""
    pictured: set[int] = field(default_factory=set)
    in_doubt: bool = False
    """Whether a picture may be there without our hearing of it."""
    kept: set[int] = field(default_factory=set)
    """Steps whose adapters are there."""
    stale: set[int] = field(default_factory=set)
    """Adapters from before a restart, perhaps half written."""
    has_params: bool = True
    front: tuple[str, str] | None = None
    """The tags about the front, where there are any."""
    ended: bool = False
    held: bool = False

    @classmethod
    def recall(cls, client: "MlflowClient", fetch: Callable[[Path], None], run: "Run") -> "TrialRun":
        """What MLflow has."""
        artifacts = [info.path for info in client.list_artifacts(run.info.run_id)]
        tags, observed = run.data.tags, set(history(client, run))
        device = tags.get(DEVICE_TAG)
        recalled = cls(
            client,
            fetch,
            run.info.run_id,
            observed=observed,
            devices=devices_of(device, observed) if device else {},
            stale={int(path.removeprefix("adapter-")) for path in artifacts if "adapter-" in path},
            has_params=bool(run.data.params),
            front=(tags[FRONT_TAG], tags.get(FRONT_STEPS_TAG, "")) if FRONT_TAG in tags else None,
            ended=run.info.status not in ("RUNNING", "SCHEDULED"),
            held=run.info.status == "SCHEDULED",
        )
        recalled.pictured = recalled._pictures_there() if "images" in artifacts else set()
        return recalled

    def start(self, recipe: Recipe) -> None:
        """The recipe as parameters; a trial that was held at its rung runs again."""
        from mlflow.entities import Param

        if not self.has_params:
            params = [Param(name, str(value)) for name, value in recipe.flat().items()]
            self.client.log_batch(self.run_id, params=params)
            self.has_params = True
        if self.held:
            self.client.set_tag(self.run_id, "status", "running")
            self.client.update_run(self.run_id, status="RUNNING")
            self.held = False

    def observe(self, checkpoint: Sequence[Observation], at: float) -> None:
        """Scores and costs at step = training steps."""
        from mlflow.entities import Metric, RunTag

        steps, device = checkpoint[0].steps, checkpoint[0].cost.device
        if steps in self.observed:
            return
        numbers = [
            Metric(in_mlflow(observation.label, name), value, milliseconds(at), steps)
            for observation in checkpoint
            for name, value in metrics(observation).items()
        ]
        self.devices |= {steps: device} if device else {}
        tags = [RunTag(DEVICE_TAG, devices_tag(self.devices))] if self.devices else []
        self.client.log_batch(self.run_id, metrics=numbers, tags=tags)
        self.observed.add(steps)

    def picture(self, steps: int, path: Path) -> None:
        """What a checkpoint drew, if it drew something."""
        from PIL import Image

        if steps in self.pictured:
            return
        self.fetch(path)
        if not path.exists():
            return
        if self.in_doubt:
            self.pictured = self._pictures_there()
            self.in_doubt = False
        if steps not in self.pictured:
            self.in_doubt = True
            with Image.open(path) as picture:
                self.client.log_image(self.run_id, picture, key="panel", step=steps)
            self.in_doubt = False
        self.pictured.add(steps)

    def end(self, status: str, reason: str, at: float) -> None:
        """How it ended, why, and at how many steps."""
        from mlflow.entities import RunTag

        if self.ended:
            return
        tags = {"status": status, "reason": reason, "stopped_at": str(max(self.observed, default=0))}
        self.client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
        self.client.set_terminated(self.run_id, RUN_STATUS[status], milliseconds(at))
        self.ended = True

    def hold(self, status: str = "held") -> None:
        """It has not ended and does not run: it is `paused`, or its sweep is over and goes on if it is given more."""
        if not self.ended and not self.held:
            self.client.set_tag(self.run_id, "status", status)
            self.client.update_run(self.run_id, status="SCHEDULED")
            self.held = True

    def mark(self, word: str, steps: str) -> None:
        """Whether it is on the front, and with which checkpoints; a run that never was has no such tags."""
        from mlflow.entities import RunTag

        if self.front != (word, steps) and (self.front is not None or steps):
            tags = [RunTag(FRONT_TAG, word), RunTag(FRONT_STEPS_TAG, steps)]
            self.client.log_batch(self.run_id, tags=tags)
            self.front = word, steps

    def keep(self, steps: int, adapter: Path) -> None:
        """The adapter as artifact."""
        if steps not in self.kept:
            self.fetch(adapter)
            self.client.log_artifacts(self.run_id, str(adapter), adapter_name(steps))
            self.kept.add(steps)
            self.stale.discard(steps)

    def keep_only(self, wanted: set[int]) -> None:
        """Deletes other adapters than those."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        for steps in (self.kept | self.stale) - wanted:
            root = self.client.get_run(self.run_id).info.artifact_uri
            repository = get_artifact_repository(root, tracking_uri=self.client.tracking_uri)
            repository.delete_artifacts(adapter_name(steps))
            self.kept.discard(steps)
            self.stale.discard(steps)

    def _pictures_there(self) -> set[int]:
        """The steps of the pictures that MLflow has."""
        found = self.client.list_artifacts(self.run_id, "images")
        return {int(info.path.split("+step+")[1].split("+")[0]) for info in found}


def adapter_name(steps: int) -> str:
    """Of the artifact."""
    return f"adapter-{steps:06d}"
