"""MLflow's server as a process of ours."""

import os
import sys
from pathlib import Path

LOCALHOST = "127.0.0.1"


def command(database: Path, artifacts: str, host: str = LOCALHOST, port: int = 5000, workers: int = 1) -> list[str]:
    """The server's, with artifacts served through it: whoever logs or looks needs no access to where they are."""
    return [
        sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", str(workers),
        "--backend-store-uri", f"sqlite:///{database}",
        "--artifacts-destination", artifacts, "--serve-artifacts",
    ]  # fmt: skip


def environment() -> dict[str, str]:
    """Ours, and that MLflow tells nobody of it, nor starts the seven processes for jobs that we have none of."""
    return os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
