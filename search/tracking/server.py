"""The MLflow that is written to: a database, or a server, with one experiment for all sweeps."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from analysis.observations import EXPERIMENT
from search.tracking.outage import Unreachable, in_short
from spaces import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

_TAGS = {
    "mlflow.note.content": "A run is a sweep, its child runs are trials. See `pareto.html` among its artifacts.",
}


def connect(uri: str) -> "MlflowClient":
    """A client that gives up soon and says little. Unreachable when a server is not there."""
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


def experiment(client: "MlflowClient", uri: str, artifacts: str) -> "Experiment":
    """The one of all sweeps, made where it is not there; `artifacts` is the folder for a new database's.

    InputError where it was deleted.
    """
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        local = uri.startswith("sqlite:")
        location = Path(artifacts).absolute().as_uri() if local else None
        return client.get_experiment(client.create_experiment(EXPERIMENT, location, _TAGS))
    if found.lifecycle_stage != "active":
        undo = f"mlflow experiments restore -x {found.experiment_id}"
        raise InputError(uri, f"the experiment {EXPERIMENT!r} is deleted; bring it back with `{undo}`")
    return found


def check_server(uri: str) -> None:
    """InputError when a server does not answer, or has no experiment to write to and cannot make one."""
    try:
        experiment(connect(uri), uri, "")
    except InputError:
        raise
    except Exception as error:  # whatever answers there
        raise InputError("--tracking-uri", f"{uri} {in_short(error)}") from None


def attach(uri: str, run_id: str, path: Path) -> None:
    """A file as an artifact of a run that is there. Whatever MLflow raises where it is not."""
    connect(uri).log_artifact(run_id, str(path))


def milliseconds(at: float) -> int:
    """As MLflow counts the seconds of the epoch."""
    return int(at * 1000)


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
