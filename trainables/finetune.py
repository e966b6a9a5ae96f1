"""One fine-tune of a recipe, a step at a time: DreamBooth (Ruiz et al. 2023) with LoRA (Hu et al. 2021), and the rest.

What a recipe trains is put on by `parts/parts.py`, when it trains is in `spaces/stages.py`, what a step learns from in
`data/batches.py`; here is the loop.
"""

import math
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from accelerate.utils.memory import clear_device_cache
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from spaces import InputError, Recipe
from spaces.stages import in_the_loop, training
from trainables.base import DTYPES, Base
from trainables.checkpoints.digest import digest_of
from trainables.data.batches import Batch, Feed
from trainables.data.prior import Prior
from trainables.engine import DEFAULT, Engine
from trainables.losses import masked_losses, min_snr_weights, sample_losses
from trainables.machine.meter import ran_out
from trainables.parts.adapters import Adapter
from trainables.parts.parts import attach_parts, learning_rates, remove_parts
from trainables.subject import Subject

_BETAS, _WEIGHT_DECAY, _EPSILON, _MAX_NORM = (0.9, 0.999), 1e-2, 1e-8, 1.0
_VALIDATION_TIMESTEPS = 4
CHECKSUM = "sha256"
"""What a saved state calls the digest of its other tensors."""


class Diverged(ArithmeticError):
    """The loss or its gradient is not finite. `step` counts from 1; what trains is as the step before left it."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(f"diverged: the {what} of step {step} is not finite")
        self.step = step


class FineTune:
    """A recipe, trained on a base's modules, which it adapts in place until `remove`.

    Its numbers follow from base, subject, recipe, prior and seed: every draw comes from one generator of its own, on
    the CPU whatever the device, so neither torch's global generator nor an interruption changes them.
    """

    def __init__(
        self, base: Base, subject: Subject, recipe: Recipe, seed: int, prior: Prior | None = None,
        engine: Engine = DEFAULT,
    ) -> None:  # fmt: skip
        """Reads the subject's latents and captions; the base must carry no adapter. A prior by images needs them.

        InputError when the subject's pictures lack what the recipe needs, such as keypoints for `pose_from`.
        """
        if recipe.prior == "images" and prior is None:
            raise ValueError("the recipe's prior is images of the class: give a prior")
        self.base, self.subject, self.recipe, self.seed, self.engine = base, subject, recipe, seed, engine
        self.prior = prior if recipe.prior == "images" else None
        self._steps = 0
        self._alphas_cumprod = base.schedule.alphas_cumprod.to(base.device)
        self._generator = torch.Generator().manual_seed(seed)
        self.parts = attach_parts(base, subject, recipe, self._generator)
        """All that trains at any step: LoRAs, full weights, the token; by `spaces.stages.PARTS`."""
        try:
            self._feed = Feed(base, subject, recipe, self.prior, max(2, len(self.parts)))
        except BaseException:
            remove_parts(self.parts)
            raise
        self.parameters = {
            f"{name}.{parameter_name}": parameter
            for name, part in self.parts.items()
            for parameter_name, parameter in part.parameters.items()
        }
        self._stage: tuple[frozenset[str], bool] | None = None
        self._optimizer = self._make_optimizer()
        self._scaler = torch.amp.GradScaler(base.device.type, enabled=base.precision == "fp16")
        self._prepare_models()
        self._base_words = self._embed_class() if recipe.prior == "base" else None

    @property
    def adapters(self) -> dict[str, Adapter]:
        """The parts that are LoRAs."""
        return {name: part for name, part in self.parts.items() if isinstance(part, Adapter)}

    @property
    def steps(self) -> int:
        """Optimizer steps taken so far."""
        return self._steps

    def advance(self, steps: int) -> float:
        """Takes optimizer steps; their mean loss. Raises Diverged when a loss or a gradient is not finite."""
        total = 0.0
        for _ in range(steps):
            self._enter_stage()
            batch = self._feed.draw(self._generator, self._posed)
            total += self._finite(self._accumulate(batch), "loss")
            self._update()
            self._steps += 1
        return total / max(steps, 1)

    @torch.no_grad()
    def validation_loss(self) -> float:
        """The plain loss on the subject's pictures at fixed timesteps in fixed noise, without dropout: a diagnostic.

        With the ControlNet where it is in the loop by now. What can be compared is one recipe's over its steps.
        """
        self._enter_stage()
        batch, size = self._feed.fixed(_VALIDATION_TIMESTEPS, self._posed), len(self._feed.pictures)
        losses = []
        for start in range(0, len(batch), size):
            part = batch.rows(start, start + size)
            losses.append(sample_losses(self._predict(part), part.target))
        return torch.cat(losses).mean().item()

    def remove(self) -> None:
        """Takes all that trained off the base, which is then as it was before; this fine-tune is over."""
        remove_parts(self.parts)
        if self.engine.gradient_checkpointing:
            self.base.unet.disable_gradient_checkpointing()
            self.base.controlnet.disable_gradient_checkpointing()

    # What a step does, in its order.

    def _enter_stage(self) -> None:
        """Lets those parts train whose turn it is. Captions are embedded once while nothing in their encoder trains."""
        stage = training(self.recipe, self._steps), in_the_loop(self.recipe, self._steps)
        if stage == self._stage:
            return
        self._stage = stage
        trains, self._posed = stage
        for name, part in self.parts.items():
            for parameter in part.parameters.values():
                parameter.requires_grad_(name in trains)
                parameter.grad = None
        if trains & {"text_encoder", "token"}:
            self._feed.table.thaw()
        else:
            with self._precision():
                self._feed.table.freeze()

    def _accumulate(self, batch: Batch) -> Tensor:
        """The batch's loss, with its gradient: in parts that fit into memory, which add up to the whole's."""
        self._optimizer.zero_grad()
        while True:
            try:
                return torch.stack(
                    [self._backward(part, start, len(batch)) for start, part in self._split(batch)]
                ).sum()
            except RuntimeError as error:
                if not ran_out(error) or self._micro_batch <= 1 or not self.engine.halves:
                    raise
            self._micro_batch = math.ceil(min(self._micro_batch, len(batch)) / 2)
            self._optimizer.zero_grad()
            clear_device_cache()

    def _split(self, batch: Batch) -> Iterator[tuple[int, Batch]]:
        for start in range(0, len(batch), self._micro_batch):
            yield start, batch.rows(start, start + self._micro_batch)

    def _backward(self, part: Batch, start: int, of: int) -> Tensor:
        """The loss of the rows from `start` of a batch of `of`, whose gradient is added to the others'."""
        if self.recipe.prior == "base":
            part = self._with_base_targets(part, start)
        with ExitStack() as dropout:  # on in the backward pass too, where checkpointed activations are computed again
            for trained, seed in zip(self.parts.values(), part.dropout_seeds, strict=False):
                dropout.enter_context(trained.dropping(seed, start, of))
            loss = self._loss(self._predict(part), part)
            self._scaler.scale(loss).backward()
        return loss.detach().cpu()

    @torch.no_grad()
    def _with_base_targets(self, part: Batch, start: int) -> Batch:
        """The class's samples get the untuned base's own predictions as their targets."""
        first = max(0, self.recipe.batch_size - start)  # of the class
        if first >= len(part):
            return part
        of_class = part.rows(first, len(part))
        with ExitStack() as off:
            for trained in self.parts.values():
                off.enter_context(trained.off())
            predicted = self._predict(of_class, self._base_words[of_class.captions], compiled=False)
        return replace(part, target=torch.cat([part.target[:first], predicted.to(part.target.dtype)]))

    def _predict(self, batch: Batch, words: Tensor | None = None, compiled: bool = True) -> Tensor:
        """n x channels x height x width, of the captions unless their embeddings are given."""
        unet, controlnet = (self._unet, self._controlnet) if compiled else (self.base.unet, self.base.controlnet)
        noised = batch.noised.to(self.base.dtype)
        with self._precision():
            words = self._feed.table(batch.captions) if words is None else words
            residuals = {}
            if batch.conditions is not None and len(batch.conditions):
                residuals = _residuals(controlnet, noised, batch.timesteps, words, batch.conditions)
            return unet(noised, batch.timesteps, words, return_dict=False, **residuals)[0]

    def _loss(self, predicted: Tensor, batch: Batch) -> Tensor:
        masked = 0 if batch.region is None else len(batch.region)
        losses = sample_losses(predicted[masked:], batch.target[masked:])
        if masked:
            subject = masked_losses(predicted[:masked], batch.target[:masked], batch.region, self.recipe.masked_mean)
            losses = torch.cat([subject, losses])
        gamma = self.recipe.min_snr_gamma
        if gamma is not None:
            kind = self._feed.prediction_type
            losses = losses * min_snr_weights(self._alphas_cumprod, batch.timesteps, gamma, kind)
        return (batch.shares * losses).sum()

    def _update(self) -> None:
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

    def _make_optimizer(self) -> torch.optim.AdamW:
        """A part that does not train has no gradient, and so is neither moved nor decayed."""
        rates = learning_rates(self.recipe)
        groups = [{"params": list(part.parameters.values()), "lr": rates[name]} for name, part in self.parts.items()]
        return torch.optim.AdamW(groups, betas=_BETAS, weight_decay=_WEIGHT_DECAY, eps=_EPSILON, fused=True)

    def _prepare_models(self) -> None:
        unet, controlnet, engine = self.base.unet, self.base.controlnet, self.engine
        self._micro_batch = engine.micro_batch or len(self._feed.shares)
        if engine.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
            controlnet.enable_gradient_checkpointing()
        self._unet = torch.compile(unet) if engine.compile else unet
        self._controlnet = torch.compile(controlnet) if engine.compile else controlnet

    def _embed_class(self) -> Tensor:
        """The class's captions by the base's own text encoder, for `_with_base_targets`."""
        with ExitStack() as off, self._precision():
            for trained in self.parts.values():
                off.enter_context(trained.off())
            return self._feed.table.embed(torch.cat([torch.zeros(1, dtype=torch.int64), self._feed.class_captions]))

    # Interrupt and go on.

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on beside what the fine-tune was made from; copies, on the CPU."""
        state = {f"adapter.{name}": parameter for name, parameter in self.parameters.items()}
        for name, parameter in self.parameters.items():
            for moment, value in self._optimizer.state[parameter].items():
                state[f"optimizer.{moment}.{name}"] = value
        state |= {f"deck.{number}": deck.left for number, deck in enumerate(self._feed.decks)}
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
        for number, deck in enumerate(self._feed.decks):
            deck.left = state[f"deck.{number}"].clone()
        if self._scaler.is_enabled():
            self._scaler.load_state_dict({name: state[f"scaler.{name}"].item() for name in self._scaler.state_dict()})
        self._generator.set_state(state["generator"])
        self._steps = int(state["steps"])
        self._stage = None

    def save_state(self, path: str | Path) -> None:
        """Writes `state()`, its checksum and the recipe as safetensors; whole or not at all."""
        path, state = Path(path), self.state()
        partial = path.with_suffix(".partial")
        try:
            save_file(state | {CHECKSUM: digest_of(state)}, partial, {"recipe": self.recipe.model_dump_json()})
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def load_state(self, path: str | Path) -> None:
        """Goes on from what `save_state` wrote. InputError when it cannot be read, is damaged or another recipe's."""
        try:
            with safe_open(path, "pt") as file:
                recipe = Recipe.model_validate_json((file.metadata() or {}).get("recipe", ""))
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, SafetensorError, ValidationError) as error:
            reason = next(iter(str(error).splitlines()))
            raise InputError(path, f"is not a state to go on from ({reason})") from None
        checksum = state.pop(CHECKSUM, None)  # a state from an older sweep has none
        if checksum is not None and not torch.equal(checksum, digest_of(state)):
            raise InputError(path, "is damaged: its values are not those that were written (the checksum differs)")
        if recipe != self.recipe:
            raise InputError(path, "is the state of another recipe")
        self.load(state)


def _residuals(
    controlnet: nn.Module, noised: Tensor, timesteps: Tensor, words: Tensor, conditions: Tensor
) -> dict[str, object]:
    """What the ControlNet adds to the UNet's first samples, which have pose pictures, and 0 for the others."""
    posed = len(conditions)
    down, middle = controlnet(
        noised[:posed], timesteps[:posed], words[:posed], controlnet_cond=conditions.to(noised.dtype), return_dict=False
    )

    def filled(residual: Tensor) -> Tensor:
        missing = len(noised) - posed
        return torch.cat([residual, residual.new_zeros(missing, *residual.shape[1:])]) if missing else residual

    return {
        "down_block_additional_residuals": [filled(residual) for residual in down],
        "mid_block_additional_residual": filled(middle),
    }
