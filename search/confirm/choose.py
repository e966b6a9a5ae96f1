"""What a confirmation is about: the front as scored and the layer behind it, as far as its share pays for them."""

from collections import defaultdict
from collections.abc import Sequence

from search.front import front_of
from search.journal import Candidate, Chosen, Ledger, Observed
from spaces import InputError, Observation, Recipe, Space

FIRST = 2
"""Every candidate is trained so often before anything is decided: once says nothing of the noise."""
ALPHA = 0.05


class Search:
    """What a confirmation knows of the search that it follows."""

    def __init__(self, ledger: Ledger) -> None:
        self._recipes = {trial: event.recipe for trial, event in ledger.proposals.items()}
        self._events: dict[str, list[Observed]] = defaultdict(list)
        for (trial, _), event in ledger.observed.items():
            self._events[trial].append(event)
        self.seconds = sum(o.cost.total for o in ledger.table)
        """Of workers, that it took."""
        self.seeds = {event.seed for event in ledger.proposals.values()}

    def recipe(self, candidate: Candidate) -> Recipe:
        return self._recipes[candidate.trial]

    def trainings(self, candidates: Sequence[Candidate]) -> list[list[Candidate]]:
        """The candidates by recipe: what one training serves."""
        groups: dict[Recipe, list[Candidate]] = defaultdict(list)
        for candidate in candidates:
            groups[self.recipe(candidate)].append(candidate)
        return list(groups.values())

    def price(self, group: Sequence[Candidate]) -> float:
        """Seconds that a training of one recipe took in the search, to the group's last step and with its scores."""
        longest = max(group, key=lambda candidate: candidate.steps)
        total = 0.0
        for event in self._events[longest.trial]:
            if event.main.steps <= longest.steps:
                total += event.main.cost.train
                wanted = {c.label for c in group if c.steps == event.main.steps}
                total += sum(o.cost.score for o in event.observations if o.label in wanted)
        return total

    def price_of_all(self, candidates: Sequence[Candidate]) -> float:
        """The same for one training of every recipe."""
        return sum(map(self.price, self.trainings(candidates)))


def chosen(ledger: Ledger, space: Space, share: float, seeds: int, name: str, time: float) -> Chosen:
    """The candidates of a search's ledger, the front's first. InputError where there is nothing, or nothing is paid.

    Each is taken whose `FIRST` trainings the share still pays for, by what they took in the search.
    """
    search, every = Search(ledger), list[Candidate]()
    same = set[tuple[Recipe, int, str]]()
    for layer, members in enumerate(layers(ledger.table, space)):
        for o in members:
            if (o.recipe, o.steps, o.label) not in same:  # else it was tried twice
                same.add((o.recipe, o.steps, o.label))
                every.append(Candidate(*o.key, layer))
    if not every:
        raise InputError(name, "has no observation on a front: there is nothing to confirm")
    seconds, taken = share * search.seconds, list[Candidate]()
    for candidate in every:
        if FIRST * search.price_of_all([*taken, candidate]) <= seconds:
            taken.append(candidate)
    if len(taken) < min(2, len(every)):
        needed = FIRST * search.price_of_all([c for c in every if c.layer == 0])
        have = f"{share:g} of the {search.seconds:.0f} s that the search took is {seconds:.0f} s"
        want = f"{FIRST} trainings of all that is on the front take about {needed:.0f} s"
        raise InputError("--share", f"{have}; {want}: give {needed / search.seconds + 0.005:.2f} or more")
    return Chosen(time, tuple(taken), len(every) - len(taken), len(ledger.table), share, seconds, seeds, ALPHA)


def layers(table: Sequence[Observation], space: Space) -> tuple[list[Observation], list[Observation]]:
    """The front, and the front of all others; best first in the first objective."""
    front = front_of(table, space.objectives, space.requirements)
    on = {o.key for o in front}
    rest = [o for o in table if o.key not in on]
    return front, front_of(rest, space.objectives, space.requirements)
