"""What a sweep's page in MLflow says, and what is noted of the code and the subject for it."""

import io
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from analysis.choice import recommend
from search.cluster.parcel import Parcel
from search.journal import Journal, Ledger, Observed, Opened, Proposed, read
from search.recording import provenance
from search.recording.about import About, about, fingerprint_of
from search.recording.story import LONGEST, ROWS, page, table
from search.rungs import Stop
from search.tracking.addresses import Addresses
from search.views.choosing import choice_of
from search.views.show import Found, found_in
from spaces import Recipe
from tests.search.examples import observed, small_sweep

ROBOT = About("robot", "puppets/robot", "12ab", "sks robot")


def found_with(home: Path, trials: int) -> tuple[Found, Addresses]:
    """A sweep of so many trials, each with a checkpoint on the front."""
    ledger = Ledger()
    ledger.add(Opened(1e9))
    for i in range(trials):
        trial, recipe = f"t{i:04d}", Recipe(rank=2 + i, text_encoder="lora")
        ledger.add(Proposed(1e9, trial, recipe, {}, i))
        seen = observed(trial, 10, 0.1 + 0.8 * i / trials, 0.9 - 0.8 * (i / trials) ** 2, recipe)
        ledger.add(Observed(1e9, (seen,), Stop("finished", "the end"), str(home / trial)))
    addresses = Addresses("1", "5eed", "small", {trial: f"{i:032x}" for i, trial in enumerate(ledger.proposals)})
    return found_in(small_sweep(home), ledger, "running", None), addresses


@pytest.mark.parametrize("trials", [0, 1, 3, 300])
def test_the_page_says_the_most_first_and_fits(tmp_path: Path, trials: int):
    found, addresses = found_with(tmp_path, trials)
    said = page(found, addresses, ROBOT)
    assert len(said) <= LONGEST and said.startswith("**Running**: 0 of 6 trials")
    if not trials:
        assert "No checkpoint is scored yet" in said and "Pick" not in said
        return
    _, pick, links, *_ = said.split("\n\n")
    assert pick.startswith(
        f"**Pick: {found.knee.name}**, the front's knee: identity {found.knee.scores['identity']:.3f}"
    )
    assert f"rank {found.knee.recipe.rank} at" in pick and "pareto.html" in links
    assert addresses.filter in said and f"posefront register {found.config.name}" in said
    assert said.count("@10\N{NO-BREAK SPACE}") == min(trials, ROWS)
    assert ("runs=" in links) == (trials > 1), "one run is not compared"
    assert all(f"- {line}" in said for line in recommend(choice_of(found))), "why, as `show` says it"
    assert (f"{trials - ROWS} more" in said) == (trials > ROWS)


def test_the_table_is_the_front_as_pandas_reads_it(tmp_path: Path):
    found, _ = found_with(tmp_path, 5)
    read_back = pd.read_json(io.BytesIO(table(found)), orient="split")
    assert list(read_back["checkpoint"]) == [o.name for o in found.front]
    assert read_back["pose"].to_list() == pytest.approx([o.scores["pose"] for o in found.front], abs=1e-4)
    assert read_back["rank"].to_list() == [o.recipe.rank for o in found.front]
    assert list(read_back["checkpoint"][read_back["pick"] == "knee"]) == [found.knee.name]


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_the_revision_is_the_codes_own_or_none(tmp_path: Path):
    code = tmp_path / "search" / "recording" / "provenance.py"
    code.parent.mkdir(parents=True)
    code.touch()
    git(tmp_path, "init", "-q")
    assert provenance.revision_of(tmp_path) is None, "it is in another project's checkout, and not of it"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert provenance.revision_of(tmp_path) == commit
    code.write_text("changed")
    assert provenance.revision_of(tmp_path) == f"{commit}+changes"
    (tmp_path / provenance.FILE).write_text("sent along\n")
    assert provenance.revision_of(tmp_path) == "sent along"
    (tmp_path / "parcel").mkdir()
    Parcel(tmp_path / "parcel")
    assert provenance.revision_of(tmp_path / "parcel") == provenance.provenance().get(provenance.GIT)


def test_what_ran_is_in_the_journal_and_an_older_one_has_none(tmp_path: Path):
    journal = Journal(tmp_path)
    journal.append(Opened(1.0))
    assert (read(tmp_path).code, read(tmp_path).subject) == ({}, "")
    journal.append(Opened(2.0, {"git": "abc", "python": "3.11"}, "12ab"))
    journal.append(Opened(3.0))
    journal.close()
    assert (read(tmp_path).code["git"], read(tmp_path).subject) == ("abc", "12ab")


def test_a_subject_is_told_of_as_it_was(tmp_path: Path, tiny_subject: Path):
    config, ledger = small_sweep(tmp_path), Ledger()
    assert about(config, ledger) == About("nowhere", "nowhere", "unknown")
    config = config.model_copy(update={"job": config.job.model_copy(update={"subject": str(tiny_subject)})})
    ledger.subject = fingerprint_of(str(tiny_subject))
    told = about(config, ledger)
    assert told.digest == ledger.subject and told.profile["pictures"] == 3 and told.words == "sks robot"
    ledger.subject = "another"
    assert about(config, ledger) == replace(told, digest="another", words=None, profile=None)
