"""Warm starts: an earlier sweep's scores guide proposals, and are no trials of the new one."""

from dataclasses import replace
from pathlib import Path

import pytest

from search import config as configs
from search.journal import Journal, Learned, read
from search.proposals.earlier import check_comparable, from_table
from search.sampler import Sampler
from search.simulate import Clock, simulate, virtual
from search.sweep import resume, run
from search.views import show
from spaces import Inference, InputError, Recipe, parse_space
from tests.search.curves import Curves
from tests.search.examples import TEXT, observed, small_space, small_sweep
from tests.search.inprocess import Lines, without_ray
from tests.search.test_simulate import task, what_happened
from trainables.job import JudgesConfig, PanelConfig

SPACE = small_space()


@pytest.fixture(scope="module")
def table():
    clock = Clock()
    state = virtual(SPACE, clock, 30, seed=5, sampler="random")
    simulate(state, task, SPACE, 1, clock)
    return state.ledger.table


def test_a_point_is_what_a_recipe_is_made_of_and_none_where_it_lies_outside(table):
    for o in table:
        values = SPACE.point(o.recipe)
        assert SPACE.recipe(values) == o.recipe
        assert ("text_encoder_rank" in values) == (o.recipe.text_encoder == "lora")
    fields = {"rank": 8, "learning_rate": 1e-3, "dropout": 0.1, "text_encoder": "frozen"}
    inside = Recipe.parse(fields)
    assert SPACE.point(inside) == fields
    outside = ({"rank": 128}, {"dropout": 0.5}, {"text_encoder": "lora", "text_encoder_rank": 64}, {"unet": "full-kv"})
    for change in outside:
        changed = {name: value for name, value in (fields | change).items() if "unet" not in change or name != "rank"}
        assert SPACE.point(Recipe.parse(changed)) is None
    whole = parse_space("rungs: [10]\nsubject: x\nrecipe: {rank: [4, 8], dropout: 0.1, learning_rate: 1.0e-3}", "b")
    assert whole.point(inside) == {"rank": 8} and whole.point(replace_fields(inside, dropout=0.2)) is None


def replace_fields(recipe: Recipe, **changes: object) -> Recipe:
    return Recipe.parse(recipe.flat() | changes)


def test_what_is_used_and_what_is_left_out_is_counted(table):
    narrow = parse_space(TEXT.replace("high: 64", "high: 16"), "narrow")
    taken = from_table(table, narrow, "red", 1.0)
    inside = [o for o in table if o.recipe.rank <= 16]
    assert sum(len(event.observations) for event in taken.learned) == len(inside) < len(table)
    assert taken.in_words == (
        f"from red: {len(inside)} observations of {len(taken.learned)} trials are used; "
        f"left out: {len(table) - len(inside)} of recipes that are not in this space"
    )
    other = replace(SPACE, inferences=(Inference(lora_scale=0.5),))
    assert from_table(table, other, "red", 1.0).learned == ()
    assert from_table(table, SPACE, "red", 1.0).in_words.endswith("trials are used, all that it has")


@pytest.mark.parametrize("kind", ["tpe", "nsga2"])
def test_proposals_begin_with_them(table, kind):
    """Where the earlier sweep says that no dropout is best, the first proposals have little of it."""
    best = [
        replace(o, scores=o.scores | {"identity": 1 - o.recipe.dropout, "pose": 1 - o.recipe.dropout}) for o in table
    ]
    warm, cold = Sampler(SPACE, kind, 0), Sampler(SPACE, kind, 0)
    for event in from_table(best, SPACE, "red", 1.0).learned:
        warm.learn(event.name, event.values, event.observations)
    mean = [sum(s.propose(attempt)["dropout"] for attempt in range(40)) / 40 for s in (warm, cold)]
    assert mean[0] < 0.8 * mean[1] and 0.16 < mean[1] < 0.24


@pytest.mark.parametrize("most", [0.0, 20.0, 90.0])
def test_they_are_no_trials_and_a_resumed_sweep_has_them_from_its_journal(tmp_path, table, most):
    def swept(folder: Path, until: float | None = None) -> None:
        folder.mkdir()
        journal, clock = Journal(folder), Clock()
        for event in from_table(table, SPACE, "red", 0.0).learned:
            journal.append(event)
        for end in ([until] if until is not None else []) + [float("inf")]:
            clock.now = simulate(virtual(SPACE, clock, 10, 1, journal=journal), task, SPACE, 1, clock, until=end)
            journal.close()
            journal = Journal(folder)
        journal.close()

    swept(tmp_path / "whole")
    swept(tmp_path / "broken", most)
    whole, broken = read(tmp_path / "whole"), read(tmp_path / "broken")
    assert what_happened(whole) == what_happened(broken) and len(whole.endings) == 10
    assert {o.trial for o in whole.table} == set(whole.proposals) and len(whole.learned) == 30
    assert all(event.observations[0].cells == {} for event in whole.learned)
    clock = Clock()
    cold = virtual(SPACE, clock, 10, 1)
    simulate(cold, task, SPACE, 1, clock)
    assert next(iter(cold.ledger.proposals.values())).recipe != whole.proposals["t0001"].recipe


def test_a_sweep_takes_them_along(tmp_path, monkeypatch, tracking_uri):
    without_ray(monkeypatch)
    first = small_sweep(tmp_path, trials=9, seconds=0.0)
    run(first, Lines(first), Curves)
    second = small_sweep(tmp_path, trials=2, seconds=0.0, earlier=("small",))
    job = second.job.model_copy(update={"folder": str(tmp_path / "blue"), "subject": "elsewhere"})
    second = second.model_copy(update={"name": "blue", "job": job})
    told = Lines(second)
    run(second, told, Curves)
    before, ledger = len(read(tmp_path / "small").table), read(tmp_path / "blue")
    assert f"from small: {before} observations of 9 trials are used, all that it has; its subject" in told.text
    assert len(ledger.learned) == 9 and len(ledger.proposals) == 2 and len(ledger.endings) == 2
    found = show.find(tmp_path, "blue")
    assert {o.trial for o in found.front} <= {"t0001", "t0002"}
    (tmp_path / "small").rename(tmp_path / "gone")
    more = configs.load(tmp_path, "blue")
    assert resume(more, Lines(more), Curves).status == "finished", "it does not need the other any more"


@pytest.mark.parametrize(
    "change, said",
    [
        ({"base": "other"}, "--from: small has base puppets, this sweep other: their scores cannot be compared"),
        ({"panel": PanelConfig(steps=20)}, "--from: small has another panel; --panel-steps and the like"),
        (
            {"judges": JudgesConfig(pose="openpose")},
            "--from: small was judged by the default, the default",
        ),
        ({"poses": "shipped"}, "--from: small has target poses subject, this sweep shipped"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_line(tmp_path, change, said):
    earlier = small_sweep(tmp_path)
    now = earlier.model_copy(update={"job": earlier.job.model_copy(update=change)})
    check_comparable(earlier, earlier)
    with pytest.raises(InputError) as error:
        check_comparable(earlier, now)
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


def test_other_objectives_and_a_base_that_has_changed_are_refused_too(tmp_path):
    earlier = small_sweep(tmp_path)
    text = TEXT + "objectives: [identity, drift]\n"
    with pytest.raises(InputError, match="small trades identity, pose, this sweep drift, identity"):
        check_comparable(earlier, earlier.model_copy(update={"space_text": text}))
    adapter = earlier.folder / "trials" / "t0001" / "step-000010" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text('{"base_fingerprint": "0123456789abcdef"}')
    with pytest.raises(InputError, match="its files have changed since"):
        check_comparable(earlier, earlier)


def test_a_journal_that_learned_from_no_sweep_is_refused(tmp_path):
    journal = Journal(tmp_path)
    seen = observed("t0001", 10, 0.5, 0.5)
    journal.append(Learned(1.0, "red", {"rank": 4}, (seen,)))
    journal.close()
    assert read(tmp_path).learned == [Learned(1.0, "red", {"rank": 4}, (seen,))]
    path = tmp_path / "journal.jsonl"
    path.write_text(path.read_text().replace('"red"', '"../red"'))
    with pytest.raises(InputError, match="line 1"):
        read(tmp_path)
