"""A confirmation: what is tried again, that it goes on after any interruption, and what people get of it."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from analysis.observations import child_runs, from_mlflow
from search.config import SweepConfig
from search.confirm.choose import Search, chosen
from search.confirm.live import ConfirmLines
from search.confirm.run import Confirming, confirm
from search.confirm.state import ConfirmState
from search.confirm.summary import check_candidates, summary
from search.finetunes import export, generate
from search.journal import CONFIRMATION, Judged, Ledger, Observed, Proposed, events, read
from search.rungs import Stop, rule_for
from search.simulate import Memory
from search.sweep import Outcome, run
from search.views import show
from spaces import Cost, Inference, InputError, parse_requirement
from tests.search.curves import Curves, drawn, noise, scores
from tests.search.examples import observed, small_space, small_sweep
from tests.search.inprocess import Lines, without_ray
from trainables.job import PanelConfig

ROOT = Path(__file__).parents[2]


def swept(home: Path, trials: int = 6, **changes: Any) -> SweepConfig:
    """A sweep without Ray whose scores are noisy, each checkpoint drawn in two ways; the config of it."""
    config = small_sweep(home, trials=trials, **changes)
    panel = PanelConfig(inferences=(Inference(), Inference(lora_scale=0.5)))
    config = config.model_copy(update={"job": config.job.model_copy(update={"panel": panel})})
    (home / "cache" / "noise").write_text("0.03")
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        assert run(config, Lines(config), Curves).status == "finished"
    return config


def confirmed(config: SweepConfig, **options: Any) -> Outcome:
    lines = ConfirmLines(Console(quiet=True), config.space, None)
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        return confirm(config, lines, trainable=Curves, **options)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, fresh_database: Path) -> Path:
    """With a sweep, and a confirmation in which one candidate's training fails."""
    home = tmp_path_factory.mktemp("home")
    shutil.copyfile(fresh_database, home / "mlflow.db")
    config = swept(home)
    first = chosen(read(config.folder), config.space, 5.0, 3, "small", 0.0).candidates[0]
    (home / "cache" / f"c02-{first.trial}.raise").touch()
    assert confirmed(config, share=5.0, seeds=3).status == "finished"
    return home


@pytest.mark.slow
def test_the_front_and_the_layer_behind_it_are_trained_with_fresh_seeds_on_another_panel(home):
    found = show.find(home, "small")
    ledger = found.standing.ledger
    assert {c.key for c in ledger.chosen.candidates if c.layer == 0} == {o.key for o in found.front}
    assert any(c.layer == 1 for c in ledger.chosen.candidates) and ledger.chosen.left_out == 0
    searched = {event.seed for event in found.ledger.proposals.values()}
    by_round = {e.values["round"]: e.seed for e in ledger.proposals.values()}
    assert all(event.seed == by_round[event.values["round"]] for event in ledger.proposals.values())
    assert len(set(by_round.values())) == len(by_round) and not searched & set(by_round.values())
    for trial, event in ledger.proposals.items():
        wanted = {(steps, label) for steps, labels in event.values["score"] for label in labels}
        if ledger.endings[trial].status == "finished":
            assert wanted == {(o.steps, o.label) for o in ledger.table if o.trial == trial}
    for o in ledger.table:
        panel = noise(str(home / "cache"), o.seed, o.recipe, o.steps, True)
        expected = drawn(scores(o.recipe, o.steps), o.inference)
        assert o.scores["pose"] == pytest.approx(expected["pose"] + panel["pose"])


@pytest.mark.slow
def test_a_training_that_fails_takes_its_candidates_off_the_front_and_no_others(home):
    found = show.find(home, "small")
    failed = [each for each in found.standing.confirmation.candidates if each.failure]
    first = found.standing.chosen.candidates[0]
    assert {each.key[0] for each in failed} == {first.trial}
    assert all(each.verdict == "off" and not each.on_front and "rank 8" in each.failure for each in failed)
    assert found.confirmed and first.trial not in {o.trial for o in found.confirmed}


@pytest.mark.slow
def test_people_get_intervals_odds_and_the_confirmed_knee(home):
    found = show.find(home, "small")
    console = Console(width=80, record=True, file=io.StringIO())
    show.to_console(found, console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    knee = found.standing.confirmation.knee
    assert f"{knee.means['pose']:.3f} ±{knee.halves['pose']:.3f} │" in text and f"{knee.chance:.0%} │" in text
    assert f"Recommended (the confirmed front's knee): {knee.key[0]} at {knee.key[1]} steps" in text
    document = json.loads(show.as_json(found))
    assert document["confirmation"]["knee"] == knee.name and document["knee"]["trial"] == knee.key[0]
    page = (home / "small" / "pareto.html").read_text()
    assert "confirmed: mean, 95 % interval" in page and "front as scored, not confirmed" in page


@pytest.mark.slow
def test_mlflow_has_the_trainings_apart_from_the_trials_and_the_odds_in_the_sweeps_run(home):
    from mlflow import MlflowClient

    found, uri = show.find(home, "small"), f"sqlite:///{home}/mlflow.db"
    assert sorted(o.key for o in from_mlflow(uri, "small")) == sorted(o.key for o in found.ledger.table)
    client = MlflowClient(uri)
    parent = client.get_run(found.ledger.parent_run_id)
    runs = child_runs(client, parent, confirming=True)
    assert Counter(r.data.tags["trial"] for r in runs) == Counter(list(found.standing.ledger.proposals))
    assert parent.data.tags["status"] == "finished" and parent.info.status == "FINISHED"
    knee = found.standing.confirmation.knee
    section = f"confirmed/{knee.name.replace('@', '-')}"
    assert parent.data.metrics[f"{section}/pose high"] == pytest.approx(knee.means["pose"] + knee.halves["pose"])
    assert parent.data.metrics[f"{section}/probability of being on the front"] == pytest.approx(knee.chance)
    assert "confirmed.json" in [info.path for info in client.list_artifacts(parent.info.run_id)]


@pytest.mark.slow
def test_one_adapter_is_kept_of_each_that_is_confirmed_and_stands_in_for_a_deleted_one(home):
    found = show.find(home, "small")
    kept = {folder.parent for folder in (home / "small" / "trials").glob("c*/*/adapter")}
    recipes = {(found.standing.ledger.proposals[f.parent.name].recipe, int(f.name[5:])) for f in kept}
    assert recipes == {(o.recipe, o.steps) for o in found.confirmed}
    assert not list((home / "small" / "trials").glob("c*/*/state.safetensors"))
    behind = [o for o in found.confirmed if not generate._adapter(found, o.trial, o.steps).is_dir()]
    for o in behind:
        stand_in = generate.kept(found, o)
        assert stand_in.recipe == o.recipe and stand_in.trial.startswith("c") and stand_in.steps == o.steps
        assert generate.pick(found, stand_in.name) == stand_in
    assert len(export.picks(found, "front")) == len(found.confirmed)


@pytest.mark.slow
def test_a_finished_one_is_not_done_again_and_another_share_has_to_be_asked_for(home, tmp_path):
    shutil.copytree(home, tmp_path / "home")
    config = small_sweep(tmp_path / "home")
    before = read(config.folder, CONFIRMATION)
    assert confirmed(config).over == "all decided" or before.judged
    assert read(config.folder, CONFIRMATION).observed.keys() == before.observed.keys()
    with pytest.raises(InputError, match="leave both out to go on with it, or add --again"):
        confirmed(config, share=0.3)
    with pytest.raises(InputError, match=r"--share: 0.001 of .* take about .*: give \d"):
        confirmed(config, share=0.001, again=True)
    assert read(config.folder, CONFIRMATION).judged, "nothing is set aside for what is refused"
    assert confirmed(config, share=5.0, seeds=2, again=True).status == "finished"
    assert (config.folder / "confirmation.old-1.jsonl").exists()
    assert max(e.values["round"] for e in read(config.folder, CONFIRMATION).proposals.values()) == 2


def ledger_of(points: list[tuple[float, float]], seconds: float = 10.0) -> Ledger:
    """A search of one rung in which each trial scored a point."""
    memory, space = Memory(), small_space()
    for number, (identity, pose) in enumerate(points, 1):
        trial, recipe = f"t{number:04d}", space.recipe(space.sample(np.random.default_rng(number)))
        memory.append(Proposed(0.0, trial, recipe, {}, number))
        o = replace(observed(trial, 10, identity, pose, recipe), cost=Cost(train=seconds))
        memory.append(Observed(0.0, (o,), Stop("finished", ""), "folder"))
    return memory.ledger


def state_of(searched: Ledger, journal: Any, seed: int = 7) -> ConfirmState:
    space = small_space()
    rule = rule_for("asha-pareto", space)
    return ConfirmState(Search(searched), rule, space.objectives, seed, journal, lambda event: None, lambda: 1.0)


def result_of(given: Any, searched: Ledger, deviation: float = 0.03) -> dict[str, Any]:
    """What a training scores: its trial's scores in the search, and noise by recipe and seed."""
    truth = next(o.scores for o in searched.table if o.recipe == given.recipe)
    own = np.random.default_rng([given.seed, *given.recipe.model_dump_json().encode()]).normal(0, deviation, 2)
    values = {"identity": truth["identity"] + own[0], "pose": truth["pose"] + own[1]}
    one = {"inference": {}, "label": "", "scores": values, "cells": {}, "cost": {"train": 10.0}}
    return {"trial": given.trial, "steps": 10, "observations": [one], "folder": "folder", "failure": None}


POINTS = [(0.9, 0.1), (0.7, 0.5), (0.68, 0.49), (0.5, 0.7), (0.3, 0.6), (0.1, 0.9), (0.1, 0.1), (0.65, 0.5)]


def raced(journal: Any, searched: Ledger, stop_after: int | None = None) -> list[Any]:
    """Runs a confirmation, two trainings at a time, until so many events are there; the events without their times."""
    state, running = state_of(searched, journal), []
    while stop_after is None or len(journal.seen) < stop_after:
        while len(running) < 2 and (given := state.next_trial()) is not None:
            running.append(given)
        if not running:
            break
        state.record(result_of(running.pop(0), searched))
    return journal.seen


class Listed(Memory):
    """A journal that remembers its events."""

    def __init__(self, seen: list[Any] | None = None) -> None:
        super().__init__()
        self.seen = []
        for event in seen or []:
            self.append(event)

    def append(self, event: Any) -> None:
        super().append(event)
        self.seen.append(event)


def first(searched: Ledger, share: float = 3.0, seeds: int = 6) -> list[Any]:
    return [chosen(searched, small_space(), share, seeds, "small", 1.0)]


def test_broken_off_after_any_event_it_comes_to_the_same_with_nothing_done_twice():
    searched = ledger_of(POINTS)
    whole = raced(Listed(first(searched)), searched)
    judged = [event for event in whole if isinstance(event, Judged)]
    assert len(judged) >= 2 and {"on", "off"} <= set(judged[-1].verdicts.values())
    for cut in range(1, len(whole), 5):
        again = raced(Listed(whole[:cut]), searched)
        assert [event for event in again if isinstance(event, Judged)] == judged
        assert Counter(map(str, again)) == Counter(map(str, whole))


def test_racing_ends_what_is_decided_and_spares_what_it_would_cost():
    searched = ledger_of(POINTS)
    journal = Listed(first(searched))
    raced(journal, searched)
    state = state_of(searched, journal)
    rounds = Counter(event.values["of"] for event in journal.ledger.proposals.values())
    assert set(rounds) == {c.trial for c in state.chosen.candidates} and "t0007" not in rounds  # the third layer
    assert min(rounds.values()) == 2 and sum(rounds.values()) < 6 * len(rounds)
    open_ = [name for name, verdict in state.verdicts.items() if verdict == "open"]
    assert all(rounds[name.partition("@")[0]] == 6 for name in open_)
    assert state.over == ("all decided" if not open_ else f"{len(open_)} undecided after 6 seeds")


@pytest.mark.parametrize("share", [1.0, 1.6, 2.4])
def test_the_share_is_kept_and_what_it_does_not_pay_for_is_left_out_from_the_back(share):
    searched = ledger_of(POINTS)
    journal = Listed(first(searched, share))
    raced(journal, searched)
    spent = sum(o.cost.total for o in journal.ledger.table)
    assert spent <= share * 80 and spent > share * 80 - 2 * 10 * 7
    layers = [c.layer for c in journal.ledger.chosen.candidates]
    assert layers == sorted(layers) and len(layers) + journal.ledger.chosen.left_out == 7
    assert len(layers) == min(7, int(share * 80 // 20))


def test_nothing_to_confirm_is_said():
    with pytest.raises(InputError, match="small: has no observation on a front: there is nothing to confirm"):
        first(Ledger())


def test_seeds_stay_the_same_however_many_are_asked_for_and_skip_the_searchs():
    searched = ledger_of(POINTS)
    state = state_of(searched, Listed(first(searched)))
    seeds = [state.training_seed(number) for number in range(1, 30)]
    assert len(set(seeds)) == 29
    searched.proposals["t0001"] = Proposed(0.0, "t0001", searched.proposals["t0001"].recipe, {}, seeds[3])
    skipped = [state_of(searched, Listed(first(searched))).training_seed(number) for number in range(1, 5)]
    assert skipped == [*seeds[:3], seeds[4]]


def test_a_mean_that_misses_a_requirement_is_not_on_the_confirmed_front(tmp_path):
    searched, space = ledger_of(POINTS), small_space()
    journal = Listed(first(searched))
    raced(journal, searched)
    free = summary(journal.ledger, Search(searched), space, tmp_path)
    bound = replace(space, requirements=(parse_requirement("pose < 0.8"),))
    held = summary(journal.ledger, Search(searched), bound, tmp_path)
    missing = {each.name for each in held.candidates if each.missed}
    assert missing == {each.name for each in free.candidates if each.means["pose"] >= 0.8} != set()
    assert missing <= {each.name for each in free.front} and not missing & {each.name for each in held.front}


def test_candidates_that_the_search_does_not_have_are_named(tmp_path):
    searched = ledger_of(POINTS)
    with pytest.raises(InputError, match="is about t0001@10, which the search's journal does not have; move it aside"):
        check_candidates(first(searched)[0], Ledger(), tmp_path)


@pytest.mark.slow
def test_the_journal_on_disk_says_the_same_when_it_is_read_again(home):
    folder = home / "small"
    lines = [json.loads(line) for line in (folder / CONFIRMATION).read_text().splitlines()]
    assert lines[0]["event"] == "chosen" and lines[0]["candidates"][0].keys() == {"trial", "steps", "label", "layer"}
    again = events(folder, CONFIRMATION)
    assert len(again) == len(lines) and sum(isinstance(event, Judged) for event in again) >= 1


@pytest.mark.slow
def test_its_job_is_the_sweeps_but_for_the_panel(home):
    config = small_sweep(home)
    job = Confirming(config, read(config.folder), Lines(config), None).config.job
    assert job.panel.held_out and not config.job.panel.held_out
    assert job.model_copy(update={"panel": config.job.panel}) == config.job


@pytest.mark.slow
def test_killed_on_ray_it_goes_on_and_nothing_is_scored_twice(tmp_path):
    command = [sys.executable, "-m", "tests.search.drive_confirm", str(tmp_path), "0.5"]
    journal, log = tmp_path / "small" / CONFIRMATION, (tmp_path / "log").open("w")

    def scored() -> int:
        return journal.read_text().count('"event": "observed"') if journal.exists() else 0

    for enough in (1, 4):
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + 120
        while scored() < enough:
            assert process.poll() is None and time.monotonic() < until, (tmp_path / "log").read_text()
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, timeout=240, check=False)
    assert done.returncode == 0, (tmp_path / "log").read_text()
    ledger = read(tmp_path / "small", CONFIRMATION)
    counts = Counter(
        (e.main.trial, e.main.steps) for e in events(tmp_path / "small", CONFIRMATION) if isinstance(e, Observed)
    )
    assert set(counts.values()) == {1} and len(counts) == len(ledger.observed)
    found = show.find(tmp_path, "small")
    assert found.standing.over and found.confirmed
    assert {e.status for e in ledger.endings.values()} == {"finished"}
    calm, searched = Listed([ledger.chosen]), read(tmp_path / "small")
    state = state_of(searched, calm, seed=0)
    while (given := state.next_trial()) is not None:
        for steps, _ in given.score:
            o = next(o for o in ledger.table if (o.trial, o.steps) == (given.trial, steps))
            values = {name: o.to_json()[name] for name in ("inference", "label", "scores", "cells", "cost")}
            state.record({"trial": o.trial, "steps": steps, "observations": [values], "folder": "f", "failure": None})
    assert [event.verdicts for event in calm.ledger.judged] == [event.verdicts for event in ledger.judged]
    assert calm.ledger.proposals.keys() == ledger.proposals.keys()
