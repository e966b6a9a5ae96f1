"""Observations as a table, and how they are kept in MLflow.

In MLflow a sweep is a run of the experiment `posefront`, each trial a nested run: the recipe's fields are its
parameters, every score and cost is a metric with training steps as step, trial name, seed and device are tags.
Metrics of another observation than a checkpoint's main one are named `LABEL/NAME`, which MLflow shows as a section.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from spaces import Cost, Inference, InputError, Observation, Recipe, labels

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

EXPERIMENT = "posefront"
PARENT_TAG = "mlflow.parentRunId"
SWEEP_TAG = "parent"
"""Of a trial's run: the sweep's name, which a filter takes."""
TRIAL_TAG = "trial"
SEED_TAG = "seed"
CONFIRMS_TAG = "confirms"
"""Of a confirmation's run: the trial whose recipe it trains again."""
COST_PREFIX = "seconds."
"""Costs, which MLflow shows after the scores since it sorts by name."""
SECONDS = ("train", "score", "load")
MEMORY = ("peak_memory", "card_memory")
"""A cost's bytes, logged where they were measured as `peak_memory` and `card_memory`."""
DEVICE_TAG = "device"
"""What a trial ran on: a name, or where there were several `100: NAME; 200: NAME`, by the rungs that they reached."""
INFERENCES_PARAM = "inferences"
"""The sweep's parameter with the ways in which its checkpoints are drawn, a JSON list, the main one first."""


def frame(observations: Sequence[Observation]) -> pd.DataFrame:
    """One row for each observation: trial, seed, steps, label, the recipe's fields, how it was drawn, the scores, the
    costs as `seconds.*`.

    A score that some observations lack is NaN there.
    """
    rows = [
        {"trial": o.trial, "seed": o.seed, "steps": o.steps, "label": o.label}
        | o.recipe.model_dump()
        | o.inference.model_dump()
        | metrics(o)
        | {"device": o.cost.device}
        for o in observations
    ]
    first = ["trial", "seed", "steps", "label", *Recipe.model_fields, *Inference.model_fields]
    names = [*first, *(name for row in rows for name in row)]
    return pd.DataFrame(rows, columns=list(dict.fromkeys(names)))


def metrics(observation: Observation) -> dict[str, float]:
    """An observation's numbers by the names they have in MLflow: scores as they are, costs as `seconds.*`."""
    cost = observation.cost
    costs = {COST_PREFIX + name: getattr(cost, name) for name in SECONDS}
    memory = {name: float(getattr(cost, name)) for name in MEMORY if getattr(cost, name)}
    return observation.scores | costs | memory


def devices_tag(devices: Mapping[int, str]) -> str:
    """The tag's text, from the device behind each rung's checkpoint."""
    names = set(devices.values())
    return names.pop() if len(names) == 1 else "; ".join(f"{steps}: {name}" for steps, name in sorted(devices.items()))


def devices_of(text: str, rungs: Iterable[int]) -> dict[int, str]:
    """What `devices_tag` was made from, for a trial that was scored at these rungs."""
    entries = [re.fullmatch(r"(\d+): (.*)", entry) for entry in text.split("; ")]
    if all(entries):
        return {int(entry[1]): entry[2] for entry in entries if entry}
    return dict.fromkeys(rungs, text)


def in_mlflow(label: str, metric: str) -> str:
    """A metric's name in MLflow, by the label of its observation."""
    return f"{label}/{metric}" if label else metric


def from_mlflow(uri: str, sweep_name: str) -> list[Observation]:
    """All observations of one sweep, by trial, steps and the order of its ways to draw, read from MLflow alone.

    The panel's cells are not in MLflow: `cells` is empty. Raises InputError when there is no such sweep, or
    more than one (then the run id of the one that is meant will do as its name).
    """
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    sweep = _sweep_run(client, uri, sweep_name)
    given = json.loads(sweep.data.params.get(INFERENCES_PARAM, "[{}]"))  # a sweep from before has the standard one
    inferences = tuple(Inference.model_validate(values) for values in given)
    ways = dict(zip(labels(inferences), inferences, strict=True))
    observations = [o for run in child_runs(client, sweep) for o in _observations(client, run, ways)]
    return sorted(observations, key=lambda o: (o.trial, o.steps))  # stable: the ways stay in their order


def child_runs(client: "MlflowClient", parent: "Run", confirming: bool = False) -> list["Run"]:
    """The runs of a sweep's trials, oldest first, or those of its confirmation, which have another panel's scores."""
    found = _search(client, parent.info.experiment_id, f"tags.`{PARENT_TAG}` = '{parent.info.run_id}'")
    return [run for run in found if (CONFIRMS_TAG in run.data.tags) == confirming]


def history(client: "MlflowClient", run: "Run") -> dict[int, dict[str, float]]:
    """A trial's metrics: {steps: {name: value}}, in the order of steps."""
    by_step: dict[int, dict[str, float]] = {}
    for name in sorted(run.data.metrics):
        for metric in client.get_metric_history(run.info.run_id, name):
            by_step.setdefault(metric.step, {})[name] = metric.value
    return dict(sorted(by_step.items()))


def _observations(client: "MlflowClient", run: "Run", ways: Mapping[str, Inference]) -> Iterator[Observation]:
    params = {name: _value(text) for name, text in run.data.params.items()}
    recipe = Recipe.parse(params, f"run {run.info.run_name}")
    checkpoints = history(client, run)
    devices = devices_of(run.data.tags.get(DEVICE_TAG, ""), checkpoints)
    for steps, logged in checkpoints.items():
        for label, inference in ways.items():
            values = {name: value for name, value in logged.items() if name.rpartition("/")[0] == label}
            numbers = {name.rpartition("/")[2]: value for name, value in values.items()}
            costs = {name.removeprefix(COST_PREFIX): v for name, v in numbers.items() if name.startswith(COST_PREFIX)}
            memory = {name: int(numbers.pop(name)) for name in MEMORY if name in numbers}
            yield Observation(
                trial=run.data.tags[TRIAL_TAG],
                recipe=recipe,
                seed=int(run.data.tags[SEED_TAG]),
                steps=steps,
                scores={name: value for name, value in numbers.items() if not name.startswith(COST_PREFIX)},
                cost=Cost(**costs, **memory, device=devices.get(steps, "")),
                inference=inference,
                label=label,
            )


def _sweep_run(client: "MlflowClient", uri: str, sweep_name: str) -> "Run":
    experiment = client.get_experiment_by_name(EXPERIMENT)
    runs = [] if experiment is None else list(_search(client, experiment.experiment_id, ""))
    sweeps = [run for run in runs if PARENT_TAG not in run.data.tags]
    named = [run for run in sweeps if sweep_name in (run.info.run_name, run.info.run_id)]
    if not named:
        names = ", ".join(sorted({run.info.run_name for run in sweeps})) or "none"
        raise InputError(uri, f"there is no sweep {sweep_name!r}; there are: {names}")
    if len(named) > 1:
        ids = ", ".join(run.info.run_id for run in named)
        raise InputError(uri, f"several sweeps are named {sweep_name!r}; give the id of one instead: {ids}")
    return named[0]


def _search(client: "MlflowClient", experiment_id: str, query: str) -> Iterator["Run"]:
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], query, max_results=1000, page_token=token, order_by=["attributes.start_time ASC"]
        )
        yield from page
        token = page.token
        if not token:
            return


def _value(text: str) -> Any:
    """A parameter as it was before MLflow made it text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
