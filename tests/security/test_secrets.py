"""Passwords and keys stay out of files, messages and lists of processes."""

import sys
from pathlib import Path

import pytest

from search import cli, config
from search.journal import Journal, Proposed
from search.rungs import rule_for
from search.state import SweepState
from spaces import InputError, Recipe
from spaces.wording import has_secret, one_line, redacted
from tests.search.examples import small_space, small_sweep

SECRET = "hunter2-4711-abcdefgh"
WITH_SECRET = (
    f"http://me:{SECRET}@mlflow.example:5000",
    f"https://{SECRET}@mlflow.example",
    f"postgresql://me:{SECRET}@db.example/mlflow",
    f"mysql+pymysql://me:{SECRET}@db.example/mlflow",
    f"postgresql://db.example/mlflow?user=me&password={SECRET}",
    f"https://mlflow.example/?api_key={SECRET}",
)
WITHOUT = (
    "sqlite:////home/me/runs/mlflow.db",
    "http://127.0.0.1:5000",
    "postgresql://me@db.example/mlflow",
    "https://mlflow.example/a?keyboard=x",
)


@pytest.mark.parametrize("uri", WITH_SECRET)
def test_a_secret_in_the_tracking_uri_is_refused_and_not_repeated(tmp_path, monkeypatch, capsys, uri: str) -> None:
    command = ["posefront", "sweep", "puppets", "--tracking-uri", uri, "--home", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert ended.value.code == 2 and SECRET not in said.err + said.out
    assert "--tracking-uri: " in said.err and "MLFLOW_TRACKING_PASSWORD" in said.err and said.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_secret_never_becomes_a_part_of_a_job(monkeypatch, capsys) -> None:
    command = ["posefront", "submit", "puppets", "--address", "http://127.0.0.1:9"]
    monkeypatch.setattr(sys, "argv", [*command, "--tracking-uri", WITH_SECRET[0]])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert ended.value.code == 2 and SECRET not in said.err + said.out
    assert said.err.startswith("--tracking-uri: has a user")


def test_a_secret_that_is_in_a_sweeps_config_already_is_refused(tmp_path: Path) -> None:
    small_sweep(tmp_path, tracking_uri=WITH_SECRET[0]).save()
    with pytest.raises(InputError, match="has a user or password in it") as refused:
        config.load(tmp_path, "small")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("uri", WITH_SECRET)
def test_secrets_in_addresses_are_left_out_of_messages(uri: str) -> None:
    assert has_secret(uri)
    for text in (uri, f"ConnectionError: HTTPConnectionPool(url='{uri}'): refused", f"{uri} does not answer"):
        assert SECRET not in redacted(text) and SECRET not in str(InputError("--x", text))


@pytest.mark.parametrize("uri", WITHOUT)
def test_addresses_without_secrets_are_said_as_they_are(uri: str) -> None:
    assert not has_secret(uri) and redacted(uri).replace("***@", "me@") == uri


def test_secrets_of_the_environment_are_left_out(monkeypatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("HF_TOKEN", "short")
    assert redacted(f"SignatureDoesNotMatch: {SECRET}; short") == "SignatureDoesNotMatch: ***; short"


def test_where_a_secret_is_kept_is_none(monkeypatch) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/home/me/credentials")
    assert redacted("/home/me/credentials") == "/home/me/credentials"


def test_a_trials_failure_is_kept_without_secrets(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    journal = Journal(tmp_path)
    journal.append(Proposed(1.0, "t0001", Recipe(), {"rank": 4}, 1))
    space = small_space()
    state = SweepState(space, rule_for("asha-pareto", space), "random", 0, 1, journal, lambda event: None)
    state.failed("t0001", f"OSError: s3 said\n {SECRET} and {WITH_SECRET[0]} \x1b[2J are wrong")
    journal.close()
    written = (tmp_path / "journal.jsonl").read_text()
    assert SECRET not in written and "\\u001b" not in written and "***" in written


def test_a_message_is_one_line_that_can_be_printed() -> None:
    said = one_line("a\nb\x1b[31mc\u202e " + "x" * 10_000 + " should be y")
    assert said.isprintable() and len(said) < 1700 and said.endswith("should be y")
    assert one_line("\udc80ü").encode() == b"\\udc80\xc3\xbc"
