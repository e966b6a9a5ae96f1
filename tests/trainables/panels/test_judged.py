"""What is kept of a panel beside its pictures is read as it was written, and nothing else is."""

import numpy as np
import pytest

from spaces import InputError
from trainables.panels.judged import judged_path, read_cells, read_judged, write_cells, write_judged
from trainables.skeleton import PUPPET_13


def test_what_was_seen_and_asked_is_read_as_it_was_written(tmp_path):
    joints = np.random.default_rng(0).uniform(0, 64, (3, 13, 3))
    lost = joints.copy()
    lost[1, 2, 0] = np.nan
    grid = tmp_path / "grid-cfg3-cn1-lora0.5.png"
    write_judged(grid, lost, PUPPET_13, 64, 0.3)
    seen = read_judged(grid)
    assert (seen.size, seen.detected, seen.limbs) == (64, 0.3, PUPPET_13.limbs)
    assert (seen.joints[1, 2] == 0).all(), "a joint that is nowhere is not found"
    kept = np.ones((3, 13), bool)
    kept[1, 2] = False
    np.testing.assert_allclose(seen.joints[kept], joints[kept], atol=5e-4)
    write_cells(tmp_path, ["a", "b", "c"], ["plain", "plain", "hard"], joints, PUPPET_13, 64)
    asked = read_cells(tmp_path)
    assert (asked.prompts, asked.grades) == (("a", "b", "c"), ("plain", "plain", "hard"))
    np.testing.assert_allclose(asked.poses, joints, atol=5e-4)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cells.json", "grid-cfg3-cn1-lora0.5.judged.json"]


def test_what_was_not_kept_is_none_and_what_makes_no_sense_is_named(tmp_path):
    grid = tmp_path / "grid.png"
    assert read_judged(grid) is None and read_cells(tmp_path) is None
    for text in ("[1]", "{", '{"joints": [[1]], "limbs": [], "size": 1, "detected": 0}'):
        judged_path(grid).write_text(text)
        with pytest.raises(InputError, match=r"grid\.judged\.json"):
            read_judged(grid)
