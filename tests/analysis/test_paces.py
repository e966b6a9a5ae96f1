"""What each device did, told apart."""

from dataclasses import replace

from analysis.paces import paces
from spaces import Cost, Inference, Observation, Recipe

RUNGS = (100, 200, 400)


def observed(steps: int, cost: Cost, label: str = "") -> Observation:
    return Observation("t0001", Recipe(), 1, steps, {"pose": 0.5}, {}, cost, Inference(), label)


def test_a_device_has_the_steps_and_seconds_of_its_own_rungs():
    seen = [
        observed(100, Cost(50.0, 10.0, 5.0, "NVIDIA L4", 7 * 10**9)),
        observed(100, Cost(score=10.0, device="NVIDIA L4"), "cfg5"),
        observed(200, Cost(10.0, 2.0, 3.0, "NVIDIA H100", 8 * 10**9)),
        observed(400, Cost(20.0, 2.0, 0.0, "NVIDIA H100", 9 * 10**9)),
    ]
    fast, slow = paces(seen, RUNGS)
    assert (fast.device, fast.steps, fast.seconds, fast.train) == ("NVIDIA H100", 300, 37.0, 30.0)
    assert (slow.device, slow.steps, slow.seconds, slow.peak_memory) == ("NVIDIA L4", 100, 75.0, 7 * 10**9)
    assert fast.in_words == "NVIDIA H100: 0.1 s a step, 37 s for 300 steps in all, at most 9.0 GB a trial"
    assert paces(list(reversed(seen)), RUNGS) == [fast, slow]


def test_records_without_a_device_are_one_of_their_own():
    (pace,) = paces([observed(100, Cost(50.0))], RUNGS)
    assert pace.in_words.startswith("unknown device: 0.5 s a step")
    assert replace(pace, steps=0).in_words.startswith("unknown device: no step")
