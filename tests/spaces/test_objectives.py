import numpy as np
import pytest

from spaces import InputError, parse_objectives, to_losses


def test_losses_are_nought_at_the_ideal_and_one_at_the_nadir_whatever_the_direction():
    objectives = parse_objectives(["identity", "drift"])
    losses = to_losses(
        objectives, [{"identity": 1.0, "drift": 0.0}, {"identity": 0.0, "drift": 1.0}, {"identity": 0.3, "drift": 0.3}]
    )
    np.testing.assert_allclose(losses, [[0, 0], [1, 1], [0.7, 0.3]])


def test_better_is_smaller():
    objectives = parse_objectives(["pose", "drift"])
    better, worse = to_losses(objectives, [{"pose": 0.9, "drift": 0.1}, {"pose": 0.8, "drift": 0.2}])
    assert (better < worse).all()


def test_no_rows_keep_their_shape_and_nan_stays():
    objectives = parse_objectives(["identity", "pose"])
    assert to_losses(objectives, []).shape == (0, 2)
    assert np.isnan(to_losses(objectives, [{"identity": float("nan"), "pose": 1.0}])[0, 0])


def test_an_objective_twice_is_refused():
    with pytest.raises(InputError, match="different"):
        parse_objectives(["pose", "pose"])
