import pytest
import torch

from spaces import Inference, Recipe
from trainables.base import Base
from trainables.finetune import FineTune
from trainables.generate import draw, lora_scaled, start_noise
from trainables.skeleton import PUPPET_13, render

TRAINED = {"learning_rate": 1e-3, "rank": 4}
METHODS = {
    "lora": Recipe(**TRAINED, text_encoder="lora"),
    "rslora": Recipe(**TRAINED, adapter="rslora"),
    "pissa": Recipe(**TRAINED, init="pissa"),
    "orthogonal": Recipe(**TRAINED, init="orthogonal"),
    "timestep": Recipe(**TRAINED, rank_schedule="timestep"),
    "full-kv": Recipe(unet="full-kv", token="trained", learning_rate=1e-3),
}


def noise_prediction(base: Base) -> torch.Tensor:
    size, channels = base.unet.config.sample_size, base.unet.config.in_channels
    noised = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        words = base.encode_text(["a robot on grass", "a photo"])  # without the token, which no scale changes
        return base.unet(noised, torch.tensor([100, 700]), words).sample


@pytest.mark.parametrize("method", METHODS)
def test_a_scale_of_what_was_trained(base, subject, method):
    untuned = noise_prediction(base)
    tune = FineTune(base, subject, METHODS[method], seed=0)
    tune.advance(8)
    trained = noise_prediction(base)
    seen = {}
    for scale in (0.0, 0.5, 1.0):
        with lora_scaled(base.unet, scale), lora_scaled(base.text_encoder, scale):
            seen[scale] = noise_prediction(base)
    after = noise_prediction(base)
    tune.remove()
    torch.testing.assert_close(seen[0.0], untuned, rtol=0, atol=2e-5)
    assert torch.equal(seen[1.0], trained) and torch.equal(after, trained)
    ways = (trained - untuned).flatten(), (seen[0.5] - untuned).flatten()
    assert ways[0].norm() > 1e-4
    assert torch.cosine_similarity(*ways, dim=0) > 0.9, "half of it points the same way"
    assert 0.3 < ways[1].norm() / ways[0].norm() < 0.75
    assert torch.equal(noise_prediction(base), untuned)


def test_a_scale_of_the_loras_of_another_module_changes_nothing(base, subject):
    tune = FineTune(base, subject, METHODS["rslora"], seed=0)
    tune.advance(2)
    trained = noise_prediction(base)
    with lora_scaled(base.text_encoder, 0.0):
        assert torch.equal(noise_prediction(base), trained)
    tune.remove()


def test_every_setting_changes_the_picture(base, subject):
    tune = FineTune(base, subject, METHODS["lora"], seed=0)
    tune.advance(8)
    ways = [
        {}, {"lora_scale": 0.5}, {"guidance": 7.5}, {"controlnet_scale": 0.3}, {"controlnet_start": 0.5},
        {"controlnet_end": 0.5},
    ]  # fmt: skip
    pose, noise = subject.poses[0], start_noise(base, [0])
    poses = [render(pose.keypoints, base.size, PUPPET_13, source_size=pose.size)]
    drawn = [draw(base, ["a sks robot on grass"], poses, noise, 4, Inference(**way)) for way in ways]
    again = draw(base, ["a sks robot on grass"], poses, noise, 4, Inference())
    tune.remove()
    assert (again == drawn[0]).all()
    assert len({picture.tobytes() for picture in drawn}) == len(ways)
