import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces import Inference, InputError, Recipe
from trainables.base import Base
from trainables.finetune import FineTune
from trainables.job import PanelConfig
from trainables.judges import load_judges
from trainables.panels.panel import Panel, grid, means, panel_cells
from trainables.subject import Subject

SMALL = PanelConfig(plain=2, hard=2, drift=2, steps=2)


@pytest.fixture(scope="module")
def base() -> Base:
    return Base.load("puppets")


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject.load("puppets/robot")


@pytest.fixture(scope="module")
def panel(base, subject, tmp_path_factory) -> Panel:
    panel = Panel(base, subject, load_judges(base.folder), SMALL, tmp_path_factory.mktemp("panel"))
    panel.reference()
    return panel


def test_the_untuned_base_scores_as_its_reference_and_drifts_nowhere(panel):
    reference, scored = panel.reference(), panel.score()
    assert scored.scores["drift"] == pytest.approx(0, abs=1e-6)
    for name in ("identity", "pose", "pose_plain", "pose_hard", "detection_rate"):
        assert scored.scores[name] == pytest.approx(reference.scores[name], abs=1e-6)
    assert (scored.pictures == reference.pictures).all()


def test_a_score_is_the_mean_of_the_cells_that_it_applies_to(panel):
    scored = panel.score()
    for name, values in scored.cells.items():
        assert len(values) == 4
        assert scored.scores[name] == pytest.approx(np.nanmean(values), abs=1e-9)
    assert [math.isnan(v) for v in scored.cells["pose_hard"]] == [True, True, False, False]
    assert sum(not math.isnan(v) for v in scored.cells["drift"]) == 2


@given(st.lists(st.integers(0, 13), min_size=16, max_size=16), st.randoms(use_true_random=False))
def test_as_many_joints_found_is_the_same_pose_score_however_they_are_spread(found, random):
    spread = [0] * len(found)
    for joint in random.sample(range(13 * len(found)), sum(found)):
        spread[joint // 13] += 1
    one, other = ({"pose": np.array(counts) / 13} for counts in (found, spread))
    assert means(one) == means(other)


def test_a_second_trial_reads_the_reference_that_the_first_one_made(base, subject, panel):
    before = {path.name: path.stat().st_mtime_ns for path in panel.folder.iterdir()}
    again = Panel(base, subject, panel.judges, SMALL, panel.folder)
    assert again.reference().scores == panel.reference().scores
    assert {
        path.name: path.stat().st_mtime_ns for path in panel.folder.iterdir() if path.suffix != ".lock"
    }.items() <= before.items()


def test_a_trained_adapter_drifts_and_another_seed_of_the_panel_is_another_panel(base, subject, panel, tmp_path):
    tune = FineTune(base, subject, Recipe(targets="attention+ff", learning_rate=1e-2, text_encoder="lora"), seed=0)
    tune.advance(5)
    scored = panel.score()
    tune.remove()
    assert scored.scores["drift"] > 1e-3
    assert (scored.pictures != panel.reference().pictures).any()
    other = Panel(base, subject, panel.judges, SMALL.model_copy(update={"seed": 1}), tmp_path)
    assert (other.reference().pictures != panel.reference().pictures).any()


def test_identity_is_of_the_subject_and_not_of_the_background(base, subject, panel):
    judge, pictures = panel.judges.identity, np.stack([p.pixels for p in subject.pictures])
    masks = np.stack([p.mask for p in subject.pictures])
    scenes = pictures.copy()
    scenes[~masks] = 255 - scenes[~masks]
    np.testing.assert_allclose(judge.embed(scenes, masks), judge.embed(pictures, masks), atol=1e-6)
    person = Subject.load("puppets/person")
    other = judge.embed(np.stack([p.pixels for p in person.pictures]), np.stack([p.mask for p in person.pictures]))
    same = judge.embed(pictures, masks)
    assert (same @ same.T).mean() > 0.7 > 0.3 > (same @ other.T).mean()


def test_the_panel_shows_no_pose_of_the_training_pictures(subject):
    cells = panel_cells(subject, PanelConfig(plain=16, hard=16))
    trained = np.stack([p.keypoints[:, :2] for p in subject.pictures])
    for cell in cells:
        shapes = cell.pose.keypoints[:, :2] - cell.pose.keypoints[:, :2].mean(0)
        others = trained - trained.mean(axis=1, keepdims=True)
        assert np.abs(others - shapes).max(axis=(1, 2)).min() > 3
    assert len({cell.seed for cell in cells}) == 32
    assert all("sks" in cell.prompt and "sks" not in cell.class_prompt for cell in cells)


def test_more_cells_than_poses_is_a_mistake_with_a_name(subject):
    with pytest.raises(InputError, match=r"poses.jsonl: has 16 hard poses; the panel asks for 17"):
        panel_cells(subject, PanelConfig(hard=17))


def test_the_grid_shows_each_picture_above_its_pose(panel):
    sheet = grid(panel.reference().pictures, panel.skeletons, columns=3)
    assert sheet.width / sheet.height == pytest.approx(3 / 4)


def test_a_checkpoint_is_scored_as_it_is_drawn(base, subject, panel, tmp_path):
    main, plain = Inference(), Inference(lora_scale=0.0, guidance=1.5)
    ways = (main, Inference(lora_scale=0.0), plain, Inference(controlnet_end=0.5))
    several = Panel(base, subject, panel.judges, SMALL.model_copy(update={"inferences": ways}), tmp_path)
    untuned = several.reference()
    before = dict(base.unet.state_dict())
    tune = FineTune(base, subject, Recipe(learning_rate=1e-2, text_encoder="lora"), seed=0)
    tune.advance(5)
    scored = {way: several.score(way) for way in ways}
    again = several.score()
    tune.remove()
    assert (scored[ways[1]].pictures == untuned.pictures).all(), "LoRAs at scale 0 are none"
    assert scored[ways[1]].scores["drift"] == pytest.approx(0, abs=1e-6)
    assert scored[plain].scores["drift"] == pytest.approx(0, abs=1e-6), "the base is drawn with the same guidance"
    assert (again.pictures == scored[main].pictures).all(), "a scale is taken back"
    different = {values.pictures.tobytes() for values in scored.values()}
    assert len(different) == 4
    assert all((before[name] == value).all() for name, value in base.unet.state_dict().items())
