"""Folders that many tests read; none may write to them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from tests.tiny import make_tiny_base, make_tiny_subject

if TYPE_CHECKING:
    from tests.s3 import Server

# Models this small only lose by threads, a hundredfold where the cores are busy.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


_ROOT = Path(__file__).parent
_SWEEPS = ("search", "benchmarks", "security/test_a_running_sweep.py")
"""Below `tests`: what starts clusters, servers and drivers, and waits for them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For `-n 2 --dist loadgroup`: of the tests that start processes one at a time, beside those that compute."""
    for item in items:
        name = item.path.relative_to(_ROOT).as_posix()
        item.add_marker(pytest.mark.xdist_group("sweeps" if name.startswith(_SWEEPS) else name))


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a base with random weights."""
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def tiny_subject(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a subject with three pictures and four poses."""
    return make_tiny_subject(tmp_path_factory.mktemp("subject"))


@pytest.fixture(scope="session")
def s3() -> "Iterator[Server]":
    """A local S3 server, which boto3 and pyarrow find by the environment."""
    from tests.s3 import served

    with served() as server:
        yield server
