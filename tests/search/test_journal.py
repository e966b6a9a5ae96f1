import json
import math
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from search.journal import (
    Closed,
    Ended,
    Journal,
    Lost,
    Observed,
    Opened,
    Outgrew,
    Proposed,
    Timing,
    Tracked,
    events,
    is_running,
    read,
)  # fmt: skip
from search.rungs import Continue, Stop
from spaces import Cost, Inference, InputError, Observation, Recipe

OBSERVATION = Observation(
    "t0001", Recipe(rank=4), 7, 10, {"identity": 0.5, "pose": 0.25}, {"pose": [0.5, math.nan]},
    Cost(1.0, 2.0, 0.5, "NVIDIA L4", 7_000_000_000, 24_000_000_000),
)  # fmt: skip
WAY = Inference(lora_scale=0.5)
DRAWN = replace(OBSERVATION, scores={"identity": 0.25, "pose": 0.5}, inference=WAY, label=WAY.name)
EVENTS = [
    Opened(100.0),
    Tracked(101.0, "run"),
    Proposed(102.0, "t0001", Recipe(rank=4), {"rank": 4}, 7),
    Proposed(103.0, "t0002", Recipe(rank=8), {"rank": 8}, 8),
    Observed(110.0, (OBSERVATION, DRAWN), Continue(1, 2), "/trials/t0001/step-000010"),
    Lost(110.5, "t0002", "node", "its node was lost"),
    Outgrew(110.5, "t0001", 20, 7_000_000_000, 24_000_000_000),
    Ended(111.0, "t0002", "failed", "ValueError: no", 0),
]


def write(folder: Path, extra: list = ()) -> None:
    journal = Journal(folder)
    for event in [*EVENTS, *extra]:
        journal.append(event)
    journal.close()


def test_what_is_written_is_read(tmp_path):
    closed = Closed(120.0, "finished", Timing(20.0, 1.0, 0.5, 30.0, 2))
    write(tmp_path, [closed])
    there = str(tmp_path / "trials" / "t0001" / "step-000010")  # a checkpoint's folder is where its journal is
    written = [replace(event, folder=there) if isinstance(event, Observed) else event for event in [*EVENTS, closed]]
    as_text = [repr(event) for event in written]  # since NaN is not equal to NaN
    assert [repr(event) for event in events(tmp_path)] == as_text
    for line in (tmp_path / "journal.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_a_journal_from_before_checkpoints_had_several_observations_is_read(tmp_path):
    write(tmp_path)
    path, lines = tmp_path / "journal.jsonl", []
    for line in path.read_text().splitlines():
        values = json.loads(line)
        if values["event"] == "observed":
            (old, _) = values.pop("observations")
            values["observation"] = {k: v for k, v in old.items() if k not in ("inference", "label")}
        lines.append(json.dumps(values) + "\n")
    path.write_text("".join(lines))
    assert repr(read(tmp_path).table) == repr([OBSERVATION])


def test_a_journal_from_before_devices_and_memory_were_recorded_is_read(tmp_path):
    write(tmp_path)
    path = tmp_path / "journal.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for values in lines:
        for old in values.get("observations", []):
            old["cost"] = {name: old["cost"][name] for name in ("train", "score", "load")}
    path.write_text("".join(json.dumps(values) + "\n" for values in lines))
    assert read(tmp_path).table[0].cost == Cost(1.0, 2.0, 0.5, device="", peak_memory=0, card_memory=0)


def test_the_ledger_adds_up(tmp_path):
    write(tmp_path)
    ledger = read(tmp_path)
    assert [o.name for o in ledger.table] == ["t0001@10", "t0001@10:cfg3-cn1-lora0.5"]
    assert ledger.observed["t0001", 10].decision == Continue(1, 2)
    assert [event.trial for event in ledger.unfinished] == ["t0001"]
    assert ledger.parent_run_id == "run" and ledger.closed is None and ledger.seconds == 11.0
    assert ledger.reached("t0001") == 10 and ledger.reached("t0002") == 0


def test_time_without_a_driver_does_not_count(tmp_path):
    write(tmp_path, [Opened(5000.0), Ended(5004.0, "t0001", "stopped", "last", 10)])
    assert read(tmp_path).seconds == 15.0


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_a_line_that_was_cut_short_is_dropped_and_written_over(tmp_path, cut):
    write(tmp_path)
    path = tmp_path / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    assert not read(tmp_path).endings
    journal = Journal(tmp_path)
    journal.append(Ended(112.0, "t0002", "stopped", "again", 0))
    journal.close()
    assert read(tmp_path).endings["t0002"].reason == "again" and len(events(tmp_path)) == len(EVENTS)


def test_a_broken_line_is_named(tmp_path):
    write(tmp_path)
    path = tmp_path / "journal.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], "{}\n", *lines[2:]]))
    with pytest.raises(InputError, match=r"line 2: .* cut the file before that line \(`head -n 1`\) and resume"):
        read(tmp_path)


@pytest.mark.parametrize("event", [EVENTS[2], EVENTS[4], EVENTS[7], Ended(1.0, "t0009", "stopped", "unknown", 0)])
def test_nothing_happens_twice_or_to_an_unknown_trial(tmp_path, event):
    write(tmp_path)
    journal = Journal(tmp_path)
    with pytest.raises(ValueError, match=r"twice|never"):
        journal.append(event)
    journal.close()
    assert len(events(tmp_path)) == len(EVENTS)


def test_one_writer(tmp_path):
    journal = Journal(tmp_path)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_refused, (tmp_path,))
        assert pool.apply(is_running, (tmp_path,))
        journal.close()
        assert not pool.apply(_refused, (tmp_path,))
    assert not is_running(tmp_path)


def _refused(folder: Path) -> bool:
    try:
        Journal(folder).close()
    except InputError:
        return True
    return False


def test_a_decision_survives(tmp_path):
    stop = Observed(115.0, (OBSERVATION,), Stop("finished", "last rung"), "f")
    journal = Journal(tmp_path)
    for event in [*EVENTS[:3], stop]:
        journal.append(event)
    journal.close()
    assert read(tmp_path).observed["t0001", 10].decision == Stop("finished", "last rung")


def test_overhead():
    assert Timing(wall=10.0, start=1.0, drain=1.0, busy=15.0, workers=2).overhead == pytest.approx(0.25)
