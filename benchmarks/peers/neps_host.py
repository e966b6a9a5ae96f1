"""NePS's `moasha` and `primo`, in an interpreter of its own (lines.py).

The optimizer is made as `neps.run(optimizer=(name, options))` makes it, and asked and told by its `AskAndTell`. A trial
of NePS is a config at one fidelity: what goes on from a rung is a new trial with the number of the old one.
"""

import random

import neps
import numpy as np
import torch
from lines import serve, valued
from neps.optimizers import load_optimizer
from neps.space.neps_spaces.neps_space import convert_neps_to_classic_search_space

STEPS = "steps"
"""The fidelity: a config is trained up to so many."""


class Search:
    def __init__(self, asked: dict) -> None:
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(asked["seed"])
        self.parameters = asked["parameters"]
        dimensions = {parameter["name"]: domain(parameter) for parameter in self.parameters}
        steps = neps.IntegerFidelity(asked["rungs"][0], asked["rungs"][-1])
        space = type("Space", (neps.PipelineSpace,), {**dimensions, STEPS: steps})()
        optimizer, _ = load_optimizer(
            (asked["optimizer"], {"eta": asked["eta"], **asked["options"]}), convert_neps_to_classic_search_space(space)
        )
        self.asking = neps.AskAndTell(optimizer)
        self.next = None
        """Asked for, to be begun."""
        self.awaited = {}
        """By our name, the trial of NePS that waits for its losses."""
        self.names = {}
        """Our name, by the id of each trial of NePS."""

    def promoted(self) -> str | None:
        asked = self.asking.ask()
        before = asked.metadata.previous_trial_id
        if before is None:
            self.next = asked
            return None
        self.begin(self.names[before], asked)
        return self.names[before]

    def suggest(self, name: str) -> dict:
        """What was asked for last and was no promotion."""
        asked, self.next = self.next, None
        self.begin(name, asked)
        return valued(self.parameters, asked.config)

    def report(self, name: str, steps: int, losses: list) -> bool:
        """It goes on to the fidelity that was asked for; there it is told, and waits."""
        asked = self.awaited[name]
        on = steps < asked.config[STEPS]
        if not on:
            self.asking.tell(asked, losses)
        return on

    def begin(self, name: str, asked: neps.Trial) -> None:
        if asked.id in self.names:
            raise RuntimeError(f"NePS gave the id {asked.id} to two trials, which neps.run refuses as well")
        self.names[asked.id] = name
        self.awaited[name] = asked


def domain(parameter: dict):
    """A choice is one of its indices."""
    if "values" in parameter:
        return neps.Categorical(list(range(len(parameter["values"]))))
    low, high = parameter["low"], parameter["high"]
    if parameter["integer"]:
        return neps.Integer(int(low), int(high), log=parameter["log"])
    return neps.Float(low, high, log=parameter["log"])


if __name__ == "__main__":
    serve(Search)
