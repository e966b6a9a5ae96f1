"""Functional ANOVA of a random forest (Hutter, Hoos and Leyton-Brown 2014), exact for each tree.

Optuna has it too (`FanovaImportanceEvaluator`, the test's reference), a tree in Python: 9 s for 600 points and 16
trees, which here take 0.2 s. Beside that, here a choice has only its own values, not all corners of its one-hot cube.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

from analysis.pareto import Floats


def fractions(points: Floats, values: Floats, sizes: Sequence[int], trees: int, seed: int) -> Floats:
    """The share of the variance that each of d features explains by itself; their sum is at most 1.

    `points`: n x d, in 0..1 or, where `sizes` is not 0, the number of one of so many choices. `values`: n, finite.
    Zeros where nothing varies.
    """
    if len(values) < 2 or np.ptp(values) == 0:
        return np.zeros(len(sizes))
    columns = [np.eye(size)[points[:, j].astype(int)] if size else points[:, [j]] for j, size in enumerate(sizes)]
    forest = RandomForestRegressor(n_estimators=trees, max_depth=64, random_state=seed)
    forest.fit(np.hstack(columns), values)
    owners = np.repeat(np.arange(len(sizes)), [max(size, 1) for size in sizes])
    found = [_of_tree(tree, owners, sizes) for tree in forest.estimators_]
    found = [each for each in found if each is not None]
    return np.mean(found, axis=0) if found else np.zeros(len(sizes))


def _of_tree(tree: DecisionTreeRegressor, owners: np.ndarray, sizes: Sequence[int]) -> Floats | None:
    """d shares; None for a tree that is one leaf."""
    means, lows, highs = _leaves(tree, len(owners))
    parts = [_parts(lows[:, owners == j], highs[:, owners == j], size) for j, size in enumerate(sizes)]
    shares = np.array([inside @ weights for inside, weights in parts])  # d x leaves: of each feature, a leaf's
    whole = shares.prod(axis=0)
    mean = whole @ means
    total = whole @ (means - mean) ** 2
    if total <= 0:
        return None
    found = np.empty(len(sizes))
    for j, (inside, weights) in enumerate(parts):
        others = np.prod(np.delete(shares, j, axis=0), axis=0)
        marginal = (means * others) @ inside  # at each part of the feature, over all others
        found[j] = weights @ (marginal - mean) ** 2 / total
    return found


def _leaves(tree: DecisionTreeRegressor, columns: int) -> tuple[Floats, Floats, Floats]:
    """Of the leaves: means (l), and their boxes' lower and upper ends (l x columns) in the unit cube."""
    inner = tree.tree_
    lows, highs = np.zeros((inner.node_count, columns)), np.ones((inner.node_count, columns))
    for node in range(inner.node_count):  # children come after their parents
        left, right, column = inner.children_left[node], inner.children_right[node], inner.feature[node]
        if left >= 0:
            lows[[left, right]], highs[[left, right]] = lows[node], highs[node]
            highs[left, column] = lows[right, column] = inner.threshold[node]
    leaf = inner.children_left < 0
    return inner.value[leaf, 0, 0], lows[leaf], highs[leaf]


def _parts(lows: Floats, highs: Floats, size: int) -> tuple[Floats, Floats]:
    """The parts in which no leaf begins or ends: which leaves are there (l x parts), and the parts' measure."""
    if size:  # a choice: its one-hot columns, at each of its values
        corners = np.eye(size)
        inside = ((corners > lows[:, None]) | (lows[:, None] == 0)) & (corners <= highs[:, None])
        return inside.all(axis=2).astype(float), np.full(size, 1 / size)
    edges = np.unique(np.concatenate([[0.0, 1.0], lows[:, 0], highs[:, 0]]))
    middles = (edges[1:] + edges[:-1]) / 2
    return ((lows < middles) & (middles < highs)).astype(float), np.diff(edges)
