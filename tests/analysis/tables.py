"""Sweeps made by hand, for what is told of them."""

from functools import cache

import numpy as np

from spaces import Cost, Observation, Space, parse_space

SPACE = """
base: puppets
subject: puppets/robot
rungs: [100, 200, 400]
objectives: [identity, pose]
recipe:
  targets: [cross-kv, attention]
  rank: {low: 2, high: 64, log: true}
  dropout: {low: 0.0, high: 0.4}
  text_encoder: [frozen, lora]
  text_encoder_rank: {low: 2, high: 32, log: true, when: {text_encoder: lora}}
  batch_size: 2
"""
CELLS = 12


@cache
def space(text: str = SPACE) -> Space:
    return parse_space(text, "a test's space")


def sweep(
    trials: int, seed: int = 0, rungs: tuple[int, ...] = (100, 200, 400), noise: float = 0.02, of: Space | None = None
) -> list[Observation]:
    """Identity rises with rank and steps and by 0.1 with the text encoder, pose falls with rank and steps; the rest
    does nothing. One in three goes on, as they come."""
    generator, of, found = np.random.default_rng(seed), of or space(), []
    for number in range(trials):
        recipe = of.recipe(of.sample(generator))
        reached = 1 + sum(number % 3**k == 0 for k in range(1, len(rungs)))
        for steps in rungs[:reached]:
            pull = np.log2(recipe.rank) / 6 + 0.3 * np.log2(steps / 100)
            encoder = 0.1 * (recipe.text_encoder == "lora")
            means = {"identity": 0.2 + 0.3 * pull + encoder, "pose": 0.9 - 0.2 * pull, "pose_hard": 0.8 - 0.2 * pull}
            means = {name: value + generator.normal(0, noise) for name, value in means.items()}
            cells = {name: (value + generator.normal(0, 0.1, CELLS)) for name, value in means.items()}
            cells["pose_hard"][: CELLS // 2] = np.nan
            scores = {name: float(np.nanmean(values)) for name, values in cells.items()} | {"drift": 0.3 + encoder}
            lists = {name: values.tolist() for name, values in cells.items()}
            found.append(Observation(f"t{number + 1:04d}", recipe, number, steps, scores, lists, Cost(1.0, 1.0, 0.0)))
    return found
