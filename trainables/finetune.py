"""One fine-tune: DreamBooth (Ruiz et al. 2023) with LoRA (Hu et al. 2021), a step at a time."""

import math
import os
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from spaces import InputError, Recipe
from trainables.adapters import Adapter, attach, text_encoder_config, unet_config
from trainables.base import DTYPES, Base
from trainables.losses import min_snr_weights, prior_preservation, sample_losses
from trainables.prior import Prior
from trainables.subject import Subject

_BETAS, _WEIGHT_DECAY, _EPSILON, _MAX_NORM = (0.9, 0.999), 1e-2, 1e-8, 1.0


class Diverged(ArithmeticError):
    """The loss or its gradient is not finite. `step` counts from 1; the adapter is as the step before left it."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(f"diverged: the {what} of step {step} is not finite")
        self.step = step


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step learns from: n samples, the subject's before the class's, on the base's device."""

    noised: Tensor
    """n x channels x height x width."""
    timesteps: Tensor
    """n."""
    target: Tensor
    """n x channels x height x width: the noise, or v."""
    captions: Tensor
    """n rows of the table of captions; row 0 is the empty caption."""
    dropout_seeds: tuple[int, ...]
    """For the LoRA's dropout, in the UNet and in the text encoder."""


class Deck:
    """Deals picture numbers without replacement, shuffled anew when it runs out: each comes as often as any other."""

    def __init__(self, first: int, count: int) -> None:
        self.first, self.count = first, count
        self.left = torch.zeros(0, dtype=torch.int64)

    def deal(self, count: int, generator: torch.Generator) -> Tensor:
        while len(self.left) < count:
            self.left = torch.cat([self.left, self.first + torch.randperm(self.count, generator=generator)])
        dealt, self.left = self.left[:count], self.left[count:]
        return dealt


class FineTune:
    """A recipe, trained on a base's modules, which it adapts in place until `remove`.

    Its numbers follow from base, subject, recipe, prior and seed: every draw comes from one generator of its own, on
    the CPU whatever the device, so neither torch's global generator nor an interruption changes them.
    """

    def __init__(self, base: Base, subject: Subject, recipe: Recipe, seed: int, prior: Prior | None = None) -> None:
        """Reads the subject's latents and captions; the base must carry no adapter. A recipe with a prior needs one."""
        if recipe.prior_weight > 0 and prior is None:
            raise ValueError("the recipe's prior_weight asks for class pictures: give a prior")
        self.base, self.subject, self.recipe, self.seed = base, subject, recipe, seed
        self.prior = prior if recipe.prior_weight > 0 else None
        self._steps = 0
        self._prediction_type = base.schedule.config.prediction_type
        self._alphas_cumprod = base.schedule.alphas_cumprod.to(base.device)
        self._generator = torch.Generator().manual_seed(seed)
        self._gather_latents()
        self._gather_captions()
        self.adapters = self._attach_adapters()
        self.parameters = {
            f"{part}.{name}": parameter
            for part, adapter in self.adapters.items()
            for name, parameter in adapter.parameters.items()
        }
        self._optimizer = self._make_optimizer()
        self._scaler = torch.amp.GradScaler(base.device.type, enabled=base.precision == "fp16")

    @property
    def steps(self) -> int:
        """Optimizer steps taken so far."""
        return self._steps

    def advance(self, steps: int) -> float:
        """Takes optimizer steps; their mean loss. Raises Diverged when a loss or a gradient is not finite."""
        total = 0.0
        for _ in range(steps):
            batch = self._draw_batch()
            predicted = self._predict(batch)
            loss = self._loss(predicted, batch)
            total += self._finite(loss, "loss")
            self._update(loss)
            self._steps += 1
        return total / max(steps, 1)

    def remove(self) -> None:
        """Takes the adapters off the base, which is then as it was before; this fine-tune is over."""
        while self.adapters:
            self.adapters.popitem()[1].remove()

    # What a step does, in its order.

    def _draw_batch(self) -> Batch:
        generator, schedule = self._generator, self.base.schedule
        pictures = torch.cat([deck.deal(self.recipe.batch_size, generator) for deck in self._decks])
        mean, std = self._mean[pictures], self._std[pictures]
        clean = mean + std * torch.randn(mean.shape, generator=generator)
        noise = torch.randn(mean.shape, generator=generator)
        timesteps = torch.randint(schedule.config.num_train_timesteps, (len(pictures),), generator=generator)
        noised = schedule.add_noise(clean, noise, timesteps)
        target = noise if self._prediction_type == "epsilon" else schedule.get_velocity(clean, noise, timesteps)
        dropped = torch.rand(len(pictures), generator=generator) < self.recipe.caption_dropout
        captions = torch.where(dropped, 0, self._captions[pictures])
        seeds = torch.randint(2**62, (2,), generator=generator).tolist()
        place = self.base.device
        return Batch(noised.to(place), timesteps.to(place), target.to(place), captions.to(place), tuple(seeds))

    def _predict(self, batch: Batch) -> Tensor:
        with self._precision(), ExitStack() as dropout:
            for adapter, seed in zip(self.adapters.values(), batch.dropout_seeds, strict=False):
                dropout.enter_context(adapter.dropping(seed))
            words = self._words(batch.captions)
            return self.base.unet(batch.noised.to(self.base.dtype), batch.timesteps, words, return_dict=False)[0]

    def _words(self, captions: Tensor) -> Tensor:
        if self._embeddings is not None:
            return self._embeddings[captions]
        return self.base.encode_tokens(self._tokens[captions]).to(self.base.dtype)

    def _loss(self, predicted: Tensor, batch: Batch) -> Tensor:
        gamma, weights = self.recipe.min_snr_gamma, None
        if gamma is not None:
            weights = min_snr_weights(self._alphas_cumprod, batch.timesteps, gamma, self._prediction_type)
        losses = sample_losses(predicted, batch.target, weights)
        return prior_preservation(losses, self.recipe.batch_size, self.recipe.prior_weight)

    def _update(self, loss: Tensor) -> None:
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self._optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), _MAX_NORM)
        if not self._scaler.is_enabled():  # the scaler skips such a step, which is how it finds its scale
            self._finite(norm, "gradient")
        self._scaler.step(self._optimizer)
        self._scaler.update()

    def _finite(self, value: Tensor, what: str) -> float:
        number = value.item()
        if not math.isfinite(number):
            raise Diverged(self._steps + 1, what)
        return number

    def _precision(self) -> AbstractContextManager[object]:
        """Mixed precision over fp32 masters; nothing in fp32."""
        return torch.autocast(self.base.device.type, DTYPES[self.base.precision], self.base.precision != "fp32")

    # What is made once.

    def _gather_latents(self) -> None:
        """The posteriors of all pictures, once: a step draws from them anew instead of encoding again."""
        pixels = np.stack([picture.fitted(self.base.size).pixels for picture in self.subject.pictures])
        mean, std = self.base.latent_distribution(pixels)
        self._decks = [Deck(0, len(mean))]
        if self.prior is not None:
            self._decks.append(Deck(len(mean), len(self.prior.mean)))
            mean, std = torch.cat([mean, self.prior.mean]), torch.cat([std, self.prior.std])
        self._mean, self._std = mean, std

    def _gather_captions(self) -> None:
        """Every caption once, the empty one first: as embeddings while these cannot change, else as tokens."""
        captions = [picture.caption for picture in self.subject.pictures]
        if self.prior is not None:
            captions += self.prior.captions
        table = {caption: row for row, caption in enumerate(dict.fromkeys(["", *captions]))}
        self._captions = torch.tensor([table[caption] for caption in captions])
        frozen = self.recipe.text_encoder == "frozen"
        self._embeddings = self.base.encode_text(list(table)) if frozen else None
        self._tokens = None if frozen else self.base.tokens(list(table))

    def _attach_adapters(self) -> dict[str, Adapter]:
        adapters = {"unet": attach(self.base.unet, unet_config(self.recipe), self._generator)}
        config = text_encoder_config(self.recipe)
        if config is not None:
            adapters["text_encoder"] = attach(self.base.text_encoder, config, self._generator)
        return adapters

    def _make_optimizer(self) -> torch.optim.AdamW:
        rates = {"unet": self.recipe.learning_rate, "text_encoder": self.recipe.text_encoder_learning_rate}
        groups = [{"params": list(a.parameters.values()), "lr": rates[part]} for part, a in self.adapters.items()]
        return torch.optim.AdamW(groups, betas=_BETAS, weight_decay=_WEIGHT_DECAY, eps=_EPSILON, fused=True)

    # Interrupt and go on.

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on beside what the fine-tune was made from; copies, on the CPU."""
        state = {f"adapter.{name}": parameter for name, parameter in self.parameters.items()}
        for name, parameter in self.parameters.items():
            for moment, value in self._optimizer.state[parameter].items():
                state[f"optimizer.{moment}.{name}"] = value
        state |= {f"deck.{number}": deck.left for number, deck in enumerate(self._decks)}
        state |= {f"scaler.{name}": torch.tensor(value) for name, value in self._scaler.state_dict().items()}
        state |= {"generator": self._generator.get_state(), "steps": torch.tensor(self._steps)}
        return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Goes on from what `state` returned. ValueError when that is another recipe's."""
        shapes = {f"adapter.{name}": parameter.shape for name, parameter in self.parameters.items()}
        if shapes != {name: value.shape for name, value in state.items() if name.startswith("adapter.")}:
            raise ValueError("the state is of another recipe: its adapter has other layers or ranks")
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(state[f"adapter.{name}"])
        self._optimizer.state.clear()
        for name, parameter in self.parameters.items():
            for moment in ("step", "exp_avg", "exp_avg_sq"):
                if (value := state.get(f"optimizer.{moment}.{name}")) is not None:
                    self._optimizer.state[parameter][moment] = value.to(parameter.device, copy=True)
        for number, deck in enumerate(self._decks):
            deck.left = state[f"deck.{number}"].clone()
        if self._scaler.is_enabled():
            self._scaler.load_state_dict({name: state[f"scaler.{name}"].item() for name in self._scaler.state_dict()})
        self._generator.set_state(state["generator"])
        self._steps = int(state["steps"])

    def save_state(self, path: str | Path) -> None:
        """Writes `state()` and the recipe as safetensors; whole or not at all."""
        path = Path(path)
        partial = path.with_suffix(".partial")
        save_file(self.state(), partial, {"recipe": self.recipe.model_dump_json()})
        os.replace(partial, path)

    def load_state(self, path: str | Path) -> None:
        """Goes on from what `save_state` wrote. InputError when it cannot be read or is another recipe's."""
        try:
            with safe_open(path, "pt") as file:
                recipe = (file.metadata() or {}).get("recipe")
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, SafetensorError) as error:
            raise InputError(path, f"is not a state to go on from ({error})") from None
        if recipe != self.recipe.model_dump_json():
            raise InputError(path, "is the state of another recipe")
        self.load(state)
