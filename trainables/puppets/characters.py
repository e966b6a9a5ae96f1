"""Who there is: the looks and proportions of one person or robot, and the captions that name some of them."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Colour = tuple[int, int, int]

COLOURS: dict[str, Colour] = {
    "red": (208, 48, 44), "blue": (52, 88, 204), "green": (52, 150, 66), "yellow": (236, 196, 54),
    "purple": (132, 62, 172),
    "orange": (236, 130, 40), "pink": (242, 148, 182), "white": (238, 238, 236),
    "black": (38, 38, 42), "teal": (40, 156, 158),
}  # fmt: skip
SKINS: dict[str, Colour] = {
    "pale": (250, 216, 190),
    "tan": (208, 156, 112),
    "brown": (142, 94, 62),
    "dark": (94, 62, 46),
}
BACKGROUNDS = ("on grass", "on sand", "at a wall", "in the sky", "at night", "in a studio")


@dataclass(frozen=True)
class Build:
    """Proportions, in units of the torso's length."""

    shoulders: float
    """Half the distance between the shoulders."""
    hips: float
    upper_arm: float
    forearm: float
    thigh: float
    shin: float
    neck: float
    """From the shoulder line to the head's centre."""
    head: float
    """The head's radius, or half its box."""
    limb: float
    """Thickness of a limb."""


@dataclass(frozen=True)
class Character:
    """One person or robot; the same in every picture of it."""

    kind: Literal["person", "robot"]
    colours: dict[str, str]
    """Part -> colour word: shirt, trousers, hair, skin; or body, head, limbs, joints, eye, antenna, dial."""
    build: Build
    arms: int = 2
    legs: int = 2

    def caption(self, background: str, parts: int = 3) -> str:
        """Names up to `parts` of two (robot) or three (person) parts; the rest must be seen."""
        c = self.colours
        if self.kind == "person":
            named = [f"{c['shirt']} shirt", f"{c['trousers']} trousers", f"{c['hair']} hair"][:parts]
        else:
            named = [f"{c['body']} body", f"{c['head']} head"][:parts]
        return " ".join(["a", self.kind, *(["with", " and ".join(named)] if named else []), background])


def sample_person(generator: np.random.Generator) -> Character:
    pick = lambda table: str(generator.choice(list(table)))  # noqa: E731
    between = lambda low, high: float(generator.uniform(low, high))  # noqa: E731
    build = Build(
        shoulders=between(0.30, 0.42), hips=between(0.17, 0.24), upper_arm=between(0.50, 0.62),
        forearm=between(0.48, 0.60),
        thigh=between(0.66, 0.84), shin=between(0.64, 0.82), neck=between(0.34, 0.42), head=between(0.21, 0.27),
        limb=between(0.17, 0.24),
    )  # fmt: skip
    colours = {"shirt": pick(COLOURS), "trousers": pick(COLOURS), "hair": pick(COLOURS), "skin": pick(SKINS)}
    return Character("person", colours, build)


def sample_robot(generator: np.random.Generator) -> Character:
    pick = lambda: str(generator.choice(list(COLOURS)))  # noqa: E731
    between = lambda low, high: float(generator.uniform(low, high))  # noqa: E731
    build = Build(
        shoulders=between(0.42, 0.62), hips=between(0.18, 0.34), upper_arm=between(0.50, 0.80),
        forearm=between(0.50, 0.80),
        thigh=between(0.32, 0.56), shin=between(0.32, 0.56), neck=between(0.46, 0.60), head=between(0.28, 0.40),
        limb=between(0.08, 0.12),
    )  # fmt: skip
    colours = {part: pick() for part in ("body", "head", "limbs", "joints", "eye", "antenna", "dial", "feet")}
    while colours["dial"] == colours["body"]:
        colours["dial"] = pick()
    while colours["eye"] == "white":
        colours["eye"] = pick()
    return Character("robot", colours, build)


def sample_odd_robot(generator: np.random.Generator) -> Character:
    """A robot with fewer or more limbs. No model of this project is ever trained on one: for tests of what is new."""
    arms, legs = [(4, 2), (2, 3), (1, 2), (3, 4), (2, 1)][int(generator.integers(5))]
    return replace(sample_robot(generator), arms=arms, legs=legs)


def is_reserved(character: Character) -> bool:
    """Whether a character looks like one of the shipped subjects, which no training may see."""
    c = character.colours
    if character.kind == "robot":
        return (c["body"], c["head"]) == ("red", "black")
    return (c["shirt"], c["trousers"]) == ("green", "white")


SUBJECT_ROBOT = Character(
    "robot",
    {"body": "red", "head": "black", "limbs": "blue", "joints": "blue", "eye": "teal", "antenna": "black",
     "dial": "black",
     "feet": "black"},
    Build(0.50, 0.26, 0.64, 0.62, 0.46, 0.44, 0.52, 0.34, 0.10),
)  # fmt: skip
SUBJECT_PERSON = Character(
    "person",
    {"shirt": "green", "trousers": "white", "hair": "purple", "skin": "brown"},
    Build(0.36, 0.20, 0.56, 0.54, 0.76, 0.74, 0.38, 0.24, 0.20),
)


def sample_character(generator: np.random.Generator, person: bool) -> Character:
    """A character that is not reserved."""
    while True:
        character = sample_person(generator) if person else sample_robot(generator)
        if not is_reserved(character):
            return character
