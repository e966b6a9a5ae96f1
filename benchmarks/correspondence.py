"""How well are joints found that no detector knows? `python -m benchmarks.correspondence`.

Robots with one to four arms and one to four legs, other than the two and two that the puppets' models saw: five drawn
pictures of each with their joints are the references, and in new pictures the joints that are carried over are compared
with the drawn ones. Then pictures that are good and bad answers to a target pose, where the judge's PCK is set against
the exact one: limbs in wrong places, blur and noise, another robot blended in; and what fine-tunes of the shipped robot
generate with the ControlNet from off to full, where the puppets' own detector stands for the exact answer.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from scipy import stats

from spaces import Inference, Recipe
from trainables.base import Base
from trainables.finetune import FineTune
from trainables.generate import draw, start_noise
from trainables.hub import SHIPPED
from trainables.judges import CorrespondenceJudge, IdentityJudge, KeypointJudge, pck, silhouette_iou
from trainables.puppets.characters import BACKGROUNDS, Character, sample_robot
from trainables.puppets.dataset import to_unit
from trainables.puppets.draw import Drawing, sample_drawing
from trainables.puppets.draw import draw as draw_figure
from trainables.puppets.judging import worsen
from trainables.puppets.poses import SIZE, Grade, Stance, sample_stance
from trainables.skeleton import PUPPET_13, puppet_skeleton, render
from trainables.subject import Subject

LIMBS = ((4, 2), (2, 3), (1, 2), (3, 4), (2, 1))
"""Arms and legs."""
_REFERENCES, _NEW = 5, 6
"""Pictures of a robot: with plain stances to carry over from, and of each grade to carry over to."""
_WRONG = (0.0, 0.25, 0.5, 1.0)
"""Share of the limbs that are drawn elsewhere than the target has them."""
_PANEL = 8
"""Pictures of one robot at one share: as many as a small panel has."""
_POSES = 16
"""Poses of a panel of generated pictures, half of them hard."""
_STEPS = (0, 100, 300)
_SCALES = (0.0, 0.25, 0.5, 0.75, 1.0)
_RECIPE = Recipe(targets="attention", rank=16, text_encoder="lora", text_encoder_rank=8, learning_rate=1e-3,
                 batch_size=4)  # fmt: skip
_SEED = 41


@dataclass(frozen=True)
class Robot:
    """A robot that no model saw, and the pictures that its joints are carried over from."""

    character: Character
    references: list[Drawing]

    def judge(self, encoder: IdentityJudge, depth: float = 0.75) -> CorrespondenceJudge:
        stacked = (stack(self.references, name) for name in ("pixels", "keypoints", "mask"))
        skeleton = puppet_skeleton(self.character.arms, self.character.legs)
        return CorrespondenceJudge(encoder, *stacked, skeleton, depth=depth)


def make_robots(limbs: tuple[int, int], count: int, generator: np.random.Generator) -> list[Robot]:
    made = []
    for _ in range(count):
        character = replace(sample_robot(generator), arms=limbs[0], legs=limbs[1])
        made.append(Robot(character, [sample_drawing(generator, character, "plain") for _ in range(_REFERENCES)]))
    return made


def stack(drawn: Sequence[Drawing], name: str) -> np.ndarray:
    return np.stack([getattr(d, name) for d in drawn])


def placed(judge: CorrespondenceJudge, joints: np.ndarray) -> np.ndarray:
    """What does not count as found is nowhere."""
    return np.where(joints[..., 2:] >= judge.detected, joints[..., :2], math.inf)


def drawn_rows(encoder: IdentityJudge, robots: int) -> list[dict[str, str]]:
    """For each limb count and grade: how many joints are where they were drawn."""
    generator, rows = np.random.default_rng(_SEED), []
    for limbs in LIMBS:
        made = make_robots(limbs, robots, generator)
        judges = [robot.judge(encoder) for robot in made]
        for grade in ("plain", "hard"):
            values = [_drawn(robot, judge, grade, generator) for robot, judge in zip(made, judges, strict=True)]
            rows.append({"arms": str(limbs[0]), "legs": str(limbs[1]), "poses": grade, **_summed(values)})
    return rows


def _drawn(robot: Robot, judge: CorrespondenceJudge, grade: Grade, generator: np.random.Generator) -> dict[str, float]:
    new = [sample_drawing(generator, robot.character, grade) for _ in range(_NEW)]
    wanted = stack(new, "keypoints")
    joints, outlines = judge.look(stack(new, "pixels"))
    return {
        "PCK@0.05": pck(joints, wanted, SIZE).mean(),
        "PCK@0.1": pck(joints, wanted, SIZE, 0.1).mean(),
        "detection rate": (joints[..., 2] >= judge.detected).mean(),
        "PCK@0.05 of those found alone": _of_found(judge, joints, wanted),
        "PCK@0.05 by chance": pck(joints, np.roll(wanted, 1, axis=0), SIZE).mean(),
        "silhouette IoU": silhouette_iou(outlines, stack(new, "mask")).mean(),
    }


def _of_found(judge: CorrespondenceJudge, joints: np.ndarray, wanted: np.ndarray) -> float:
    right = np.linalg.norm(joints[..., :2] - wanted[..., :2], axis=-1) <= 0.05 * SIZE
    return float(right[joints[..., 2] >= judge.detected].mean())


def variant_rows(encoder: IdentityJudge, robots: int) -> list[dict[str, str]]:
    """The same over all limb counts, with features of other layers, and without the limbs' lengths."""
    generator = np.random.default_rng(_SEED + 1)
    made = [robot for limbs in LIMBS for robot in make_robots(limbs, robots, generator)]
    new = {grade: [[sample_drawing(generator, robot.character, grade) for _ in range(_NEW)] for robot in made]
           for grade in ("plain", "hard")}  # fmt: skip
    layers = encoder.model.config.num_hidden_layers
    rows = []
    for name, depth, lengths in [
        *((f"layer {layer} of {layers}", layer / layers, True) for layer in range(1, layers + 1)),
        ("best match of each joint by itself", 0.75, False),
    ]:
        judges = [robot.judge(encoder, depth) for robot in made]
        if not lengths:
            for judge in judges:
                judge.shape = replace(judge.shape, slack=np.full_like(judge.shape.slack, np.inf))
        row = {"features": name}
        for grade, pictures in new.items():
            values = [
                pck(judge.detect(stack(drawn, "pixels")), stack(drawn, "keypoints"), SIZE).mean()
                for judge, drawn in zip(judges, pictures, strict=True)
            ]
            row[f"PCK@0.05, {grade}"] = _interval(values)
        rows.append(row)
    return rows


def answer_rows(encoder: IdentityJudge, robots: int) -> list[dict[str, str]]:
    """The judge's PCK against the exact one, over drawn pictures that are good and bad answers to target poses."""
    generator = np.random.default_rng(_SEED + 2)
    made = [robot for limbs in LIMBS for robot in make_robots(limbs, robots, generator)]
    ways: dict[str, Callable[[Drawing, Robot, np.random.Generator], np.ndarray]] = {
        "as drawn": lambda drawn, robot, generator: drawn.pixels,
        "blurred and noisy": _worsened,
        "another robot blended in": _blended,
    }
    exact: dict[str, list[np.ndarray]] = {way: [] for way in ways}
    judged: dict[str, list[np.ndarray]] = {way: [] for way in ways}
    filtered: dict[str, list[np.ndarray]] = {way: [] for way in ways}
    for robot in made:
        judge = robot.judge(encoder)
        for wrong in _WRONG:
            answers = [_answer(robot.character, wrong, generator) for _ in range(_PANEL)]
            wanted, shown = np.stack([target for target, _ in answers]), [drawn for _, drawn in answers]
            for way, spoil in ways.items():
                joints = judge.detect(np.stack([spoil(drawn, robot, generator) for drawn in shown]))
                exact[way].append(pck(stack(shown, "keypoints"), wanted, SIZE))
                judged[way].append(pck(joints, wanted, SIZE))
                filtered[way].append(pck(placed(judge, joints), wanted, SIZE))
    rows = [_agreement(way, exact[way], judged[way], filtered[way]) for way in ways]
    together = [[part for way in ways for part in table[way]] for table in (exact, judged, filtered)]
    return [*rows, _agreement("all of these", *together)]


def _answer(character: Character, wrong: float, generator: np.random.Generator) -> tuple[np.ndarray, Drawing]:
    """A target pose, and the figure drawn with each limb where another stance has it with the chance `wrong`."""
    grade: Grade = "plain" if generator.random() < 0.5 else "hard"
    target, other = (sample_stance(generator, g, character.arms, character.legs) for g in (grade, "hard"))
    background = str(generator.choice(BACKGROUNDS))
    mixed = {
        name: tuple(
            b if generator.random() < wrong else a
            for a, b in zip(getattr(target, name), getattr(other, name), strict=True)
        )
        for name in ("arms", "legs")
    }
    shown: Stance = replace(target, **mixed)
    wanted = draw_figure(character, target, background, generator).keypoints
    return wanted, draw_figure(character, shown, background, generator)


def _worsened(drawn: Drawing, robot: Robot, generator: np.random.Generator) -> np.ndarray:
    seeded = torch.Generator().manual_seed(int(generator.integers(2**31)))
    unit = worsen(to_unit(torch.from_numpy(drawn.pixels.transpose(2, 0, 1).copy())[None]), seeded)
    return ((unit[0] + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()


def _blended(drawn: Drawing, robot: Robot, generator: np.random.Generator) -> np.ndarray:
    """Over a picture of another robot with as many limbs, in a stance of its own, at up to half its strength."""
    other = replace(sample_robot(generator), arms=robot.character.arms, legs=robot.character.legs)
    ghost = sample_drawing(generator, other, "hard").pixels
    share = generator.uniform(0.15, 0.5)
    return ((1 - share) * drawn.pixels + share * ghost).round().astype(np.uint8)


def generated_rows(encoder: IdentityJudge) -> list[dict[str, str]]:
    """The same over what the base, and fine-tunes of the shipped robot, draw; its own detector is the exact answer."""
    base, subject = Base.load("puppets"), Subject.load("puppets/robot")
    detector = KeypointJudge.load(SHIPPED["puppets"] / "judges" / "keypoints")
    judge = CorrespondenceJudge.of_subject(encoder, subject, PUPPET_13, base.size)
    plain, hard = ([pose for pose in subject.poses if pose.grade == grade] for grade in ("plain", "hard"))
    poses = plain[: _POSES // 2] + hard[: _POSES // 2]
    wanted = np.stack([pose.keypoints for pose in poses])
    skeletons = [render(keypoints, base.size) for keypoints in wanted]
    prompts = [subject.named(subject.prompts[k % len(subject.prompts)], token=True) for k in range(len(poses))]
    noise = start_noise(base, list(range(len(poses))))
    tune = FineTune(base, subject, _RECIPE, _SEED)
    tables: dict[str, tuple[list[np.ndarray], ...]] = {}
    for steps in _STEPS:
        if steps > tune.steps:
            tune.advance(steps - tune.steps)
        exact, judged, filtered = tables.setdefault(f"{steps} steps", ([], [], []))
        for scale in _SCALES:
            pictures = draw(base, prompts, skeletons, noise, 8, Inference(controlnet_scale=scale))
            joints, sure = judge.detect(pictures), detector.detect(pictures)
            found = np.where(sure[..., 2:] >= detector.detected, sure[..., :2], math.inf)
            exact.append(pck(found, wanted, base.size))
            judged.append(pck(joints, wanted, base.size))
            filtered.append(pck(placed(judge, joints), wanted, base.size))
    tune.remove()
    rows = [_agreement(f"shipped robot, {name}", *table) for name, table in tables.items()]
    together = [[part for table in tables.values() for part in table[k]] for k in range(3)]
    return [*rows, _agreement("all of these", *together)]


def _agreement(
    name: str, exact: list[np.ndarray], judged: list[np.ndarray], filtered: list[np.ndarray]
) -> dict[str, str]:
    """Means, and correlations with the exact PCK over pictures and over panels. Each list has an array a panel."""
    pictures, panels = (
        [np.concatenate(table) for table in (exact, judged, filtered)],
        [np.array([part.mean() for part in table]) for table in (exact, judged, filtered)],
    )
    row = {"pictures": name, "n": str(len(pictures[0])), "exact PCK": f"{pictures[0].mean():.2f}"}
    for column, (one, mean) in {"judge": (pictures[1], panels[1]), "found only": (pictures[2], panels[2])}.items():
        row |= {
            f"{column}: PCK": f"{one.mean():.2f}",
            f"{column}: r of pictures": f"{stats.pearsonr(pictures[0], one).statistic:.2f}",
            f"{column}: r of panels": f"{stats.pearsonr(panels[0], mean).statistic:.2f}",
            f"{column}: rank of panels": f"{stats.spearmanr(panels[0], mean).statistic:.2f}",
        }
    return row


def _summed(values: list[dict[str, float]]) -> dict[str, str]:
    return {name: _interval([value[name] for value in values]) for name in values[0]}


def _interval(values: Sequence[float]) -> str:
    """Mean and the half width of its 95 % interval over robots (Student's t)."""
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return f"{mean:.2f}"
    return f"{mean:.2f} ± {stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count):.2f}"


def as_markdown(rows: list[dict[str, str]]) -> str:
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([row[name] for name in head] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(
    robots: Annotated[int, typer.Option(min=2, help="Robots of each limb count.")] = 12,
    drawn: Annotated[bool, typer.Option(help="Measure on drawn pictures.")] = True,
    generated: Annotated[bool, typer.Option(help="Train and draw with the puppets' base.")] = True,
    page: Annotated[Path | None, typer.Option(help="Page whose parts between the markers are replaced.")] = None,
) -> None:
    """Prints the tables, as Markdown."""
    torch.set_num_threads(1)
    encoder = IdentityJudge.load(SHIPPED["puppets"] / "judges" / "identity")
    if drawn:
        few, some = max(robots // 3, 1), max(robots // 2, 1)
        parts = (
            f"Drawn pictures, {robots} robots of each kind, {_NEW} new pictures of each grade, mean ± 95 % interval:",
            as_markdown(drawn_rows(encoder, robots)),
            f"Other features, {few} of each kind:",
            as_markdown(variant_rows(encoder, few)),
            f"Good and bad answers to a target pose, drawn; {some} of each kind, a panel is {_PANEL} pictures of one:",
            as_markdown(answer_rows(encoder, some)),
        )
        _put("drawn", "\n\n".join(parts), page)
    if generated:
        title = f"Good and bad answers, generated; a panel is {_POSES} poses at one ControlNet scale from 0 to 1:"
        _put("generated", f"{title}\n\n{as_markdown(generated_rows(encoder))}", page)


def _put(part: str, text: str, page: Path | None) -> None:
    print(text, flush=True)
    if page is not None:
        start, end = f"<!-- {part} -->", f"<!-- /{part} -->"
        before, rest = page.read_text(encoding="utf-8").split(start)
        page.write_text(f"{before}{start}\n\n{text}\n\n{end}{rest.split(end)[1]}", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
