import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import methods, phenomenon
from benchmarks.findings import BEGIN, END, Contrast, contrasts, draw, holm, into, markdown, with_balance

SEEDS = 4


def world(**shifts: float) -> list[Contrast]:
    """All recipes the same but for a little noise, those named in `shifts` higher in hard poses."""
    generator = np.random.default_rng(0)

    def values(name: str) -> dict[str, np.ndarray]:
        scores = ("identity", "pose", "pose_plain", "pose_hard", "drift")
        noisy = {score: 0.5 + generator.normal(0, 0.001, SEEDS) for score in scores}
        noisy["pose_hard"] = noisy["pose_hard"] + shifts.get(name, 0.0)
        return with_balance([dict(zip(noisy, row, strict=True)) for row in zip(*noisy.values(), strict=True)])

    over_steps = {(name, at): values(name) for name in phenomenon.RECIPES for at in phenomenon.rungs_of(name)}
    of = {name: values(name) for name in methods.methods(200)}
    return list(contrasts(over_steps, of, {name: values(name) for name in ("person", "robot")}))


def test_a_difference_that_is_there_is_found_and_turned_towards_the_finding():
    found = world(**{"text encoder too": -0.2, "module dropout 0.3": 0.2, "robot": 0.3})
    of = {(each.finding, each.tested): each for each in found if each.score == "pose_hard"}
    assert of["tuning the text encoder forgets structure", "text encoder too; 200 steps"].verdict == "holds"
    assert of["dropout keeps the pose", "module dropout 0.3; 200 steps"].verdict == "holds"
    bias = "a ControlNet of people breaks robots in unusual poses"
    assert of[bias, "untuned, people over robots"].verdict == "the contrary"
    assert of["dropout keeps the pose", "rank dropout 0.3; 200 steps"].differences.mean() == pytest.approx(0, abs=0.01)


def test_the_table_and_the_figure_have_every_difference(tmp_path):
    found = world()
    lines = markdown(found).splitlines()
    assert len(lines) == 2 + len(found) and sum(line.startswith("|  |") for line in lines) < len(found)
    assert {each.finding for each in found} == {line.split("|")[1].strip() for line in lines[2:]} - {""}
    draw(found, tmp_path / "findings.png")
    assert (tmp_path / "findings.png").stat().st_size > 10_000


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_between_the_values_and_bonferroni_and_keeps_their_order(ps):
    adjusted = np.array(holm(ps))
    assert (adjusted >= np.array(ps)).all() and (adjusted <= np.minimum(1, len(ps) * np.array(ps))).all()
    assert (np.diff(adjusted[np.argsort(ps, kind="stable")]) >= 0).all()


def test_holm_as_published():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_a_page_keeps_all_but_the_table():
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert into(page, r"new \1") == f"before\n{BEGIN}\n\nnew \\1\n\n{END}\nafter\n"
    with pytest.raises(ValueError, match="has no"):
        into("nothing", "new")
