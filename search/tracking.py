"""The record of a sweep in MLflow: the sweep is a run, each trial a nested run."""

import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from analysis.observations import (
    CONFIRMS_TAG,
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
from search.outage import Unreachable, in_short
from spaces import InputError, Observation, Recipe
from trainables.job import HELD_OUT, SEARCHED

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

    from analysis.confirmed import Confirmation

RUN_STATUS = {"finished": "FINISHED", "stopped": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
"""What MLflow calls the end of a trial or sweep. Being stopped at a rung is no fault, and killed is shown as one."""

IDENTITY_TAG = "sweep_id"
_BATCH = 1000
"""Metrics that a server takes at once."""
_CURVE = "hypervolume over seconds"

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
    in_doubt: bool = False
    """Whether a picture may be there without our hearing of it."""
    kept: set[int] = field(default_factory=set)
    stale: set[int] = field(default_factory=set)
    """Adapters from before a restart, perhaps half written."""
    has_params: bool = True
    on_front: bool = False
    ended: bool = False
    held: bool = False


class Tracking:
    """Writes one sweep to MLflow. All calls from one thread; each may be repeated, also after a restart."""

    def __init__(
        self,
        uri: str,
        artifacts: str,
        sweep_name: str,
        parent_run_id: str | None = None,
        identity: str | None = None,
        fetch: Callable[[Path], None] = lambda path: None,
        confirming: bool = False,
    ) -> None:
        """Opens the sweep's run, or makes it.

        `uri` is absolute: `sqlite:////home/me/runs/mlflow.db`, `http://127.0.0.1:5000`; `artifacts` is the
        folder for a new database's artifacts (a server has its own). A run is looked for by its id, then by
        `identity`, a tag that no other sweep has: so a run is found again that was made just before a crash, or whose
        making was never answered. `fetch` brings a picture or an adapter to this machine, if it is elsewhere.
        Unreachable when a server is not there.
        """
        self.sweep_name, self._fetch = sweep_name, fetch
        self._confirming, self._panel = confirming, HELD_OUT if confirming else SEARCHED
        self._client = _connect(uri)
        experiment = _experiment(self._client, uri, artifacts)
        self._experiment_id = experiment.experiment_id
        self._children: dict[str, _Child] = {}
        self._doubtful = set[str]()
        """Trials whose run may have been made without our hearing of it."""
        self._described: set[str] = set()
        self._curve: set[int] = set()
        """Seconds at which the hypervolume is known."""
        parent = self._find(parent_run_id, identity)
        if parent is None:
            tags = {} if identity is None else {IDENTITY_TAG: identity}
            parent = self._client.create_run(self._experiment_id, run_name=sweep_name, tags=tags)
        else:
            self._client.update_run(parent.info.run_id, status="RUNNING")
            self._described = set(parent.data.params)
            if _CURVE in parent.data.metrics:
                self._curve = {m.step for m in self._client.get_metric_history(parent.info.run_id, _CURVE)}
            self._recall_children(parent)
        self.parent_run_id = parent.info.run_id

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

    def trial_started(self, trial: str, recipe: Recipe, seed: int, confirms: str | None = None) -> None:
        """A nested run with the recipe as parameters; `confirms`: the trial of the search that is trained again."""
        from mlflow.entities import Param

        if trial in self._doubtful:
            self._recall_children(self._client.get_run(self.parent_run_id))
        if trial not in self._children:
            tags = {PARENT_TAG: self.parent_run_id, TRIAL_TAG: trial, SEED_TAG: str(seed)}
            tags |= {} if confirms is None else {CONFIRMS_TAG: confirms}
            self._doubtful.add(trial)
            run = self._client.create_run(self._experiment_id, run_name=trial, tags=tags)
            self._children[trial] = _Child(run.info.run_id, has_params=False)
        self._doubtful.discard(trial)
        child = self._children[trial]
        if not child.has_params:
            params = [Param(name, str(value)) for name, value in recipe.flat().items()]
            self._client.log_batch(child.run_id, params=params)
            child.has_params = True
        if child.held:
            self._client.set_tag(child.run_id, "status", "running")
            self._client.update_run(child.run_id, status="RUNNING")
            child.held = False

    def observed(self, checkpoint: Sequence[Observation], folder: Path, at: float) -> None:
        """Scores and costs at step = training steps, and the checkpoint's `grid.png` if it drew one.

        The main observation's have their plain names, any other's are a section of the page with its label. `folder`
        is the checkpoint's, `SWEEP/trials/TRIAL/STEP`. The untuned base's panel is step 0 of the pictures, where
        MLflow's time slider stands first. `at`, in seconds of the epoch, must be the same when it is told again: MLflow
        takes a metric of the same time and value as the one it has, should its answer have been lost.
        """
        from mlflow.entities import Metric, RunTag

        child, steps = self._children[checkpoint[0].trial], checkpoint[0].steps
        self._picture(child, 0, folder.parents[2] / self._panel / "base.png")
        self._picture(child, steps, folder / "grid.png")
        if steps not in child.observed:
            numbers = [
                Metric(in_mlflow(observation.label, name), value, _milliseconds(at), steps)
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

    def hypervolume(self, trials: int, seconds: float, value: float, at: float) -> None:
        """The front's hypervolume so far, over trials and over seconds since the sweep's start; `at` is the epoch's."""
        from mlflow.entities import Metric

        if round(seconds) in self._curve:
            return
        numbers = ((_CURVE, round(seconds)), ("hypervolume over trials", trials))
        self._client.log_batch(
            self.parent_run_id, metrics=[Metric(name, value, _milliseconds(at), step) for name, step in numbers]
        )
        self._curve.add(round(seconds))

    def plots(self, paths: Sequence[Path], devices: str = "") -> None:
        """Pages and pictures of the front, as the sweep's artifacts, and as a tag how fast each device was."""
        if devices:
            self._client.set_tag(self.parent_run_id, "devices", devices)
        for path in paths:
            self._client.log_artifact(self.parent_run_id, str(path))

    def keep_adapters(self, front: Sequence[tuple[Observation, Path]]) -> None:
        """The adapters on the front, and no others, are artifacts `adapter-000100` of their runs.

        `front` has each observation on the front with its checkpoint's folder, which contains `adapter/`.
        """
        wanted = {(o.trial, o.steps): folder / "adapter" for o, folder in front}
        for (trial, steps), adapter in wanted.items():
            child = self._children[trial]
            if steps not in child.kept:
                self._fetch(adapter)
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

    def confirmed(self, said: "Confirmation", look: int, at: float) -> None:
        """What a confirmation says after a look, from 1 on: the sweep's metrics `confirmed/TRIAL-STEPS[:LABEL]/...`."""
        from mlflow.entities import Metric

        numbers: dict[str, float] = {"confirmed/front": len(said.front)}
        for each in said.candidates:
            section = f"confirmed/{each.name.replace('@', '-')}"
            for name, mean in each.means.items():
                numbers[f"{section}/{name}"] = mean
                if name in each.halves:
                    numbers |= {f"{section}/{name} low": mean - each.halves[name]}
                    numbers |= {f"{section}/{name} high": mean + each.halves[name]}
            numbers |= {} if each.chance is None else {f"{section}/probability of being on the front": each.chance}
        metrics = [Metric(name, value, _milliseconds(at), look) for name, value in numbers.items()]
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(self.parent_run_id, metrics=metrics[start : start + _BATCH])

    def finish(self, status: str, confirmation: str | None = None) -> None:
        """Closes the sweep's run: `finished`, `interrupted` or `failed`; what comes after a colon says more.

        A trial that a finished sweep has not ended is held at its rung, and goes on if the sweep is given more.
        """
        ended = status.partition(":")[0]
        for child in self._children.values():
            if ended == "finished" and not child.ended and not child.held:
                self._client.set_tag(child.run_id, "status", "held")
                self._client.update_run(child.run_id, status="SCHEDULED")
                child.held = True
        if confirmation is not None:
            self._client.set_tag(self.parent_run_id, "confirmation", confirmation)
        self._client.set_tag(self.parent_run_id, "status", status)
        self._client.set_terminated(self.parent_run_id, RUN_STATUS[ended])

    def _picture(self, child: _Child, steps: int, path: Path) -> None:
        from PIL import Image

        if steps in child.pictured:
            return
        self._fetch(path)
        if not path.exists():
            return
        if child.in_doubt:
            child.pictured = self._pictured(child.run_id)
            child.in_doubt = False
        if steps not in child.pictured:
            child.in_doubt = True
            with Image.open(path) as picture:
                self._client.log_image(child.run_id, picture, key="panel", step=steps)
            child.in_doubt = False
        child.pictured.add(steps)

    def _pictured(self, run_id: str) -> set[int]:
        """The steps of the pictures that are there."""
        found = self._client.list_artifacts(run_id, "images")
        return {int(info.path.split("+step+")[1].split("+")[0]) for info in found}

    def _find(self, run_id: str | None, identity: str | None) -> "Run | None":
        from mlflow.exceptions import MlflowException

        if run_id is not None:
            try:
                run = self._client.get_run(run_id)
                if run.info.lifecycle_stage == "active":
                    return run
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        if identity is None:
            return None
        return next(
            iter(self._client.search_runs([self._experiment_id], f"tags.`{IDENTITY_TAG}` = '{identity}'")), None
        )

    def _recall_children(self, parent: "Run") -> None:
        for run in child_runs(self._client, parent, self._confirming):
            if run.data.tags[TRIAL_TAG] not in self._children:
                self._children[run.data.tags[TRIAL_TAG]] = self._recall(run)

    def _recall(self, run: "Run") -> _Child:
        artifacts = [info.path for info in self._client.list_artifacts(run.info.run_id)]
        observed, device = set(history(self._client, run)), run.data.tags.get(DEVICE_TAG)
        return _Child(
            run_id=run.info.run_id,
            observed=observed,
            devices=devices_of(device, observed) if device else {},
            pictured=self._pictured(run.info.run_id) if "images" in artifacts else set(),
            stale={int(path.removeprefix("adapter-")) for path in artifacts if "adapter-" in path},
            has_params=bool(run.data.params),
            on_front=run.data.tags.get("front") == "yes",
            ended=run.info.status not in ("RUNNING", "SCHEDULED"),
            held=run.info.status == "SCHEDULED",
        )

    def _delete_artifacts(self, run_id: str, path: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        root = self._client.get_run(run_id).info.artifact_uri
        get_artifact_repository(root, tracking_uri=self._client.tracking_uri).delete_artifacts(path)


def check_server(uri: str) -> None:
    """InputError when a server does not answer, or has no experiment to write to and cannot make one."""
    try:
        _experiment(_connect(uri), uri, "")
    except InputError:
        raise
    except Exception as error:  # whatever answers there
        raise InputError("--tracking-uri", f"{uri} {in_short(error)}") from None


def attach(uri: str, run_id: str, path: Path) -> None:
    """A file as an artifact of a run that is there. Whatever MLflow raises where it is not."""
    _connect(uri).log_artifact(run_id, str(path))


def _connect(uri: str) -> "MlflowClient":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines a run through the live table
    from mlflow import MlflowClient

    # MLflow itself would try each call for minutes; the recorder has pauses of its own, and is not to be held up.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    logging.getLogger("mlflow.store.db.utils").addFilter(_not_an_error)  # a traceback for what is raised anyway
    address = urlsplit(uri)
    if address.scheme in ("http", "https"):
        port = address.port or (443 if address.scheme == "https" else 80)
        try:
            socket.create_connection((address.hostname or "", port), timeout=10).close()
        except OSError as error:
            raise Unreachable("--tracking-uri", f"{uri} does not answer: {error.strerror or error}") from None
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


def _not_an_error(record: logging.LogRecord) -> bool:
    return record.levelno < logging.ERROR


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


def _milliseconds(at: float) -> int:
    return int(at * 1000)
