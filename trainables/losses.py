"""The formulas of training, and nothing else: means over what a sample has, so that trials can share a batch."""

from torch import Tensor


def signal_to_noise(alphas_cumprod: Tensor, timesteps: Tensor) -> Tensor:
    """SNR(t) = alpha_bar / (1 - alpha_bar) (Kingma et al. 2021, section 3): n values from n timesteps."""
    alpha_bar = alphas_cumprod[timesteps]
    return alpha_bar / (1 - alpha_bar)


def min_snr_weights(alphas_cumprod: Tensor, timesteps: Tensor, gamma: float, prediction_type: str) -> Tensor:
    """min(SNR, gamma) / SNR, or / (SNR + 1) when v is predicted (Hang et al. 2023, "Min-SNR", section 3.4): n values.

    `prediction_type` is `epsilon` or `v_prediction`. Finite at SNR 0 too, the last step of a zero-terminal schedule.
    """
    snr = signal_to_noise(alphas_cumprod, timesteps)
    if prediction_type == "v_prediction":
        return snr.clamp(max=gamma) / (snr + 1)
    return (gamma / snr).clamp(max=1)


def sample_losses(predicted: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """The squared error of each of n samples, a mean over its channels and pixels, times its weight: n values, fp32."""
    losses = (predicted.float() - target.float()).square().flatten(1).mean(1)
    return losses if weights is None else weights * losses


def masked_losses(predicted: Tensor, target: Tensor, region: Tensor, mean: str) -> Tensor:
    """The squared error of each of n samples, weighted by `region` (n x 1 x height x width): n values, fp32.

    A weighted mean over `values`; or, over `pixels`, the sum over channels and pixels by the region's pixels, as Custom
    Diffusion's published script has it, which is as many times larger as there are channels. 0 where a region is empty.
    """
    summed = ((predicted.float() - target.float()).square() * region).flatten(1).sum(1)
    channels = predicted.shape[1] if mean == "values" else 1
    return summed / (channels * region.flatten(1).sum(1)).clamp(min=1e-8)
