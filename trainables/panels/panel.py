"""The panel: the fixed prompts x target poses x noise seeds that every checkpoint is scored on."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from filelock import FileLock
from PIL import Image

from spaces import DECIMALS, Inference
from trainables.base import Base
from trainables.generate import draw, start_noise
from trainables.job import PanelConfig
from trainables.judges import Judges
from trainables.judges.scoring import Scorer, Wanted
from trainables.panels.held_out import panel_poses, unseen
from trainables.panels.judged import COLUMNS, write_cells, write_judged
from trainables.puppets.gallery import drawn_characters
from trainables.skeleton import render
from trainables.subject import Pose, Subject, skeleton_of


@dataclass(frozen=True)
class Cell:
    """One picture of the panel."""

    prompt: str
    """With the token."""
    class_prompt: str
    """The same without it."""
    pose: Pose
    seed: int


@dataclass(frozen=True)
class Scored:
    """What a checkpoint reached on the panel."""

    scores: dict[str, float]
    """Means over the cells that they apply to: drift, and whatever `Scorer.cells` has."""
    cells: dict[str, list[float]]
    """Values by cell, in the panel's order; NaN where a score does not apply to a cell."""
    pictures: np.ndarray
    """n x h x w x 3 uint8, one a cell."""
    joints: np.ndarray | None = None
    """n x J x 3: x and y in pixels and confidence, as the pose judge saw them; None where it was not asked now."""


class Panel:
    """Scores whatever adapters the base wears; the same cells for every trial, so that differences are paired."""

    def __init__(self, base: Base, subject: Subject, judges: Judges, config: PanelConfig, folder: Path) -> None:
        """`folder` keeps what the untuned base draws and scores, made once for all trials of a sweep."""
        self.base, self.judges, self.config, self.folder = base, judges, config, folder
        self.main = config.inferences[0]
        self.subject, self.skeleton = subject, skeleton_of(subject)
        self.cells = panel_cells(subject, config)
        self.skeletons = [self._condition(cell.pose) for cell in self.cells]
        self.noise = start_noise(base, [cell.seed for cell in self.cells])
        self.drift_cells = _spread(len(self.cells), config.drift)
        self.asked = np.stack([_scaled(cell.pose, base.size) for cell in self.cells])
        wanted = Wanted(
            self.asked,
            np.array([cell.pose.grade == "hard" for cell in self.cells]),
            [cell.class_prompt for cell in self.cells],
        )
        self.scorer = Scorer(judges, subject, self.skeleton, wanted, base.size)

    def reference(self) -> Scored:
        """The untuned base's own scores (drift 0), from the folder if any trial was here before. Wear no adapters."""
        path = self.folder / "base.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "base.lock"):
            if not path.exists():
                self._write_reference(path)
        values = json.loads(path.read_text(encoding="utf-8"))
        return Scored(values["scores"], values["cells"], _read_pictures(self.folder / "base.npy"))

    def score(self, inference: Inference | None = None) -> Scored:
        """Draws every cell, and some again without the token; judges all of it.

        `inference` is one of the config's, the main one if none is given. Drift is measured against the base as it
        draws with the same settings, so that it is what training changed and not what guidance does.
        """
        inference = inference or self.main
        before = _read_pictures(self.folder / self._class_file(inference))
        of_class = self._draw_class(inference)
        return self._judge(self._draw_subject(inference), self.scorer.distance(before, of_class, self.drift_cells))

    def keep(self, scored: Scored, path: Path) -> None:
        """Writes the pictures above the poses that they should show, and beside them what the pose judge saw."""
        grid(scored.pictures, self.skeletons).save(path)
        write_judged(path, scored.joints, self.skeleton, self.base.size, self.judges.keypoints.detected)

    def _write_reference(self, path: Path) -> None:
        for inference in dict.fromkeys(inference.untuned for inference in self.config.inferences):
            of_class = self._draw_class(inference)
            np.save(self.folder / self._class_file(inference), of_class, allow_pickle=False)
        scored = self._judge(self._draw_subject(self.main.untuned), np.zeros(len(self.drift_cells)))
        np.save(self.folder / "base.npy", scored.pictures, allow_pickle=False)
        self.keep(scored, self.folder / "base.png")
        prompts, grades = zip(*((cell.prompt, cell.pose.grade) for cell in self.cells), strict=True)
        write_cells(self.folder, prompts, grades, self.asked, self.skeleton, self.base.size)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({"scores": scored.scores, "cells": scored.cells}), encoding="utf-8")
        partial.replace(path)

    def _class_file(self, inference: Inference) -> str:
        """Where the untuned base's pictures of the class are: the same for all LoRA scales."""
        plain = inference.untuned
        return "class.npy" if plain == self.main.untuned else f"class-{plain.name}.npy"

    def _draw_subject(self, inference: Inference) -> np.ndarray:
        return self._draw([cell.prompt for cell in self.cells], list(range(len(self.cells))), inference)

    def _draw_class(self, inference: Inference) -> np.ndarray:
        return self._draw([self.cells[i].class_prompt for i in self.drift_cells], self.drift_cells, inference)

    def _draw(self, prompts: list[str], cells: list[int], inference: Inference) -> np.ndarray:
        skeletons = [self.skeletons[i] for i in cells]
        return draw(self.base, prompts, skeletons, self.noise[cells], self.config.steps, inference)

    def _judge(self, pictures: np.ndarray, drift: np.ndarray) -> Scored:
        if self.scorer.gallery is None:
            self.scorer.hang(*self._others())
        drifted = np.full(len(self.cells), math.nan)
        drifted[self.drift_cells] = drift
        seen = self.scorer.look(pictures)
        cells = self.scorer.cells(pictures, seen) | {"drift": drifted}
        return Scored(
            means(cells), {name: [float(v) for v in values] for name, values in cells.items()}, pictures, seen.joints
        )

    def _others(self) -> tuple[np.ndarray, np.ndarray]:
        """A gallery of others of the class: drawn ones on the puppets, else what the untuned base draws."""
        if self.base.source == "puppets":
            return drawn_characters(person=self.subject.class_noun == "person")
        pictures = _read_pictures(self.folder / self._class_file(self.main))
        return pictures, self.scorer.target_regions[self.drift_cells]

    def _condition(self, pose: Pose) -> Image.Image:
        return render(pose.keypoints, self.base.size, self.skeleton, source_size=pose.size)


def panel_cells(subject: Subject, config: PanelConfig) -> list[Cell]:
    """Plain cells, then hard ones: the subject's target poses, its prompts in turn, seeds of their own.

    A held-out panel has as many, and none of its poses, prompts and seeds is in the other panel of the same settings.
    """
    poses = panel_poses(subject, config)
    shown, first = subject.prompts, 0
    if config.held_out:
        rest = unseen(subject, poses, config)
        poses, shown, first = list(rest.poses), rest.prompts, rest.first
    prompts = cycle(shown)
    cells = []
    for number, pose in enumerate(poses, start=first):
        prompt = next(prompts)
        seed = config.seed * 100_003 + number
        cells.append(Cell(subject.named(prompt, token=True), subject.named(prompt, token=False), pose, seed))
    return cells


def grid(pictures: np.ndarray, skeletons: list[Image.Image], columns: int = COLUMNS) -> Image.Image:
    """Pictures in rows of `columns`, each row above the poses that it should show."""
    rows = []
    blank = np.zeros_like(pictures[0])
    for start in range(0, len(pictures), columns):
        drawn = list(pictures[start : start + columns])
        wanted = [np.asarray(s) for s in skeletons[start : start + columns]]
        fill = [blank] * (columns - len(drawn))
        rows += [np.hstack(drawn + fill), np.hstack(wanted + fill)]
    sheet = Image.fromarray(np.vstack(rows))
    enlarge = max(1, round(960 / sheet.width))
    return sheet.resize((sheet.width * enlarge, sheet.height * enlarge), Image.Resampling.NEAREST)


def means(cells: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Each score over the cells that it applies to; equal where only the order of adding differs."""
    return {name: round(float(np.nanmean(values)), DECIMALS) for name, values in cells.items()}


def _scaled(pose: Pose, size: int) -> np.ndarray:
    return pose.keypoints * (size / pose.size, size / pose.size, 1)


def _spread(count: int, wanted: int) -> list[int]:
    """`wanted` of `count` indices, evenly spread, so that both grades are among them."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(wanted, count)).round()})


def _read_pictures(path: Path) -> np.ndarray:
    return np.load(path, allow_pickle=False)
