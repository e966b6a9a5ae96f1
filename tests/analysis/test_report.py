"""The page of a sweep: what it says is what the analysis says, whatever the sweep has, and nothing is fetched."""

import html
import io
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from analysis import importance
from analysis.confirmed import Confirmation, Confirmed
from analysis.course import course
from analysis.effects import effects
from analysis.findings import findings
from analysis.pareto import hypervolume, knee, non_dominated
from analysis.report import Album, Material, Rival, Strip, report_html
from analysis.spending import Drive, spending
from analysis.stops import stops
from spaces import OBJECTIVES, Cost, Observation, Recipe, parse_objectives, parse_space, to_losses

RUNGS = (100, 200, 400)
SPACE = parse_space(
    "rungs: [100, 200, 400]\nsubject: x\nrecipe: {rank: {low: 2, high: 32, log: true}, dropout: {low: 0.0, high: 0.4}}",
    "few",
)
NAMES = ("identity", "pose", "drift", "prompt")


@pytest.fixture(autouse=True)
def few_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals are tested with what makes them."""
    monkeypatch.setattr(importance, "HALVES", 2)
    monkeypatch.setattr(importance, "TREES", 2)


def table(count: int) -> list[Observation]:
    draw = np.random.default_rng(count)
    recipes = [Recipe(rank=2 ** (1 + i % 5), dropout=0.1 * (i % 3)) for i in range(count)]
    return [
        Observation(
            f"t{i // 3:04d}", recipes[i // 3], i // 3, RUNGS[i % 3],
            dict(zip(NAMES, draw.random(4).tolist(), strict=True)) | {"validation_loss": 0.1},
            cost=Cost(train=10, score=2, load=1),
        )
        for i in range(count)
    ]  # fmt: skip


def material(observations: list[Observation], count: int = 2, **changes: object) -> Material:
    objectives = tuple(OBJECTIVES[name] for name in NAMES[:count])
    at = knee(to_losses(objectives, [o.scores for o in observations]))
    drives = [Drive(10.0 * len(observations), 2, 0, len(observations))] if observations else []
    best = None if at is None else observations[at]
    endings = {o.trial: ("stopped", o.steps) for o in observations}
    made = Material(
        name="some-1", status="finished", facts={"subject": "robot"}, space=replace(SPACE, objectives=objectives),
        observations=observations,
        course=course(observations, range(len(observations)), [13.0] * len(observations), objectives),
        on_gpus=False, base_scores=dict.fromkeys(NAMES, 0.5), confirmation=None, knee=best, pick=best,
        pick_words=["It is the `knee` <of> the front."],
        spending=spending([o.cost for o in observations], drives),
        stops=stops(observations, RUNGS, endings), command="posefront report some-1",
    )  # fmt: skip
    return replace(made, **changes)


def strip(count: int = 12, side: int = 8) -> Strip:
    file = io.BytesIO()
    Image.new("RGB", (count * side, side), "red").save(file, "WEBP")
    return Strip(file.getvalue(), count, side, np.ones((count, 13, 3)))


def data(page: str) -> dict:
    (text,) = re.findall(r'<script type="application/json" id="page-data">(.*?)</script>', page)
    return json.loads(text)


def own(page: str) -> str:
    """The page without Plotly's script, which has addresses that it does not ask for unless a map is drawn."""
    scripts = re.findall(r"<script>.*?</script>", page, re.DOTALL)
    assert sum(len(script) > 1_000_000 for script in scripts) == 1, "Plotly's script is there once"
    return page.replace(max(scripts, key=len), "")


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [0, 1, 2, 30])
def test_its_numbers_are_the_analysis(size, count):
    given = material(table(size), count)
    page = report_html(given)
    points = data(page)["points"]
    losses = to_losses(given.objectives, [o.scores for o in given.observations])
    assert sorted(points["front"]) == np.flatnonzero(non_dominated(losses)).tolist()
    assert (points["knee"] is None) == (size == 0) and points["knee"] == knee(losses)
    for name in NAMES[:count] if size else ():
        assert points["scores"][name] == pytest.approx([o.scores[name] for o in given.observations], abs=1e-6)
    assert [points["trials"][i]["name"] for i in points["trial"]] == [o.trial for o in given.observations]
    volume = hypervolume(losses, 1.0) if size else 0.0
    assert f"<b>{volume:.4f} (untuned base" in page
    if size:
        curve = data(page)["figures"]["hypervolume over trials"]["data"][0]
        assert curve["y"][-1] == pytest.approx(volume, abs=1e-6)
        assert re.search(r"<td>waiting</td>.*?35\.0 %", page)
    assert ("identity 0." in page) == (size > 0)


def test_nothing_is_fetched_and_nothing_of_a_text_is_markup():
    some = table(6)
    named = replace(material(some), name="<img src=//x.example/a>", facts={"subject": "</script><b>"})
    page = own(report_html(named))
    assert not re.findall(r"<\w+[^>]*\s(?:src|href)=[\"']?(?:https?:)?//", page) and "@import" not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "<img src=//" not in page and "</script><b>" not in page
    assert "<code>knee</code> &lt;of&gt;" in page


def test_pictures_are_there_once_and_what_lacks_one_says_why():
    some = table(9)
    album = Album(
        reference=(strip(1).image,), targets=strip(), base=strip(), strips={some[0].key: strip()},
        gone=frozenset({some[1].key}), prompts=("a sks robot",) * 12, grades=("plain",) * 6 + ("hard",) * 6,
        limbs=((0, 1),), notes=("The pictures of 1 observation are not on disk any more.",),
    )  # fmt: skip
    page = report_html(material(some, album=album))
    found = data(page)
    assert found["points"]["pictures"][:3] == [2, -1, -2], "kept, gone, left out"
    assert len(found["strips"]) == 3 and set(found["special"]) == {"targets", "base"}
    assert found["strips"][2]["joints"][11][12] == [1, 1, 1] and "not on disk any more" in page


def test_a_confirmation_is_shown_with_its_intervals_and_odds():
    some = table(9)
    losses = to_losses(parse_objectives(["identity", "pose"]), [o.scores for o in some])
    kept = some[int(np.flatnonzero(non_dominated(losses))[0])]
    means = {"identity": 0.4321, "pose": 0.8765}
    again = Confirmed(kept.key, kept.name, 0, 3, means, {"identity": 0.0123, "pose": 0.02}, 0.87, "on", True)
    given = material(some, confirmation=Confirmation([again], again, None), knee=kept, pick=kept)
    page = report_html(given)
    (shown,) = data(page)["points"]["confirmed"]
    assert (some[shown["point"]].key, shown["means"], shown["chance"]) == (kept.key, means, 0.87)
    assert "0.432 ± 0.012" in page and "87 %" in page and "95 % interval" in page


def test_what_was_found_and_what_matters_are_the_analysis_own():
    some = table(60)
    given = material(some)
    page = report_html(given)
    told = findings(some, given.space)
    assert told and all(each.text.replace("'", "&#39;") in html.unescape(page).replace("'", "&#39;") for each in told)
    figures, matter = data(page)["figures"], importance.importances(some, given.space)
    for name, several in (("front", matter.front), *matter.objectives.items()):
        points, chance = figures[f"importance {name}"]["data"]
        assert points["x"] == pytest.approx([each.share for each in several], abs=1e-5)
        assert chance["x"] == pytest.approx([each.chance for each in several], abs=1e-5)
    (rank,) = effects(some, given.space, names=["rank"])
    for trace in figures["effect rank"]["data"]:
        assert trace["y"] == pytest.approx([each.means[trace["name"]].value for each in rank.bins], abs=1e-5)
    assert figures["parallel"]["data"][0]["name"] == "other trials"


def test_another_sweeps_volume_is_beside_its_own():
    some, objectives = table(9), parse_objectives(["identity", "pose"])
    other = course(some[:4], [1, 2, 3, 4], [1.0] * 4, objectives)
    page = report_html(material(some, rivals=[Rival("else-1", other)]))
    mine, theirs = data(page)["figures"]["hypervolume over time"]["data"]
    assert (mine["name"], theirs["name"]) == ("some-1", "else-1") and mine["line"]["dash"] != theirs["line"]["dash"]
    assert theirs["y"][-1] == pytest.approx(other.last, abs=1e-6) and f"{other.last:.4f}" in page


def test_a_page_of_many_points_stays_small():
    page = report_html(material(table(600), 3))
    assert len(page) < 6_500_000 and not math.isnan(len(page))
