"""What the plots show: the prepared data is tested, and that both renderings hold it."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from analysis.confirmed import Confirmation, Confirmed
from analysis.frontplot import prepare
from analysis.pareto import hypervolume
from analysis.plots import pareto_html, pareto_png
from spaces import OBJECTIVES, Inference, Observation, Recipe, parse_objectives, to_losses

BOTH = parse_objectives(["identity", "pose"])
BASE = {"identity": 0.3, "pose": 0.8, "drift": 0.0}
NAN = float("nan")


def scored(trial: str, steps: int, identity: float, pose: float, drift: float = 0.1) -> Observation:
    scores = {"identity": identity, "pose": pose, "drift": drift}
    return Observation(trial, Recipe(rank=12), 5, steps, scores)


SOME = [
    scored("t0000", 200, 0.80, 0.50), scored("t0000", 100, 0.70, 0.75), scored("t0001", 100, 0.55, 0.65),
    scored("t0002", 100, 0.40, 0.90), scored("t0003", 100, 0.90, NAN),
]  # fmt: skip


def test_the_front_its_knee_and_the_ways_of_the_trials():
    plot = prepare(SOME, BOTH, BASE, "small")
    assert [plot.names[i] for i in plot.front] == ["t0000@200", "t0000@100", "t0002@100"]
    assert plot.names[plot.knee] == "t0000@100"
    assert [path.tolist() for path in plot.paths] == [[[0.7, 0.75], [0.8, 0.5]]]
    assert plot.base == (0.3, 0.8)


def test_a_checkpoint_that_is_drawn_in_two_ways_is_two_points_on_two_ways():
    weak = Inference(lora_scale=0.5)
    others = [replace(o, inference=weak, label=weak.name, scores=o.scores | {"pose": 0.95}) for o in SOME[:2]]
    plot = prepare([*SOME, *others], BOTH, BASE, "small")
    assert "t0000@200:cfg3-cn1-lora0.5" in [plot.names[i] for i in plot.front]
    assert [path.tolist() for path in plot.paths] == [[[0.7, 0.75], [0.8, 0.5]], [[0.7, 0.95], [0.8, 0.95]]]
    assert plot.summary[0] == "trials: 4, scored checkpoints: 5 (7 observations), on the front: 1"
    assert "drawn as cfg3-cn1-lora0.5" in plot.hover[-1].split("<br>")


def test_what_has_no_number_is_left_out_and_counted():
    plot = prepare(SOME, BOTH, BASE, "small")
    assert "t0003@100" not in plot.names and len(plot.points) == 4
    assert plot.summary[0] == "trials: 4, scored checkpoints: 5, on the front: 3"
    assert plot.summary[-1] == "1 without a number left out"


def test_axes_say_which_way_is_better():
    plot = prepare(SOME, parse_objectives(["identity", "drift"]), BASE, "small")
    assert plot.axis_titles[0].endswith("(higher is better)") and plot.axis_titles[1].endswith("(lower is better)")
    assert plot.better == (1, -1)


@pytest.mark.parametrize("names", [["identity", "pose"], ["drift", "identity"], ["pose", "drift"]])
def test_the_stairs_enclose_the_hypervolume(names: list[str]):
    objectives = parse_objectives(names)
    observations = [o for o in SOME if o.trial != "t0003"] + [scored("t0004", 50, 0.2, 0.95, 0.02)]
    stairs = prepare(observations, objectives, None, "small").stairs
    corner = np.array([[o.nadir for o in objectives]])
    x, y = np.vstack([stairs, corner]).T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert area == pytest.approx(hypervolume(to_losses(objectives, [o.scores for o in observations]), 1.0))


def test_three_objectives_have_a_front_and_no_stairs():
    three = (*BOTH, OBJECTIVES["drift"])
    observations = [*SOME, scored("t0005", 50, 0.3, 0.3, 0.0)]
    plot = prepare(observations, three, BASE, "small")
    assert "t0005@50" in [plot.names[i] for i in plot.front]
    assert len(plot.stairs) == 0 and "of identity, pose, drift" in plot.summary[0]
    assert pareto_png(observations, three, BASE, "small")


def test_hovering_tells_trial_steps_scores_and_recipe():
    plot = prepare(SOME, BOTH, BASE, "small")
    assert "<b>t0000</b> at 200 steps, seed 5" in plot.hover[0]
    for line in ("<b>identity 0.800</b>", "<b>pose 0.500</b>", "drift 0.100", "rank 12", "targets attention"):
        assert line in plot.hover[0].split("<br>")


def test_hovering_leaves_out_what_all_recipes_have_in_common():
    other = replace(SOME[1], trial="t0009", recipe=Recipe(rank=4))
    lines = prepare([*SOME, other], BOTH, BASE, "small").hover[0].split("<br>")
    assert "rank 12" in lines and not any(line.startswith("targets") for line in lines)


def test_the_page_needs_no_network():
    page = pareto_html(SOME, BOTH, BASE, "small")
    assert not re.findall(r"<(?:script|link)[^>]*(?:src|href)=", page)
    assert "plotly" in page.lower() and len(page) > 1_000_000
    assert "t0000@100" in page and "untuned base" in page


def test_names_cannot_break_the_page():
    page = pareto_html(SOME, BOTH, BASE, "</script><script>alert(1)</script>")
    assert "<script>alert" not in page


@pytest.mark.parametrize(
    "observations", [[], SOME[:1], [scored("t0000", 100, NAN, NAN)], [SOME[1]] * 2], ids=["none", "one", "nan", "equal"]
)
@pytest.mark.parametrize("base", [None, BASE], ids=["no base", "base"])
def test_few_observations_make_plots_too(observations, base):
    assert pareto_html(observations, BOTH, base, "small").startswith("<!DOCTYPE html>")
    with Image.open(io.BytesIO(pareto_png(observations, BOTH, base, "small"))) as picture:
        assert picture.size == (1440, 960)


def again(name: str, identity: float, pose: float, on_front: bool, layer: int = 0) -> Confirmed:
    trial, _, steps = name.partition("@")
    means, halves = {"identity": identity, "pose": pose}, {"identity": 0.02, "pose": 0.04}
    return Confirmed((trial, int(steps), ""), name, layer, 4, means, halves, 0.9 * on_front, "open", on_front)


KEPT = again("t0000@100", 0.66, 0.71, True)
AGAIN = Confirmation([again("t0000@200", 0.64, 0.50, False), KEPT, again("t0001@100", 0.5, 0.75, True, 1)], KEPT,
                     {"identity": 0.28, "pose": 0.77})  # fmt: skip


def test_a_confirmation_is_drawn_with_intervals_and_what_it_does_not_confirm_is_dimmed():
    plot = prepare(SOME, BOTH, BASE, "small", confirmation=AGAIN)
    seen = plot.confirmed
    assert seen.names == ["t0000@100", "t0001@100"] and seen.knee == 0 and seen.base == (0.28, 0.77)
    assert seen.points.tolist() == [[0.66, 0.71], [0.5, 0.75]] and (seen.halves == [0.02, 0.04]).all()
    assert seen.before.tolist() == [[0.70, 0.75], [0.55, 0.65]]
    assert [plot.names[i] for i in seen.lost] == ["t0000@200", "t0002@100"]  # the latter was not tried again
    assert plot.summary[-1] == "confirmed: 1 of the 2 of the front that were tried again and 1 from behind it"
    hover = {name: text for name, text in zip(plot.names, plot.hover, strict=True)}
    assert "<b>not confirmed</b><br>identity 0.640 ± 0.020" in hover["t0000@200"] and "90%" in hover["t0001@100"]
    page = pareto_html(SOME, BOTH, BASE, "small", confirmation=AGAIN)
    assert "confirmed: mean, 95 % interval" in page and "knee: t0000@100" in page
    with_it, without = (pareto_png(SOME, BOTH, BASE, "small", confirmation=each) for each in (AGAIN, None))
    assert Image.open(io.BytesIO(with_it)).size == (1440, 960) and with_it != without
    empty = replace(AGAIN, candidates=[], knee=None)
    assert prepare(SOME, BOTH, BASE, "small", confirmation=empty).confirmed is None
