"""What is left out of a LoRA in a forward pass: by dropout, and by a rank that falls with the noise."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spaces import Recipe
from spaces.recipe import DropoutKind


@dataclass(frozen=True)
class Masking:
    """What a recipe leaves out."""

    dropout: float = 0.0
    kind: DropoutKind = "input"
    least: float = 1.0
    """The share of the rank that is there at the most noise; 1 is all, at any noise (no schedule)."""

    @classmethod
    def of(cls, recipe: Recipe, part: str) -> "Masking":
        """That of a part. The text encoder has no timestep, and so the whole rank."""
        scheduled = recipe.rank_schedule == "timestep" and part != "text_encoder"
        least = recipe.min_rank / (recipe.rank or recipe.controlnet_rank) if scheduled else 1.0
        return cls(recipe.dropout or 0.0, recipe.dropout_kind or "input", least)


NOTHING = Masking()


def ranks(timesteps: Tensor, rank: int, least: int, horizon: int) -> Tensor:
    """T-LoRA's rank at each of n timesteps: all of it at 0, falling evenly to `least` at `horizon`; n values.

    floor((rank - least) (T - t) / T) + least (Soboleva et al. 2025, "T-LoRA").
    """
    return torch.div((rank - least) * (horizon - timesteps), horizon, rounding_mode="floor").long() + least


class Masks:
    """Masks one module's LoRA by hooks on its A matrices.

    What is dropped follows from a seed and the layer's number alone, and a part of a batch drops what it would drop
    within the whole: so a pass that is computed again (gradient checkpointing) or in parts (micro-batches) is the
    same. Dropout is off but inside `dropping`, so that pictures drawn between steps are drawn without it.
    """

    def __init__(self, masking: Masking, device: torch.device, horizon: int) -> None:
        """`horizon` is the number of timesteps."""
        self.masking, self.horizon = masking, horizon
        self.generator = torch.Generator(device)
        self._seed: int | None = None
        self._first, self._of = 0, None
        self._timesteps: Tensor | None = None
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def watch(self, module: nn.Module) -> None:
        """Keeps the timesteps that the UNet or ControlNet is called with."""
        if self.masking.least < 1:
            self._handles.append(module.register_forward_pre_hook(self._see_timesteps, with_kwargs=True))

    def on(self, a: nn.Module, number: int) -> None:
        """Masks what goes through the A matrix of layer `number`."""
        rank = a.weight.shape[0]
        if self.masking.dropout and self.masking.kind == "input":
            self._handles.append(a.register_forward_pre_hook(lambda _, args: (self._dropped(args[0], number),)))
        elif self.masking.dropout:
            self._handles.append(a.register_forward_hook(lambda _, args, out: self._dropped(out, number)))
        if self.masking.least < 1:
            self._handles.append(a.register_forward_hook(lambda _, args, out: self._scheduled(out, rank)))

    def remove(self) -> None:
        while self._handles:
            self._handles.pop().remove()

    @contextmanager
    def dropping(self, seed: int, first: int = 0, of: int | None = None) -> Iterator[None]:
        """Inside, dropout is on; what passes are the rows from `first` of a batch of `of`, by default the whole."""
        self._seed, self._first, self._of = seed, first, of
        try:
            yield
        finally:
            self._seed = None

    def _see_timesteps(self, module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        timesteps = args[1] if len(args) > 1 else kwargs["timestep"]
        self._timesteps = torch.as_tensor(timesteps, device=self.generator.device).reshape(-1)

    def _dropped(self, x: Tensor, number: int) -> Tensor:
        """Dropout of batch x ... (x features, or features x height x width); what is kept grows by 1 / (1 - share).

        `input` and `output` drop single values (Srivastava et al. 2014), `rank` the whole of a component for a sample,
        `module` the whole layer for the step, without growth, as kohya's trainer does.
        """
        if self._seed is None or x.ndim == 2:  # DoRA sends the identity, in x in, through A to read the weights off
            return x
        kind, keep = self.masking.kind, 1 - self.masking.dropout
        self.generator.manual_seed((self._seed + 0x9E3779B97F4A7C15 * (number + 1)) % 2**63)
        if kind == "module":
            return x * (torch.rand((), generator=self.generator, device=x.device) < keep).to(x.dtype)
        shape = _component_shape(x) if kind == "rank" else x.shape
        drawn = torch.rand((self._of or len(x), *shape[1:]), generator=self.generator, device=x.device)
        kept = drawn[self._first : self._first + len(x)] < keep  # rand takes half the time of bernoulli_ on a CPU
        return x * kept.to(x.dtype).div_(keep)

    def _scheduled(self, x: Tensor, rank: int) -> Tensor:
        """Without the components beyond the rank of each sample's timestep."""
        if x.ndim == 2:
            return x
        left = ranks(self._timesteps, rank, max(1, round(self.masking.least * rank)), self.horizon)
        kept = torch.arange(rank, device=x.device) < left[:, None]
        return x * kept.view(-1, *_component_shape(x)[1:]).to(x.dtype)


def _component_shape(x: Tensor) -> tuple[int, ...]:
    """The shape of one value for each sample and rank component: A's output is batch x tokens x rank or, of a
    convolution, batch x rank x height x width."""
    return (len(x), x.shape[1], 1, 1) if x.ndim == 4 else (len(x), *(1,) * (x.ndim - 2), x.shape[-1])
