"""A rank that falls with the noise (Soboleva et al. 2025, "T-LoRA"), on a LoRA that diffusers has loaded.

Nothing but torch and peft is needed: this file goes along with an exported adapter that was trained so.
"""

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn


def fall_with_noise(model: nn.Module, least: int, horizon: int = 1000) -> None:
    """Lets every LoRA of a UNet or ControlNet have its whole rank at timestep 0, and `least` of it at `horizon`."""
    timesteps = torch.zeros(1)

    def see(_: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        nonlocal timesteps
        timesteps = torch.as_tensor(args[1] if len(args) > 1 else kwargs["timestep"]).reshape(-1)

    def mask(_: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        """Out is batch x tokens x components or batch x components x height x width; the weights alone pass whole."""
        if out.ndim == 2:
            return out
        dimension = 1 if out.ndim == 4 else -1
        rank = out.shape[dimension]
        left = torch.div((rank - least) * (horizon - timesteps), horizon, rounding_mode="floor") + least
        kept = torch.arange(rank, device=out.device) < left.to(out.device)[:, None]
        shape = [1] * out.ndim
        shape[0], shape[dimension] = kept.shape
        return out * kept.reshape(shape).to(out.dtype)

    model.register_forward_pre_hook(see, with_kwargs=True)
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            for a in layer.lora_A.values():
                a.register_forward_hook(mask)
