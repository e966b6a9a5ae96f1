"""What a running confirmation shows: a line for each thing that happens."""

from collections.abc import Mapping

from search.journal import Ended, Event, Judged, Ledger, Lost, Observed
from search.views.live import PlainLines


class ConfirmLines(PlainLines):
    """One line for each score, failure and round."""

    def event(self, event: Event, ledger: Ledger) -> None:
        match event:
            case Observed(main=seen):
                values = ledger.proposals[seen.trial].values
                for o in event.observations:
                    scores = " ".join(f"{each.name} {o.scores[each.name]:.3f}" for each in self._space.objectives)
                    name = f"{values['of']}@{o.steps}" + (f":{o.label}" if o.label else "")
                    self._line(f"{name}, seed {values['round']} of {ledger.chosen.seeds}: {scores}")
            case Lost():
                self._line(f"{event.trial} is to go on from its last checkpoint: {event.reason}")
            case Ended(status="failed"):
                self._line(f"{event.trial} failed, which takes its candidates off the front: {event.reason}")
            case Judged():
                spent = sum(o.cost.total for o in ledger.table)
                self._line(f"{counted(event.verdicts)} after {spent:.0f} of {ledger.chosen.seconds:.0f} s")


def counted(verdicts: Mapping[str, str]) -> str:
    """How many are decided."""
    said = list(verdicts.values())
    return f"{said.count('on')} on the front, {said.count('off')} off it, {said.count('open')} undecided"
