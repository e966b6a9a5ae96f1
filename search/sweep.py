"""A sweep from its start to its end, on Ray."""

import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from analysis.observations import INFERENCES_PARAM
from search.budget import More
from search.checks import check_address, check_job
from search.clock import SteadyClock
from search.config import SweepConfig, check_new
from search.driver import Driver, take_sigterm, terminable
from search.front import check_scores
from search.journal import (
    FILE,
    Closed,
    Event,
    Journal,
    Learned,
    Ledger,
    Observed,
    Opened,
    Timing,
    Tracked,
    events,
    read,
)
from search.proposals.earlier import Taken, take
from search.recording.about import about, fingerprint_of
from search.recording.provenance import CHANGED, GIT, provenance
from search.rungs import rule_for
from search.storage.depot import AtHome, Depot, opened
from search.views.live import Reporter
from spaces import InputError
from trainables.machine.disk import disk_trouble

if TYPE_CHECKING:
    from search.recording.recorder import Missing, Recorder
    from search.tracking import Tracking
    from search.trials.attempts import Attempts

RAY_FOLDER = "ray"
RAY_SETTINGS = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_RESULT_BUFFER_LENGTH": "1",
}
"""Ray reads these when it is imported: no banners, no reports, no result files or snapshots beside our journal."""
LOCAL_SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # despite its name: with no other nodes it listens on 127.0.0.1 alone
    "RAY_worker_niceness": "0",  # at Ray's 15 any busy process starves the trials: their imports took 266 s
}
"""The same for a Ray that is started here."""
WAITING = 8
"""So many trials at most wait for nodes of a cluster that are yet to start, where nothing else bounds them. Tune would
let one wait, and nodes came one after the other; but each has its recipe, and learns nothing from those before it."""
KEPT_FROM_RAY = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
"""Tune would hand these to the trials' processes by a way that Ray's agents write into their logs. On this machine the
trials inherit the environment anyway; the nodes of a cluster have a role, or an environment of their own."""
HALTED_PATIENCE = 10.0
"""Seconds that the end of a sweep waits for MLflow when it had to stop: its disk is probably as full."""
OBJECT_STORE_BYTES = 150_000_000
"""Enough for results; Ray would take a third of the memory."""


@dataclass(frozen=True)
class Outcome:
    """How a run of the driver ended."""

    status: Literal["finished", "interrupted"]
    timing: Timing
    missing: "Missing | None" = None
    """What MLflow lacks."""
    halted: str | None = None
    """Why it was interrupted, if nobody asked for it."""
    over: str | None = None
    """How it is over, in words."""


def run(config: SweepConfig, reporter: Reporter, trainable: type | None = None) -> Outcome:
    """Runs a new sweep to its end, or to an interruption. InputError, with nothing left behind, for what is wrong."""
    began = time.monotonic()
    check_new(config.folder.parent, config.name)
    check(config, trainable)
    if not config.tracking_uri.startswith("sqlite:"):
        from search.tracking import check_server

        check_server(config.tracking_uri)
    taken = take(config, time.time)
    with opened(config, reporter.note, new=True) as depot:
        return drive(Searching(depot, reporter, taken=taken), depot, reporter, trainable, began)


def resume(
    config: SweepConfig,
    reporter: Reporter,
    trainable: type | None = None,
    take_over: bool = False,
    more: More | None = None,
) -> Outcome:
    """Goes on with a sweep: the trials that had not ended first, then new ones.

    What is missing in MLflow is made up for, even when all trials have ended. `take_over` ends another driver's hold
    of a sweep that is on a storage. `more` are new bounds; InputError, with nothing changed, where they are none.
    """
    began = time.monotonic()
    with opened(config, reporter.note, take_over=take_over) as depot:
        check(config, trainable)
        check_scores(read(config.folder).table, config.space, config.folder / FILE)
        return drive(Searching(depot, reporter, more), depot, reporter, trainable, began)


def check(config: SweepConfig, trainable: type | None) -> None:
    """InputError for what is wrong with a sweep and shows before Ray starts."""
    _ = config.space
    if config.address is not None:
        check_address(config.address)
    if trainable is None:  # another one has its own idea of subject and base
        check_job(config.job, config.space)


class Course(Protocol):
    """What a driver runs trials for."""

    @property
    def config(self) -> SweepConfig:
        """The sweep, with the job that its trials do."""

    @property
    def title(self) -> str:
        """In one line."""

    def open(self, now: float) -> Journal:
        """The journal, with this driver in it."""

    def recorder(self, journal: Journal, tracked: Callable[[str], None]) -> "Recorder":
        """Works off the journal's events; `tracked` hears which run MLflow has for it."""

    def state(self, journal: Journal, notify: Callable[[Event], None], clock: Callable[[], float]) -> "Attempts":
        """What to run next, and what a result means."""


@dataclass(frozen=True)
class Searching:
    """A sweep's search."""

    depot: AtHome | Depot
    reporter: Reporter
    more: More | None = None
    """New bounds."""
    taken: Sequence[Taken] = ()
    """What it begins with, of earlier sweeps."""

    @property
    def config(self) -> SweepConfig:
        return self.depot.config

    @property
    def title(self) -> str:
        return f"sweep {self.config.name} in {self.config.folder}"

    def open(self, now: float) -> Journal:
        learned = [event for each in self.taken for event in each.learned]
        first = Opened(now, provenance(), fingerprint_of(self.config.job.subject) or "")
        return _open_journal(self.config, first, self.more, learned)

    def recorder(self, journal: Journal, tracked: Callable[[str], None]) -> "Recorder":
        from search.recording.recorder import Recorder

        return Recorder(
            lambda: open_tracking(self.config, journal.ledger, self.depot.fetch),
            tracked,
            events(self.config.folder),
            self.config.space,
            self.depot,
            self.reporter.note,
        )

    def state(self, journal: Journal, notify: Callable[[Event], None], clock: Callable[[], float]) -> "Attempts":
        from search.state import SweepState

        config, space = self.config, self.config.space
        for each in self.taken:
            self.reporter.note(each.in_words)
        if self.more:
            self.reporter.note(f"from here on: {config.meter.plan(journal.ledger).in_words}")
        return SweepState(
            space,
            rule_for(config.scheduler, space, config.promote),
            config.sampler,
            config.seed,
            config.plan,
            journal,
            notify,
            clock,
            config.max_failures,
            self.reporter.note,
            config.gpus_per_trial,
        )


@terminable()
def drive(course: Course, depot: AtHome | Depot, reporter: Reporter, trainable: type | None, began: float) -> Outcome:
    """Runs all trials of a course, to its end or an interruption, and brings its record up to date."""
    config = course.config
    clock, busy = SteadyClock(), 0.0
    journal = course.open(clock())

    def tracked(run: str) -> None:
        known = journal.ledger.parent_run_id
        if run != known:
            journal.append(Tracked(clock(), run))
        if run != known is not None:
            reporter.note("record: MLflow does not have this sweep's run any more, all is written anew")

    recorder = course.recorder(journal, tracked)
    depot.start(recorder.put)

    def notify(event: Event) -> None:
        nonlocal busy
        busy += sum(o.cost.total for o in event.observations) if isinstance(event, Observed) else 0.0
        depot.put(event)
        reporter.event(event, journal.ledger)

    status: Literal["finished", "interrupted", "failed"] = "failed"
    workers, start, state, halted = 0, 0.0, None, None
    reporter.opened(course.title)
    try:
        state = course.state(journal, notify, clock)
        if not state.done:
            with _ray(config) as workers:
                take_sigterm()  # from Ray
                recorder.opened()
                reporter.started(workers)
                start = time.monotonic() - began
                while (fit := _fit(config, state, trainable, workers, reporter.note)).gave_up and state.stranded:
                    reporter.note("trials that lost their machine are started again")
                if fit.most is not None:
                    workers = max(workers, fit.most)
                elif config.address and state.done:
                    workers = max(workers, _capacity(config, _resources()))  # it may have grown
        status = "finished" if state.done else "interrupted"
    except KeyboardInterrupt:
        status = "interrupted"
    except Exception as error:  # Tune's, when its own files find no place
        halted = disk_trouble(error) or (state and state.halted)
        if halted is None:
            raise
        status = "interrupted"
    finally:
        drain = time.monotonic()
        depot.drain()
        halted = (state and state.halted) or halted
        over = state.over if state and status == "finished" else None
        missing = recorder.close(over or status, HALTED_PATIENCE if halted else None)
        reporter.close()
        if status != "failed":
            now = time.monotonic()
            timing = Timing(now - began, start, now - drain, busy, max(1, workers))
            with suppress(OSError):  # a sweep without it is taken for interrupted, as it is
                journal.append(Closed(clock(), status, timing))
        journal.close()
        depot.close()
    shutil.rmtree(config.folder / RAY_FOLDER, ignore_errors=True)
    return Outcome(status, timing, missing, halted, over)


def _open_journal(
    config: SweepConfig, first: Opened, more: More | None = None, learned: Sequence[Learned] = ()
) -> Journal:
    try:
        journal = Journal(config.folder)
    except OSError as error:
        raise InputError(config.folder, f"cannot be written: {disk_trouble(error) or error}") from None
    try:
        plan = more.plan(config.meter.plan(journal.ledger), journal.ledger) if more else None
    except InputError:
        journal.close()
        raise
    try:
        Driver.me().save(config.folder)
        journal.append(first)
        for event in learned:
            journal.append(event)
        if plan is not None:
            journal.append(plan.event(first.time))
    except OSError as error:
        journal.close()
        raise InputError(config.folder, f"cannot be written: {disk_trouble(error) or error}") from None
    return journal


def open_tracking(
    config: SweepConfig,
    ledger: Ledger,
    fetch: Callable[[Path], None] = lambda path: None,
    confirming: bool = False,
) -> "Tracking":
    """The sweep's run in MLflow, found by the journal's id or the sweep's identity, or made.

    `fetch` brings a file of the sweep's folder here, if it is elsewhere.
    """
    from search.tracking import Tracking

    identity, known = f"{config.name}@{ledger.began}", ledger.parent_run_id
    where = config.tracking_uri, config.artifacts, config.name
    tracking = Tracking(*where, known, identity, fetch, confirming, ledger.began)
    tags = {"sweep": config.name, "bounds": config.meter.plan(ledger).in_words}
    tracking.describe(_described(config), tags | _ran(ledger.code), about(config, ledger))
    return tracking


def _ran(code: Mapping[str, str]) -> dict[str, str]:
    """Versions, and the revision also where MLflow's pages look for it."""
    commit = code.get(GIT, "").removesuffix(CHANGED)
    source = {"mlflow.source.name": "posefront sweep", "mlflow.source.type": "LOCAL"} if code else {}
    return {**code, **source} | ({"mlflow.source.git.commit": commit} if commit else {})


def _described(config: SweepConfig) -> dict[str, Any]:
    """What MLflow records of the sweep as parameters."""
    space, job = config.space, config.job
    subject = job.storage.subject if job.storage else job.subject
    params = {
        "space": config.space_name, "subject": subject, "base": job.base, "controlnet": job.controlnet,
        "objectives": ", ".join(o.name for o in space.objectives),
        "from": ", ".join(config.earlier), "required": ", ".join(map(str, space.requirements)),
        "rungs": ", ".join(map(str, space.rungs)),
        "eta": space.eta, "trials": config.trials or "", "sampler": config.sampler,
        "scheduler": config.scheduler + (", promoting" if config.promote else ""),
        "seed": config.seed, "precision": job.precision, "panel": job.panel.model_dump_json(exclude={"inferences"}),
        INFERENCES_PARAM: json.dumps([inference.model_dump() for inference in job.panel.inferences]),
    }  # fmt: skip
    return {name: value for name, value in params.items() if value not in (None, "")}


@contextmanager
def _ray(config: SweepConfig) -> Iterator[int]:
    """Ray, started here or found at the config's address, and how many trials it runs at a time."""
    settings = RAY_SETTINGS if config.address else RAY_SETTINGS | LOCAL_SETTINGS
    if config.address and config.workers is None:
        settings = settings | {"TUNE_MAX_PENDING_TRIALS_PG": str(WAITING)}
    with _environment(settings):
        _start(config)
        import ray

        try:
            yield _capacity(config, _resources())
        finally:
            ray.shutdown()


@contextmanager
def _alone() -> Iterator[None]:
    """Inside, a Ray that starts listens on 127.0.0.1 alone, also where something imported Ray before us."""
    from ray._private import ray_constants

    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _start(config: SweepConfig) -> None:
    import ray
    from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
    from ray._private.ray_logging import global_worker_stdstream_dispatcher

    logging.getLogger("ray").setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if config.address is not None:
        # A head turns tokens on when there is one; a driver would not, and be refused.
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
        ray.init(address=config.address, **quiet)
    else:
        cpus = None if config.workers is None else math.ceil(config.workers * config.cpus_per_trial)
        with _alone():
            ray.init(
                address="local",  # else a cluster that was started on this machine would be joined
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                **quiet,
            )
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # it reports each failed trial; so do we
    global_worker_stdstream_dispatcher.remove_handler("ray_print_logs")  # and Ray each process that died


def _resources() -> dict[str, float]:
    """What all nodes that are there have."""
    import ray

    return ray.cluster_resources()


def _capacity(config: SweepConfig, resources: dict[str, float]) -> int:
    """How many trials fit at a time. A cluster that has room for none may still grow; this machine will not."""
    fit = resources.get("CPU", 0) / config.cpus_per_trial
    gpus = _gpus_at_first(config, resources)
    if gpus > 0:
        fit = min(fit, resources.get("GPU", 0) / gpus)
    room = math.floor(fit + 1e-9)
    if room == 0 and config.address is None:
        has = f"{resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} GPUs"
        asked = f"{config.cpus_per_trial:g} CPUs and {gpus:g} GPUs"
        raise InputError("--cpus-per-trial, --gpus-per-trial", f"a trial asks for {asked}, this machine has {has}")
    return min(room, config.workers or room)


def _gpus_at_first(config: SweepConfig, resources: dict[str, float]) -> float:
    """Of a trial; where they share, one has a whole card until it was seen what it takes."""
    if config.gpus_per_trial == "auto":
        return 1.0 if resources.get("GPU", 0) or config.cards else 0.0
    return config.gpus_per_trial


class Fit(NamedTuple):
    """How Tune came back."""

    gave_up: bool
    """Whether it gave up a trial that is to go on."""
    most: int | None
    """Where trials share cards, how many ran at a time at most; else that is what `_capacity` says."""


def _fit(
    config: SweepConfig, state: "Attempts", trainable: type | None, workers: int, note: Callable[[str], None]
) -> Fit:
    """Tune runs what is left, until all trials have ended, or until Ctrl-C, which Tune catches."""
    from ray import tune
    from ray.tune.execution import class_cache

    from search.bridge import Halt, Losses, Proposals, RemoteTrial, Rungs, Watch, trial_name
    from search.state import PATIENCE
    from search.trials.deaths import ends_of_processes

    shutil.rmtree(config.folder / RAY_FOLDER, ignore_errors=True)
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(KEPT_FROM_RAY)
    if config.address is not None or workers > 1:  # one trial at a time would only wait for what it is to learn
        state.look_ahead(PATIENCE)
    resources = {"cpu": config.cpus_per_trial, "gpu": _gpus_at_first(config, _resources())}
    # Without this Tune starts one process after the other. A cluster that may grow is not held to its size.
    at_a_time = config.workers if config.address else workers
    searcher, rungs, allotment = Proposals(state, config.job), Rungs(state), None
    started: list[Any] = []
    if config.gpus_per_trial == "auto" and (config.address is not None or _resources().get("GPU", 0)):
        from search.trials.sharing import shared

        allotment, searcher, rungs, started = shared(config, state)
        note(allotment.in_words())
        at_a_time = None  # it sees to that
    watch = Watch(state, rungs, config.job, 60 * config.hang_minutes, note)
    losses = Losses(state, rungs, watch)
    tuner = tune.Tuner(
        tune.with_resources(trainable or RemoteTrial, resources),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=rungs,
            num_samples=state.left,
            max_concurrent_trials=at_a_time,
            reuse_actors=True,
            trial_name_creator=trial_name,
            trial_dirname_creator=trial_name,
        ),
        run_config=tune.RunConfig(
            name=RAY_FOLDER,
            stop=Halt(state),
            storage_path=str(config.folder),
            callbacks=[watch, losses, *started],
            failure_config=tune.FailureConfig(max_failures=-1),  # the state counts
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            verbose=0,
        ),
    )
    try:
        with _environment({"TUNE_MAX_PENDING_TRIALS_PG": "1000000"} if allotment else {}), ends_of_processes():
            tuner.fit()
    finally:
        watch.close()
    return Fit(losses.gave_up, allotment.most if allotment else None)
