"""What is drawn again and again stays within its share, whatever it costs."""

import numpy as np
import pytest

from search.recording.allowance import Allowance


@pytest.mark.parametrize("cost", [0.01, 0.4, 5.0])
def test_pieces_stay_within_their_share_and_come_no_more_often_than_they_may(cost: float):
    generator, now, spent, begun = np.random.default_rng(0), 1000.0, 0.0, []
    allowance = Allowance(0.01, 20.0, 0.5, now)
    while now < 1000.0 + 50_000:
        assert allowance.at >= now + (0 if begun else 20)
        now = allowance.at
        begun.append(now)
        allowance.begin()
        for part in cost * generator.uniform(0.4, 0.6, size=2):  # drawing, then telling
            now, spent = now + part, spent + part
            allowance.spend(part, now)
        assert len(begun) == 1 or spent <= 0.0125 * (now - 1000.0), "a piece may cost more than the one before"
    assert np.diff(begun).min() >= 20.0
    assert spent <= 0.0101 * 50_000
    if cost > 0.2:
        assert spent > 0.008 * 50_000, "and it uses its share"
