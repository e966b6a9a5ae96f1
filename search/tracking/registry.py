"""A fine-tune as a model in MLflow's registry."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from analysis.observations import SEED_TAG, TRIAL_TAG, child_runs
from search.tracking.outage import in_short
from search.tracking.server import connect
from spaces import InputError, Observation

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

ALIAS, CHECKPOINT_TAG = "champion", "checkpoint"
LOADER = "trainables.pyfunc"
_NEEDS = ("torch", "torchvision", "diffusers", "transformers", "peft", "accelerate", "safetensors", "pandas", "pillow")
"""What loading takes beside posefront itself, which is in no registry of packages."""


@dataclass(frozen=True)
class Entry:
    """What is to be registered."""

    model: str
    """The registered model's name."""
    observation: Observation
    data: Path
    """The folder that `trainables.pyfunc` loads."""
    example: Mapping[str, str]
    """A prompt and a pose to try."""
    tags: Mapping[str, str]
    """Of the version: what it scored and its recipe."""
    description: str
    """In Markdown."""


def register(uri: str, parent_run_id: str, entry: Entry) -> str:
    """Registers it, or finds the version that has it, and gives that the alias `champion`; the version's number.

    InputError where MLflow has not got the trial's run, or does not answer.
    """
    try:
        return _register(connect(uri), uri, parent_run_id, entry)
    except InputError:
        raise
    except Exception as error:  # whatever a server, a database or a disk can do
        raise InputError("MLflow", f"{uri} {in_short(error)}") from None


def _register(client: "MlflowClient", uri: str, parent_run_id: str, entry: Entry) -> str:
    run = _run_of(client, uri, parent_run_id, entry.observation)
    found = _version_of(client, run, entry)
    if found is None:
        path = f"model-{entry.observation.name.partition('@')[2].replace(':', '-')}"
        with TemporaryDirectory() as folder:
            _save(Path(folder) / path, entry)
            client.log_artifacts(run.info.run_id, str(Path(folder) / path), path)
        made = client.create_model_version(
            entry.model,
            f"runs:/{run.info.run_id}/{path}",
            run_id=run.info.run_id,
            tags=dict(entry.tags),
            description=entry.description,
        )
        found = str(made.version)
    client.set_registered_model_alias(entry.model, ALIAS, found)
    client.set_tag(parent_run_id, ALIAS, f"{entry.model} version {found}: {entry.observation.name}")
    return found


def _run_of(client: "MlflowClient", uri: str, parent_run_id: str, observation: Observation) -> "Run":
    from mlflow.exceptions import MlflowException

    with suppress(MlflowException):
        parent = client.get_run(parent_run_id)
        for run in [*child_runs(client, parent), *child_runs(client, parent, confirming=True)]:
            if (run.data.tags[TRIAL_TAG], run.data.tags[SEED_TAG]) == (observation.trial, str(observation.seed)):
                return run
    raise InputError(uri, f"has no run of {observation.trial}; `posefront record` writes what MLflow lacks")


def _version_of(client: "MlflowClient", run: "Run", entry: Entry) -> str | None:
    """The version of this very checkpoint, if there is one; makes the model where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(entry.model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    for each in client.search_model_versions(f"name = '{entry.model}'"):
        if each.run_id == run.info.run_id and each.tags.get(CHECKPOINT_TAG) == entry.tags[CHECKPOINT_TAG]:
            return str(each.version)
    return None


def _save(path: Path, entry: Entry) -> None:
    """In MLflow's form: a loader's name, its data, signature and example. No code, and nothing pickled."""
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    inputs = Schema([ColSpec(DataType.string, "prompt"), ColSpec(DataType.string, "pose")])
    outputs = Schema([ColSpec(DataType.binary, "picture")])
    seed = ParamSchema([ParamSpec("seed", DataType.long, 0)])
    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)
    mlflow.pyfunc.save_model(
        path,
        loader_module=LOADER,
        data_path=str(entry.data),
        signature=ModelSignature(inputs, outputs, seed),
        input_example=(pd.DataFrame([dict(entry.example)]), {"seed": 0}),
        pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", *_NEEDS)],
    )
