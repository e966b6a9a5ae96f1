"""Our steps are those of diffusers' training scripts: the same losses and gradients, over 20 optimizer steps.

The scripts' steps are written down here from their descriptions, on diffusers' and PEFT's own modules and with nothing
of our engine: pictures go through the VAE and captions through the text encoder in every step. Both sides start from
the same weights and draw the same numbers, in the order that `Draws` says.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDPMScheduler,
    StableDiffusionControlNetPipeline,
    UNet2DConditionModel,
)
from diffusers.models.attention_processor import CustomDiffusionAttnProcessor2_0
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor
from torch.nn.functional import avg_pool2d, mse_loss
from transformers import CLIPTextModel, CLIPTokenizer

from benchmarks.sd15 import make
from spaces import Recipe
from trainables.base import Base
from trainables.data.prior import Prior
from trainables.finetune import FineTune
from trainables.skeleton import PUPPET_13, render
from trainables.subject import Subject

PIXELS, STEPS, TOLERANCE = 64, 20, 1e-5
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
CLASS_CAPTIONS = ("a robot on meadow", "a photo of the robot at night", "a robot on sand")
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion 1.5's layout at a tenth of its width."""
    return make(tmp_path_factory.mktemp("parity") / "base", width=32, pixels=PIXELS)


@pytest.fixture(scope="module")
def class_pixels() -> np.ndarray:
    """Three pictures of the class, n x h x w x 3 uint8."""
    return np.random.default_rng(3).integers(0, 256, (3, PIXELS, PIXELS, 3), dtype=np.uint8)


class Draws:
    """The random numbers of one step, in the engine's order, from the generator of a fine-tune's start."""

    def __init__(self, start: State, decks: Sequence[int], batch: int, parts: int, posed: bool) -> None:
        self.generator = torch.Generator()
        self.generator.set_state(start["generator"])
        self.counts, self.batch, self.parts, self.posed = decks, batch, parts, posed
        self.decks: list[list[int]] = [[] for _ in decks]

    def step(self) -> tuple[list[list[int]], Tensor, Tensor, Tensor]:
        """Pictures of each kind, and what the posterior, the noise and the timesteps are drawn as."""
        generator, latent = self.generator, (self.batch * len(self.decks), 4, PIXELS // 8, PIXELS // 8)
        dealt = [[self._deal(deck) for _ in range(self.batch)] for deck in range(len(self.decks))]
        posterior = torch.randn(latent, generator=generator)
        noise = torch.randn(latent, generator=generator)
        timesteps = torch.randint(1000, latent[:1], generator=generator)
        torch.rand(latent[0], generator=generator)  # no caption is dropped
        torch.randint(2**62, (max(2, self.parts),), generator=generator)  # nor anything else
        if self.posed:
            torch.rand(self.batch, generator=generator)  # nor a pose
        return dealt, posterior, noise, timesteps

    def _deal(self, deck: int) -> int:
        if not self.decks[deck]:
            self.decks[deck] = torch.randperm(self.counts[deck], generator=self.generator).tolist()
        return self.decks[deck].pop(0)


@dataclass(frozen=True)
class Models:
    """A base's models as the scripts load them."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    controlnet: ControlNetModel
    schedule: DDPMScheduler

    @classmethod
    def load(cls, folder: Path) -> "Models":
        pipeline = StableDiffusionControlNetPipeline.from_pretrained(folder)
        parts = pipeline.unet, pipeline.vae, pipeline.text_encoder, pipeline.controlnet
        unet, vae, text_encoder, controlnet = (part.eval().requires_grad_(False) for part in parts)
        schedule = DDPMScheduler.from_pretrained(folder, subfolder="scheduler")
        return cls(unet, vae, text_encoder, pipeline.tokenizer, controlnet, schedule)

    def latents(self, pixels: np.ndarray, drawn: Tensor) -> Tensor:
        """A sample of the VAE's posterior for n x h x w x 3 uint8 pictures, scaled."""
        normalised = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        posterior = self.vae.encode((normalised - 0.5) / 0.5).latent_dist
        return (posterior.mean + posterior.std * drawn) * self.vae.config.scaling_factor

    def words(self, captions: Sequence[str]) -> Tensor:
        ids = self.tokenizer(
            list(captions), truncation=True, padding="max_length", max_length=77, return_tensors="pt"
        ).input_ids  # fmt: skip
        return self.text_encoder(ids, return_dict=False)[0]


@dataclass(frozen=True)
class Batch:
    """What a step sees: the instances before the class's."""

    noised: Tensor
    timesteps: Tensor
    noise: Tensor
    words: Tensor
    own: list[int]
    """Which of the subject's pictures."""


class Script:
    """One training script: its models, what it trains by the engine's names, and AdamW as all the scripts have it."""

    def __init__(
        self, models: Models, subject: Subject, class_pixels: np.ndarray, draws: Draws, trained: dict[str, Tensor],
        rate: float, loss: Callable[[Batch], Tensor], after_backward: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self.models, self.draws, self.trained, self.loss = models, draws, trained, loss
        self.pictures = [picture.fitted(PIXELS) for picture in subject.pictures]
        self.class_pixels, self.after_backward = class_pixels, after_backward
        for parameter in trained.values():
            parameter.requires_grad_(True)
        parameters = list(trained.values())
        self.optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8)

    def step(self) -> tuple[float, dict[str, Tensor]]:
        """The loss, and the gradients as they are clipped."""
        loss = self.loss(self._batch())
        self.optimizer.zero_grad()
        loss.backward()
        self.after_backward()
        torch.nn.utils.clip_grad_norm_(list(self.trained.values()), 1.0)
        self.optimizer.step()
        return loss.item(), {name: parameter.grad for name, parameter in self.trained.items()}

    def _batch(self) -> Batch:
        (own, *rest), posterior, noise, timesteps = self.draws.step()
        of_class = rest[0] if rest else []
        pixels = [self.pictures[i].pixels for i in own] + [self.class_pixels[i] for i in of_class]
        captions = [self.pictures[i].caption for i in own] + [CLASS_CAPTIONS[i] for i in of_class]
        latents = self.models.latents(np.stack(pixels), posterior)
        noised = self.models.schedule.add_noise(latents, noise, timesteps)
        return Batch(noised, timesteps, noise, self.models.words(captions), own)


@pytest.fixture
def start(folder: Path, subject: Subject, class_pixels: np.ndarray) -> Iterator[Callable[..., FineTune]]:
    """Our fine-tune of a recipe, with class pictures of which the engine has the posteriors."""
    made: list[FineTune] = []

    def fine_tune(recipe: Recipe) -> FineTune:
        base = Base.load(folder)
        prior = Prior(*base.latent_distribution(class_pixels), CLASS_CAPTIONS)
        made.append(FineTune(base, subject, recipe, seed=11, prior=prior))
        return made[-1]

    yield fine_tune


def assert_same_steps(fine: FineTune, script: Script) -> None:
    """Steps in turn: losses and every single gradient equal to 1e-5.

    Rounding is all that may be between them. Beside small numbers 1e-5 is much, so the gradients as one vector may be
    no further apart than 1e-4 of its length; and what training changed in the end no further than 1e-3, since AdamW
    makes whole steps of gradients that are but rounding.
    """
    before = flat(fine.parameters)
    for step in range(1, STEPS + 1):
        loss, gradients = script.step()
        assert fine.advance(1) == pytest.approx(loss, rel=TOLERANCE), f"loss of step {step}"
        assert fine.parameters.keys() == gradients.keys()
        ours, theirs = flat({name: fine.parameters[name].grad for name in gradients}), flat(gradients)
        torch.testing.assert_close(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)
        assert apart(ours, theirs) <= 1e-4, f"gradients of step {step}"
    changed = flat({name: script.trained[name] for name in fine.parameters}) - before
    assert apart(flat(fine.parameters) - before, changed) <= 1e-3


def flat(tensors: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors.values()])


def apart(ours: Tensor, theirs: Tensor) -> float:
    """How far, in lengths of the second."""
    return ((ours - theirs).norm() / theirs.norm()).item()


def lora(model: torch.nn.Module, part: str, targets: list[str], rank: int, start: State) -> dict[str, Tensor]:
    """Puts a script's LoRA on a model, alpha = rank, with the first values of a fine-tune; what trains, by name.

    The scripts draw A normal with deviation 1 / rank, and B is zero: so must the fine-tune's be.
    """
    config = LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=targets)
    inject_adapter_in_model(config, model)
    found = {}
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            key = f"{part}.{name.replace('.default', '')}"
            parameter.data.copy_(start[f"adapter.{key}"])
            found[key] = parameter
    drawn = torch.cat([p.flatten() for name, p in found.items() if "lora_A" in name])
    assert drawn.std().item() == pytest.approx(1 / rank, rel=0.05) and abs(drawn.mean().item()) < 0.02 / rank
    assert not any(p.any() for name, p in found.items() if "lora_B" in name)
    return found


@pytest.mark.parametrize("text_encoder", ["frozen", "lora"])
def test_dreambooth_lora_with_prior_preservation(
    folder: Path, subject: Subject, class_pixels: np.ndarray, start: Callable[..., FineTune], text_encoder: str
) -> None:
    """`train_dreambooth_lora.py`: a batch [instances; class], mse + weight x mse, one rate for both LoRAs."""
    text = {"text_encoder_rank": 4, "text_encoder_learning_rate": 1e-4} if text_encoder == "lora" else {}
    recipe = Recipe(
        targets="attention", rank=4, learning_rate=1e-4, text_encoder=text_encoder, **text, prior="images",
        prior_weight=0.7, prior_images=3, batch_size=2,
    )  # fmt: skip
    fine, models = start(recipe), Models.load(folder)
    state = fine.state()
    trained = lora(models.unet, "unet", ATTENTION, 4, state)
    if text_encoder == "lora":
        trained |= lora(models.text_encoder, "text_encoder", ["q_proj", "k_proj", "v_proj", "out_proj"], 4, state)

    def loss(batch: Batch) -> Tensor:
        predicted = models.unet(batch.noised, batch.timesteps, batch.words, return_dict=False)[0]
        predicted, predicted_class = torch.chunk(predicted, 2, dim=0)
        noise, noise_class = torch.chunk(batch.noise, 2, dim=0)
        return mse_loss(predicted, noise) + 0.7 * mse_loss(predicted_class, noise_class)

    draws = Draws(state, (3, 3), batch=2, parts=len(fine.parts), posed=False)
    assert_same_steps(fine, Script(models, subject, class_pixels, draws, trained, 1e-4, loss))


@pytest.mark.parametrize("masked_mean", ["pixels", "values"])
def test_custom_diffusion(
    folder: Path, subject: Subject, class_pixels: np.ndarray, start: Callable[..., FineTune], masked_mean: str
) -> None:
    """`train_custom_diffusion.py`: cross-attention keys and values in full, the token's row, a masked loss, class
    pictures.

    The masked loss is summed over channels and divided by the mask's pixels, which is 4 times the mean: `pixels`.
    """
    recipe = Recipe(
        unet="full-kv", learning_rate=1e-4, token="trained", token_learning_rate=1e-4, prior="images",
        prior_weight=1.0, prior_images=3, mask_weight=0.0, masked_mean=masked_mean, batch_size=2,
    )  # fmt: skip
    fine, models = start(recipe), Models.load(folder)
    processors, trained = {}, {}
    for name, attention in models.unet.named_modules():
        if name.endswith("attn2"):
            width, words = attention.to_k.weight.shape
            processor = CustomDiffusionAttnProcessor2_0(
                train_kv=True, train_q_out=False, hidden_size=width, cross_attention_dim=words
            )
            for side in "kv":
                weight = getattr(processor, f"to_{side}_custom_diffusion").weight
                weight.data.copy_(getattr(attention, f"to_{side}").weight)
                trained[f"unet.{name}.to_{side}.weight"] = weight
            processors[f"{name}.processor"] = processor
    models.unet.set_attn_processor(
        {name: processors.get(name, own) for name, own in models.unet.attn_processors.items()}
    )
    table = models.text_encoder.get_input_embeddings().weight
    (token,), (noun,) = (models.tokenizer(w, add_special_tokens=False).input_ids for w in ("sks", "robot"))
    table.data[token] = table.data[noun]
    untouched = torch.arange(len(table)) != token

    def only_the_token() -> None:
        table.grad[untouched] = 0

    masks = [torch.from_numpy(picture.fitted(PIXELS).mask).float()[None] for picture in subject.pictures]

    def loss(batch: Batch) -> Tensor:
        predicted = models.unet(batch.noised, batch.timesteps, batch.words, return_dict=False)[0]
        predicted, predicted_class = torch.chunk(predicted, 2, dim=0)
        noise, noise_class = torch.chunk(batch.noise, 2, dim=0)
        mask = avg_pool2d(torch.stack([masks[i] for i in batch.own]), 8)
        instance = mse_loss(predicted, noise, reduction="none") * mask
        instance = (instance.sum([1, 2, 3]) / mask.sum([1, 2, 3])).mean()
        return instance / (1 if masked_mean == "pixels" else 4) + 1.0 * mse_loss(predicted_class, noise_class)

    draws = Draws(fine.state(), (3, 3), batch=2, parts=len(fine.parts), posed=False)
    script = Script(
        models, subject, class_pixels, draws, {**trained, "token.vectors": table}, 1e-4, loss, only_the_token
    )
    assert_same_steps(fine, OneRow(script, token))


class OneRow(Script):
    """A script that trains a table of which the engine has but one row."""

    def __init__(self, script: Script, row: int) -> None:
        self.script, self.row = script, row
        self.trained = script.trained

    def step(self) -> tuple[float, dict[str, Tensor]]:
        loss, gradients = self.script.step()
        self.trained = self._row_of(self.script.trained)
        return loss, self._row_of(gradients)

    def _row_of(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        return values | {"token.vectors": values["token.vectors"][[self.row]]}


@pytest.mark.parametrize("trains", ["controlnet", "both", "unet"])
def test_controlnet_in_the_loop(
    folder: Path, subject: Subject, class_pixels: np.ndarray, start: Callable[..., FineTune], trains: str
) -> None:
    """`train_controlnet.py`, with LoRAs: pose pictures from 0 to 1 go through the ControlNet."""
    recipe = Recipe(
        targets="attention", rank=4, learning_rate=1e-4, pose_from=0, pose_trains=trains, batch_size=2,
        **({} if trains == "unet" else {"controlnet_rank": 4, "controlnet_learning_rate": 1e-4}),
    )  # fmt: skip
    fine, models = start(recipe), Models.load(folder)
    state, trained = fine.state(), {}
    if trains != "controlnet":
        trained |= lora(models.unet, "unet", ATTENTION, 4, state)
    if trains != "unet":
        trained |= lora(models.controlnet, "controlnet", ATTENTION, 4, state)
    fitted = [picture.fitted(PIXELS) for picture in subject.pictures]
    poses = [np.asarray(render(picture.keypoints, PIXELS, PUPPET_13)) for picture in fitted]

    def loss(batch: Batch) -> Tensor:
        condition = torch.stack([torch.tensor(poses[i]).permute(2, 0, 1) for i in batch.own]).float() / 255
        down, middle = models.controlnet(
            batch.noised, batch.timesteps, encoder_hidden_states=batch.words, controlnet_cond=condition,
            return_dict=False,
        )  # fmt: skip
        predicted = models.unet(
            batch.noised, batch.timesteps, encoder_hidden_states=batch.words, down_block_additional_residuals=down,
            mid_block_additional_residual=middle, return_dict=False,
        )[0]  # fmt: skip
        return mse_loss(predicted, batch.noise)

    draws = Draws(state, (3,), batch=2, parts=len(fine.parts), posed=True)
    assert_same_steps(fine, Script(models, subject, class_pixels, draws, trained, 1e-4, loss))
