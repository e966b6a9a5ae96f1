"""MLflow's database kept on S3, against a local S3 server; and the server itself."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from search.cluster.record import DATABASE, Copy, command
from spaces import InputError

BUCKET = "record"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def store(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    return f"s3://{BUCKET}/{tmp_path.name}"


def write(database: Path, *names: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS runs (name TEXT)")
        connection.executemany("INSERT INTO runs VALUES (?)", [(name,) for name in names])
        connection.commit()


def names(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM runs ORDER BY rowid")]


def test_a_new_head_has_the_old_ones_record(store: str, tmp_path: Path):
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    old, new = tmp_path / "old" / DATABASE, tmp_path / "new" / DATABASE
    write(old, "t0001")
    assert Copy(old, store).keep()
    assert Copy(new, store).restore() and names(new) == ["t0001"]


def test_a_copy_is_made_only_of_what_is_new(store: str, tmp_path: Path):
    database = tmp_path / DATABASE
    kept = Copy(database, store)
    assert not kept.keep(), "there is nothing yet"
    write(database, "t0001")
    assert kept.keep() and not kept.keep()
    write(database, "t0002")
    assert kept.keep()


def test_a_copy_is_whole_while_the_database_is_written(store: str, tmp_path: Path):
    """What is committed is in it, also where it is still in the log of writes; what is not is not."""
    database, other = tmp_path / DATABASE, tmp_path / "other.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE runs (name TEXT)")
        connection.execute("INSERT INTO runs VALUES ('done')")
        connection.commit()
        connection.execute("INSERT INTO runs VALUES ('open')")
        Copy(database, store).keep()
    Copy(other, store)
    kept = Copy(other, store)
    kept.restore()
    assert names(other) == ["done"]


def test_a_database_that_is_there_is_not_replaced(store: str, tmp_path: Path):
    database = tmp_path / DATABASE
    write(database, "old")
    Copy(database, store).keep()
    write(database, "new")
    assert not Copy(database, store).restore() and names(database) == ["old", "new"]


def test_a_damaged_copy_is_refused_and_not_used(store: str, tmp_path: Path):
    database, other = tmp_path / DATABASE, tmp_path / "other" / DATABASE
    other.parent.mkdir()
    write(database, *map(str, range(5000)))
    Copy(database, store).keep()
    bucket = boto3.client("s3")
    key = f"{store.removeprefix(f's3://{BUCKET}/')}/{DATABASE}"
    whole = bucket.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    bucket.put_object(Bucket=BUCKET, Key=key, Body=whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"is no whole database .*; move it away"):
        Copy(other, store).restore()
    assert not other.exists()


def test_a_store_that_is_not_there_is_one_line(store: str, tmp_path: Path):
    with pytest.raises(InputError, match=r"should be such as s3://"):
        Copy(tmp_path / DATABASE, "my-bucket/path")
    write(tmp_path / DATABASE, "t0001")
    with pytest.raises(OSError, match=r"(?i)no.*such.*bucket|not exist|404"):
        Copy(tmp_path / DATABASE, "s3://no-such-bucket-of-mine/x").keep()


def test_the_server_listens_to_this_machine_and_serves_its_artifacts(tmp_path: Path):
    words = command(tmp_path, "s3://bucket/record/", "127.0.0.1", 5000)
    said = dict(zip(words[4::2], words[5::2], strict=False))
    assert said["--host"] == "127.0.0.1" and said["--artifacts-destination"] == "s3://bucket/record/artifacts"
    assert said["--backend-store-uri"] == f"sqlite:///{tmp_path}/{DATABASE}" and words[-1] == "--serve-artifacts"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_the_command_serves_and_leaves_a_copy_when_it_is_told_to_end(store: str, tmp_path: Path):
    """A head that is stopped: its last minute is on S3 too."""
    port = free_port()
    words = ["cluster", "mlflow", str(tmp_path / "mlflow"), "--s3", store, "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([sys.executable, "-m", "search", *words], stdout=log, stderr=log, env=os.environ)
    try:
        end = time.monotonic() + 180
        while not answers(port):
            assert server.poll() is None and time.monotonic() < end, (tmp_path / "log").read_text()
            time.sleep(0.5)
        from mlflow import MlflowClient

        client = MlflowClient(f"http://127.0.0.1:{port}")
        run = client.create_run(client.create_experiment("posefront"))
        client.log_text(run.info.run_id, "a front", "front.txt")
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    finally:
        server.kill()
    kept = {entry["Key"] for entry in boto3.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]}
    prefix = store.removeprefix(f"s3://{BUCKET}/")
    assert f"{prefix}/{DATABASE}" in kept
    assert any(key.startswith(f"{prefix}/artifacts/") and key.endswith("/front.txt") for key in kept)
    other = tmp_path / "other.db"
    Copy(other, store).restore()
    with closing(sqlite3.connect(other)) as connection:
        assert connection.execute("SELECT run_uuid FROM runs").fetchall() == [(run.info.run_id,)]


def answers(port: int) -> bool:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).status == 200
    except OSError:
        return False
