import numpy as np
import pytest
import torch

from spaces import InputError
from tests.tiny import _tokenizer as tiny_tokenizer
from tests.trainables.judges.models import make_clip, make_dinov2, seeded
from trainables.judges import PromptJudge


@pytest.fixture(scope="module")
def judge(tmp_path_factory) -> PromptJudge:
    return PromptJudge.load(seeded(make_clip, tmp_path_factory.mktemp("clip"), tiny_tokenizer()))


def test_the_score_is_the_cosine_that_clip_itself_gives(judge):
    pixels = np.random.default_rng(0).integers(0, 255, (3, 40, 40, 3), dtype=np.uint8)
    prompts = ["a robot on grass", "a person", "a photo of the red robot at night"]
    inputs = judge.processor(images=list(pixels), return_tensors="pt")
    inputs |= judge.tokenizer(prompts, padding=True, return_tensors="pt")
    logits = judge.model(**inputs).logits_per_image / judge.model.logit_scale.exp()
    np.testing.assert_allclose(judge.score(pixels, prompts), logits.diagonal().detach(), atol=1e-5)


def test_a_prompt_does_not_depend_on_its_neighbours_and_a_long_one_is_cut(judge):
    alone = judge.embed_prompts(["a robot"])
    torch.testing.assert_close(judge.embed_prompts(["a robot", "a robot " * 40])[:1], alone, atol=1e-5, rtol=1e-4)


def test_a_model_without_text_judges_no_prompts(tmp_path):
    with pytest.raises(InputError, match="'dinov2' judges no prompts"):
        PromptJudge.load(make_dinov2(tmp_path))
