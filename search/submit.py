"""Sweeps as jobs of a Ray cluster, by the server that its dashboard's address names: sent, looked at, stopped."""

import asyncio
import json
import logging
import os
import re
import shlex
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from search.cluster.parcel import Parcel
from search.views import status
from search.views.status import Status
from spaces import InputError

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

SWEEP = "posefront-sweep"
"""The metadata of a job that says which sweep it drives."""
STOP_SECONDS = 300
"""So long a driver that is told to stop may take to bring the record up to date, before Ray ends it."""
PATIENCE = 120.0
"""Seconds for which a cluster that does not answer is asked again, while its log is followed."""
_OURS = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
"""Where they are set, Ray's client goes to these and not to the address that it is given."""

_NOT_YET = "No available agent to submit job"
"""What a dashboard says while the head's agent is on its way up, or is busy."""
_RAYS_OWN = re.compile(r"\S+ \S+\s+INFO job_manager\.py|Running entrypoint for job ")
"""Lines that Ray puts before those of the sweep."""

State = Literal["pending", "running", "stopped", "succeeded", "failed"]


@dataclass(frozen=True)
class SweepJob:
    """One job that drives, or drove, a sweep."""

    id: str
    sweep: str
    state: State
    message: str
    """What Ray says of its state."""
    began: float
    """Seconds since the epoch."""
    exit_code: int | None
    """The driver's own, None while it runs and where it was killed."""

    @property
    def is_over(self) -> bool:
        return self.state in ("stopped", "succeeded", "failed")


class Cluster:
    """A cluster's job server. Every method raises InputError, in one line, for what is wrong with address or token."""

    def __init__(self, address: str) -> None:
        """`address`: of the dashboard, `http://127.0.0.1:8265`, `127.0.0.1:8265`, or `auto` for that very one."""
        self.address = _url(address)
        parts = urlsplit(self.address)
        with self._told():  # Ray's client itself would try for minutes
            socket.create_connection((str(parts.hostname), parts.port or 443), timeout=10).close()
            self._client = _client(self.address)

    def jobs(self) -> list[SweepJob]:
        """All jobs that drive sweeps, oldest first; a cluster forgets them when its head goes."""
        with self._told():
            found = [_sweep_job(job) for job in self._client.list_jobs() if SWEEP in (job.metadata or {})]
        return sorted(found, key=lambda job: job.began)

    def job_of(self, sweep: str) -> SweepJob | None:
        """The sweep's last job."""
        return next((job for job in reversed(self.jobs()) if job.sweep == sweep), None)

    def send(self, parcel: Parcel, arguments: Sequence[str], sweep: str) -> SweepJob:
        """Starts `posefront ARGUMENTS` on the head as a job that drives a sweep. InputError when it has one already."""
        before = [job for job in self.jobs() if job.sweep == sweep]
        if any(not job.is_over for job in before):
            raise InputError(sweep, f"is driven by job {before[-1].id} already; `posefront status` tells of it")
        job = self._submit(parcel, arguments, f"{sweep}.{len(before) + 1}", {SWEEP: sweep})
        return self._job(job)

    def ask(self, parcel: Parcel, arguments: Sequence[str], seconds: float = 120.0) -> str:
        """What a posefront command prints that is run on the head; the job is gone afterwards.

        InputError with its last line when it fails, or is not done in time.
        """
        name = f"posefront-ask-{os.getpid()}-{time.time_ns()}"
        job, until = self._submit(parcel, arguments, name, {}), time.monotonic() + seconds
        while not (found := self._job(job)).is_over:
            if time.monotonic() > until:
                with self._told():
                    self._client.stop_job(job)
                raise InputError("--address", f"{self.address} took no job up in {seconds:.0f} s ({found.message})")
            time.sleep(0.3)
        text = self.log(job)
        with self._told():
            self._client.delete_job(job)
        if found.state != "succeeded":
            raise InputError(f"on {self.address}", _last_line(text) or found.message)
        return text

    def log(self, job: str) -> str:
        """All that the job has printed so far."""
        with self._told():
            return "\n".join(line for line in self._client.get_job_logs(job).splitlines() if not _RAYS_OWN.match(line))

    def follow(self, job: SweepJob, show: Callable[[str], None]) -> SweepJob:
        """Hands on each line that the job prints, from its first, until it is over; the job as it is then.

        A connection that breaks is made again, without a line lost or told twice; InputError when the cluster was
        gone for PATIENCE seconds.
        """
        from aiohttp import ClientError

        shown, begun, until = 0, "", None
        while True:
            passed = 0
            try:
                for text in self._tail(job.id):
                    fresh = text[max(0, shown - passed) :]
                    passed += len(text)
                    shown, until = max(shown, passed), None
                    *lines, begun = (begun + fresh).split("\n")
                    for line in lines:
                        if not _RAYS_OWN.match(line):
                            show(line)
                found, until = self._job(job.id), None
                if found.is_over:
                    if begun:
                        show(begun)
                    return found
            except (OSError, RuntimeError, ClientError, InputError) as error:
                until = until or time.monotonic() + PATIENCE
                if time.monotonic() > until:
                    raise InputError("--address", f"{self.address} does not answer any more ({error})") from None
            time.sleep(1.0)

    def stop(self, job: SweepJob) -> SweepJob:
        """Tells the driver to end as after Ctrl-C, and waits until it has; the job as it is then."""
        with self._told():
            self._client.stop_job(job.id)
        until = time.monotonic() + STOP_SECONDS + 30
        while not (found := self._job(job.id)).is_over and time.monotonic() < until:
            time.sleep(0.5)
        return found

    def statuses(self, parcel: Parcel, name: str | None, where: Sequence[str]) -> list[Status]:
        """How far the sweeps in the cluster's home are, or in that of the arguments `where`."""
        text = self.ask(parcel, ["status", *([name] if name else []), "--json", *where])
        found = status.from_lines(text)
        if found is None:
            raise InputError(f"on {self.address}", f"status said {_last_line(text)!r}")
        return found

    def _submit(self, parcel: Parcel, arguments: Sequence[str], name: str, metadata: dict[str, str]) -> str:
        """A head that has just come up answers before it can start a job: it is asked again, for PATIENCE seconds."""
        until = time.monotonic() + PATIENCE
        with self._told():
            while True:
                try:
                    return self._client.submit_job(
                        entrypoint=shlex.join(["python", "-m", "search.cluster.received", parcel.digest, *arguments]),
                        submission_id=name,
                        metadata=metadata,
                        runtime_env={
                            "working_dir": str(parcel.folder),
                            # Without these Ray ends a driver three seconds after it was told to stop.
                            "env_vars": {
                                "RAY_JOB_STOP_SIGNAL": "SIGTERM", "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS),
                            },
                        },
                    )  # fmt: skip
                except RuntimeError as error:
                    if _NOT_YET not in str(error) or time.monotonic() > until:
                        raise
                time.sleep(1.0)
                if any(job.submission_id == name for job in self._client.list_jobs()):  # it was only slow to say so
                    return name

    def _job(self, job: str) -> SweepJob:
        with self._told():
            return _sweep_job(self._client.get_job_info(job))

    def _tail(self, job: str) -> Iterator[str]:
        """Pieces of the job's log as they come, in a loop of their own."""
        tail = self._client.tail_job_logs(job)

        async def more() -> str | None:
            return await anext(tail, None)

        with asyncio.Runner() as runner:
            while (text := runner.run(more())) is not None:
                yield text

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What can go wrong on the way, in one line."""
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            if str(error).startswith("Authentication required"):
                ways = "put the cluster's into ~/.ray/auth_token, or set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
                raise InputError("--address", f"{self.address} wants a token, and there is none here; {ways}") from None
            where = "~/.ray/auth_token (or RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH)"
            wrong = f"{self.address} refuses the token in {where}; copy that of the cluster"
            raise InputError("--address", wrong) from None
        except json.JSONDecodeError:
            raise InputError("--address", f"{self.address} is no Ray dashboard") from None
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or _first_line(error)
            hint = "for a cluster in the cloud keep `ray dashboard cluster.yaml` open"
            raise InputError("--address", f"no Ray dashboard answers at {self.address} ({reason}); {hint}") from None
        except (RuntimeError, ValueError) as error:
            raise InputError(f"--address {self.address}", _first_line(error)) from None


def _url(address: str) -> str:
    if address == "auto":
        return "http://127.0.0.1:8265"
    url = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port or parts.scheme == "https")
    except ValueError:
        good = False
    if not good:
        raise InputError("--address", f"{address!r} should be a Ray dashboard's, such as http://127.0.0.1:8265")
    return url.rstrip("/")


def _client(address: str) -> "JobSubmissionClient":
    from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
    from ray.job_submission import JobSubmissionClient

    for name in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk", "ray._private.runtime_env"):
        logging.getLogger(name).setLevel(logging.ERROR)
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    before = {name: os.environ.pop(name) for name in _OURS if name in os.environ}
    try:
        return JobSubmissionClient(address)
    finally:
        os.environ.update(before)


def _sweep_job(job: "JobDetails") -> SweepJob:
    return SweepJob(
        id=job.submission_id or "",
        sweep=(job.metadata or {}).get(SWEEP, ""),
        state=job.status.value.lower(),
        message=job.message or "",
        began=(job.start_time or 0) / 1000,
        exit_code=job.driver_exit_code,
    )


def _first_line(error: object) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


@contextmanager
def parcel() -> Iterator[Parcel]:
    """The code that runs here, packed until it was sent."""
    with tempfile.TemporaryDirectory(prefix="posefront-") as folder:
        yield Parcel(Path(folder))
