"""What each trial of a sweep is given of a card, who waits, and whether there is room for a new one. Without Ray."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from search.trials.attempts import Assignment, Attempts
from search.trials.cards import Card, Refused, Request, ask, cards_of
from search.trials.memory import load_of, measured_in, predict
from search.trials.turns import Floor, may_propose

TRIES = 6
"""So often a trial is given more memory; each time it is half as much again at least."""
Nodes = Callable[[], Sequence[Mapping[str, Any]]]


class Allotment:
    """Follows a sweep's trials from hand-out to end.

    All that decides is in the journal, or in Ray: a sweep that is resumed allots as one that was not interrupted.
    """

    def __init__(
        self, state: Attempts, nodes: Nodes, cpus: float, announced: Sequence[float] = (),
        workers: int | None = None, micro_batch: int | None = None,
    ) -> None:  # fmt: skip
        """`nodes` is `ray.nodes`; `announced` are the GB of cards that the cluster may start."""
        self._state, self._nodes, self._cpus, self._announced = state, nodes, cpus, announced
        self._workers, self._micro_batch = workers, micro_batch
        self.granted: dict[str, Request] = {}
        """What every trial that was handed out may use now, or waits for."""
        self._known: set[Card] = set()
        self._running: set[str] = set()
        self._overtaken: dict[str, int] = {}
        self.most = 0
        """How many had a process at a time."""

    def cards(self) -> list[Card]:
        """All kinds of card that were ever seen or announced: those that are gone for now may come back."""
        self._known |= set(cards_of(self._nodes(), self._announced))
        return sorted(self._known, key=lambda card: (card.memory or 0.0, card.cpus, card.together))

    def in_words(self) -> str:
        """One line that says what is shared and how."""
        cards = self.cards()
        if not cards:
            return "No GPU in sight: trials ask for CPUs alone, and nothing is shared."
        if any(card.memory is None for card in cards):
            return ("Trials share GPUs by their memory, as parts of the smallest that one has run on: the nodes do not "
                    "tell theirs (start them with --resources '{\"gpu_gb\": 24}')")  # fmt: skip
        sizes = " and ".join(f"{size:g}" for size in sorted({card.memory for card in cards if card.memory}))
        return f"Trials share GPUs of {sizes} GB by the memory that they take; the first of its kind has one for itself"

    def next_trial(self) -> tuple[Assignment, Request] | None:
        """The next trial and what it gets; None when all were handed out. Those that no card holds end here."""
        while (assignment := self._state.next_trial()) is not None:
            asked = self.request(assignment.trial)
            if isinstance(asked, Request):
                self.granted[assignment.trial] = asked
                for trial in self._overtaken:
                    self._overtaken[trial] += 1
                return assignment, asked
            self._state.failed(assignment.trial, asked.reason)
        return None

    def has_room(self) -> bool:
        """Whether a new trial should be handed out."""
        ended = self._state.ledger.endings
        out = [trial for trial in self.granted if trial not in ended]
        waits = [trial for trial in out if trial not in self._running]
        nodes = self._nodes()
        largest = max((card.memory or 0 for card in cards_of(nodes)), default=0)
        overtaken = [
            self._overtaken.get(trial, 0) for trial in waits if self.granted[trial].gpu_gb <= largest or not largest
        ]
        return may_propose(
            Floor(
                outstanding=len(out),
                waiting=len(waits),
                slots=self.slots(nodes),
                overtaken=max(overtaken, default=0),
                measured=not self.cards() or any(o.cost.card_memory for o in self._state.ledger.table),
                workers=self._workers,
            )
        )

    def slots(self, nodes: Sequence[Mapping[str, Any]]) -> int:
        """Cards, or where there are none trials that the CPUs take; one at least, and no more than were asked for."""
        alive = [node["Resources"] for node in nodes if node["Alive"]]
        gpus = sum(has.get("GPU", 0) for has in alive)
        fit = int(gpus if gpus or self._announced else sum(has.get("CPU", 0) for has in alive) / self._cpus)
        if self._announced and self._workers is not None:
            fit = max(fit, self._workers)  # nodes start when trials wait
        return max(1, min(fit, self._workers or fit))

    def request(self, trial: str) -> Request | Refused:
        """What a trial should have from the last rung that it was scored at to its next."""
        ledger, rungs = self._state.ledger, self._state.rule.rungs
        reached = ledger.reached(trial)
        stop = next((rung for rung in rungs if rung > reached), rungs[-1])
        load = load_of(ledger.proposals[trial].recipe, reached, stop, self._micro_batch)
        need = predict(load, *measured_in(ledger, rungs, self._micro_batch))
        seen = {o.cost.card_memory for o in ledger.table} | {event.card_memory for event in ledger.outgrown}
        return ask(need, self.cards(), self._cpus, sorted(seen - {0}))

    def after_rung(self, trial: str) -> Request | Refused | None:
        """What a trial that goes on should have instead of what it has; None when that will do.

        It changes only for a reason, since another process has to start: for more when the next rung takes more than
        the one that it has just shown to fit, for half or less when others could use the rest.
        """
        if self._no_more_than_before(trial) and not self._wanted():
            return None
        asked, has = self.request(trial), self.granted[trial]
        if isinstance(asked, Refused):
            return None if self._no_more_than_before(trial) else asked
        if _amount(asked) > _amount(has):
            return None if self._no_more_than_before(trial) else asked
        return asked if 0 < _amount(asked) <= _amount(has) / 2 and self._wanted() else None

    def ran_out(self, trial: str, steps: int, card_memory: int, reason: str) -> Request | Refused:
        """Notes that what a trial had on its way to a rung was too little; what it gets now.

        Refused when it had a whole card of the largest kind, or was given more too often.
        """
        has = self.granted[trial]
        tries = sum(event.trial == trial for event in self._state.ledger.outgrown)
        self._state.outgrew(trial, steps, has.memory or card_memory, card_memory)
        asked = self.request(trial)
        if isinstance(asked, Refused):
            return asked
        if tries >= TRIES or _amount(asked) <= _amount(has):
            return Refused(reason)
        return asked

    def swap(self, trial: str, request: Request) -> None:
        """The trial gave its process up and waits for another."""
        self.granted[trial] = request
        self._running.discard(trial)
        self._overtaken[trial] = 0

    def paused(self, trial: str) -> None:
        """The trial gave its process up, and waits for a promotion, not for a card: then it is handed out anew."""
        self.granted.pop(trial, None)
        self._running.discard(trial)
        self._overtaken.pop(trial, None)

    def started(self, trial: str) -> None:
        """It has a process."""
        self._running.add(trial)
        self._overtaken.pop(trial, None)
        self.most = max(self.most, len(self._running - self._state.ledger.endings.keys()))

    def lost(self, trial: str) -> None:
        """Its process died."""
        self._running.discard(trial)
        self._overtaken.setdefault(trial, 0)

    def _wanted(self) -> bool:
        """Whether anyone could use what a trial leaves."""
        ended = self._state.ledger.endings
        return self._state.left > 0 or any(t not in ended and t not in self._running for t in self.granted)

    def _no_more_than_before(self, trial: str) -> bool:
        ledger, rungs = self._state.ledger, self._state.rule.rungs
        recipe, at = ledger.proposals[trial].recipe, rungs.index(ledger.reached(trial))
        done = load_of(recipe, rungs[at - 1] if at else 0, rungs[at], self._micro_batch)
        return load_of(recipe, rungs[at], rungs[at + 1], self._micro_batch) <= done


def _amount(request: Request) -> float:
    """To compare requests by, of one cluster."""
    return request.gpu_gb or request.gpus
