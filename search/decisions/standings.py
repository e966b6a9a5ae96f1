"""The rungs of a sweep as they fill: `rungs.decide` over the table, without going through the table each time."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile

import numpy as np

from analysis.growing import GrowingLayers
from analysis.pareto import order_selection, rank_layers
from search.decisions.promotion import Promotion, choose, left_behind, pause_or_go_on
from search.decisions.trajectories import over
from search.rungs import Decision, ParetoAsha, Promise, Rule, at_the_end, in_place, not_finite, promising
from spaces import REFERENCE_LOSS, Observation, ranking_losses

Row = tuple[str, int, str]
"""An observation's key: trial, steps and label."""
_CORNER = (REFERENCE_LOSS, REFERENCE_LOSS)


class Standings:
    """A cache, and no more: what it decides is what `decide` decides over all observations that it was given.

    A decision costs the layers that the new observations change and the places before theirs on their own layer, not
    the whole rung. With three or more objectives the layers are found anew, and only the trial's own is ordered.
    """

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._rungs: dict[int, _Rung] = {}
        self._trajectories = over([], rule.objectives, rule.requirements) if isinstance(rule, Promise) else None

    def decide(self, checkpoint: Sequence[Observation]) -> Decision:
        """Takes the checkpoint in, unless its scores are no numbers, and decides about its trial."""
        broken = not_finite(checkpoint, self._rule)
        if broken is not None:
            return broken
        rung = self.add(checkpoint)
        trial, steps = checkpoint[0].trial, checkpoint[0].steps
        place, on_first = rung.standing(trial)
        if self._trajectories is None:
            return in_place(place, on_first, rung.trials, steps, self._rule)
        decision = in_place(place, False, rung.trials, steps, self._rule)
        return promising(decision, checkpoint, self._trajectories, self._rule)

    def pause_or_go_on(
        self, checkpoint: Sequence[Observation], paused: Mapping[str, int], gone_on: Mapping[int, int]
    ) -> Decision:
        """Takes the checkpoint in, as above, and decides as `promotion.pause_or_go_on` does over all observations."""
        ended = not_finite(checkpoint, self._rule)
        if ended is None:
            self.add(checkpoint)
            ended = at_the_end(checkpoint[0].steps, self._rule)
        return ended or pause_or_go_on(self, checkpoint, self._rule, paused, gone_on)

    def promotion(self, paused: Mapping[str, int], gone_on: Mapping[int, int], least: int = 0) -> Promotion | None:
        """`promotion.choose` over all observations."""
        return choose(self, self._rule, paused, gone_on, least)

    def left_behind(self, paused: Mapping[str, int]) -> dict[str, str]:
        """`promotion.left_behind` over all observations."""
        return left_behind(self, self._rule, paused)

    def count(self, steps: int) -> int:
        return self._rungs[steps].trials if steps in self._rungs else 0

    def ranking(self, steps: int) -> Iterator[str]:
        """A rung's trials, best first, as they are asked for."""
        return self._rungs[steps].ranking() if steps in self._rungs else iter(())

    def place(self, trial: str, steps: int) -> int:
        return self._rungs[steps].standing(trial)[0]

    def may_add(self, trial: str, steps: int) -> bool:
        """Whether it may in any way that it is drawn in; only trajectories ask."""
        seen = self._rungs[steps].of_trial(trial)
        return self._trajectories is None or any(self._trajectories.may_add(o, self._rule.rungs) for o in seen)

    def add(self, checkpoint: Sequence[Observation]) -> "_Rung":
        """Takes a checkpoint in that was decided about before; its rung."""
        steps = checkpoint[0].steps
        rung = self._rungs.get(steps) or self._rungs.setdefault(steps, _Rung(self._rule))
        known = [o for o in checkpoint if rung.has(o)]
        if known and any(rung.differs(o) for o in known):  # of two observations with one key the new one counts
            new = {o.key for o in checkpoint}
            rung = self._rungs[steps] = _Rung(self._rule, [o for o in rung.observations if o.key not in new])
            known = []
            self._begin_trajectories_anew()
        new = [o for o in checkpoint if o not in known]
        rung.take(new)
        if self._trajectories is not None:
            self._trajectories.add(new)
        return rung

    def _begin_trajectories_anew(self) -> None:
        if isinstance(self._rule, Promise):
            rest = [o for rung in self._rungs.values() for o in rung.observations]
            self._trajectories = over(rest, self._rule.objectives, self._rule.requirements)


class _Rung:
    """All finite observations with the same steps, ranked."""

    def __init__(self, rule: Rule, observations: Sequence[Observation] = ()) -> None:
        self._objectives, self._requirements = rule.objectives, rule.requirements
        self._pareto = isinstance(rule, ParetoAsha | Promise)
        self.layers = GrowingLayers(_CORNER) if self._pareto and len(rule.objectives) == 2 else None
        self._means: list[tuple[float, Row]] = []
        self._observations: dict[Row, Observation] = {}
        self._rows: dict[str, list[Row]] = {}
        self._single = True
        """No trial has two observations here, so that observations need only be counted."""
        self.take(observations)

    @property
    def observations(self) -> list[Observation]:
        return list(self._observations.values())

    @property
    def trials(self) -> int:
        return len(self._rows)

    def has(self, observation: Observation) -> bool:
        return observation.key in self._observations

    def differs(self, observation: Observation) -> bool:
        kept = self._observations[observation.key]
        names = [each.name for each in (*self._objectives, *self._requirements)]
        return any(kept.scores.get(name) != observation.scores.get(name) for name in names)

    def _losses(self, observations: Sequence[Observation]) -> np.ndarray:
        return ranking_losses(self._objectives, self._requirements, [o.scores for o in observations])

    def take(self, observations: Sequence[Observation]) -> None:
        losses = self._losses(observations)
        for observation, row in zip(observations, losses, strict=True):
            if not np.isfinite(row).all():
                continue
            key = observation.key
            self._observations[key] = observation
            rows = self._rows.setdefault(observation.trial, [])
            rows.append(key)
            self._single = self._single and len(rows) == 1
            if self.layers is not None:
                self.layers.add(row.tolist(), key)
            else:
                insort(self._means, (float(row.mean()), key))

    def standing(self, trial: str) -> tuple[int, bool]:
        """A trial's place, by the best of its observations, and whether one of them is on the first layer."""
        if self._pareto and self.layers is None:
            return self._standing_anew(trial)
        if self.layers is None:
            mine = min((float(self._losses([self._observations[key]]).mean()), key)
                       for key in self._rows[trial])  # fmt: skip
            before = bisect_left(self._means, mine)
            ahead = before if self._single else len({key[0] for _, key in self._means[:before]})
            return 1 + ahead, False
        if self._single:
            (key,) = self._rows[trial]
            layer = self.layers.rank(key)
            return 1 + self.layers.before(layer) + self.layers.ahead(key), layer == 0
        layer = min(self.layers.rank(key) for key in self._rows[trial])
        ahead = (key[0] for key in takewhile(lambda key: key[0] != trial, self.layers.order(layer)))
        earlier = (key[0] for rank in range(layer) for key in self.layers.on(rank))
        return 1 + len({*earlier, *ahead}), layer == 0

    def of_trial(self, trial: str) -> list[Observation]:
        return [self._observations[key] for key in self._rows[trial]]

    def ranking(self) -> Iterator[str]:
        """The trials, best first, each at the place of its best observation."""
        told: set[str] = set()
        for trial, *_ in self._ordered():
            if trial not in told:
                told.add(trial)
                yield trial

    def _ordered(self) -> Iterator[Row]:
        if not self._pareto:
            return (key for _, key in self._means)
        if self.layers is not None:
            return (key for layer in range(self.layers.depth) for key in self.layers.order(layer))
        keys = sorted(self._observations)
        losses = self._losses([self._observations[key] for key in keys])
        return (keys[i] for i in order_selection(losses, np.full(losses.shape[1], REFERENCE_LOSS)))

    def _standing_anew(self, trial: str) -> tuple[int, bool]:
        keys = sorted(self._observations)
        losses = self._losses([self._observations[key] for key in keys])
        ranks = rank_layers(losses)
        layer = min(rank for rank, key in zip(ranks, keys, strict=True) if key[0] == trial)
        on = np.flatnonzero(ranks == layer)
        order = (keys[on[i]][0] for i in order_selection(losses[on], REFERENCE_LOSS))
        earlier = (keys[i][0] for i in np.flatnonzero(ranks < layer))
        return 1 + len({*earlier, *takewhile(lambda name: name != trial, order)}), bool(layer == 0)
