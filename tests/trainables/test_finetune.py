import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor
from torch.nn.functional import mse_loss

from spaces import InputError, Recipe
from tests.tiny import SIZE, make_tiny_base
from trainables.base import Base
from trainables.data.prior import Prior
from trainables.finetune import Diverged, FineTune
from trainables.parts.adapters import is_adapted, text_encoder_config, unet_config
from trainables.subject import Subject

EVERYTHING = Recipe(
    targets="attention+ff", rank=4, alpha=6, dropout=0.3, learning_rate=3e-3, text_encoder="lora", text_encoder_rank=2,
    text_encoder_learning_rate=1e-3, prior_weight=0.5, prior_images=5, caption_dropout=0.4, min_snr_gamma=5.0,
    batch_size=2,
)  # fmt: skip
"""A recipe with everything on."""
PLAIN = Recipe(targets="cross-kv", rank=2, learning_rate=1e-3)

State = dict[str, Tensor]


@pytest.fixture
def tune(tune: Callable[..., FineTune]) -> Callable[..., FineTune]:
    """With everything on unless another recipe is given."""
    return lambda recipe=EVERYTHING, **how: tune(recipe, **how)


def assert_same(a: State, b: State) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def draw(base: Base) -> np.ndarray:
    condition = Image.new("RGB", (SIZE, SIZE), "red")
    generator = torch.Generator().manual_seed(0)
    return base.pipeline()(
        "a sks robot", condition, num_inference_steps=2, generator=generator, output_type="np"
    ).images  # fmt: skip


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("recipe", [EVERYTHING, PLAIN], ids=["everything", "plain"])
def test_interrupted_and_resumed_equals_uninterrupted(
    tiny_base: Path, tune: Callable[..., FineTune], tmp_path: Path, recipe: Recipe, precision: str
) -> None:
    on = Base.load(tiny_base, precision=precision)
    whole = tune(recipe, on=on)
    losses = [whole.advance(5), whole.advance(4)]
    expected = whole.state()
    first = tune(recipe, on=on)
    assert first.advance(5) == losses[0]
    first.save_state(tmp_path / "state.safetensors")
    second = tune(recipe, seed=99, on=on)  # all that matters is in the state
    second.advance(1)
    second.load_state(tmp_path / "state.safetensors")
    assert second.steps == 5
    assert second.advance(4) == losses[1]
    assert_same(second.state(), expected)


def test_a_state_from_before_the_first_step_starts_anew(tune: Callable[..., FineTune]) -> None:
    fine = tune()
    start = fine.state()
    fine.advance(3)
    expected = fine.state()
    fine.load(start)
    assert_same(fine.state(), start)
    fine.advance(3)
    assert_same(fine.state(), expected)


def test_how_steps_are_portioned_does_not_matter(tune: Callable[..., FineTune]) -> None:
    at_once = tune()
    mean = at_once.advance(4)
    expected = at_once.state()
    in_parts = tune()
    assert sum(in_parts.advance(1) for _ in range(4)) / 4 == pytest.approx(mean, rel=1e-6)
    assert_same(in_parts.state(), expected)


def test_a_state_is_a_copy(tune: Callable[..., FineTune]) -> None:
    fine = tune()
    fine.advance(1)
    state = fine.state()
    kept = copy.deepcopy(state)
    fine.advance(1)
    assert_same(state, kept)


def test_a_reused_base_equals_a_fresh_one(tiny_base: Path, tune: Callable[..., FineTune], base: Base) -> None:
    before = draw(base)
    tune(EVERYTHING, seed=7).advance(3)
    second = tune(PLAIN, seed=8)
    second.advance(3)
    reused, reused_picture = second.state(), draw(base)
    fresh_base = Base.load(tiny_base)
    fresh = tune(PLAIN, seed=8, on=fresh_base)
    fresh.advance(3)
    assert_same(fresh.state(), reused)
    assert np.array_equal(draw(fresh_base), reused_picture)
    assert np.array_equal(draw(base), before)  # the base is bare again


def test_the_global_generator_neither_matters_nor_moves(tune: Callable[..., FineTune], base: Base) -> None:
    torch.manual_seed(1)
    calm = tune()
    calm.advance(4)
    expected = calm.state()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    disturbed = tune()
    assert torch.equal(torch.get_rng_state(), before)
    for _ in range(4):
        torch.rand(5)
        moved = torch.get_rng_state()
        disturbed.advance(1)
        draw(base)
        assert torch.equal(torch.get_rng_state(), moved)
    assert_same(disturbed.state(), expected)


def test_the_seed_matters(tune: Callable[..., FineTune]) -> None:
    assert tune(seed=1).advance(2) != tune(seed=2).advance(2)


def test_pictures_between_steps_are_drawn_without_dropout(tune: Callable[..., FineTune], base: Base) -> None:
    tune(EVERYTHING.model_copy(update={"dropout": 0.9})).advance(2)
    assert np.array_equal(draw(base), draw(base))


def test_dropout_is_on_while_training(tune: Callable[..., FineTune]) -> None:
    """Without effect in the first step, where B is zero and all but its gradient is as without."""
    without = tune(EVERYTHING.model_copy(update={"dropout": 0.0}))
    losses = [without.advance(1), without.advance(2)]
    fine = tune(EVERYTHING)
    assert fine.advance(1) == losses[0]
    assert fine.advance(2) != losses[1]


def test_only_the_adapters_move(tune: Callable[..., FineTune], base: Base) -> None:
    models = {"unet": base.unet, "vae": base.vae, "text_encoder": base.text_encoder, "controlnet": base.controlnet}
    before = {f"{part}.{name}": p.clone() for part, model in models.items() for name, p in model.named_parameters()}
    fine = tune()
    start = {name: p.detach().clone() for name, p in fine.parameters.items()}
    fine.advance(3)
    assert {name.split(".")[0] for name in fine.parameters} == {"unet", "text_encoder"}
    assert [name for name, p in fine.parameters.items() if torch.equal(p, start[name])] == []
    assert not any(p.grad is not None for m in models.values() for n, p in m.named_parameters() if "lora_" not in n)
    fine = tune(PLAIN)
    after = {f"{part}.{name}": p for part, model in models.items() for name, p in model.named_parameters()}
    assert [name for name in before if not torch.equal(before[name], after.get(name, after.get(_wrapped(name))))] == []


def _wrapped(name: str) -> str:
    """Where an adapted layer keeps the base's parameter of that name."""
    layer, _, kind = name.rpartition(".")
    return f"{layer}.base_layer.{kind}"


def test_each_part_has_its_own_learning_rate(tune: Callable[..., FineTune]) -> None:
    """AdamW's first step is the rate, whatever the gradient, where that is not tiny; B starts from zero."""
    fine = tune(EVERYTHING.model_copy(update={"dropout": 0.0}))
    fine.advance(1)
    for part, rate in (("unet", 3e-3), ("text_encoder", 1e-3)):
        moved = [
            p.abs().max().item() for name, p in fine.parameters.items() if name.startswith(part) and "lora_B" in name
        ]
        assert max(moved) == pytest.approx(rate, rel=1e-2)


def test_the_loss_falls_when_overfitting(tune: Callable[..., FineTune]) -> None:
    """One batch, over and over."""
    fine = tune(Recipe(targets="attention+ff", rank=16, learning_rate=5e-3, batch_size=3))
    start, losses = fine.state(), []
    for _ in range(60):
        losses.append(fine.advance(1))
        fine.load(fine.state() | {"generator": start["generator"]})
    assert losses[-1] < 0.8 * losses[0]


def test_a_loss_that_is_not_finite_is_named_with_its_step(tune: Callable[..., FineTune]) -> None:
    fine = tune(PLAIN)
    fine.advance(2)
    with torch.no_grad():
        next(iter(fine.parameters.values())).fill_(float("inf"))
    with pytest.raises(Diverged, match="the loss of step 3 is not finite") as caught:
        fine.advance(5)
    assert caught.value.step == 3 and fine.steps == 2


def test_without_a_prior_there_is_nothing_to_rehearse(base: Base, subject: Subject) -> None:
    with pytest.raises(ValueError, match="give a prior"):
        FineTune(base, subject, EVERYTHING, seed=0)
    assert not is_adapted(base.unet)


def test_all_captions_dropped_is_training_without_captions(tune: Callable[..., FineTune], subject: Subject) -> None:
    fine = tune(PLAIN.model_copy(update={"caption_dropout": 1.0}))
    fine.advance(3)
    dropped = fine.state()
    mute = replace(subject, pictures=tuple(replace(picture, caption="") for picture in subject.pictures))
    other = tune(PLAIN, of=mute)
    other.advance(3)
    assert_same(other.state(), dropped)


def test_every_picture_comes_as_often_as_any_other(tune: Callable[..., FineTune]) -> None:
    """Of 3 pictures, 2 a step: after 3 steps each was there twice."""
    fine = tune(EVERYTHING)
    counts = torch.zeros(8, dtype=torch.int64)
    for _ in range(15):
        for deck in fine._feed.decks:
            counts += torch.bincount(deck.deal(2, fine._generator), minlength=8)
    assert counts.tolist() == [10, 10, 10, 6, 6, 6, 6, 6]


@pytest.mark.parametrize("change", [{"rank": 3}, {"targets": "attention"}, {"text_encoder": "frozen"}])
def test_another_recipe_s_state_is_refused(
    tune: Callable[..., FineTune], change: dict[str, object], tmp_path: Path
) -> None:
    fine = tune()
    fine.save_state(tmp_path / "state.safetensors")
    state = fine.state()
    other = tune(Recipe.parse(EVERYTHING.model_dump() | change))
    with pytest.raises(InputError, match=r"state.safetensors: is the state of another recipe"):
        other.load_state(tmp_path / "state.safetensors")
    with pytest.raises(ValueError, match="other layers or ranks"):
        other.load(state)


def test_a_broken_state_is_an_input_error(tune: Callable[..., FineTune], tmp_path: Path) -> None:
    fine, path = tune(), tmp_path / "state.safetensors"
    with pytest.raises(InputError, match=r"state.safetensors"):
        fine.load_state(path)
    fine.save_state(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"state.safetensors"):
        fine.load_state(path)


def test_what_is_saved_is_fp32(tiny_base: Path, tune: Callable[..., FineTune], tmp_path: Path) -> None:
    fine = tune(on=Base.load(tiny_base, precision="bf16"))
    fine.advance(2)
    fine.save_state(tmp_path / "state.safetensors")
    with safe_open(tmp_path / "state.safetensors", "pt") as file:
        kinds = {name: file.get_tensor(name).dtype for name in file.keys() if "lora_" in name}  # noqa: SIM118
    assert set(kinds.values()) == {torch.float32}
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_ten_steps_equal_those_of_the_dreambooth_script(
    prediction_type: str, subject: Subject, prior: Prior, tmp_path: Path
) -> None:
    """As diffusers' `train_dreambooth_lora.py` trains: its LoRA, its loss, a plain AdamW; the same draws."""
    folder = make_tiny_base(tmp_path / "base", prediction_type)
    recipe = Recipe(
        targets="attention", rank=4, alpha=8, learning_rate=2e-3, text_encoder="lora", text_encoder_rank=2,
        text_encoder_learning_rate=1e-3, prior_weight=0.7, prior_images=3, batch_size=3,
    )  # fmt: skip
    few = Prior(prior.mean[:3], prior.std[:3], prior.captions[:3])
    fine = FineTune(Base.load(folder), subject, recipe, 5, few)
    start = fine.state()
    losses = [fine.advance(1) for _ in range(10)]
    reference = Reference(Base.load(folder), subject, recipe, few, start)
    assert [reference.step() for _ in range(10)] == pytest.approx(losses, rel=1e-5)
    for name, parameter in fine.parameters.items():
        torch.testing.assert_close(reference.parameters[name], parameter.detach(), rtol=0, atol=1e-5)


class Reference:
    """A DreamBooth LoRA step, written down plainly, from the adapter and the generator of a fine-tune's start."""

    def __init__(self, base: Base, subject: Subject, recipe: Recipe, prior: Prior, start: State) -> None:
        self.base, self.recipe, self.prior = base, recipe, prior
        base.unet.add_adapter(unet_config(recipe))
        base.text_encoder.add_adapter(text_encoder_config(recipe))
        self.parameters = {
            f"{part}.{name.replace('.default', '')}": parameter
            for part, model in (("unet", base.unet), ("text_encoder", base.text_encoder))
            for name, parameter in model.named_parameters()
            if "lora_" in name
        }
        for name, parameter in self.parameters.items():
            parameter.data.copy_(start[f"adapter.{name}"])
        self.generator = torch.Generator()
        self.generator.set_state(start["generator"])
        groups: dict[str, list[Tensor]] = {"unet": [], "text_encoder": []}
        for name, parameter in self.parameters.items():
            groups[name.split(".")[0]].append(parameter)
        rates = {"unet": recipe.learning_rate, "text_encoder": recipe.text_encoder_learning_rate}
        self.optimizer = torch.optim.AdamW(
            [{"params": group, "lr": rates[part]} for part, group in groups.items()],
            betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8, foreach=False,
        )  # fmt: skip
        pixels = torch.stack([torch.from_numpy(picture.pixels) for picture in subject.pictures])
        self.posterior = base.vae.encode(pixels.permute(0, 3, 1, 2) / 127.5 - 1).latent_dist
        self.captions = [picture.caption for picture in subject.pictures]

    def step(self) -> float:
        order, class_order = (torch.randperm(3, generator=self.generator) for _ in range(2))
        scaling = self.base.vae.config.scaling_factor
        mean = torch.cat([self.posterior.mean[order] * scaling, self.prior.mean[class_order]])
        std = torch.cat([self.posterior.std[order] * scaling, self.prior.std[class_order]])
        latents = mean + std * torch.randn(mean.shape, generator=self.generator)
        noise = torch.randn(mean.shape, generator=self.generator)
        timesteps = torch.randint(0, 1000, (6,), generator=self.generator)
        torch.rand(6, generator=self.generator)  # nothing is dropped
        torch.randint(2**62, (2,), generator=self.generator)
        schedule = self.base.schedule
        target = noise
        if schedule.config.prediction_type == "v_prediction":
            target = schedule.get_velocity(latents, noise, timesteps)
        captions = [self.captions[i] for i in order] + [self.prior.captions[i] for i in class_order]
        ids = self.base.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        words = self.base.text_encoder(ids)[0]
        predicted = self.base.unet(schedule.add_noise(latents, noise, timesteps), timesteps, words).sample
        predicted, predicted_class = predicted.chunk(2)
        target, target_class = target.chunk(2)
        loss = mse_loss(predicted, target) + self.recipe.prior_weight * mse_loss(predicted_class, target_class)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        self.optimizer.step()
        return loss.item()
