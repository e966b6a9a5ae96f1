"""Where the joints of any figure are, people or not: annotated pictures of it are matched with the new one.

No detector knows a robot with three arms. But a few pictures of it with its joints marked are there, and the patch
features of a self-supervised encoder match across pictures of one thing (Amir et al. 2021; Tang et al. 2023).
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, max_pool2d, normalize

from spaces import InputError
from trainables.judges.assembly import assemble, handedness, shape_of, sided_triples
from trainables.judges.identity import IdentityJudge
from trainables.skeleton import Skeleton, region
from trainables.subject import Subject

_CANDIDATES = 24
"""Peaks of a joint's similarity map that it may be at."""
_RIDGE = 0.05
"""Of the features' mean variance, added to their covariance: few references span few directions."""
_WINDOW = 1
"""Cells around a peak that its position is averaged over."""
_SHARP = 0.05
"""Temperature of that average."""
_UNSURE = 0.02
"""Quantile of the similarity of the references' own joints, each matched with the other references, ..."""
_LESS_CLEAR = 0.5
"""... of which this share is enough to count as found: generated pictures are blurrier than the references, and a
stricter filter costs more agreement with the exact answer than it brings (benchmarks/correspondence.py)."""
_ONE_REFERENCE = 0.25
"""Confidence from which a joint counts as found where there is one reference alone."""
_RIDGES = 0.1
"""Of the regression that tells the figure from its surroundings."""


class CorrespondenceJudge:
    """Carries the joints of the reference pictures to new ones.

    Features are whitened by the references' covariance (as Hariharan et al. 2012 do with gradients): what all of the
    figure and its scenes have in common tells nothing of where a joint is. A joint's prototype is the mean over the
    references; the peaks of its similarity are candidates, and the limbs' lengths choose among them. Its confidence is
    that similarity, and 0 where its features do not lead back to it: in some reference their nearest neighbour should
    be at the joint, or at one that mirrors it (mutual nearest neighbours). If the figure comes out with left and right
    exchanged although the other way looks no worse, they are put right.
    """

    def __init__(
        self, encoder: IdentityJudge, pixels: np.ndarray, keypoints: np.ndarray, masks: np.ndarray, skeleton: Skeleton,
        depth: float = 0.75,
    ) -> None:  # fmt: skip
        """References: pixels m x s x s x 3 uint8, keypoints m x J x 3 in pixels, masks m x s x s bool (the figure).

        A joint may be out of sight (0) in some references; in one at least it must be seen. Features are those at
        `depth` of the encoder's layers.
        """
        self.encoder, self.skeleton, self.size, self.depth = encoder, skeleton, pixels.shape[1], depth
        missing = [name for name, seen in zip(skeleton.joints, (keypoints[..., 2] > 0).any(axis=0), strict=True)
                   if not seen]  # fmt: skip
        if missing:
            raise InputError("pose judge", f"no reference picture shows {', '.join(missing)}")
        features = encoder.dense(pixels, depth=depth)
        self.centre, self.whitener = _whitening(features.flatten(0, 2))
        self.cells = self._whitened(features)
        self.keypoints = keypoints
        self.looks, seen = self._looks()
        self.prototypes = normalize((self.looks * seen[..., None]).sum(0), dim=-1)
        self.detected = self._usual_confidence(seen)
        self.shape = shape_of(keypoints, skeleton)
        self.triples, self.turns = sided_triples(keypoints, skeleton)
        self.figure, self.offset = self._figure(masks)

    @classmethod
    def of_subject(
        cls, encoder: IdentityJudge, subject: Subject, skeleton: Skeleton, size: int
    ) -> "CorrespondenceJudge":
        """With the subject's annotated pictures as references; InputError when it has none."""
        fitted = [p.fitted(size) for p in subject.pictures if p.keypoints is not None]
        if not fitted:
            raise InputError(subject.folder / "metadata.jsonl",
                             "no picture has keypoints, which the correspondence judge carries over")  # fmt: skip
        masks = [region(p.keypoints, size, skeleton) if p.mask is None else p.mask for p in fitted]
        stacked = (np.stack([getattr(p, name) for p in fitted]) for name in ("pixels", "keypoints"))
        return cls(encoder, *stacked, np.stack(masks), skeleton)

    def detect(self, pixels: np.ndarray) -> np.ndarray:
        """n x J x 3: x and y in pixels, confidence in 0..1. pixels: n x s x s x 3 uint8."""
        return self._found(self._read(pixels), pixels.shape[1])

    def silhouettes(self, pixels: np.ndarray) -> np.ndarray:
        """n x s x s bool: where the features are nearer to the figure's than to its surroundings'."""
        return self._outlined(self._read(pixels), pixels.shape[1])

    def look(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`detect` and `silhouettes` for one reading of the pictures."""
        cells = self._read(pixels)
        return self._found(cells, pixels.shape[1]), self._outlined(cells, pixels.shape[1])

    def _found(self, cells: Tensor, size: int) -> np.ndarray:
        maps = torch.einsum("jd,nabd->njab", self.prototypes, cells)
        places, alike = peaks(maps, _CANDIDATES)
        grid = maps.shape[-1]
        scale = self.size / grid
        chosen = assemble(places.numpy() * scale, alike.numpy(), self.shape)
        peak = np.take_along_axis(places.numpy(), chosen[..., None, None].repeat(2, -1), axis=2)[:, :, 0]
        peak = self._sides_put_right(peak, maps)
        points = refined(maps, torch.from_numpy(peak)).numpy()
        confidence = np.clip(read(maps, peak), 0, 1) * self._led_back(cells, peak)
        return np.concatenate([points * size / grid, confidence[..., None]], axis=-1)

    def _sides_put_right(self, peak: np.ndarray, maps: Tensor) -> np.ndarray:
        """Exchanges left and right where the figure turns the wrong way and looks no worse when they are exchanged."""
        if not self.triples:
            return peak
        wrong = (handedness(peak, self.triples) != self.turns).mean(axis=1) > 0.5
        exchanged = peak[:, list(self.skeleton.mirror)]
        worse = read(maps, exchanged).mean(axis=1) < read(maps, peak).mean(axis=1) - _SHARP
        return np.where((wrong & ~worse)[:, None, None], exchanged, peak)

    def _led_back(self, cells: Tensor, peak: np.ndarray) -> np.ndarray:
        """n x J bool: whether in some reference the nearest neighbour of a joint's features is at that joint.

        Within a patch of the encoder; the joint that mirrors it will do, since the two may look the same.
        """
        grid = cells.shape[1]
        rows, columns = (np.clip(np.floor(peak[..., k]).astype(int), 0, grid - 1) for k in (1, 0))
        features = cells[np.arange(len(peak))[:, None], rows, columns]
        places = self.keypoints[..., :2] * grid / self.size
        reach = 1.5 * grid / self.encoder.patches
        led_back = np.zeros(peak.shape[:2], dtype=bool)
        for cell, place, visible in zip(self.cells, places, self.keypoints[..., 2] > 0, strict=True):
            back = torch.einsum("njd,abd->njab", features, cell).flatten(2).argmax(-1).numpy()
            at = np.stack([back % grid, back // grid], axis=-1) + 0.5
            for which in (list(range(len(place))), list(self.skeleton.mirror)):
                led_back |= (np.linalg.norm(at - place[which], axis=-1) <= reach) & visible[which]
        return led_back

    def _outlined(self, cells: Tensor, size: int) -> np.ndarray:
        margin = cells @ self.figure + self.offset
        return (interpolate(margin[:, None], size=(size, size), mode="bilinear")[:, 0] > 0).numpy()

    def _read(self, pixels: np.ndarray) -> Tensor:
        """n x g x g x d features of new pictures."""
        return self._whitened(self.encoder.dense(pixels, depth=self.depth))

    def _whitened(self, features: Tensor) -> Tensor:
        return normalize((features - self.centre) @ self.whitener, dim=-1)

    def _looks(self) -> tuple[Tensor, Tensor]:
        """m x J x d unit features of each joint in each reference, and m x J whether it is seen there."""
        places = torch.from_numpy(self.keypoints[..., :2] * self.cells.shape[1] / self.size).float()
        sampled = torch.stack([_sampled(cell, place) for cell, place in zip(self.cells, places, strict=True)])
        return normalize(sampled, dim=-1), torch.from_numpy(self.keypoints[..., 2] > 0)

    def _usual_confidence(self, seen: Tensor) -> float:
        """Half of what nearly all of a reference's joints reach when they are matched with the other references."""
        weighted = self.looks * seen[..., None]
        others = weighted.sum(0) - weighted
        values = (self.looks * normalize(others, dim=-1)).sum(-1)[seen & (others.norm(dim=-1) > 0)]
        return max(0.01, _LESS_CLEAR * float(values.quantile(_UNSURE))) if len(values) else _ONE_REFERENCE

    def _figure(self, masks: np.ndarray) -> tuple[Tensor, Tensor]:
        """Direction and offset that tell the figure's features from its surroundings': regressed on the figure's share
        of each cell, and cut where the references' own outlines are met best."""
        grid = self.cells.shape[1]
        share = interpolate(torch.from_numpy(masks)[:, None].float(), size=(grid, grid), mode="area").flatten()
        features = self.cells.flatten(0, 2)
        width = features.shape[1]
        gram = features.T @ features / len(features) + _RIDGES / width * torch.eye(width)
        direction = torch.linalg.solve(gram, features.T @ (share - share.mean()) / len(features))
        told = features @ direction
        cuts = told.quantile(torch.linspace(0.3, 0.99, 24))
        inside, wanted = told > cuts[:, None], share >= 0.5
        met = (inside & wanted).sum(-1) / (inside | wanted).sum(-1).clamp(min=1)
        return direction, -cuts[met.argmax()]


def peaks(maps: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` highest local maxima of n x J x g x g maps: places n x J x count x 2 (x, y in cells), and values.

    Where a map has fewer, what is left over has the value -1.
    """
    grid = maps.shape[-1]
    flat = torch.where(max_pool2d(maps, 3, stride=1, padding=1) == maps, maps, -1.0).flatten(2)
    top = flat.topk(min(count, flat.shape[-1]), dim=-1)
    places = torch.stack([top.indices % grid, top.indices // grid], dim=-1) + 0.5
    return places.to(torch.float64), top.values


def refined(maps: Tensor, places: Tensor) -> Tensor:
    """Places (n x J x 2, cells) to a fraction of a cell: the mean over a window around each, weighted by its map."""
    grid = maps.shape[-1]
    steps = torch.arange(-_WINDOW, _WINDOW + 1)
    rows = places[..., 1, None].floor().long() + steps
    columns = places[..., 0, None].floor().long() + steps
    inside = ((rows >= 0) & (rows < grid))[..., :, None] & ((columns >= 0) & (columns < grid))[..., None, :]
    index = rows.clamp(0, grid - 1)[..., :, None] * grid + columns.clamp(0, grid - 1)[..., None, :]
    values = maps.flatten(2).gather(-1, index.flatten(2)).reshape(index.shape)
    weights = torch.where(inside, values / _SHARP, -torch.inf).flatten(2).softmax(-1).reshape(index.shape)
    x = (weights.sum(-2) * (columns + 0.5)).sum(-1)
    y = (weights.sum(-1) * (rows + 0.5)).sum(-1)
    return torch.stack([x, y], dim=-1)


def read(maps: Tensor, places: np.ndarray) -> np.ndarray:
    """n x J values of n x J x g x g maps at n x J x 2 places in cells."""
    n, joints, grid, _ = maps.shape
    cell = np.clip(np.floor(places).astype(int), 0, grid - 1)
    return maps.numpy()[np.arange(n)[:, None], np.arange(joints)[None], cell[..., 1], cell[..., 0]]


def silhouette_iou(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Intersection over union of n x h x w bool masks; NaN where both are empty."""
    union = (found | wanted).sum(axis=(1, 2))
    return np.where(union > 0, (found & wanted).sum(axis=(1, 2)) / np.maximum(union, 1), np.nan)


def _sampled(cell: Tensor, places: Tensor) -> Tensor:
    """J x d features at J x 2 places (in cells) of a g x g x d grid, between the cells' middles."""
    at = places / cell.shape[0] * 2 - 1
    made = grid_sample(cell.permute(2, 0, 1)[None], at[None, None], padding_mode="border", align_corners=False)
    return made[0, :, 0].T


def _whitening(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d) and a d x d matrix that makes centred features (N x d) uncorrelated, of equal variance."""
    centre = features.mean(0)
    centred = (features - centre).double()
    covariance = centred.T @ centred / len(centred)
    covariance += _RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.float64)
    values, vectors = torch.linalg.eigh(covariance)
    return centre, (vectors * values.rsqrt()).float()


def load_encoder(source: str | Path, device: str) -> IdentityJudge:
    """An encoder with dense features; InputError for any other."""
    encoder = IdentityJudge.load(source, device)
    if not encoder.is_dense:
        raise InputError(source, "has no dense features that match across pictures; DINOv2 has")
    return encoder
