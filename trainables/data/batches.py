"""What a step learns from: pictures dealt in turn, noised, with their captions, poses and weights."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from spaces import Recipe
from trainables.base import Base
from trainables.data.augment import WORDS, resize_randomly
from trainables.data.captions import Captions, without_token
from trainables.data.needs import check_needs
from trainables.data.prior import Prior
from trainables.skeleton import region, render
from trainables.subject import Picture, Subject, skeleton_of


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
    shares: Tensor
    """n, the weight of each sample in the loss: 1 / subject samples, and prior_weight / class samples."""
    conditions: Tensor | None
    """m x 3 x pixels x pixels from 0 to 1: the pose pictures of the first m samples; the others have no pose."""
    region: Tensor | None
    """m x 1 x height x width, the weight of each place in the loss of the first m samples; it is 1 elsewhere."""
    dropout_seeds: tuple[int, ...]
    """For the LoRA's dropout, one for each part."""

    def __len__(self) -> int:
        return len(self.timesteps)

    def rows(self, start: int, stop: int) -> "Batch":
        """The samples from `start` to before `stop`."""
        part = slice(start, stop)
        return Batch(
            self.noised[part], self.timesteps[part], self.target[part], self.captions[part], self.shares[part],
            None if self.conditions is None else self.conditions[part],
            None if self.region is None else self.region[part],
            self.dropout_seeds,
        )  # fmt: skip


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


class Feed:
    """Draws batches from one generator. What cannot change is computed once: latents, captions, pose pictures."""

    def __init__(self, base: Base, subject: Subject, recipe: Recipe, prior: Prior | None, parts: int) -> None:
        """`parts` is how many dropout seeds a batch has; the tokenizer must know the subject's words by now."""
        self.base, self.subject, self.recipe, self.prior = base, subject, recipe, prior
        self.prediction_type = base.schedule.config.prediction_type
        self.parts = parts
        self.skeleton = skeleton_of(subject)
        self.pictures = [picture.fitted(base.size) for picture in subject.pictures]
        self.masked = recipe.mask_weight < 1 or recipe.size_augmentation
        check_needs(subject, recipe)
        self._gather_latents()
        self._gather_captions()
        posed, masked = recipe.pose_from is not None, recipe.mask_weight < 1
        self.poses = torch.stack([self._pose(picture) for picture in self.pictures]) if posed else None
        self.regions = torch.stack([self._region(picture) for picture in self.pictures]) if masked else None

    def draw(self, generator: torch.Generator, posed: bool) -> Batch:
        """The next batch; with pose pictures if `posed`. All randomness is the generator's, on the CPU."""
        recipe, schedule, count = self.recipe, self.base.schedule, self.recipe.batch_size
        pictures = torch.cat([deck.deal(count, generator) for deck in self.decks])
        mean, std, captions = self.mean[pictures], self.std[pictures], self.captions[pictures]
        poses = self.poses[pictures[:count]] if posed else None
        regions = self.regions[pictures[:count]] if self.regions is not None else None
        if recipe.size_augmentation:
            fresh_mean, fresh_std, fresh_captions, poses, regions = self._resized(pictures[:count], generator, posed)
            mean, std = torch.cat([fresh_mean, mean[count:]]), torch.cat([fresh_std, std[count:]])
            captions = torch.cat([fresh_captions, captions[count:]])
        clean = mean + std * torch.randn(mean.shape, generator=generator)
        noise = torch.randn(mean.shape, generator=generator)
        timesteps = torch.randint(schedule.config.num_train_timesteps, (len(pictures),), generator=generator)
        noised = schedule.add_noise(clean, noise, timesteps)
        target = noise if self.prediction_type == "epsilon" else schedule.get_velocity(clean, noise, timesteps)
        if recipe.prior == "base":  # the same noised pictures again, called the class; what they teach is the base's
            captions = torch.cat([captions, self.class_captions[pictures]])
            noised, timesteps, target = (torch.cat([part, part]) for part in (noised, timesteps, target))
        dropped = torch.rand(len(captions), generator=generator) < recipe.caption_dropout
        captions = torch.where(dropped, 0, captions)
        seeds = torch.randint(2**62, (self.parts,), generator=generator).tolist()
        if posed:
            blank = torch.rand(count, generator=generator) < recipe.condition_dropout
            poses = torch.where(blank[:, None, None, None], 0, poses)
            poses = torch.cat([poses, poses]) if recipe.prior == "base" else poses
        batch = Batch(noised, timesteps, target, captions, self.shares, poses, regions, tuple(seeds))
        return _on(batch, self.base.device)

    def fixed(self, timesteps: int, posed: bool) -> Batch:
        """Every picture's mean at some timesteps, evenly spread, in noise that is always the same; for validation."""
        schedule, pictures = self.base.schedule, len(self.pictures)
        which = torch.arange(pictures).repeat_interleave(timesteps)
        horizon = schedule.config.num_train_timesteps
        steps = (horizon * (2 * torch.arange(timesteps) + 1) // (2 * timesteps)).repeat(pictures)
        clean = self.mean[which]
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
        target = noise if self.prediction_type == "epsilon" else schedule.get_velocity(clean, noise, steps)
        noised = schedule.add_noise(clean, noise, steps)
        poses = self.poses[which] if posed else None
        shares = torch.full((len(which),), 1 / len(which))
        return _on(Batch(noised, steps, target, self.captions[which], shares, poses, None, ()), self.base.device)

    def _resized(
        self, pictures: Tensor, generator: torch.Generator, posed: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor]:
        """Mean, deviation, captions, pose pictures and regions of pictures at random sizes: encoded anew each time."""
        latent = self.base.size // self.mean.shape[-1]
        made = [resize_randomly(self.pictures[number], latent, generator) for number in pictures.tolist()]
        mean, std = self.base.latent_distribution(np.stack([each.picture.pixels for each in made]))
        captions = self.table.rows(each.words + each.picture.caption for each in made)
        poses = torch.stack([self._pose(each.picture) for each in made]) if posed else None
        return mean, std, captions, poses, torch.stack([self._region(each.picture, each.valid) for each in made])

    def _gather_latents(self) -> None:
        """The posteriors of all pictures, once: a step draws from them anew instead of encoding again."""
        mean, std = self.base.latent_distribution(np.stack([picture.pixels for picture in self.pictures]))
        self.decks = [Deck(0, len(mean))]
        if self.prior is not None:
            self.decks.append(Deck(len(mean), len(self.prior.mean)))
            mean, std = torch.cat([mean, self.prior.mean]), torch.cat([std, self.prior.std])
        self.mean, self.std = mean, std
        count, rehearses = self.recipe.batch_size, self.recipe.prior != "none"
        weights = [1 / count] * count + [self.recipe.prior_weight / count] * (count if rehearses else 0)
        self.shares = torch.tensor(weights)

    def _gather_captions(self) -> None:
        own = [picture.caption for picture in self.subject.pictures]
        rehearsed = list(self.prior.captions) if self.prior is not None else []
        of_class = [without_token(caption, self.subject.token) for caption in own]
        said = [*own, *rehearsed, *(of_class if self.recipe.prior == "base" else [])]
        if self.recipe.size_augmentation:
            said += [words + caption for words in WORDS for caption in own]
        self.table = Captions(self.base, said)
        self.captions = self.table.rows(own + rehearsed)
        self.class_captions = self.table.rows(of_class) if self.recipe.prior == "base" else None

    def _pose(self, picture: Picture) -> Tensor:
        """3 x pixels x pixels from 0 to 1."""
        drawn = np.array(render(picture.keypoints, self.base.size, self.skeleton))
        return torch.from_numpy(drawn).permute(2, 0, 1).float() / 255

    def _region(self, picture: Picture, valid: np.ndarray | None = None) -> Tensor:
        """1 x height x width of a latent: 1 on the subject, mask_weight elsewhere; 0 where the picture is not valid."""
        weight = np.ones(picture.pixels.shape[:2], dtype=np.float32)
        if self.recipe.mask_weight < 1:
            mask = picture.mask
            if mask is None:
                mask = region(picture.keypoints, self.base.size, self.skeleton)
            weight = np.where(mask, weight, np.float32(self.recipe.mask_weight))
        if valid is not None:
            weight = weight * valid
        return torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(weight)[None], self.mean.shape[-2:])


def _on(batch: Batch, device: torch.device) -> Batch:
    moved = {name: value.to(device) for name, value in vars(batch).items() if isinstance(value, Tensor)}
    return replace(batch, **moved)
