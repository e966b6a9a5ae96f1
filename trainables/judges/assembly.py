"""Which of several places each joint is at: pictorial structures (Felzenszwalb & Huttenlocher 2005)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainables.skeleton import Skeleton

_SCALES = (0.75, 0.87, 1.0, 1.15, 1.35)
"""How large a figure may be beside those of the references."""
_RIGID = 0.2
"""A limb's length may differ by this share before it costs: foreshortening, drawing, and annotation."""
_MOST = 8.0
"""What one limb of a wrong length costs at most, so that one bad joint does not drag its neighbours along."""
_SHARPNESS = 10.0
"""A cosine of 1 weighs as much as this many units of a limb's cost."""


@dataclass(frozen=True)
class Shape:
    """What the references say of a figure's shape: nothing of the pose, since limbs may turn about their joints."""

    limbs: tuple[tuple[int, int], ...]
    """A spanning tree of the joints, each pair from the parent to the child, parents first."""
    lengths: np.ndarray
    """Of each, in pixels, at the references' mean scale."""
    slack: np.ndarray
    """Deviation that is normal, in pixels."""


def shape_of(keypoints: np.ndarray, skeleton: Skeleton) -> Shape:
    """Lengths of the limbs over m x J x 3 keypoints of references, each brought to their mean scale.

    A limb that no reference shows in full takes any length.
    """
    limbs = spanning_tree(skeleton)
    seen = keypoints[..., 2] > 0
    whole = np.stack([seen[:, a] & seen[:, b] for a, b in limbs], axis=1)
    lengths = np.stack([np.linalg.norm(keypoints[:, a, :2] - keypoints[:, b, :2], axis=-1) for a, b in limbs], axis=1)
    lengths = np.where(whole, lengths, np.nan)
    counted = whole.any(axis=0)
    common = np.where(counted, 1, 0) * whole
    scale = np.nansum(lengths * common, axis=1) / np.maximum(np.nansum(_mean(lengths) * common, axis=1), 1e-6)
    lengths = lengths / np.where(scale > 0, scale, 1)[:, None]
    mean = np.where(counted, _mean(lengths), 0.0)
    spread = np.sqrt(np.where(counted, _mean((lengths - mean) ** 2), 0.0))
    return Shape(limbs, mean, np.where(counted, np.maximum(spread, _RIGID * mean) + 1, np.inf))


def spanning_tree(skeleton: Skeleton) -> tuple[tuple[int, int], ...]:
    """The limbs that reach each joint first, breadth first from the root; joints apart hang on the root."""
    reached, tree = [skeleton.root], []
    for parent in reached:
        for a, b in skeleton.limbs:
            for start, child in ((a, b), (b, a)):
                if start == parent and child not in reached:
                    reached.append(child)
                    tree.append((parent, child))
    apart = [joint for joint in range(len(skeleton.joints)) if joint not in reached]
    return tuple(tree + [(skeleton.root, joint) for joint in apart])


def assemble(places: np.ndarray, alike: np.ndarray, shape: Shape) -> np.ndarray:
    """n x J indices of the places that suit the looks of each joint and the lengths of the limbs best.

    places: n x J x K x 2 in pixels; alike: n x J x K cosines. Exact for each of a few scales of the figure, by
    dynamic programming from the leaves to the root; the best scale wins.
    """
    best_value, best = np.full(len(places), -np.inf), np.zeros(places.shape[:2], dtype=int)
    for scale in _SCALES:
        value, chosen = _at_scale(places, alike, shape, scale)
        better = value > best_value
        best_value, best = np.where(better, value, best_value), np.where(better[:, None], chosen, best)
    return best


def _at_scale(places: np.ndarray, alike: np.ndarray, shape: Shape, scale: float) -> tuple[np.ndarray, np.ndarray]:
    messages = _SHARPNESS * alike
    best_child: dict[int, np.ndarray] = {}
    for (parent, child), length, slack in reversed(list(zip(shape.limbs, shape.lengths, shape.slack, strict=True))):
        distance = np.linalg.norm(places[:, parent, :, None] - places[:, child, None], axis=-1)
        cost = np.minimum(((distance - scale * length) / (scale * slack)) ** 2 / 2, _MOST)
        total = messages[:, child, None, :] - cost
        best_child[child] = total.argmax(axis=-1)
        messages[:, parent] += total.max(axis=-1)
    picture = np.arange(len(places))
    root = shape.limbs[0][0]
    chosen = np.zeros(places.shape[:2], dtype=int)
    chosen[:, root] = messages[:, root].argmax(axis=-1)
    for parent, child in shape.limbs:
        chosen[:, child] = best_child[child][picture, chosen[:, parent]]
    return messages[:, root].max(axis=-1), chosen


def handedness(points: np.ndarray, triples: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """n x T signs: whether the way from joint a to b to c turns left or right. points: n x J x 2."""
    a, b, c = (points[:, [triple[k] for triple in triples]] for k in range(3))
    one, other = b - a, c - b
    return np.sign(one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0])


def sided_triples(keypoints: np.ndarray, skeleton: Skeleton) -> tuple[list[tuple[int, int, int]], np.ndarray]:
    """Triples of joints that turn the same way in every reference, two of them each other's mirror, and that way.

    keypoints: m x J x 3. They tell a figure's left from its right, whichever way up it is.
    """
    pairs = [(a, b) for a, b in enumerate(skeleton.mirror) if a < b]
    triples = [(a, c, b) for a, b in pairs for c in range(len(skeleton.joints)) if c not in (a, b)]
    seen = keypoints[..., 2] > 0
    triples = [t for t in triples if seen[:, list(t)].all()]
    if not triples:
        return [], np.zeros(0)
    turns = handedness(keypoints[..., :2], triples)
    steady = (turns == turns[0]).all(axis=0) & (turns[0] != 0)
    return [t for t, kept in zip(triples, steady, strict=True) if kept], turns[0][steady]


def _mean(lengths: np.ndarray) -> np.ndarray:
    """Column means over what is not NaN; 0 where all is."""
    known = np.isfinite(lengths)
    return np.where(known, lengths, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
