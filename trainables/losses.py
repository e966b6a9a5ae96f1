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


def prior_preservation(losses: Tensor, instances: int, prior_weight: float) -> Tensor:
    """The subject samples' mean plus `prior_weight` times the class samples' (Ruiz et al. 2023, eq. 2).

    `losses` are of the batch [instances; class samples]; without class samples it is the plain mean. A scalar.
    """
    instance, rehearsed = losses[:instances], losses[instances:]
    return instance.mean() + prior_weight * rehearsed.mean() if len(rehearsed) else instance.mean()
