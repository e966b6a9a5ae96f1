"""Draws a character in a stance before a background: picture, mask and keypoints."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from trainables.puppets.characters import BACKGROUNDS, COLOURS, SKINS, Build, Character
from trainables.puppets.poses import SIZE, Grade, Stance, keypoints_of, sample_stance

_S = 4
"""Supersampling: drawn at 256 x 256, averaged down to 64 x 64."""

_SCENES: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    # (upper, lower) colours; the horizon lies between them
    "on grass": ((150, 208, 126), (112, 168, 92)),
    "on sand": ((232, 218, 168), (206, 186, 134)),
    "at a wall": ((196, 120, 98), (182, 106, 86)),
    "in the sky": ((150, 198, 242), (188, 218, 248)),
    "at night": ((44, 48, 88), (32, 34, 66)),
    "in a studio": ((178, 178, 180), (146, 146, 150)),
}


@dataclass(frozen=True)
class Drawing:
    """One picture of one character."""

    pixels: np.ndarray
    """64 x 64 x 3 uint8."""
    mask: np.ndarray
    """64 x 64 bool: the figure."""
    keypoints: np.ndarray
    """J x 3: x, y in pixels, visible."""
    background: str


def draw(character: Character, stance: Stance, background: str, generator: np.random.Generator) -> Drawing:
    """The generator only shifts the background's horizon and shade."""
    keypoints = keypoints_of(character, stance)
    figure = Image.new("RGBA", (SIZE * _S,) * 2)
    unit = _torso_length(keypoints, character) * _S
    paint = _Painter(ImageDraw.Draw(figure), unit)
    points = keypoints[:, :2] * _S
    (_draw_person if character.kind == "person" else _draw_robot)(paint, character, points)
    scene = _background(background, generator).resize(figure.size, Image.Resampling.NEAREST)
    scene.paste(figure, mask=figure.getchannel("A"))
    pixels = np.asarray(scene.resize((SIZE, SIZE), Image.Resampling.BOX))
    mask = np.asarray(figure.getchannel("A").resize((SIZE, SIZE), Image.Resampling.BOX)) > 127
    return Drawing(pixels, mask, keypoints, background)


def sample_drawing(
    generator: np.random.Generator, character: Character, grade: Grade, background: str | None = None
) -> Drawing:
    """A random stance and, unless given, background."""
    stance = sample_stance(generator, grade, character.arms, character.legs)
    return draw(character, stance, background or str(generator.choice(BACKGROUNDS)), generator)


def _torso_length(keypoints: np.ndarray, character: Character) -> float:
    """Pixels of one torso length: known from an upper arm, whose length the build gives."""
    return float(np.linalg.norm(keypoints[2, :2] - keypoints[1, :2]) / character.build.upper_arm)


def _background(name: str, generator: np.random.Generator) -> Image.Image:
    upper, lower = (np.array(c, dtype=float) for c in _SCENES[name])
    shade = generator.uniform(0.92, 1.06)
    horizon = int(generator.uniform(0.62, 0.86) * SIZE)
    rows = np.linspace(0.95, 1.05, SIZE)[:, None] * np.where(np.arange(SIZE)[:, None] < horizon, upper, lower) * shade
    picture = np.repeat(rows[:, None, :], SIZE, axis=1)
    if name == "at a wall":
        picture[np.arange(SIZE) % 10 == 0] *= 0.9
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


class _Painter:
    """Shapes in units of the torso's length."""

    def __init__(self, draw: ImageDraw.ImageDraw, unit: float) -> None:
        self.draw, self.unit = draw, unit

    def line(self, a: np.ndarray, b: np.ndarray, width: float, colour: tuple[int, int, int]) -> None:
        self.draw.line([tuple(a), tuple(b)], fill=(*colour, 255), width=max(2, round(width * self.unit)))
        self.disc(a, width / 2, colour)
        self.disc(b, width / 2, colour)

    def disc(self, centre: np.ndarray, radius: float, colour: tuple[int, int, int]) -> None:
        r = radius * self.unit
        self.draw.ellipse([*(centre - r), *(centre + r)], fill=(*colour, 255))

    def ring(self, centre: np.ndarray, radius: float, width: float, colour: tuple[int, int, int]) -> None:
        r = radius * self.unit
        self.draw.ellipse(
            [*(centre - r), *(centre + r)], outline=(*colour, 255), width=max(2, round(width * self.unit))
        )

    def polygon(self, corners: list[np.ndarray], colour: tuple[int, int, int]) -> None:
        self.draw.polygon([tuple(c) for c in corners], fill=(*colour, 255))

    def box(
        self, centre: np.ndarray, half: float, up: np.ndarray, colour: tuple[int, int, int], tall: float = 1.0
    ) -> None:
        side = np.array([-up[1], up[0]])
        x, y = side * half * self.unit, up * half * tall * self.unit
        self.polygon([centre + x + y, centre + x - y, centre - x - y, centre - x + y], colour)


def _frame(points: np.ndarray, character: Character) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The middles of the shoulders' and the hips' line, and the unit vector from the hips up."""
    hip = 1 + 3 * character.arms
    shoulders = (points[1] + points[1 + 3 * (character.arms - 1)]) / 2
    hips = (points[hip] + points[hip + 3 * (character.legs - 1)]) / 2
    up = (shoulders - hips) / max(1e-6, float(np.linalg.norm(shoulders - hips)))
    return shoulders, hips, up


def _chains(points: np.ndarray, first: int, count: int) -> list[np.ndarray]:
    return [points[first + 3 * k : first + 3 * k + 3] for k in range(count)]


def _draw_person(paint: _Painter, character: Character, points: np.ndarray) -> None:
    c, build = character.colours, character.build
    skin, shirt, trousers, hair = SKINS[c["skin"]], COLOURS[c["shirt"]], COLOURS[c["trousers"]], COLOURS[c["hair"]]
    shoulders, _, _ = _frame(points, character)
    for hip, knee, ankle in _chains(points, 7, 2):
        paint.line(hip, knee, build.limb * 1.15, trousers)
        paint.line(knee, ankle, build.limb, trousers)
        paint.disc(ankle, build.limb * 0.62, (40, 36, 36))
    paint.polygon([points[1], points[4], points[10], points[7]], shirt)
    paint.line(points[1], points[4], build.limb, shirt)
    paint.line(points[7], points[10], build.limb * 1.1, trousers)
    for shoulder, elbow, wrist in _chains(points, 1, 2):
        paint.line(elbow, wrist, build.limb * 0.72, skin)
        paint.disc(wrist, build.limb * 0.5, skin)
        paint.line(shoulder, elbow, build.limb * 0.9, shirt)
    _draw_face(paint, build, points[0], shoulders, skin, hair)


def _draw_face(
    paint: _Painter,
    build: Build,
    head: np.ndarray,
    shoulders: np.ndarray,
    skin: tuple[int, int, int],
    hair: tuple[int, int, int],
) -> None:
    paint.line(shoulders, head, build.limb * 0.6, skin)
    up = (head - shoulders) / max(1e-6, float(np.linalg.norm(head - shoulders)))
    side = np.array([-up[1], up[0]])
    paint.disc(head + up * 0.06 * paint.unit, build.head * 1.08, hair)
    paint.disc(head - up * 0.05 * paint.unit, build.head * 0.92, skin)
    for sign in (-1, 1):
        paint.disc(head + side * sign * build.head * 0.38 * paint.unit, build.head * 0.14, (30, 26, 26))


def _draw_robot(paint: _Painter, character: Character, points: np.ndarray) -> None:
    build = character.build
    colour = {part: COLOURS[word] for part, word in character.colours.items()}
    shoulders, hips, up = _frame(points, character)
    hip = 1 + 3 * character.arms
    for root, middle, end in _chains(points, hip, character.legs):
        _draw_rod(paint, build, root, middle, end, colour)
        paint.disc(end, build.limb * 1.25, colour["feet"])
    side = np.array([-up[1], up[0]]) * build.shoulders * 0.86 * paint.unit
    top, bottom = shoulders + up * 0.10 * paint.unit, hips - up * 0.04 * paint.unit
    paint.polygon([top - side, top + side, bottom + side, bottom - side], colour["body"])
    paint.disc((top + bottom) / 2, build.shoulders * 0.36, colour["dial"])
    for root, middle, end in _chains(points, 1, character.arms):
        _draw_rod(paint, build, root, middle, end, colour)
        paint.ring(end, build.limb * 1.7, 0.08, colour["joints"])
    _draw_head(paint, build, points[0], shoulders, colour)


def _draw_rod(
    paint: _Painter,
    build: Build,
    root: np.ndarray,
    middle: np.ndarray,
    end: np.ndarray,
    colour: dict[str, tuple[int, int, int]],
) -> None:
    paint.line(root, middle, build.limb, colour["limbs"])
    paint.line(middle, end, build.limb, colour["limbs"])
    paint.disc(root, build.limb * 0.95, colour["joints"])
    paint.disc(middle, build.limb * 1.0, colour["joints"])


def _draw_head(
    paint: _Painter, build: Build, head: np.ndarray, shoulders: np.ndarray, colour: dict[str, tuple[int, int, int]]
) -> None:
    up = (head - shoulders) / max(1e-6, float(np.linalg.norm(head - shoulders)))
    tip = head + up * build.head * 1.55 * paint.unit
    paint.line(shoulders, head, 0.12, (110, 110, 116))
    paint.line(head, tip, 0.06, (110, 110, 116))
    paint.disc(tip, 0.09, colour["antenna"])
    paint.box(head, build.head, up, colour["head"], tall=0.86)
    paint.disc(head, build.head * 0.56, (245, 245, 245))
    paint.disc(head, build.head * 0.30, colour["eye"])
