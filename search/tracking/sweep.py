"""A sweep's run in MLflow, and through it those of its trials."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.observations import CONFIRMS_TAG, PARENT_TAG, SEED_TAG, SWEEP_TAG, TRIAL_TAG, child_runs
from search.tracking.addresses import Addresses
from search.tracking.server import connect, experiment, milliseconds
from search.tracking.trial import RUN_STATUS, TrialRun
from spaces import Observation, Recipe
from trainables.job import HELD_OUT, SEARCHED

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Run

    from analysis.confirmed import Confirmation
    from search.recording.about import About

IDENTITY_TAG = "sweep_id"
TABLES_TAG = "mlflow.loggedArtifacts"
"""Names the artifacts that MLflow shows as tables, as its `log_table` does."""
NOTE_TAG = "mlflow.note.content"
"""The description on a run's page, in Markdown."""
_DIGEST = 12
"""Characters of a fingerprint that its page has room for."""
_BATCH = 1000
"""Metrics that a server takes at once."""


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
        began: float | None = None,
    ) -> None:
        """Opens the sweep's run, or makes it.

        `uri` is absolute: `sqlite:////home/me/runs/mlflow.db`, `http://127.0.0.1:5000`; `artifacts` is the
        folder for a new database's artifacts (a server has its own). A run is looked for by its id, then by
        `identity`, a tag that no other sweep has: so a run is found again that was made just before a crash, or whose
        making was never answered. `fetch` brings a picture or an adapter to this machine, if it is elsewhere. A new
        run starts when the sweep `began`, or now. Unreachable when a server is not there.
        """
        self.sweep_name, self._fetch = sweep_name, fetch
        self._confirming, self._panel = confirming, HELD_OUT if confirming else SEARCHED
        self._client = connect(uri)
        self._experiment_id = experiment(self._client, uri, artifacts).experiment_id
        self._children: dict[str, TrialRun] = {}
        self._doubtful = set[str]()
        """Trials whose run may have been made without our hearing of it."""
        self._described: set[str] = set()
        self._curves: dict[str, set[int]] = {}
        """Milliseconds at which the hypervolume is known, by the last curve that has them."""
        self._told: str | None = None
        self._searched: dict[str, str] = {}
        """The runs of the search, for a confirmation, which writes others."""
        parent = self._find(parent_run_id, identity)
        if parent is None:
            tags = {} if identity is None else {IDENTITY_TAG: identity}
            start = None if began is None else milliseconds(began)
            parent = self._client.create_run(self._experiment_id, start, tags, sweep_name)
        else:
            self._client.update_run(parent.info.run_id, status="RUNNING")
            self._described = set(parent.data.params)
            self._recall_children(parent)
        self.parent_run_id = parent.info.run_id
        if confirming:
            self._searched = {r.data.tags[TRIAL_TAG]: r.info.run_id for r in child_runs(self._client, parent)}

    @property
    def addresses(self) -> Addresses:
        """Where an MLflow server shows the sweep."""
        runs = self._searched or {trial: child.run_id for trial, child in self._children.items()}
        return Addresses(self._experiment_id, self.parent_run_id, self.sweep_name, runs)

    def describe(self, params: Mapping[str, Any], tags: Mapping[str, str], about: "About | None" = None) -> None:
        """The sweep's settings, and its subject. A parameter keeps its first value; tags take the new one."""
        from mlflow.entities import Param, RunTag

        new = [Param(name, str(value)) for name, value in params.items() if name not in self._described]
        all_tags = [RunTag(name, str(value)) for name, value in tags.items()]
        self._client.log_batch(self.parent_run_id, params=new, tags=all_tags)
        self._described |= set(params)
        if about is not None:
            self._client.log_inputs(self.parent_run_id, [_dataset(about)])

    def tell(self, page: str) -> None:
        """The description, in Markdown, in place of the one before."""
        if page != self._told:
            self._client.set_tag(self.parent_run_id, NOTE_TAG, page)
            self._told = page

    def trial_started(self, trial: str, recipe: Recipe, seed: int, at: float, confirms: str | None = None) -> None:
        """A nested run with the recipe as parameters; `confirms`: the trial of the search that is trained again.

        `at` is in seconds of the epoch, here and below.
        """
        if trial in self._doubtful:
            self._recall_children(self._client.get_run(self.parent_run_id))
        if trial not in self._children:
            tags = {PARENT_TAG: self.parent_run_id, SWEEP_TAG: self.sweep_name, TRIAL_TAG: trial, SEED_TAG: str(seed)}
            tags |= {"status": "running"} | ({} if confirms is None else {CONFIRMS_TAG: confirms})
            self._doubtful.add(trial)
            run = self._client.create_run(self._experiment_id, milliseconds(at), tags, trial)
            self._children[trial] = TrialRun(self._client, self._fetch, run.info.run_id, has_params=False)
        self._doubtful.discard(trial)
        self._children[trial].start(recipe)

    def observed(self, checkpoint: Sequence[Observation], folder: Path, at: float) -> None:
        """Scores and costs at step = training steps, and the checkpoint's `grid.png` if it drew one.

        The main observation's have their plain names, any other's are a section of the page with its label. `folder`
        is the checkpoint's, `SWEEP/trials/TRIAL/STEP`. The untuned base's panel is step 0 of the pictures, where
        MLflow's time slider stands first. `at` must be the same when it is told again: MLflow takes a metric of the
        same time and value as the one it has, should its answer have been lost.
        """
        child = self._children[checkpoint[0].trial]
        child.picture(0, folder.parents[2] / self._panel / "base.png")
        child.picture(checkpoint[0].steps, folder / "grid.png")
        child.observe(checkpoint, at)

    def trial_paused(self, trial: str) -> None:
        """It waits at its rung for a promotion, of which `trial_started` tells."""
        self._children[trial].hold("paused")

    def trial_ended(self, trial: str, status: str, reason: str, at: float) -> None:
        """How a trial ended: `finished`, `stopped` or `failed`, why, and at how many steps."""
        self._children[trial].end(status, reason, at)

    def hypervolume(self, value: float, at: float, **over: float) -> None:
        """The front's hypervolume so far, over each of what it cost: `trials=7` is `hypervolume over trials` at 7.

        Underscores are spaces there. `at` is in seconds of the epoch.
        """
        from mlflow.entities import Metric

        names = {f"hypervolume over {what.replace('_', ' ')}": round(much) for what, much in over.items()}
        *_, last = names
        if last not in self._curves:
            known = self._client.get_metric_history(self.parent_run_id, last)
            self._curves[last] = {metric.timestamp for metric in known}
        when = milliseconds(at)
        if when not in self._curves[last]:
            numbers = [Metric(name, value, when, step) for name, step in names.items()]
            self._client.log_batch(self.parent_run_id, metrics=numbers)
            self._curves[last].add(when)

    def plots(self, paths: Sequence[Path], tables: Sequence[str] = (), devices: str = "") -> None:
        """Pages and pictures of the front, as the sweep's artifacts, and as a tag how fast each device was.

        `tables`: the names of those files that MLflow is to show as tables.
        """
        from mlflow.entities import RunTag

        for path in paths:
            self._client.log_artifact(self.parent_run_id, str(path))
        tags = {TABLES_TAG: json.dumps([{"path": name, "type": "table"} for name in tables])} if tables else {}
        tags |= {"devices": devices} if devices else {}
        if tags:
            self._client.log_batch(self.parent_run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def mark_front(self, front: Sequence[Observation]) -> None:
        """Tags the trials with the front's checkpoints: `front` is `yes`, or `confirmed` for a confirmation's."""
        steps: dict[str, list[str]] = {}
        for o in sorted(front, key=lambda o: o.key):
            steps.setdefault(o.trial, []).append(o.name.partition("@")[2])
        for trial, child in self._children.items():
            word = "confirmed" if self._confirming else "yes"
            child.mark(word if trial in steps else "no", ", ".join(steps.get(trial, [])))

    def keep_adapters(self, front: Sequence[tuple[Observation, Path]]) -> None:
        """The adapters on the front, and no others, are artifacts `adapter-000100` of their runs.

        `front` has each observation on the front with its checkpoint's folder, which contains `adapter/`.
        """
        wanted = {(o.trial, o.steps): folder / "adapter" for o, folder in front}
        for (trial, steps), adapter in wanted.items():
            self._children[trial].keep(steps, adapter)
        for trial, child in self._children.items():
            child.keep_only({steps for other, steps in wanted if other == trial})

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
        metrics = [Metric(name, value, milliseconds(at), look) for name, value in numbers.items()]
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(self.parent_run_id, metrics=metrics[start : start + _BATCH])

    def finish(self, status: str, at: float, confirmation: str | None = None) -> None:
        """Closes the sweep's run: `finished`, `interrupted` or `failed`; what comes after a colon says more.

        A trial that a finished sweep has not ended is held at its rung, and goes on if the sweep is given more.
        """
        ended = status.partition(":")[0]
        for child in self._children.values():
            if ended == "finished":
                child.hold()
        if confirmation is not None:
            self._client.set_tag(self.parent_run_id, "confirmation", confirmation)
        self._client.set_tag(self.parent_run_id, "status", status)
        self._client.set_terminated(self.parent_run_id, RUN_STATUS[ended], milliseconds(at))

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
            trial = run.data.tags[TRIAL_TAG]
            if trial not in self._children:
                self._children[trial] = TrialRun.recall(self._client, self._fetch, run)
                if SWEEP_TAG not in run.data.tags:  # of an older record
                    self._client.set_tag(run.info.run_id, SWEEP_TAG, self.sweep_name)


def _dataset(about: "About") -> "DatasetInput":
    """The subject, as what the sweep's runs train on."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    kind = about.source.partition("://")[0] if "://" in about.source else "local"
    profile = None if about.profile is None else json.dumps(about.profile)
    source = json.dumps({"uri": about.source})
    entity = Dataset(name=about.name, digest=about.digest[:_DIGEST], source_type=kind, source=source, profile=profile)
    return DatasetInput(entity, [InputTag("mlflow.data.context", "training")])
