"""What faults must leave as it was: each observation once, on disk and in MLflow, the same rungs, the same front."""

from collections import Counter
from pathlib import Path

from analysis.observations import from_mlflow
from search.front import front_of
from search.journal import Observed, events, read
from spaces import Observation
from tests.search.examples import small_space
from trainables.trial import read_observations


def assert_nothing_is_lost(folder: Path, uri: str) -> None:
    """The journal has every checkpoint once, and so have MLflow and the trials' folders, with the same scores."""
    table = read(folder).table
    counts = Counter((e.main.trial, e.main.steps) for e in events(folder) if isinstance(e, Observed))
    assert set(counts.values()) == {1}
    on_disk = [o for path in folder.glob("trials/*/step-*") for o in read_observations(path)]
    for found in (from_mlflow(uri, folder.name), on_disk):
        assert sorted(map(_scored, found)) == sorted(map(_scored, table))


def assert_as_undisturbed(folder: Path, undisturbed: Path) -> None:
    """The same trials, decisions at the rungs and front as in a sweep with the same seeds that nothing happened to."""
    disturbed, calm = read(folder), read(undisturbed)
    assert {t: (e.recipe, e.seed) for t, e in disturbed.proposals.items()} == {
        t: (e.recipe, e.seed) for t, e in calm.proposals.items()
    }
    assert {key: e.decision for key, e in disturbed.observed.items()} == {
        key: e.decision for key, e in calm.observed.items()
    }
    assert {t: (e.status, e.steps) for t, e in disturbed.endings.items()} == {
        t: (e.status, e.steps) for t, e in calm.endings.items()
    }
    objectives = small_space().objectives
    fronts = [[_scored(o) for o in front_of(ledger.table, objectives)] for ledger in (disturbed, calm)]
    assert fronts[0] == fronts[1] != []


def _scored(o: Observation) -> tuple:
    return o.trial, o.steps, o.label, o.seed, sorted(o.scores.items())
