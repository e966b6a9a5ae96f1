"""A sweep on a cluster that has no worker yet, with Ray's autoscaler and its fake provider."""

import pytest
from rich.console import Console

from benchmarks.autoscale import grow


@pytest.mark.slow
def test_nodes_come_for_a_sweep_trials_share_their_gpus_and_they_go(tmp_path, capsys):
    grown = grow(tmp_path, trials=12, workers=None, nodes=2, seconds=3.0, idle_seconds=6.0, console=Console(width=120))
    assert grown.status == "finished" and len(grown.ran) == 12
    came = sorted(grown.timeline.came.values())
    assert len(came) == 2 and came[1] < grown.scored, "the second was asked for when the first was full"
    assert grown.timeline.up == 0 and min(grown.timeline.went.values()) > came[-1]
    assert {each["share"] for each in grown.ran} == {0.5}
    assert len({each["node"] for each in grown.ran}) == 2
    at_once, shared = grown.most_at_once()
    assert at_once == 4 and shared == 2, "two trials fit a GPU"
    text = capsys.readouterr().out
    assert "has no room yet" in text and "2 in all" in text and "0 left" in text
