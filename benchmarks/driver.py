"""The driver's share of a processor core at so many results a second: `python -m benchmarks.driver`.

Results of simulated trials come in real time to a sweep as `search.sweep` wires it up: state, journal on the disk,
plain report, recorder, MLflow on SQLite, plots; only Ray is left out. Processor seconds for each second of the clock:
of the driver's thread by what it does, and of the threads beside it.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.growth import task
from search import sweep
from search.config import SweepConfig
from search.decisions.standings import Standings
from search.journal import Journal
from search.recording.recorder import Recorder
from search.rungs import Stop
from search.sampler import Sampler
from search.simulate import reported
from search.state import SweepState
from search.views.live import PlainLines
from spaces import load_space, space_file
from trainables.job import Job

PARTS: dict[str, tuple[type, str]] = {
    "journal": (Journal, "append"),
    "report": (PlainLines, "event"),
    "recorder's queue": (Recorder, "put"),
    "decisions": (Standings, "decide"),
    "telling the sampler": (Sampler, "observe"),
    "next trial": (SweepState, "next_trial"),
    "record, the rest": (SweepState, "record"),
}


PAGE = {"drawing it": "_draw", "telling MLflow": "_upload"}
"""What the recorder does for the sweep's page as it goes on."""


class Meter:
    """The processor's seconds of one thread, each by the innermost part that spent them."""

    def __init__(self) -> None:
        self.seconds = Counter[str]()
        self._inner = [0.0]

    def wrap(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def metered(*arguments: Any) -> Any:
            began = time.thread_time()
            self._inner.append(0.0)
            try:
                return call(*arguments)
            finally:
                took = time.thread_time() - began
                self.seconds[part] += took - self._inner.pop()
                self._inner[-1] += took

        return metered


class Feed:
    """In the place of Ray: results at a rate."""

    def __init__(self, rate: float, seconds: float, workers: int) -> None:
        self.rate, self.seconds, self.workers = rate, seconds, workers
        self.results = 0
        self.page = Counter[str]()
        self.wall = self.driver = self.recorder = self.process = 0.0

    @contextmanager
    def ray(self, config: SweepConfig) -> Iterator[int]:
        yield self.workers

    def fit(self, config: SweepConfig, state: SweepState, *_: object) -> sweep.Fit:
        state.look_ahead()
        space = config.space
        live = deque((state.next_trial(), 0) for _ in range(self.workers))
        meter.seconds.clear()
        page.seconds.clear()
        recorder = next(thread for thread in threading.enumerate() if thread.name == "recorder")
        clocks = time.CLOCK_THREAD_CPUTIME_ID, time.pthread_getcpuclockid(recorder.ident), time.CLOCK_PROCESS_CPUTIME_ID
        before, began = [time.clock_gettime(clock) for clock in clocks], time.monotonic()
        while time.monotonic() - began < self.seconds:
            time.sleep(max(0.0, began + self.results / self.rate - time.monotonic()))
            assignment, rung = live.popleft()
            seen = task(assignment.recipe, space.rungs[rung], assignment.seed)
            stopped = isinstance(state.record(reported(assignment, rung, seen, space)), Stop)
            live.append((state.next_trial(), 0) if stopped else (assignment, rung + 1))
            self.results += 1
        self.wall = time.monotonic() - began
        after = [time.clock_gettime(clock) for clock in clocks]
        self.driver, self.recorder, self.process = (b - a for a, b in zip(before, after, strict=True))
        self.page = page.seconds.copy()
        return sweep.Fit(gave_up=False, most=None)


meter, page = Meter(), Meter()
"""Of the driver's thread, and of the recorder's, for what the sweep's page shows."""


def main(
    rate: Annotated[float, typer.Option(min=0.1, help="results a second")] = 50,
    seconds: Annotated[float, typer.Option(min=1)] = 60,
    workers: Annotated[int, typer.Option(min=1, help="trials at a time")] = 100,
    sampler: Annotated[str, typer.Option(help="tpe, nsga2 or random")] = "tpe",
) -> None:
    feed, space = Feed(rate, seconds, workers), load_space("puppets")
    for part, (owner, name) in PARTS.items():
        setattr(owner, name, meter.wrap(part, getattr(owner, name)))
    for part, name in PAGE.items():
        setattr(Recorder, name, page.wrap(part, getattr(Recorder, name)))
    sweep._ray, sweep._fit = feed.ray, feed.fit
    with TemporaryDirectory() as name:
        home = Path(name)
        job = Job(folder=str(home / "sweep"), cache=str(home / "cache"), subject="nowhere", rungs=space.rungs)
        config = SweepConfig.make(
            name="sweep", space_name="puppets", space_text=space_file("puppets").read_text(encoding="utf-8"), job=job,
            trials=1_000_000, sampler=sampler, tracking_uri=f"sqlite:///{home}/mlflow.db",
            artifacts=str(home / "mlartifacts"),
        )  # fmt: skip
        with (home / "lines.txt").open("w") as lines:
            began = time.monotonic()
            sweep.run(config, PlainLines(Console(file=lines, width=200), space, config.trials), Feed)
            drain = time.monotonic() - began - feed.wall
    print(f"{feed.results} results in {feed.wall:.1f} s, {feed.results / feed.wall:.1f} a second")
    print("processor seconds in a second")
    for part, spent in meter.seconds.most_common():
        print(f"  {part:28s} {spent / feed.wall:7.1%}")
    print(f"driver's thread                {feed.driver / feed.wall:7.1%}")
    print(f"recorder's thread (MLflow)     {feed.recorder / feed.wall:7.1%}")
    print(f"  of it the sweep's page       {feed.page.total() / feed.wall:7.2%}")
    for part, spent in feed.page.most_common():
        print(f"    {part:26s} {spent / feed.wall:7.2%}")
    print(f"proposals and all else beside  {(feed.process - feed.driver - feed.recorder) / feed.wall:7.1%}")
    print(f"start, and what the recorder had yet to do at the end: {drain:.1f} s")


if __name__ == "__main__":
    typer.run(main)
