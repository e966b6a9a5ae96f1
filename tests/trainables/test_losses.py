import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import mse_loss

from trainables.losses import masked_losses, min_snr_weights, sample_losses, signal_to_noise

SCHEDULE = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
ALL = torch.arange(1000)


def test_signal_to_noise_is_as_diffusers_computes_it() -> None:
    torch.testing.assert_close(
        signal_to_noise(SCHEDULE.alphas_cumprod, ALL), compute_snr(SCHEDULE, ALL), rtol=1e-4, atol=0
    )


@given(gamma=st.floats(0.1, 100), timestep=st.integers(0, 999))
def test_min_snr_weights_follow_the_paper(gamma: float, timestep: int) -> None:
    alpha_bar = SCHEDULE.alphas_cumprod[timestep].item()
    snr = alpha_bar / (1 - alpha_bar)
    expected = {"epsilon": min(snr, gamma) / snr, "v_prediction": min(snr, gamma) / (snr + 1)}
    for prediction_type, weight in expected.items():
        found = min_snr_weights(SCHEDULE.alphas_cumprod, torch.tensor([timestep]), gamma, prediction_type)
        assert found.item() == pytest.approx(weight, rel=1e-3)


@pytest.mark.parametrize(("prediction_type", "weight"), [("epsilon", 1.0), ("v_prediction", 0.0)])
def test_min_snr_weights_are_finite_where_nothing_of_the_picture_is_left(prediction_type: str, weight: float) -> None:
    assert min_snr_weights(torch.tensor([0.0]), torch.tensor([0]), 5.0, prediction_type).item() == weight


def test_a_sample_s_loss_is_its_own_weighted_mean_in_fp32() -> None:
    predicted = torch.tensor([[[[1.0, 2.0]]], [[[300.0, 0.0]]]], dtype=torch.float16)
    losses = sample_losses(predicted, torch.zeros_like(predicted), torch.tensor([2.0, 1.0]))
    assert losses.dtype == torch.float32
    assert losses.tolist() == [5.0, 45000.0]


def test_a_masked_loss_is_a_mean_over_what_the_mask_leaves() -> None:
    error = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 2, 2).expand(1, 4, 2, 2)
    region = torch.tensor([[1.0, 0.0], [0.0, 0.5]]).view(1, 1, 2, 2)
    found = masked_losses(error, torch.zeros_like(error), region, "values")
    assert found.item() == pytest.approx((1 + 0.5 * 16) / 1.5)
    everything = masked_losses(error, torch.zeros_like(error), torch.ones(1, 1, 2, 2), "values")
    assert everything.item() == pytest.approx(sample_losses(error, torch.zeros_like(error)).item())


def test_the_published_script_s_masked_mean_is_as_many_times_larger_as_there_are_channels() -> None:
    """`((loss * mask).sum([1, 2, 3]) / mask.sum([1, 2, 3])).mean()` with a mask of one channel."""
    predicted, target = (torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    mask = (torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(2)) < 0.5).float()
    loss = mse_loss(predicted, target, reduction="none")
    published = ((loss * mask).sum([1, 2, 3]) / mask.sum([1, 2, 3])).mean()
    torch.testing.assert_close(masked_losses(predicted, target, mask, "pixels").mean(), published)
    torch.testing.assert_close(4 * masked_losses(predicted, target, mask, "values").mean(), published)


def test_a_mask_that_leaves_nothing_has_no_loss() -> None:
    ones = torch.ones(1, 4, 2, 2)
    assert masked_losses(ones, 0 * ones, torch.zeros(1, 1, 2, 2), "values").item() == 0
