"""Creating MLflow's database takes seconds: one is made for all tests, and each test gets a copy."""

import shutil
from pathlib import Path

import pytest

from search.tracking import Tracking


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with the experiment and nothing in it but one sweep named `another`."""
    folder = tmp_path_factory.mktemp("mlflow")
    Tracking(f"sqlite:///{folder}/mlflow.db", str(folder / "mlartifacts"), "another").finish("finished", 0.0)
    return folder / "mlflow.db"


@pytest.fixture
def tracking_uri(fresh_database: Path, tmp_path: Path) -> str:
    """A database of the test's own."""
    shutil.copyfile(fresh_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"
