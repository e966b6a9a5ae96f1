"""Drawn characters that are not the subject, to tell it from."""

import numpy as np

from trainables.puppets.characters import sample_character
from trainables.puppets.draw import sample_drawing
from trainables.puppets.poses import SIZE
from trainables.skeleton import region

_SEED = 303


def drawn_characters(person: bool, count: int = 32, views: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of `count` people or robots, and where they are in them; the same ones each time.

    (count * views) x 64 x 64 x 3 uint8, the views of one character beside each other, and 64 x 64 bool of each.
    """
    generator = np.random.default_rng(_SEED)
    drawings = []
    for _ in range(count):
        character = sample_character(generator, person)
        drawings += [sample_drawing(generator, character, "plain") for _ in range(views)]
    return np.stack([d.pixels for d in drawings]), np.stack([region(d.keypoints, SIZE) for d in drawings])
