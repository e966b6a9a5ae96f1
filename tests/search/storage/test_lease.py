import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from search.storage import claims, lease
from search.storage.claims import claims_of
from search.storage.lease import Lease, is_driven, newest
from spaces import InputError
from tests.s3 import Server
from trainables.storage import Store, parse_address


@pytest.fixture(params=["s3", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path, s3: Server) -> Store:
    where = str(tmp_path / "store") if request.param == "folder" else f"s3://{s3.bucket()}/runs/small"
    return Store(parse_address(where), patience=20)


class Driver:
    """Takes leases, and remembers what it was told."""

    def __init__(self, store: Store) -> None:
        self.store, self.notes, self.lost = store, list[str](), threading.Event()

    def take(self, take_over: bool = False) -> Lease:
        return Lease(self.store, take_over, self.notes.append, lambda to: self.lost.set())


def dead(store: Store, **changes: object) -> None:
    """The newest lease is as another machine's that ended without a word."""
    term, holder = newest(store)
    values = vars(holder) | {"machine": "another", "host": "lost-head", "token": "x"} | changes
    store.write(f"lease/{term:06d}.json", json.dumps(values).encode())


def test_one_driver_at_a_time_and_the_next_after_it(store):
    first = Driver(store).take()
    assert first.term == 1 and is_driven(store)
    with pytest.raises(InputError, match=r"is driven by \S+@\S+ \(process \d+\), heard of \d+ s ago") as refused:
        Driver(store).take()
    assert "\n" not in str(refused.value)
    first.release()
    first.release()
    assert not is_driven(store)
    second = Driver(store)
    taken = second.take()
    assert taken.term == 2 and second.notes == []
    taken.release()


def test_of_many_that_ask_at_once_one_has_it(store):
    def ask(_: int) -> Lease | None:
        try:
            return Driver(store).take()
        except InputError:
            return None

    with ThreadPoolExecutor(8) as pool:
        held = [taken for taken in pool.map(ask, range(8)) if taken is not None]
    assert len(held) == 1 and newest(store)[0] == 1
    held[0].release()


def test_of_many_that_follow_a_dead_driver_one_does(store, monkeypatch):
    Driver(store).take().release()
    dead(store, released=False)
    monkeypatch.setattr(lease, "EXPIRY", -1.0)
    winners = []

    def ask(_: int) -> None:
        try:
            winners.append(Driver(store).take())
        except InputError:
            return

    monkeypatch.setattr(lease, "BEAT", 60.0)
    barrier = threading.Barrier(6)
    real = lease.claims_of

    class Together:
        """Lets all come to the same decision before any of them acts on it."""

        def __init__(self, store: Store) -> None:
            self._claims = real(store)
            self.age = self._claims.age

        def create(self, name: str, data: bytes) -> bool:
            barrier.wait(30)
            return self._claims.create(name, data)

    monkeypatch.setattr(lease, "claims_of", Together)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(ask, range(6)))
    assert len(winners) == 1 and winners[0].term == 2
    winners[0].release()


def test_a_silent_driver_elsewhere_is_followed_after_a_while_alone(store, monkeypatch):
    Driver(store).take().release()
    dead(store, released=False)
    with pytest.raises(InputError, match=r"lost-head .*silent for 90 s may be followed"):
        Driver(store).take()
    monkeypatch.setattr(lease, "EXPIRY", 1.0)
    time.sleep(2.1)  # a bucket counts whole seconds
    following = Driver(store)
    taken = following.take()
    assert "lost-head" in following.notes[0] and "silent for" in following.notes[0]
    taken.release()


def test_a_driver_of_this_machine_that_is_gone_is_followed_at_once(store):
    Driver(store).take().release()
    me = lease.Holder.me()
    dead(store, released=False, machine=me.machine, host=me.host, pid=2**22 + 1)
    following = Driver(store)
    following.take().release()
    assert "is gone" in following.notes[0]


def test_nobodys_wrong_clock_plays_a_part(store, monkeypatch):
    """Neither the holder's, a day behind, nor that of who asks, a day ahead."""
    Driver(store).take().release()
    dead(store, released=False, since=time.time() - 86400)
    for module in (lease, claims):  # the server is in this process, and keeps the right time
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: time.time() + 86400, sleep=time.sleep))
    with pytest.raises(InputError, match=r"heard of [0-5] s ago"):
        Driver(store).take()


def test_a_living_driver_is_taken_over_from_when_asked_and_hears_of_it(store, monkeypatch):
    monkeypatch.setattr(lease, "BEAT", 0.3)
    first, second = Driver(store), Driver(store)
    held = first.take()
    taken = second.take(take_over=True)
    assert first.lost.wait(10) and "it has" in second.notes[0]
    held.release()
    assert newest(store)[0] == taken.term == 2 and not newest(store)[1].released
    assert not second.lost.is_set()
    taken.release()


def test_a_lease_lives_on_through_a_storage_that_does_not_answer(s3, monkeypatch):
    monkeypatch.setattr(lease, "BEAT", 0.3)
    driver = Driver(Store(parse_address(f"s3://{s3.bucket()}/small"), patience=20))
    held = driver.take()
    s3.breaks_for(2)
    time.sleep(3.5)
    beats = newest(driver.store)[1].beats
    time.sleep(1.5)
    assert newest(driver.store)[1].beats > beats and not driver.lost.is_set()
    held.release()


def test_an_answer_that_was_lost_is_not_taken_for_another_driver(s3):
    """The object is made, the server breaks before it says so, and the client asks again."""
    store = Store(parse_address(f"s3://{s3.bucket()}/small"), patience=20)
    assert claims_of(store).create("lease/000001.json", b"mine")
    assert claims_of(store).create("lease/000001.json", b"mine")
    assert not claims_of(store).create("lease/000001.json", b"another's")


@pytest.mark.parametrize(
    ("environment", "where", "said"),
    [
        ({}, "s3://no-such-bucket/x", "has no bucket 'no-such-bucket'"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "s3://bucket/x", "no AWS credentials were found"),
        ({"AWS_PROFILE": "nobody"}, "s3://bucket/x", "nobody"),
        ({"AWS_ENDPOINT_URL": "somewhere"}, "s3://bucket/x", "somewhere"),
    ],
)
def test_what_is_wrong_with_a_bucket_is_one_line(s3, monkeypatch, environment, where, said):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=said) as caught:
        claims_of(Store(parse_address(where), patience=2)).create("lease/000001.json", b"x")
    assert "\n" not in str(caught.value)


def test_a_missing_boto3_is_one_line(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(InputError, match=r"--storage: s3:// needs boto3: pip install 'posefront\[s3\]'"):
        claims_of(Store(parse_address("s3://bucket/x")))
