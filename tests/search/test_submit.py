"""What is looked at and packed before a sweep goes to a cluster, and how a job server's refusals are told."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from search.cluster import received
from search.cluster.parcel import MOST_BYTES, SENT, Parcel
from search.submit import Cluster, SweepJob
from spaces import InputError
from tests.search.examples import TEXT
from tests.search.head import answers, free_port, wait_for
from tests.search.test_cli import call
from trainables.subject import SHIPPED

ROBOT = SHIPPED / "robot"
SERVER = """
import sys, aiohttp
from aiohttp import web
from ray._private.authentication.http_token_authentication import get_token_auth_middleware
async def version(request):
    return web.json_response({"ray_version": "2.60.0"})
async def jobs(request):
    return web.json_response([])
app = web.Application(middlewares=[get_token_auth_middleware(aiohttp)])
app.add_routes([web.get("/api/version", version), web.get("/api/jobs/", jobs)])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""
"""A server with Ray's own check of tokens, and nothing behind it."""


@pytest.fixture(scope="module")
def guarded():
    """The address of a server that wants a token."""
    port = free_port()
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 32}
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(port)], env=environment)
    wait_for(lambda: answers(port))
    yield f"http://127.0.0.1:{port}"
    server.kill()
    server.wait(20)


def posefront(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    """The command in a process of its own: Ray reads tokens once."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "POSEFRONT_"))}
    command = [sys.executable, "-m", "search", *map(str, arguments)]
    return subprocess.run(command, env=clean | environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ({}, "wants a token, and there is none here"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "b" * 32}, "refuses the token"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 32}, "does not run on"),
    ],
)
def test_a_token_that_is_missing_or_wrong_is_one_line(guarded, tmp_path, token, said):
    done = posefront("stop", "a-sweep", "--address", guarded, HOME=str(tmp_path), **token)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["submit", "nowhere", "--address", "HERE"], "nowhere: no such space"),
        (["submit", "puppets", "--address", "HERE", "--subject", "/no/such"], "/no/such: is no folder"),
        (["submit", "puppets", "--address", "HERE", "--name", "a/b"], "--name: 'a/b' should be"),
        (["submit", "puppets", "--address", "HERE", "--cpus-per-trial", "0"], "cpus_per_trial"),
        (["submit", "puppets", "--address", "HERE"], "--address: no Ray dashboard answers at http://127.0.0.1:"),
        (
            ["submit", "puppets", "--address", "HERE", "--tracking-uri", "http://me:pw@h:5000"],
            "--tracking-uri: has a user",
        ),
        (["submit", "puppets", "--address", "nonsense"], "--address: 'nonsense' should be"),
        (["status", "--address", "HERE"], "--address: no Ray dashboard answers"),
        (["stop", "small", "--address", "HERE"], "--address: no Ray dashboard answers"),
        (["resume", "small", "--address", "HERE"], "--address: no Ray dashboard answers"),
        (["stop", "other"], "other: is not a sweep under"),
        (["status", "other"], "other: is not a sweep under"),
        (["status", "--follow"], "--follow: needs the name of a sweep"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    here = f"127.0.0.1:{free_port()}"
    arguments = [here if word == "HERE" else word for word in arguments]
    assert call(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and said in error


def test_a_ray_address_in_the_environment_does_not_redirect_a_job(guarded, tmp_path):
    elsewhere = {"RAY_ADDRESS": "http://127.0.0.1:1", "RAY_API_SERVER_ADDRESS": "http://127.0.0.1:1"}
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 32}
    done = posefront("stop", "a-sweep", "--address", guarded, HOME=str(tmp_path), **elsewhere, **token)
    assert f"does not run on {guarded}; what does: nothing" in done.stderr


def test_the_cluster_gets_what_was_asked_for_and_no_more(tmp_path, monkeypatch, capsys):
    sent = []

    class Listening:
        address = "http://there:8265"

        def __init__(self, address: str) -> None:
            pass

        def send(self, parcel: Parcel, arguments: list[str], sweep: str) -> SweepJob:
            sent.append((arguments, sorted(path.name for path in (parcel.folder / SENT).glob("*/*"))))
            return SweepJob("mine.1", sweep, "pending", "", 0.0, None)

    monkeypatch.setattr("search.submit.Cluster", Listening)
    monkeypatch.setenv("POSEFRONT_HOME", str(tmp_path / "laptop"))
    monkeypatch.setenv("POSEFRONT_TRACKING_URI", "http://laptop:5000")
    subject, space = tmp_path / "my-robot", tmp_path / "mine.yaml"
    shutil.copytree(ROBOT, subject)
    space.write_text(TEXT.replace("nowhere", str(subject)))
    fixed = ("--name", "mine", "--address", "x", "--no-follow")
    bounds = ("--gpu-hours", 1.5, "--require", "drift < 0.2", "--require", "pose > 0.1", "--from", "red,blue")
    for given in (
        ["puppets"],
        [space, "--trials", 9, "--tf32", "--gpus-per-trial", 0.5, *bounds],
        ["puppets", "--subject", "cluster:/srv/robot", "--home", "/srv/runs", "--tracking-uri", "http://there:5000"],
    ):
        assert call(monkeypatch, "submit", *given, *fixed) == 0
    monkeypatch.setattr("search.commands.submit.watch", lambda *_, **__: None)
    assert call(monkeypatch, "resume", "mine", "--trials", "+20", "--hours", "3", "--address", "x") == 0
    assert sent.pop() == (["resume", "mine", "--trials", "+20", "--hours", "3"], [])
    end = ["--name", "mine", "--address", "auto"]
    assert sent[0] == (["sweep", "puppets", *end], [])
    arguments, files = sent[1]
    assert arguments[:2] == ["sweep", "sent:1/mine.yaml"] and files == ["mine.yaml", "my-robot"]
    for pair in (["--trials", "9"], ["--gpus-per-trial", "0.5"], ["--subject", "sent:0/my-robot"]):
        assert arguments[arguments.index(pair[0]) + 1] == pair[1]
    for pair in (
        ["--gpu-hours", "1.5"],
        ["--require", "drift < 0.2", "--require", "pose > 0.1"],
        ["--from", "red,blue"],
    ):
        assert " ".join(pair) in " ".join(arguments)
    assert "--tf32" in arguments and "--compile" not in arguments and "--tracking-uri" not in arguments
    arguments, files = sent[2]
    assert arguments[-2:] == ["--home", "/srv/runs"] and files == []
    for pair in (["--subject", "/srv/robot"], ["--tracking-uri", "http://there:5000"]):
        assert arguments[arguments.index(pair[0]) + 1] == pair[1]
    text = capsys.readouterr().out
    assert "sweep mine is job mine.1 on http://there:8265, with" in text
    assert "What is on the cluster (cluster:) is looked at there." in text


def test_a_parcel_has_the_code_and_no_caches(tmp_path):
    Parcel(tmp_path)
    assert (tmp_path / "search" / "cluster" / "received.py").is_file()
    assert (tmp_path / "trainables" / "puppets" / "base").is_dir()
    assert not list(tmp_path.rglob("__pycache__"))


def test_a_parcel_takes_folders_and_files_and_knows_their_contents(tmp_path):
    subject, space = tmp_path / "my-robot", tmp_path / "mine.yaml"
    shutil.copytree(ROBOT, subject)
    (subject / ".hidden").write_text("x")
    space.write_text("rungs: [1]")
    one, two = Parcel(tmp_path / "one"), Parcel(tmp_path / "two")
    for parcel in (one, two):
        assert parcel.add(subject, "--subject") == "sent:0/my-robot"
        assert parcel.add(space, "space") == "sent:1/mine.yaml"
    sent = tmp_path / "one" / SENT
    assert {p.name for p in (sent / "0" / "my-robot").iterdir()} == {p.name for p in ROBOT.iterdir()}
    assert (sent / "1" / "mine.yaml").read_text() == "rungs: [1]"
    assert one.digest == two.digest and one.bytes > 1000
    space.write_text("rungs: [2]")
    two.add(space, "space")
    assert one.digest != two.digest


def test_what_is_too_large_or_leads_out_is_refused(tmp_path):
    large, linked = tmp_path / "large", tmp_path / "linked"
    large.mkdir()
    with (large / "weights.safetensors").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(InputError, match=f"--base {large}: is too much to send, more than 80 MB.*cluster:/its/path"):
        Parcel(tmp_path / "one").add(large, "--base")
    linked.mkdir()
    (linked / "00.png").symlink_to(large / "weights.safetensors")
    with pytest.raises(InputError, match=r"00\.png is a link that leads out"):
        Parcel(tmp_path / "two").add(linked, "--subject")


def test_what_was_sent_stays_in_the_home(tmp_path, monkeypatch):
    sent = tmp_path / "sent"
    (sent / "0" / "my-robot").mkdir(parents=True)
    (sent / "0" / "my-robot" / "subject.yaml").write_text("class: robot")
    kept = received.keep(sent, tmp_path / "home", "abc")
    assert received.keep(sent, tmp_path / "home", "abc") == kept
    assert (kept / "0" / "my-robot" / "subject.yaml").read_text() == "class: robot"
    assert [path.name for path in (tmp_path / "home" / "sent").iterdir()] == ["abc"]


def test_a_cluster_without_a_home_is_one_line(monkeypatch):
    monkeypatch.delenv("POSEFRONT_HOME", raising=False)
    with pytest.raises(InputError, match="--home: is needed here"):
        received.home_of(["sweep", "puppets"])
    assert received.home_of(["sweep", "--home", "/there"]) == Path("/there")
    monkeypatch.setenv("POSEFRONT_HOME", "/srv/runs")
    assert received.home_of(["sweep", "puppets"]) == Path("/srv/runs")


def test_a_log_that_breaks_off_is_shown_once(monkeypatch):
    job = SweepJob("one.1", "one", "running", "", 0.0, None)
    over = SweepJob("one.1", "one", "succeeded", "", 0.0, 0)
    log = "2026-11-22 10:00:00,1\tINFO job_manager.py:568 -- Runtime env is setting up.\nfirst\nsecond\nthird\nlast"
    tails = iter([(80, False), (85, True), (len(log), False)])
    jobs = iter([job, over])

    def tail(self: Cluster, name: str) -> Iterator[str]:
        end, breaks = next(tails)
        yield from (log[at : min(at + 7, end)] for at in range(0, end, 7))
        if breaks:
            raise OSError("gone")

    monkeypatch.setattr(Cluster, "_tail", tail)
    monkeypatch.setattr(Cluster, "_job", lambda self, name: next(jobs))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    cluster, lines = object.__new__(Cluster), []
    assert cluster.follow(job, lines.append) == over
    assert lines == ["first", "second", "third", "last"]


def test_a_cluster_that_stays_away_is_one_line(monkeypatch):
    def tail(self: Cluster, name: str) -> Iterator[str]:
        raise OSError("gone")
        yield ""

    monkeypatch.setattr(Cluster, "_tail", tail)
    monkeypatch.setattr("search.submit.PATIENCE", 0.0)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    cluster = object.__new__(Cluster)
    cluster.address = "http://there:8265"
    with pytest.raises(InputError, match="http://there:8265 does not answer any more"):
        cluster.follow(SweepJob("one.1", "one", "running", "", 0.0, None), print)


@pytest.mark.parametrize("was_taken", [False, True])
def test_a_head_that_cannot_start_jobs_yet_is_asked_again_and_gets_the_job_once(monkeypatch, tmp_path, was_taken):
    class Head:
        """Slow to come up; where `was_taken`, it had the first job and did not say so in time."""

        def __init__(self) -> None:
            self.asked, self.jobs = 0, []

        def submit_job(self, submission_id: str, **about: object) -> str:
            self.asked += 1
            if self.asked == 1 and was_taken:
                self.jobs.append(SimpleNamespace(submission_id=submission_id))
            if self.asked < 3:
                text = "No available agent to submit job, please try again later."
                raise RuntimeError(f"Request failed with status code 500: {text}")
            self.jobs.append(SimpleNamespace(submission_id=submission_id))
            return submission_id

        def list_jobs(self) -> list[SimpleNamespace]:
            return self.jobs

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    cluster = object.__new__(Cluster)
    cluster.address, cluster._client = "http://there:8265", Head()
    parcel = Parcel(tmp_path / "parcel")
    assert cluster._submit(parcel, ["status"], "one.1", {}) == "one.1"
    assert [job.submission_id for job in cluster._client.jobs] == ["one.1"]
    monkeypatch.setattr("search.submit.PATIENCE", -1.0)
    cluster._client = Head()
    with pytest.raises(InputError, match="No available agent"):
        cluster._submit(parcel, ["status"], "one.1", {})
