"""Marginal effects and findings, on sweeps where what works is known."""

import numpy as np
import pytest
from scipy import stats

from analysis.coordinates import coordinates
from analysis.differences import adjusted_for, paired, superiority, welch
from analysis.effects import effects
from analysis.findings import findings
from tests.analysis.tables import SPACE, space, sweep


def by_name(found):
    return {each.name: each for each in found}


def test_what_works_is_seen_and_what_does_not_is_flat():
    found = by_name(effects(sweep(80), space(), scores=["identity", "pose"]))
    rank = [each.means["identity"] for each in found["rank"].bins]
    assert [each.value for each in rank] == sorted(each.value for each in rank) and rank[0].high < rank[-1].low
    frozen, lora = (each.means["identity"] for each in found["text_encoder"].bins)
    assert lora.value - frozen.value == pytest.approx(0.1, abs=0.06)
    assert [each.label for each in found["steps"].bins] == ["100", "200", "400"] and found["steps"].ordered
    drops = [each.means["pose"] for each in found["dropout"].bins]
    assert max(each.low for each in drops) < min(each.high for each in drops)


def test_steps_are_compared_within_trials_though_only_the_good_go_on():
    table = sweep(60, noise=0.0)
    first = {o.trial: o.scores["identity"] for o in table if o.steps == 100}
    good = {trial for trial, value in first.items() if value > np.median(list(first.values()))}
    table = [o for o in table if o.steps == 100 or o.trial in good]
    (steps,) = effects(table, space(), ["steps"])
    means = [each.means["identity"].value for each in steps.bins]
    assert np.diff(means) == pytest.approx([0.09, 0.09], abs=0.05), "0.3 of a pull of 0.3 for each doubling"
    raw = [np.mean([o.scores["identity"] for o in table if o.steps == s]) for s in (100, 200)]
    assert raw[1] - raw[0] > 0.15, "which the plain means make too much of"


def test_a_field_counts_among_the_trials_that_use_it():
    table = sweep(40)
    using = {o.trial for o in table if o.recipe.text_encoder == "lora"}
    (found,) = effects(table, space(), ["text_encoder_rank"])
    assert sum(each.trials for each in found.bins) == len(using)
    assert coordinates(table, space()).of("batch_size") is None, "it does not vary"


def test_effects_of_few_or_no_trials():
    assert effects([], space()) == () and effects(sweep(1, rungs=(100,)), space()) == ()
    for effect in effects(sweep(2), space(), scores=["identity", "nothing"]):
        assert all(each.means["identity"].low is None for each in effect.bins)
        assert all(np.isnan(each.means["nothing"].value) for each in effect.bins)


def test_differences_agree_with_scipy():
    first, second = np.array([0.1, 0.4, 0.5, 0.9]), np.array([0.0, 0.1, 0.15])
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval()
    assert (welch(first, second).low, welch(first, second).high) == pytest.approx((expected.low, expected.high))
    expected = stats.ttest_1samp(first, 0).confidence_interval()
    assert (paired(first).low, paired(first).high) == pytest.approx((expected.low, expected.high))
    assert welch(first, second[:2]).low is None and not welch(first, second[:2]).clear
    alone = adjusted_for(np.zeros((7, 0)), np.arange(7) < 4, np.append(first, second))
    expected = stats.ttest_ind(first, second).confidence_interval()
    assert (alone.low, alone.high) == pytest.approx((expected.low, expected.high))


def test_how_often_one_is_above_another():
    apart = superiority(np.arange(5.0) + 9, np.arange(7.0))
    assert apart.value == 0.5 and apart.clear and 0.1 < apart.low < 0.4
    same = superiority(np.ones(4), np.ones(4))
    assert same.value == 0 and not same.clear
    assert superiority(np.ones(1), np.zeros(9)).low is None


def test_the_findings_are_what_was_put_in():
    found = {each.about: each for each in findings(sweep(80, seed=1), space())}
    encoder = found["text encoder"]
    assert encoder.numbers["identity"].low < 0.1 < encoder.numbers["identity"].high and encoder.verdict == "difference"
    assert encoder.numbers["drift"].value == pytest.approx(0.1, abs=0.02) and "other fields equal" in encoder.text
    assert found["training on"].numbers["identity"].value == pytest.approx(0.18, abs=0.03)
    assert found["dropout"].verdict == found["K/V alone"].verdict == "no significant difference"
    assert "no significant difference in identity" in found["K/V alone"].text
    assert "100" in found["steps"].text and found["steps"].verdict == "described"


def test_confounded_fields_are_told_apart_where_there_are_trials_enough():
    """Dropout that comes with rank has no effect of its own."""
    table = [o for o in sweep(160, seed=2) if (o.recipe.dropout > 0.2) == (o.recipe.rank > 11) or o.trial[-1] in "05"]
    found = {each.about: each for each in findings(table, space())}["dropout"].numbers["pose"]
    assert found.low < 0 < found.high
    means = {o.trial: (o.recipe.dropout > 0.2, o.scores["pose"]) for o in table if o.steps == 100}
    high, low = (np.array([v for side, v in means.values() if side is wanted]) for wanted in (True, False))
    assert welch(high, low).clear, "which a plain comparison takes for one"


def test_too_little_is_said_to_be_too_little():
    assert findings([], space()) == ()
    for each in findings(sweep(4, rungs=(100,)), space()):
        assert each.verdict in ("too few", "described") or "significant" in each.text
    fixed = space(SPACE.replace("text_encoder: [frozen, lora]", "text_encoder: [frozen]").replace("lora}", "frozen}"))
    assert "text encoder" not in {each.about for each in findings(sweep(10, of=fixed), fixed)}
