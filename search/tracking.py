"""The record of a sweep in MLflow: the sweep is a run, each trial a nested run."""

import logging
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from analysis.observations import (
    DEVICE_TAG,
    EXPERIMENT,
    PARENT_TAG,
    SEED_TAG,
    TRIAL_TAG,
    child_runs,
    devices_of,
    devices_tag,
    history,
    in_mlflow,
    metrics,
)  # fmt: skip
from analysis.paces import paces
from spaces import InputError, Observation, Recipe, Space

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

RUN_STATUS = {"finished": "FINISHED", "stopped": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
"""What MLflow calls the end of a trial or sweep. Being stopped at a rung is no fault, and killed is shown as one."""

_TOLD = ("space", "subject", "base", "objectives", "rungs")
"""The parameters that the sweep's description repeats."""

_EXPERIMENT_TAGS = {
    "mlflow.note.content": "A run is a sweep, its child runs are trials. See `pareto.html` among its artifacts.",
}

_NOTE = """
Sweep `{sweep}`: {settings}

**Start with `pareto.html` under *Artifacts***: every scored checkpoint of every trial, and the front, which none of
them beats in all objectives. Hover over a point for its recipe. `pareto.png` is the same as a picture.

- *Model metrics*: the hypervolume of the front so far (0 is nothing, 1 is the ideal), over trials and over seconds.
- *Child runs* are the trials: parameters are the recipe, metrics are scores over training steps, images are what the
  checkpoints draw on the panel. Where checkpoints are drawn in several ways, the main way's metrics come first and
  each other's have a section of their own.
- Tags of a trial: `status` is `finished` when it reached the last rung, `stopped` when it ended at an earlier one,
  or `failed`; `reason` says why; `front` is `yes` for those on the front, which keep their adapters as artifacts.
"""


@dataclass
class _Child:
    """What MLflow already has of a trial, so that nothing is logged twice."""

    run_id: str
    observed: set[int] = field(default_factory=set)
    devices: dict[int, str] = field(default_factory=dict)
    """By the rungs whose checkpoints they made."""
    pictured: set[int] = field(default_factory=set)
    kept: set[int] = field(default_factory=set)
    stale: set[int] = field(default_factory=set)
    """Adapters from before a restart, perhaps half written."""
    has_params: bool = True
    on_front: bool = False
    ended: bool = False


class Tracking:
    """Writes one sweep to MLflow. All calls from one thread; each may be repeated, also after a restart."""

    def __init__(self, uri: str, artifacts: str, sweep_name: str, parent_run_id: str | None = None) -> None:
        """Opens the sweep's run, or makes it.

        `uri` is absolute: `sqlite:////home/me/runs/mlflow.db`, `http://127.0.0.1:5000`; `artifacts` is the
        folder for a new database's artifacts (a server has its own). InputError when a server is not there.
        """
        self.sweep_name = sweep_name
        self._client = _connect(uri)
        experiment = _experiment(self._client, uri, artifacts)
        self._experiment_id = experiment.experiment_id
        if parent_run_id is None:
            self.parent_run_id = self._client.create_run(self._experiment_id, run_name=sweep_name).info.run_id
            self._children: dict[str, _Child] = {}
            self._described: set[str] = set()
        else:
            self.parent_run_id = parent_run_id
            self._client.update_run(parent_run_id, status="RUNNING")
            parent = self._client.get_run(parent_run_id)
            self._described = set(parent.data.params)
            runs = child_runs(self._client, parent)
            self._children = {run.data.tags[TRIAL_TAG]: self._recall(run) for run in runs}

    @property
    def page(self) -> str:
        """Where an MLflow server shows the front: a path to put after the server's address."""
        run = f"#/experiments/{self._experiment_id}/runs/{self.parent_run_id}"
        return f"/{run}/artifacts/pareto.html?workflowType=machine_learning"

    def describe(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """The sweep's settings. A parameter keeps its first value; tags take the new one."""
        from mlflow.entities import Param, RunTag

        new = [Param(name, str(value)) for name, value in params.items() if name not in self._described]
        settings = ", ".join(f"{name} `{value}`" for name, value in params.items() if name in _TOLD)
        note = {"mlflow.note.content": _NOTE.format(sweep=self.sweep_name, settings=settings)}
        all_tags = [RunTag(name, str(value)) for name, value in (note | dict(tags)).items()]
        self._client.log_batch(self.parent_run_id, params=new, tags=all_tags)
        self._described |= set(params)

    def trial_started(self, trial: str, recipe: Recipe, seed: int) -> None:
        """A nested run with the recipe as parameters."""
        from mlflow.entities import Param

        if trial not in self._children:
            tags = {PARENT_TAG: self.parent_run_id, TRIAL_TAG: trial, SEED_TAG: str(seed)}
            run = self._client.create_run(self._experiment_id, run_name=trial, tags=tags)
            self._children[trial] = _Child(run.info.run_id, has_params=False)
        child = self._children[trial]
        if not child.has_params:
            params = [Param(name, str(value)) for name, value in recipe.flat().items()]
            self._client.log_batch(child.run_id, params=params)
            child.has_params = True

    def observed(self, checkpoint: Sequence[Observation], folder: Path) -> None:
        """Scores and costs at step = training steps, and the checkpoint's `grid.png` if it drew one.

        The main observation's have their plain names, any other's are a section of the page with its label. `folder`
        is the checkpoint's, `SWEEP/trials/TRIAL/STEP`. The untuned base's panel is step 0 of the pictures, where
        MLflow's time slider stands first.
        """
        from mlflow.entities import Metric, RunTag

        child, steps = self._children[checkpoint[0].trial], checkpoint[0].steps
        self._picture(child, 0, folder.parents[2] / "panel" / "base.png")
        self._picture(child, steps, folder / "grid.png")
        if steps not in child.observed:
            now = _now()
            numbers = [
                Metric(in_mlflow(observation.label, name), value, now, steps)
                for observation in checkpoint
                for name, value in metrics(observation).items()
            ]
            child.devices |= {steps: checkpoint[0].cost.device} if checkpoint[0].cost.device else {}
            tags = [RunTag(DEVICE_TAG, devices_tag(child.devices))] if child.devices else []
            self._client.log_batch(child.run_id, metrics=numbers, tags=tags)
            child.observed.add(steps)

    def trial_ended(self, trial: str, status: str, reason: str) -> None:
        """How a trial ended: `finished`, `stopped` or `failed`, why, and at how many steps."""
        from mlflow.entities import RunTag

        child = self._children[trial]
        if child.ended:
            return
        tags = {"status": status, "reason": reason, "stopped_at": str(max(child.observed, default=0))}
        self._client.log_batch(child.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
        self._client.set_terminated(child.run_id, RUN_STATUS[status])
        child.ended = True

    def hypervolume(self, trials: int, seconds: float, value: float) -> None:
        """The front's hypervolume so far, over trials and over seconds since the sweep's start."""
        from mlflow.entities import Metric

        now = _now()
        self._client.log_batch(
            self.parent_run_id,
            metrics=[
                Metric("hypervolume over trials", value, now, trials),
                Metric("hypervolume over seconds", value, now, round(seconds)),
            ],
        )

    def refresh(
        self,
        observations: Sequence[Observation],
        base_scores: Mapping[str, float] | None,
        space: Space,
        folder: Path,
    ) -> None:
        """`pareto.html` and `pareto.png` of all observations, in the sweep's folder and as its run's artifacts.

        The sweep's tag `devices` says how fast each was, where there were several.
        """
        from analysis.plots import pareto_html, pareto_png

        html = pareto_html(observations, space.objectives, base_scores, space.name)
        png = pareto_png(observations, space.objectives, base_scores, space.name)
        devices = paces(observations, space.rungs)
        if len(devices) > 1:
            self._client.set_tag(self.parent_run_id, "devices", "; ".join(pace.in_words for pace in devices))
        for name, content in (("pareto.html", html.encode()), ("pareto.png", png)):
            _replace(folder / name, content)
            self._client.log_artifact(self.parent_run_id, str(folder / name))

    def keep_adapters(self, front: Sequence[tuple[Observation, Path]]) -> None:
        """The adapters on the front, and no others, are artifacts `adapter-000100` of their runs.

        `front` has each observation on the front with its checkpoint's folder, which contains `adapter/`.
        """
        wanted = {(o.trial, o.steps): folder / "adapter" for o, folder in front}
        for (trial, steps), adapter in wanted.items():
            child = self._children[trial]
            if steps not in child.kept:
                self._client.log_artifacts(child.run_id, str(adapter), _adapter_name(steps))
                child.kept.add(steps)
                child.stale.discard(steps)
            if not child.on_front:
                self._client.set_tag(child.run_id, "front", "yes")
                child.on_front = True
        for trial, child in self._children.items():
            for steps in [steps for steps in child.kept | child.stale if (trial, steps) not in wanted]:
                self._delete_artifacts(child.run_id, _adapter_name(steps))
                child.kept.discard(steps)
                child.stale.discard(steps)
            if child.on_front and not child.kept:
                self._client.set_tag(child.run_id, "front", "no")
                child.on_front = False

    def finish(self, status: str) -> None:
        """Closes the sweep's run: `finished`, `interrupted` or `failed`."""
        self._client.set_tag(self.parent_run_id, "status", status)
        self._client.set_terminated(self.parent_run_id, RUN_STATUS[status])

    def _picture(self, child: _Child, steps: int, path: Path) -> None:
        from PIL import Image

        if steps in child.pictured or not path.exists():
            return
        with Image.open(path) as picture:
            self._client.log_image(child.run_id, picture, key="panel", step=steps)
        child.pictured.add(steps)

    def _recall(self, run: "Run") -> _Child:
        artifacts = [info.path for info in self._client.list_artifacts(run.info.run_id)]
        pictures = self._client.list_artifacts(run.info.run_id, "images") if "images" in artifacts else []
        observed, device = set(history(self._client, run)), run.data.tags.get(DEVICE_TAG)
        return _Child(
            run_id=run.info.run_id,
            observed=observed,
            devices=devices_of(device, observed) if device else {},
            pictured={int(info.path.split("+step+")[1].split("+")[0]) for info in pictures},
            stale={int(path.removeprefix("adapter-")) for path in artifacts if "adapter-" in path},
            has_params=bool(run.data.params),
            on_front=run.data.tags.get("front") == "yes",
            ended=run.info.status != "RUNNING",
        )

    def _delete_artifacts(self, run_id: str, path: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        root = self._client.get_run(run_id).info.artifact_uri
        get_artifact_repository(root, tracking_uri=self._client.tracking_uri).delete_artifacts(path)


def _connect(uri: str) -> "MlflowClient":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines a run through the live table
    from mlflow import MlflowClient

    address = urlsplit(uri)
    if address.scheme in ("http", "https"):  # MLflow itself would try for minutes
        port = address.port or (443 if address.scheme == "https" else 80)
        try:
            socket.create_connection((address.hostname or "", port), timeout=10).close()
        except OSError as error:
            raise InputError("--tracking-uri", f"{uri} does not answer: {error.strerror or error}") from None
    with _quiet("mlflow.store.db", "alembic"):
        return MlflowClient(uri)


def _experiment(client: "MlflowClient", uri: str, artifacts: str) -> "Experiment":
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        local = uri.startswith("sqlite:")
        location = Path(artifacts).absolute().as_uri() if local else None
        return client.get_experiment(client.create_experiment(EXPERIMENT, location, _EXPERIMENT_TAGS))
    if experiment.lifecycle_stage != "active":
        undo = f"mlflow experiments restore -x {experiment.experiment_id}"
        raise InputError(uri, f"the experiment {EXPERIMENT!r} is deleted; bring it back with `{undo}`")
    return experiment


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Creating a database is a page of migrations in the log."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _adapter_name(steps: int) -> str:
    return f"adapter-{steps:06d}"


def _replace(path: Path, content: bytes) -> None:
    """A reader sees the old file or the new one, never half of it."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(content)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def _now() -> int:
    return int(time.time() * 1000)
