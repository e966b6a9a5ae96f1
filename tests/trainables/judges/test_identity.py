import numpy as np
import pytest
import torch

from spaces import InputError
from tests.trainables.judges.models import MAKERS, make_dinov2, make_vitpose, seeded
from trainables.judges import IdentityJudge
from trainables.judges.identity import cut_to


@pytest.fixture(scope="module", params=sorted(MAKERS))
def judge(request, tmp_path_factory) -> IdentityJudge:
    return IdentityJudge.load(seeded(MAKERS[request.param], tmp_path_factory.mktemp(request.param)))


@pytest.fixture(scope="module")
def dino(tmp_path_factory) -> IdentityJudge:
    return IdentityJudge.load(seeded(make_dinov2, tmp_path_factory.mktemp("dino")))


@pytest.fixture(scope="module")
def scenes() -> tuple[np.ndarray, np.ndarray]:
    """Four pictures of 48 x 40, and in each a region of its own."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 255, (4, 48, 40, 3), dtype=np.uint8)
    regions = np.zeros((4, 48, 40), bool)
    for number in range(4):
        regions[number, 6 + number : 30 + number, 10 : 28 - number] = True
    return pixels, regions


def test_embeddings_are_unit_vectors_of_pictures_of_any_size(judge, scenes):
    made = judge.embed(*scenes)
    assert made.shape[0] == 4 and torch.allclose(made.norm(dim=-1), torch.ones(4))
    assert judge.embed(np.repeat(scenes[0], 2, axis=1)).shape == made.shape


def test_what_is_behind_the_figure_does_not_count(judge, scenes):
    pixels, regions = scenes
    behind = np.where(regions[..., None], pixels, 255 - pixels)
    torch.testing.assert_close(judge.embed(behind, regions), judge.embed(pixels, regions))
    assert (judge.embed(behind) * judge.embed(pixels)).sum(-1).max() < 1 - 1e-4


def test_where_the_figure_is_does_not_count(judge, scenes):
    pixels, regions = scenes
    moved = np.roll(pixels, (5, 7), axis=(1, 2)), np.roll(regions, (5, 7), axis=(1, 2))
    torch.testing.assert_close(judge.embed(*moved), judge.embed(pixels, regions))


def test_each_picture_is_judged_by_itself(judge, scenes):
    pixels, regions = scenes
    order = [2, 0, 3, 1]
    expected = judge.embed(pixels, regions)[order]
    torch.testing.assert_close(judge.embed(pixels[order], regions[order]), expected, atol=1e-5, rtol=1e-4)
    alone = torch.cat([judge.embed(pixels[k : k + 1], regions[k : k + 1]) for k in order])
    torch.testing.assert_close(alone, expected, atol=1e-5, rtol=1e-4)


def test_the_processor_of_the_model_is_what_its_pictures_go_through(dino, scenes):
    whole = dino.processor(images=list(scenes[0]), return_tensors="pt")
    expected = torch.nn.functional.normalize(dino.model(**whole).pooler_output, dim=-1)
    torch.testing.assert_close(dino.embed(scenes[0]), expected)


def test_a_figure_is_cut_out_whole_and_in_the_middle():
    picture = np.full((20, 30, 3), 9, np.uint8)
    region = np.zeros((20, 30), bool)
    region[2:12, 25:30] = True
    cut = cut_to(picture, region, 0.5, (1, 2, 3))
    assert cut.shape == (20, 20, 3)
    assert (cut == 9).all(-1).sum() == 50 and (cut[5:15, 7:12] == 9).all()
    assert (cut[0, 0] == (1, 2, 3)).all()
    assert cut_to(picture, np.zeros_like(region), 0.5, (1, 2, 3)) is picture


def test_dense_features_of_a_shifted_picture_are_shifted(dino):
    """Shifts by one cell of the finer grid, which an encoder of 4 x 4 patches sees 2 x 2 times or more."""
    pixels = np.random.default_rng(0).integers(0, 255, (2, 56, 56, 3), dtype=np.uint8)
    features = dino.dense(pixels, cells=8)
    assert features.shape == (2, 8, 8, 32)
    dino.model.embeddings.position_embeddings.data.zero_()
    flat = np.full((1, 56, 56, 3), 90, np.uint8)
    made = dino.dense(flat, cells=8)
    torch.testing.assert_close(made, made[:, :1, :1].expand_as(made), atol=1e-4, rtol=1e-3)


def test_the_grid_is_as_fine_as_whole_parts_of_a_patch_allow(dino):
    pixels = np.zeros((1, 56, 56, 3), np.uint8)
    assert dino.patches == 4
    assert dino.dense(pixels, cells=4).shape[1] == 4
    assert dino.dense(pixels, cells=28).shape[1] == 28
    assert dino.dense(pixels, cells=27).shape[1] == 8  # 14 has no divisor between 2 and 7


def test_another_kind_of_model_is_no_identity_judge(tmp_path):
    with pytest.raises(InputError, match=r"config.json: model_type: 'vitpose' judges no identity"):
        IdentityJudge.load(make_vitpose(tmp_path))


def test_pickled_weights_are_not_read(tmp_path):
    make_dinov2(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="is a pickle, which may run code, and is not read"):
        IdentityJudge.load(tmp_path)


def test_no_folder_and_no_hub_id_is_said_so():
    with pytest.raises(InputError, match="neither a judge's name, nor a folder, nor a hub id"):
        IdentityJudge.load("no such judge")
