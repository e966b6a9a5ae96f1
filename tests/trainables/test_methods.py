"""Every method of the recipe trains: what should and nothing else, resumably, and leaves the base as it was."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from spaces import InputError, Recipe
from spaces.stages import adapted, training
from tests.tiny import SIZE
from trainables.base import Base
from trainables.data.augment import LARGE, SMALL, resize_randomly
from trainables.finetune import FineTune
from trainables.parts.adapters import is_adapted
from trainables.parts.full import FullLinear
from trainables.subject import Subject

COMMON = {"rank": 4, "learning_rate": 5e-3, "batch_size": 2}
TEXT = {"text_encoder": "lora", "text_encoder_rank": 2}
TOKEN = {"token": "trained", "token_learning_rate": 2e-2}
METHODS = {
    "lora": {"targets": "attention+ff"},
    "transformer projections": {"targets": "transformer"},
    "rslora": {"adapter": "rslora", "alpha": 2},
    "dora": {"adapter": "dora", "targets": "transformer"},
    "kaiming": {"init": "kaiming"},
    "orthogonal": {"init": "orthogonal", "rank": 5},
    "pissa": {"init": "pissa", "targets": "transformer", "learning_rate": 1e-3},
    "pissa dora": {"init": "pissa", "adapter": "dora", "learning_rate": 1e-3},
    "dropout after A": {"dropout": 0.2, "dropout_kind": "output"},
    "rank dropout": {"dropout": 0.2, "dropout_kind": "rank", "adapter": "dora"},
    "module dropout": {"dropout": 0.2, "dropout_kind": "module"},
    "t-lora": {"rank_schedule": "timestep", "min_rank": 1},
    "text encoder": TEXT,
    "text encoder until": {**TEXT, "text_encoder_until": 2},
    "text encoder alone": {"unet": "frozen", **TEXT, "text_encoder_learning_rate": 5e-3},
    "token": {"unet": "frozen", **TOKEN},
    "token of three vectors": {"unet": "frozen", **TOKEN, "token_vectors": 3, "token_init": "red"},
    "pivotal": {**TEXT, **TOKEN, "token_vectors": 2, "token_until": 2},
    "custom diffusion": {
        "unet": "full-kv", **TOKEN, "prior": "images", "prior_images": 4, "size_augmentation": True,
        "masked_mean": "pixels", "learning_rate": 1e-3, "token_learning_rate": 1e-3,
    },
    "masked": {"mask_weight": 0.1, "min_snr_gamma": 5.0},
    "controlnet from the start": {"pose_from": 0, "pose_trains": "controlnet", "controlnet_learning_rate": 2e-2},
    "unet with the controlnet": {"pose_from": 0, **TEXT, "size_augmentation": True},
    "two stages, unet": {"pose_from": 2, **TEXT, **TOKEN},
    "two stages, controlnet": {"pose_from": 2, "pose_trains": "controlnet", **TEXT, "rank_schedule": "timestep"},
    "two stages, both": {"pose_from": 2, "pose_trains": "both", **TEXT, "controlnet_rank": 3, "prior": "images"},
    "everything": {
        "targets": "transformer", "adapter": "dora", "dropout": 0.3, "dropout_kind": "rank",
        "rank_schedule": "timestep", **TEXT, **TOKEN, "pose_from": 0, "pose_trains": "both", "condition_dropout": 0.5,
        "prior": "base", "prior_weight": 0.7, "caption_dropout": 0.3, "min_snr_gamma": 5.0, "mask_weight": 0.2,
        "batch_size": 3, "learning_rate": 1e-3,
    },
    "prior by the base": {"prior": "base", **TEXT, **TOKEN, "token_vectors": 2},
    "prior by the base, pissa, pose": {"prior": "base", "init": "pissa", "pose_from": 2, "learning_rate": 1e-3},
}  # fmt: skip


Make = Callable[..., FineTune]


@pytest.fixture
def tune(tune: Make) -> Make:
    """By fields beside the common ones."""
    return lambda fields, **how: tune(Recipe(**{**COMMON, **fields}), **how)


def models(base: Base) -> dict[str, nn.Module]:
    return {"unet": base.unet, "vae": base.vae, "text_encoder": base.text_encoder, "controlnet": base.controlnet}


def trained(fine: FineTune) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in fine.parameters.items()}


def moved(before: dict[str, Tensor], fine: FineTune) -> set[str]:
    return {name for name, parameter in fine.parameters.items() if not torch.equal(before[name], parameter)}


def draw(base: Base) -> np.ndarray:
    condition, generator = Image.new("RGB", (SIZE, SIZE), "red"), torch.Generator().manual_seed(0)
    return base.pipeline()(
        "a sks robot on grass", condition, num_inference_steps=2, generator=generator, output_type="np"
    ).images


def grown(base: Base) -> tuple[object, ...]:
    """All that could tell that something was there: modules, hooks, words."""
    modules = [(part, name, id(m)) for part, model in models(base).items() for name, m in model.named_modules()]
    hooks = [
        len(value)
        for model in models(base).values()
        for module in model.modules()
        for name, value in vars(module).items()
        if name.endswith("hooks")
    ]
    return modules, hooks, len(base.tokenizer), base.tokenizer("a sks robot").input_ids


@pytest.mark.parametrize("method", METHODS)
def test_what_should_train_moves_and_nothing_else(tune: Make, base: Base, method: str) -> None:
    held = {f"{part}.{name}": p for part, model in models(base).items() for name, p in model.named_parameters()}
    values = {name: p.detach().clone() for name, p in held.items()}
    before, picture = grown(base), draw(base)
    fine = tune(METHODS[method])
    assert set(fine.parts) == set(adapted(fine.recipe)) == {name.split(".")[0] for name in fine.parameters}
    for step in range(4):
        start = trained(fine)
        fine.advance(1)
        assert {name.split(".")[0] for name in moved(start, fine)} == training(fine.recipe, step)
    assert not np.array_equal(draw(base), picture)
    fine.remove()
    assert [name for name, p in held.items() if not torch.equal(p, values[name])] == []
    now = {f"{part}.{name}": p for part, model in models(base).items() for name, p in model.named_parameters()}
    assert now.keys() == held.keys() and all(now[name] is p for name, p in held.items())
    assert not any(p.requires_grad for p in now.values()) and not any(p.grad is not None for p in now.values())
    assert grown(base) == before
    assert np.array_equal(draw(base), picture)


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_on_fixed_noise_falls(tune: Make, method: str) -> None:
    fine = tune(METHODS[method] | {"prior_weight": 0.1} if "prior" in METHODS[method] else METHODS[method])
    fine.advance(4)  # into the last stage: with the ControlNet in the loop it is another loss
    before = fine.validation_loss()
    assert fine.validation_loss() == before
    fine.advance(16)
    assert fine.validation_loss() < before


@pytest.mark.parametrize("method", METHODS)
def test_interrupted_and_resumed_equals_uninterrupted(tune: Make, method: str, tmp_path: Path) -> None:
    """From before and at the stages' switches."""
    whole = tune(METHODS[method])
    whole.advance(4)
    states: list[Path] = []
    expected, validation, first = whole.state(), whole.validation_loss(), tune(METHODS[method])
    for stop in (1, 2):
        first.advance(stop - first.steps)
        first.validation_loss()  # looks, and changes nothing
        states.append(tmp_path / f"{stop}.safetensors")
        first.save_state(states[-1])
    for stop, path in zip((1, 2), states, strict=True):
        again = tune(METHODS[method], seed=9)
        again.load_state(path)
        again.advance(4 - stop)
        found = again.state()
        assert found.keys() == expected.keys()
        assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
        assert again.validation_loss() == validation


# Only the parameters that a method is about.


def test_custom_diffusion_trains_all_of_keys_and_values_in_fp32(tiny_base: Path, subject: Subject) -> None:
    base = Base.load(tiny_base, precision="bf16")
    fine = FineTune(base, subject, Recipe(unet="full-kv", learning_rate=1e-3), 0)
    layers = {name: layer for name, layer in base.unet.named_modules() if isinstance(layer, FullLinear)}
    assert len(layers) == 8 and {name.split(".")[-2:][0] for name in layers} == {"attn2"}
    assert {p.dtype for p in fine.parameters.values()} == {torch.float32}
    fine.advance(2)
    assert all(delta.abs().max() > 0 for delta in fine.parts["unet"].deltas.values())
    assert draw(base).shape == (1, SIZE, SIZE, 3)
    fine.remove()


def test_the_token_s_row_trains_and_all_others_are_the_base_s(tune: Make, base: Base) -> None:
    table = base.text_encoder.get_input_embeddings()
    everything = torch.arange(table.num_embeddings)
    before = table(everything).clone()
    fine = tune(METHODS["token"])
    token = fine.parts["token"]
    row = base.tokenizer("sks", add_special_tokens=False).input_ids[0]
    assert token.words == ("sks",) and token.ids == (row,)
    robot = base.tokenizer("robot", add_special_tokens=False).input_ids[0]
    assert torch.equal(token.vectors[0], before[robot])  # it starts as the class
    fine.advance(3)
    after = base.text_encoder.get_input_embeddings()(everything)
    assert (before != after).any(1).nonzero().flatten().tolist() == [row]
    assert torch.equal(after[row], token.vectors[0])


def test_a_token_of_several_vectors_is_read_as_all_of_them(tune: Make, base: Base) -> None:
    size = len(base.tokenizer)
    fine = tune(METHODS["token of three vectors"])
    token, tokenizer = fine.parts["token"], base.tokenizer
    assert token.words == ("sks", "sks_1", "sks_2") and token.ids[1:] == (size, size + 1)
    ids = tokenizer("a red sks robot on sks", add_special_tokens=False).input_ids
    words = [tokenizer(["a", "red", "robot", "on"][i], add_special_tokens=False).input_ids[0] for i in range(4)]
    assert ids == [words[0], words[1], *token.ids, words[2], words[3], *token.ids]
    red = base.text_encoder.get_input_embeddings()(torch.tensor([words[1]]))
    assert torch.equal(token.vectors.detach(), red.expand(3, -1))
    fine.advance(2)
    assert len({tuple(vector.tolist()) for vector in token.vectors}) == 3
    assert torch.equal(base.text_encoder.get_input_embeddings()(torch.tensor(token.ids)), token.vectors)
    fine.remove()
    assert len(tokenizer) == size and tokenizer("sks", add_special_tokens=False).input_ids == [token.ids[0]]


def test_a_token_that_is_not_one_row_is_refused(tune: Make, base: Base, subject: Subject) -> None:
    other = replace(subject, token="zwxq")
    with pytest.raises(InputError, match=r"subject.yaml: token: 'zwxq' is \d rows of the text encoder's table"):
        tune(METHODS["token"], of=other)
    with pytest.raises(InputError, match="token_init: 'green' is"):
        tune({**METHODS["pivotal"], "token_init": "green"})
    assert not is_adapted(base.unet) and not is_adapted(base.text_encoder)


def test_parts_have_their_own_rank_scale_and_rate(tune: Make) -> None:
    """AdamW's first step is the rate, whatever the gradient, where that is not tiny; B starts from zero."""
    rates = {"unet": 3e-3, "text_encoder": 1e-3, "controlnet": 5e-4}
    fine = tune(
        {"rank": 4, "alpha": 8, "learning_rate": 3e-3, **TEXT, "text_encoder_learning_rate": 1e-3, "pose_from": 0,
         "pose_trains": "both", "controlnet_rank": 3, "controlnet_alpha": 3, "controlnet_learning_rate": 5e-4}
    )  # fmt: skip
    scales = {name: next(iter(part.layers.values())).scaling["default"] for name, part in fine.adapters.items()}
    assert scales == {"unet": 2.0, "text_encoder": 2.0, "controlnet": 1.0}
    fine.advance(1)
    for part, rate in rates.items():
        b = [p for name, p in fine.parameters.items() if name.startswith(f"{part}.") and "lora_B" in name]
        assert max(p.abs().max().item() for p in b) == pytest.approx(rate, rel=1e-2)


# The ControlNet in the loop.


def test_the_pose_changes_what_is_predicted_once_it_is_in_the_loop(tune: Make) -> None:
    fine = tune({"pose_from": 2})
    fine.advance(2)
    assert fine._posed is False
    fine._enter_stage()
    batch = fine._feed.draw(fine._generator, True)
    assert batch.conditions.shape == (2, 3, SIZE, SIZE) and 0 < batch.conditions.mean() < 0.5
    with torch.no_grad():
        posed = fine._predict(batch)
        bare = fine._predict(replace(batch, conditions=None))
        other = fine._predict(replace(batch, conditions=batch.conditions.flip(0)))
    assert not torch.allclose(posed, bare, atol=1e-4) and not torch.allclose(posed, other, atol=1e-6)


def test_class_pictures_have_no_pose(tune: Make) -> None:
    fine = tune({"pose_from": 0, "prior": "images"})
    fine._enter_stage()
    batch = fine._feed.draw(fine._generator, True)
    assert len(batch) == 4 and len(batch.conditions) == 2
    with torch.no_grad():
        together = fine._predict(batch)
        of_class = fine._predict(replace(batch.rows(2, 4), conditions=None))
    torch.testing.assert_close(together[2:], of_class, rtol=1e-4, atol=1e-5)


def test_pose_pictures_are_the_subject_s_own_or_blank(tune: Make, subject: Subject) -> None:
    fine = tune({"pose_from": 0, "batch_size": 3})
    batch = fine._feed.draw(fine._generator, True)
    drawn = {tuple(picture.flatten().tolist()) for picture in fine._feed.poses}
    assert len(drawn) == 3 == len(subject.pictures)
    assert {tuple(condition.flatten().tolist()) for condition in batch.conditions} == drawn
    fine = tune({"pose_from": 0, "condition_dropout": 1.0})
    assert fine._feed.draw(fine._generator, True).conditions.abs().max() == 0
    fine = tune({"pose_from": 0, "condition_dropout": 0.5, "batch_size": 200})
    blank = (fine._feed.draw(fine._generator, True).conditions.flatten(1).sum(1) == 0).float().mean().item()
    assert blank == pytest.approx(0.5, abs=0.1)


def test_a_picture_without_keypoints_cannot_train_with_its_pose(tune: Make, subject: Subject) -> None:
    pictures = (subject.pictures[0], replace(subject.pictures[1], keypoints=None), subject.pictures[2])
    other = replace(subject, pictures=pictures)
    with pytest.raises(InputError, match=r"1\.png: has no keypoints, and pose_from: .* keypoints of puppet-13"):
        tune({"pose_from": 100}, of=other)
    tune({}, of=other).advance(1)


def test_captions_are_embedded_once_again_when_their_encoder_is_frozen(tune: Make) -> None:
    """And to what the frozen encoder, adapters included, would say at every step."""
    fine = tune({**TEXT, **TOKEN, "pose_from": 2})
    table = fine._feed.table
    fine.advance(2)
    assert table._embeddings is None
    fine._enter_stage()
    rows = fine._feed.captions
    cached = table(rows)
    table.thaw()
    with torch.no_grad():
        torch.testing.assert_close(table(rows), cached, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(cached, fine.base.encode_text([""]), atol=1e-3)


# Priors.


def test_a_prior_by_the_base_costs_nothing_until_the_fine_tune_differs(tune: Make) -> None:
    """At first the class is predicted as the base predicts it; so the loss is the subject's alone."""
    alone = tune({}).advance(1)
    fine = tune({"prior": "base", "prior_weight": 10.0})
    assert fine.prior is None
    assert fine.advance(1) == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize("method", ["prior by the base", "prior by the base, pissa, pose"])
def test_a_prior_by_the_base_has_the_untuned_base_s_predictions_as_targets(
    tune: Make, tiny_base: Path, subject: Subject, method: str
) -> None:
    fine = tune(METHODS[method])
    fine.advance(3)
    fine._enter_stage()
    batch = fine._feed.draw(fine._generator, fine._posed)
    found = fine._with_base_targets(batch, 0)
    assert torch.equal(found.target[:2], batch.target[:2]) and torch.equal(found.noised[:2], found.noised[2:])
    fresh = Base.load(tiny_base)
    names = {row: caption for caption, row in fine._feed.table._rows.items()}
    captions = [names[row] for row in batch.captions.tolist()]
    assert captions[2:] == [caption.replace("sks ", "") for caption in captions[:2]]
    words, residuals = fresh.encode_text(captions[2:]), {}
    with torch.no_grad():
        if fine._posed:
            down, middle = fresh.controlnet(
                batch.noised[2:], batch.timesteps[2:], words, controlnet_cond=batch.conditions[2:], return_dict=False
            )
            residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        expected = fresh.unet(batch.noised[2:], batch.timesteps[2:], words, **residuals).sample
        torch.testing.assert_close(found.target[2:], expected, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(fine._predict(batch)[2:], expected, atol=1e-3)


# Masks and sizes.


def test_the_background_is_weighted_by_the_mask(tune: Make, subject: Subject) -> None:
    fine = tune({"mask_weight": 0.0})
    batch = fine._feed.draw(fine._generator, False)
    assert batch.region.shape == (2, 1, 8, 8) and 0 < batch.region.mean() < 1
    predicted = batch.target.clone()
    predicted[(batch.region == 0).expand_as(predicted)] += 100
    assert fine._loss(predicted, batch).item() == 0
    everywhere = tune({"mask_weight": 1.0})._feed.draw(torch.Generator().manual_seed(0), False)
    assert everywhere.region is None
    bare = replace(subject, pictures=tuple(replace(p, mask=None, keypoints=None) for p in subject.pictures))
    with pytest.raises(InputError, match="has neither mask nor keypoints, and mask_weight"):
        tune({"mask_weight": 0.5}, of=bare)


def test_a_half_weighted_background_is_half_of_both(tune: Make) -> None:
    """The region is mask + weight (1 - mask), at the latents' resolution."""
    nothing, half = (tune({"mask_weight": weight})._feed.regions for weight in (0.0, 0.5))
    torch.testing.assert_close(half, nothing + 0.5 * (1 - nothing))


def test_sizes_are_said_in_the_caption_and_everything_goes_along(subject: Subject) -> None:
    generator = torch.Generator().manual_seed(0)
    picture = subject.pictures[0]
    seen, sizes = {}, []
    for _ in range(400):
        made = resize_randomly(picture, 4, generator)
        assert made.picture.pixels.shape == picture.pixels.shape == (*made.valid.shape, 3)
        scale = np.ptp(made.picture.keypoints[:, 0]) / np.ptp(picture.keypoints[:, 0])
        sizes.append(scale)
        seen.setdefault(made.words, []).append(scale)
        if scale < 0.9:  # the rim around what is valid is the picture's, beyond it all is grey
            rows, columns = made.valid.any(1).nonzero()[0], made.valid.any(0).nonzero()[0]
            if len(rows):
                assert len(rows) == len(columns) and len(rows) + 8 == pytest.approx(scale * SIZE, abs=0.01)
        joints = made.picture.keypoints[:, :2].round().astype(int)
        inside = ((joints >= 0) & (joints < SIZE)).all(1)
        if made.picture.mask is not None and inside.any():
            near = [made.picture.mask[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].any() for x, y in joints[inside]]
            assert np.mean(near) > 0.7
    assert set(seen) == {"", *SMALL, *LARGE}
    assert max(max(seen[word]) for word in SMALL) < 0.6 and min(min(seen[word]) for word in LARGE) > 1.1
    assert np.mean(np.array(sizes) <= 1) == pytest.approx(0.66, abs=0.07)
    assert min(sizes) == pytest.approx(10 / 32, abs=0.03) and max(sizes) == pytest.approx(1.4, abs=0.03)
