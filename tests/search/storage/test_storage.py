"""Sweeps on a storage: real MLflow, a local S3 server, trials in closed form; real Ray where it matters."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from analysis.observations import from_mlflow
from search import cli
from search.finetunes.generate import adapter_of, pick
from search.journal import Closed, Ledger, Observed, events, read
from search.storage import depot, lease
from search.storage.remote import locate
from search.sweep import resume, run
from search.views import show
from spaces import InputError, Recipe
from tests.s3 import ENVIRONMENT, Server
from tests.search.curves import Curves
from tests.search.examples import make_cache, small_sweep
from tests.search.inprocess import Lines, without_ray
from tests.search.test_sweep import wait_for
from trainables.job import Job, StorageConfig
from trainables.storage import Store, fingerprint, parse_address, subject_files
from trainables.subject.subject import SHIPPED

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This machine's copies, to be lost with it."""
    monkeypatch.setenv("POSEFRONT_SCRATCH", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


@pytest.fixture(params=["s3", "folder"])
def where(request: pytest.FixtureRequest, tmp_path: Path, s3: Server) -> str:
    return f"s3://{s3.bucket()}/sweeps" if request.param == "s3" else str(tmp_path / "server")


@pytest.fixture
def new_home(tmp_path: Path, fresh_database: Path):
    """Makes a home on a machine of that name."""

    def make(name: str) -> Path:
        home = tmp_path / name
        make_cache(home, 0.0)
        shutil.copyfile(fresh_database, home / "mlflow.db")
        return home

    return make


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials run in this process."""
    without_ray(monkeypatch)


def finished(home: Path, where: str, trials: int = 6) -> Path:
    """A home with a sweep that ran to its end, here."""
    config = small_sweep(home, trials, 0.0, where)
    lines = Lines(config)
    outcome = run(config, lines, Curves)
    assert outcome.status == "finished" and outcome.missing is None, lines.text
    return home


in_both_places = pytest.mark.parametrize("where", ["s3", pytest.param("folder", marks=pytest.mark.slow)], indirect=True)


def store_of(where: str) -> Store:
    return Store(parse_address(where) / "small", patience=20)


def observed_once(folder: Path) -> Counter:
    return Counter((e.main.trial, e.main.steps) for e in events(folder) if isinstance(e, Observed))


def recorded(home: Path) -> Counter:
    return Counter((o.trial, o.steps) for o in from_mlflow(f"sqlite:///{home}/mlflow.db", "small"))


def driver(home: Path, trials: int, seconds: float, where: str, *without: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.search.drive", str(home), str(trials), str(seconds), where, *without]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def has_scored(home: Path, count: int):
    """Whether so many checkpoints are in the home's journal."""
    folder = home / "small"
    return lambda: (folder / "journal.jsonl").exists() and len(read(folder).observed) >= count


def kill(process: subprocess.Popen) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def check_complete(home: Path, trials: int) -> Ledger:
    """All ended, each checkpoint once, and MLflow has the same."""
    ledger = read(home / "small")
    assert len(ledger.proposals) == len(ledger.endings) == trials
    assert not [event for event in ledger.endings.values() if event.status == "failed"]
    assert set(observed_once(home / "small").values()) == {1}
    assert recorded(home) == observed_once(home / "small")
    return ledger


def test_a_sweep_leaves_on_the_storage_what_a_home_would_have(here, where, new_home, tmp_path):
    home = finished(new_home("home"), where)
    ledger, files, found = check_complete(home, 6), set(store_of(where).files()), show.find(home, "small")
    checkpoints = {f"trials/{trial}/step-{steps:06d}" for trial, steps in ledger.observed}
    assert {f"{folder}/observation.json" for folder in checkpoints} <= files
    kept = {name.rpartition("/adapter/")[0] for name in files if "/adapter/" in name}
    assert kept == {f"trials/{o.trial}/step-{o.steps:06d}" for o in found.front}
    assert not any(name.endswith("state.safetensors") for name in files)
    assert found.base == {"identity": 0.0, "pose": 1.0} and found.status == "finished"
    assert store_of(where).read("journal/000001.jsonl") == (home / "small" / "journal.jsonl").read_bytes()
    secret = ENVIRONMENT["AWS_SECRET_ACCESS_KEY"].encode()
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert secret not in path.read_bytes(), path


def test_another_machine_shows_and_picks_from_the_storage(here, where, new_home, tmp_path):
    shutil.rmtree(finished(new_home("home"), where))
    away = tmp_path / "away"
    found = show.find(away, "small", where)
    assert found.status == "finished" and found.front and len(found.ledger.endings) == 6
    for observation in found.front:
        adapter = adapter_of(found, pick(found, observation.name))
        assert adapter.is_relative_to(away) and (adapter / "weights.safetensors").read_bytes() == b"adapter"
    assert show.as_json(show.find(away, "small")) == show.as_json(found), "the storage need not be named again"
    with pytest.raises(InputError, match="is kept at"):
        show.find(away, "small", str(tmp_path / "elsewhere"))


def check_head_loss(process: subprocess.Popen, home: Path, again: Path, where: str, trials: int, *without: str) -> None:
    """The driver's process, its home and every copy on its machine go; another machine goes on."""
    wait_for(has_scored(home, 5), 120)
    kill(process)
    time.sleep(2)  # for Ray, which ends with its driver
    before = read(home / "small")
    shutil.rmtree(home)
    shutil.rmtree(home.parent / "scratch")
    store = store_of(where)
    scored = {name.rpartition("/")[0] for name in store.files("trials") if name.endswith("observation.json")}

    process = driver(again, trials, 0.0, where, *without)
    output = process.communicate(timeout=200)[0].decode()
    assert process.returncode == 0 and "Traceback" not in output, output
    after = check_complete(again, trials)
    there = {key for key, event in before.observed.items() if after.observed[key].time == event.time}
    assert len(there) >= len(before.observed) - 3, "the storage lacked what happened within its last second"
    for key in there:
        assert after.observed[key].decision == before.observed[key].decision
    for (trial, steps), event in after.observed.items():
        if f"trials/{trial}/step-{steps:06d}" in scored:
            assert event.main.cost.train > 0.2, f"{trial} was scored at {steps} steps before, and is not again"
        assert Path(event.folder).is_relative_to(again)
    for trial, event in after.proposals.items():
        assert before.proposals.get(trial, event).recipe == event.recipe
    assert show.find(again, "small").front


@in_both_places
def test_the_loss_of_the_head_loses_nothing(where, new_home):
    home, again = new_home("home"), new_home("new-head")
    check_head_loss(driver(home, 6, 0.25, where, "without-ray"), home, again, where, 6, "without-ray")


@pytest.mark.slow
def test_the_loss_of_the_head_loses_nothing_with_ray(s3, new_home):
    home, again, where = new_home("home"), new_home("new-head"), f"s3://{s3.bucket()}/sweeps"
    check_head_loss(driver(home, 8, 0.5, where), home, again, where, 8)


@in_both_places
def test_a_second_driver_is_refused_and_the_first_goes_on(where, new_home, tmp_path):
    home, second = new_home("home"), new_home("second")
    process = driver(home, 6, 0.3, where, "without-ray")
    try:
        wait_for(has_scored(home, 1), 120)
        for elsewhere in (second, home):
            config = locate(elsewhere, "small", where)
            with pytest.raises(InputError, match=rf"is driven by .* \(process {process.pid}\)") as caught:
                resume(config, Lines(config), Curves)
            assert "--take-over" in str(caught.value) and "\n" not in str(caught.value)
        assert not (second / "small").exists()
        with pytest.raises(InputError, match="--name: 'small' exists in"):
            small_sweep(second, where=where)
        assert show.find(tmp_path / "third", "small", where).status == "running"
        output = process.communicate(timeout=120)[0].decode()
        assert process.returncode == 0, output
    finally:
        if process.poll() is None:
            kill(process)
    check_complete(home, 6)


@pytest.mark.slow
def test_a_sweep_waits_for_a_server_that_answers_500_and_one_that_is_down(s3, new_home):
    home, where = new_home("home"), f"s3://{s3.bucket()}/sweeps"
    process = driver(home, 6, 0.3, where, "without-ray")
    try:
        wait_for(has_scored(home, 1), 120)
        refused = s3.refused
        s3.breaks_for(8)
        time.sleep(10)
        assert s3.refused > refused
        s3.down()
        time.sleep(4)
        s3.up()
        output = process.communicate(timeout=200)[0].decode()
        assert process.returncode == 0, output
    finally:
        if process.poll() is None:
            kill(process)
    check_complete(home, 6)
    content = (home / "small" / "journal.jsonl").read_bytes()
    assert store_of(where).read("journal/000001.jsonl") == content
    assert json.loads(content.splitlines()[-1])["event"] == "closed"


def test_a_storage_that_stays_away_stops_the_sweep_which_is_resumed(here, s3, new_home, monkeypatch):
    """No trial fails for it."""
    home, where = new_home("home"), f"s3://{s3.bucket()}/sweeps"
    config = small_sweep(home, 6, 0.0, where)
    monkeypatch.setattr(Store.__init__, "__defaults__", (1.0, *Store.__init__.__defaults__[1:]))  # of trials
    monkeypatch.setattr(depot, "LAST_PATIENCE", 1.0)
    monkeypatch.setattr(lease, "BEAT", 1.0)
    without_ray(monkeypatch, lambda trial, rungs: s3.breaks_for(600) if trial == "t0002" and rungs == 1 else None)
    lines = Lines(config)
    try:
        outcome = run(config, lines, Curves)
    finally:
        s3.breaks_for(0)
    assert outcome.status == "interrupted" and "did not answer for" in outcome.halted
    assert not [e for e in read(home / "small").endings.values() if e.status == "failed"]
    assert "storage: s3://" in lines.text
    without_ray(monkeypatch)
    config = locate(home, "small", None)
    assert resume(config, Lines(config), Curves).status == "finished"
    check_complete(home, 6)


@in_both_places
def test_a_driver_that_is_taken_over_stops_and_the_other_goes_on(where, new_home, monkeypatch):
    """Without a signal, without a shared machine: by the lease alone."""
    monkeypatch.setattr(lease, "BEAT", 0.5)
    monkeypatch.setattr(lease.Holder, "is_gone", False)
    home, second = new_home("home"), new_home("second")
    begun, results = threading.Event(), {}
    stop = threading.Event()
    monkeypatch.setattr(depot._thread, "interrupt_main", lambda signum: stop.set())

    def before(trial: str, rungs: int) -> None:
        begun.set()
        if threading.current_thread().name == "first":
            time.sleep(0.3)
            if stop.is_set():
                raise KeyboardInterrupt

    without_ray(monkeypatch, before)
    first = small_sweep(home, 6, 0.0, where)
    lines = Lines(first)
    thread = threading.Thread(target=lambda: results.update(first=run(first, lines, Curves)), name="first")
    thread.start()
    begun.wait(60)
    time.sleep(1)
    config = locate(second, "small", where)
    others = Lines(config)
    assert resume(config, others, Curves, take_over=True).status == "finished"
    thread.join(60)
    assert "took the sweep over; stopping here" in lines.text and results["first"].status == "interrupted"
    assert "taking the sweep over from" in others.text
    check_complete(second, 6)
    assert isinstance(events(second / "small")[-1], Closed)
    back = locate(home, "small", None)
    assert resume(back, Lines(back), Curves).status == "finished", "the first machine takes the other's journal"
    assert read(home / "small").observed.keys() == read(second / "small").observed.keys()


def test_the_subject_is_copied_once_and_a_change_is_said(here, where, new_home, tmp_path, tiny_subject, scratch):
    source, home, away = tmp_path / "subject", new_home("home"), new_home("away")
    shutil.copytree(tiny_subject, source)
    (source / ".hidden").write_text("not the subject's")
    config = small_sweep(home, 2, 0.0, where)
    storage = config.job.storage.model_copy(update={"subject": str(source)})
    job = config.job.model_copy(update={"subject": str(source), "poses": str(source), "storage": storage})
    config = config.model_copy(update={"job": job})
    run(config, Lines(config), Curves)
    wanted = {path.name: path.read_bytes() for path in tiny_subject.iterdir()}
    (copied,) = scratch.glob("small-*")
    for folder in (home / "small" / "subject", home / "small" / "poses", copied / "subject", copied / "poses"):
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == wanted
    (source / "subject.yaml").write_text("class: cat\n")
    moved = locate(away, "small", where)
    assert moved.job.subject == str(away / "small" / "subject")
    lines = Lines(moved)
    resume(moved, lines, Curves)
    assert f"{source} has changed since the sweep began" in lines.text
    assert {path.name: path.read_bytes() for path in (away / "small" / "subject").iterdir()} == wanted


def test_a_copy_of_the_subject_that_is_not_what_it_was_is_refused(here, where, new_home, tmp_path, tiny_subject):
    config = small_sweep(new_home("home"), 2, 0.0, where)
    job = config.job.model_copy(update={"subject": str(tiny_subject)})
    config = config.model_copy(update={"job": job})
    run(config, Lines(config), Curves)
    store_of(where).write("subject/subject.yaml", b"class: cat\n")
    moved = locate(new_home("away"), "small", where)
    with pytest.raises(InputError, match="is not the copy of the subject that the sweep began with"):
        resume(moved, Lines(moved), Curves)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["sweep", "puppets", "--storage", "s3://no-such-bucket/x"], "has no bucket 'no-such-bucket'"),
        (["sweep", "puppets", "--storage", "s3:/bucket"], "--storage: 's3:/bucket' should be"),
        (["sweep", "puppets", "--storage", "s3://me:secret@bucket/x"], "--storage: should be an address alone"),
        (["sweep", "puppets", "--storage", "HOME"], "--storage: HOME is the home"),
        (["sweep", "puppets", "--storage", "/dev/null/x"], "is no folder that can be written"),
        (["resume", "other", "--storage", "BUCKET"], "other: is not a sweep at BUCKET, nor under HOME"),
        (["show", "other", "--storage", "s3://no-such-bucket/x"], "has no bucket 'no-such-bucket'"),
        (["export", "other", "-o", "x", "--storage", "BUCKET"], "other: is not a sweep at BUCKET"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(s3, tmp_path, monkeypatch, capsys, given, said):
    bucket = f"s3://{s3.bucket()}/x"

    def filled(text: str) -> str:
        return text.replace("HOME", str(tmp_path)).replace("BUCKET", bucket)

    monkeypatch.setattr(sys, "argv", ["posefront", *map(filled, given), "--home", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1 and filled(said) in error
    assert list(tmp_path.iterdir()) == [] and store_of(bucket).files() == {}


def test_no_credentials_are_one_line_and_leave_nothing(s3, tmp_path, monkeypatch, capsys):
    bucket = f"s3://{s3.bucket()}/x"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "argv", ["posefront", "sweep", "puppets", "--storage", bucket, "--home", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1 and "no AWS credentials were found" in error
    assert list(tmp_path.iterdir()) == []


def test_a_real_trial_goes_on_on_another_machine_as_if_nothing_was(s3, tmp_path, monkeypatch):
    """Its scores at the second rung are those of a trial that was never moved."""
    from tests.trainables.test_trial import PANEL, started

    storage = StorageConfig(uri=f"s3://{s3.bucket()}/small", sweep="abc", subject=str(SHIPPED / "robot"))
    store = Store(parse_address(storage.uri), patience=20)
    for path in subject_files(SHIPPED / "robot"):
        store.push(path, f"subject/{path.relative_to(SHIPPED / 'robot').as_posix()}")
    storage = storage.model_copy(update={"fingerprint": fingerprint(SHIPPED / "robot")})
    home = tmp_path / "head" / "small"
    job = Job(
        folder=str(home), cache=str(tmp_path / "cache"), subject=str(home / "subject"), rungs=(2, 4), panel=PANEL,
        storage=storage,
    )  # fmt: skip
    plain = {"folder": str(tmp_path / "plain"), "subject": "puppets/robot", "storage": None}
    values = {"trial": "t0001", "recipe": Recipe(rank=2, learning_rate=1e-3).model_dump(), "seed": 7}

    undisturbed = started(values | {"job": job.model_copy(update=plain).model_dump(mode="json")})
    expected = [undisturbed.step() for _ in range(2)]
    moved = []
    for machine in ("one", "two"):
        monkeypatch.setenv("POSEFRONT_SCRATCH", str(tmp_path / machine))
        trial = started(values | {"job": job.model_dump(mode="json")})
        moved = [trial.step() for _ in range(len(moved) + 1)]
        trial.cleanup()
        assert not list((tmp_path / machine).glob("*/trials/*"))
    assert [r["failure"] for r in expected + moved] == [None] * 4
    for one, other in zip(expected, moved, strict=True):
        assert one["observations"][0]["scores"] == other["observations"][0]["scores"]
    assert moved[1]["folder"] == str(home / "trials" / "t0001" / "step-000004")
    assert store.read("trials/t0001/step-000004/adapter/pytorch_lora_weights.safetensors")


TWO_RUNGS = """
base: puppets
rungs: [5, 10]
eta: 2
objectives: [identity, pose]
recipe: {targets: [cross-kv, attention], rank: {low: 2, high: 8, log: true}, learning_rate: 1.0e-3, batch_size: 2}
"""


@pytest.mark.slow
def test_a_puppets_sweep_on_s3_from_the_command_line(s3, tmp_path, monkeypatch, capsys, new_home):
    """Sweep, loss of the head, resume, show, export and generate: what a person types."""
    subject, home, bucket = tmp_path / "my-robot", new_home("home"), f"s3://{s3.bucket()}/sweeps"
    shutil.copytree(SHIPPED / "robot", subject)
    (tmp_path / "small.yaml").write_text(TWO_RUNGS)

    def call(*given: object) -> str:
        monkeypatch.setattr(sys, "argv", ["posefront", *map(str, given)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        assert not ended.value.code, said.out + said.err
        return said.out

    said = call(
        "sweep", tmp_path / "small.yaml", "--subject", subject, "--trials", 2, "--workers", 1, "--panel-steps", 2,
        "--home", home, "--storage", bucket,
    )  # fmt: skip
    assert "t0002 at 5 steps" in said
    before = read(home / "small-1")
    shutil.rmtree(home)
    shutil.rmtree(subject)
    shutil.rmtree(tmp_path / "scratch")
    away = new_home("away")
    assert "Finished" in call("resume", "small-1", "--home", away, "--storage", bucket)
    after = read(away / "small-1")
    assert after.observed.keys() == before.observed.keys() and after.endings.keys() == before.endings.keys()
    recorded = from_mlflow(f"sqlite:///{away}/mlflow.db", "small-1")
    assert {(o.trial, o.steps) for o in recorded} == set(after.observed)
    assert "The front" in call("show", "small-1", "--home", away)
    call("export", "small-1", "-o", tmp_path / "adapter", "--home", away)
    assert (tmp_path / "adapter" / "README.md").exists() and (tmp_path / "adapter" / "samples.png").exists()
    pose = {"skeleton": "puppet-13", "size": 64, "keypoints": [[30 + i, 10 + 4 * i, 1] for i in range(13)]}
    (tmp_path / "pose.json").write_text(json.dumps(pose))
    call("generate", "small-1", "--pose", tmp_path / "pose.json", "--prompt", "a sks robot", "-o", tmp_path / "x.png",
         "--home", away)  # fmt: skip
    assert (tmp_path / "x.png").exists()
