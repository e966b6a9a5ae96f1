"""What must hold of a sweep after whatever happened to it: nothing lost, nothing twice, the rungs as before."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from analysis.observations import EXPERIMENT, PARENT_TAG, TRIAL_TAG, from_mlflow
from benchmarks.faults.stand_in import SAVED
from search.config import SweepConfig
from search.front import front_of
from search.journal import Ledger, Observed, events, read
from search.rungs import decide, rule_for
from spaces import Observation


def wrong(config: SweepConfig, undisturbed: Ledger, same_table: bool) -> list[str]:
    """All that is wrong with a finished sweep, in lines; beside an undisturbed one of the same seeds.

    `same_table`: the two must have the same observations, which is so with proposals at random where every trial
    reaches the last rung. Elsewhere what goes on depends on the order of arrival, which a fault changes: then what
    both have scored must be equal, and every decision must follow from the journal's rows before it.
    """
    ledger = read(config.folder)
    return [
        *_journal(config, ledger),
        *_disk(config, ledger),
        *_mlflow(config, ledger),
        *_beside(config, ledger, undisturbed, same_table),
    ]


def kept(before: bytes, config: SweepConfig) -> bool:
    """Whether all that was in the journal at the time of a fault is there unchanged; a line cut short may go."""
    whole = before[: before.rfind(b"\n") + 1]
    return (config.folder / "journal.jsonl").read_bytes().startswith(whole)


def scored(table: Iterable[Observation], cells: bool = True) -> dict[tuple[str, int, str], str]:
    """By trial, steps and label: all that is not a matter of time, to compare by (NaN is not equal to itself)."""
    return {
        (o.trial, o.steps, o.label): json.dumps(
            [o.scores, o.cells if cells else {}, o.seed, o.recipe.model_dump()], sort_keys=True
        )
        for o in table
    }


def _journal(config: SweepConfig, ledger: Ledger) -> Iterable[str]:
    if len(ledger.proposals) != config.trials or len(ledger.endings) != config.trials:
        yield f"{len(ledger.proposals)} trials were proposed and {len(ledger.endings)} ended, of {config.trials}"
    for ending in ledger.endings.values():
        if ending.status == "failed":
            yield f"{ending.trial} failed: {ending.reason}"
    rule, table = rule_for(config.scheduler, config.space), []
    rungs: dict[str, list[int]] = {}
    for event in events(config.folder):
        if isinstance(event, Observed):
            rungs.setdefault(event.main.trial, []).append(event.main.steps)
            if decide(table, event.observations, rule) != event.decision:
                yield f"{event.main.name} was decided otherwise than its rung says"
            table.extend(event.observations)
    for trial, seen in rungs.items():
        if tuple(seen) != config.space.rungs[: len(seen)]:
            yield f"{trial} was scored at {seen}"


def _disk(config: SweepConfig, ledger: Ledger) -> Iterable[str]:
    found: list[Observation] = []
    for path in (config.folder / "trials").glob(f"*/*/{SAVED}"):
        found += [Observation.from_json(values) for values in json.loads(path.read_text(encoding="utf-8"))]
    yield from _differences("on disk", scored(found), scored(ledger.table))
    on_front = {
        (o.trial, f"step-{o.steps:06d}")
        for o in front_of(ledger.table, config.space.objectives, config.space.requirements)
    }
    adapters = {(path.parents[1].name, path.parent.name) for path in config.folder.glob("trials/*/*/adapter")}
    if adapters != on_front:
        yield f"adapters are kept of {sorted(adapters ^ on_front)} or missing there"


def _mlflow(config: SweepConfig, ledger: Ledger) -> Iterable[str]:
    from mlflow import MlflowClient

    recorded = from_mlflow(config.tracking_uri, config.name)
    yield from _differences("in MLflow", scored(recorded, cells=False), scored(ledger.table, cells=False))
    client = MlflowClient(config.tracking_uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    parents = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{config.name}'")
    if [run.info.run_id for run in parents] != [ledger.parent_run_id]:
        yield f"MLflow has {len(parents)} runs named {config.name}"
    query = f"tags.`{PARENT_TAG}` = '{ledger.parent_run_id}'"
    runs = client.search_runs([experiment.experiment_id], query, max_results=10_000)
    if not set(Counter(run.data.tags[TRIAL_TAG] for run in runs).values()) <= {1} or len(runs) != config.trials:
        yield f"MLflow has {len(runs)} runs for {config.trials} trials"
    name = config.space.objectives[0].name
    for run in runs:
        rows = Counter(metric.step for metric in client.get_metric_history(run.info.run_id, name))
        twice = [steps for steps, count in rows.items() if count > 1]
        if twice:
            yield f"MLflow has {run.data.tags[TRIAL_TAG]} at {twice} more than once"


def _beside(config: SweepConfig, ledger: Ledger, undisturbed: Ledger, same_table: bool) -> Iterable[str]:
    ours, theirs = scored(ledger.table), scored(undisturbed.table)
    if same_table:
        yield from _differences("in the undisturbed sweep", theirs, ours)
        fronts = [
            scored(front_of(each.table, config.space.objectives, config.space.requirements))
            for each in (ledger, undisturbed)
        ]
        if fronts[0] != fronts[1]:
            yield f"the fronts differ: {sorted(fronts[0])} and {sorted(fronts[1])}"
    for key in ours.keys() & theirs.keys():
        if not same_table and ours[key] != theirs[key]:
            yield f"{key} was scored otherwise in the undisturbed sweep"


def _differences(where: str, there: dict[tuple, str], here: dict[tuple, str]) -> Iterable[str]:
    if missing := here.keys() - there.keys():
        yield f"{len(missing)} observations are not {where}: {sorted(missing)[:3]}"
    if extra := there.keys() - here.keys():
        yield f"{len(extra)} observations are {where} and not in the journal: {sorted(extra)[:3]}"
    if other := [key for key in here.keys() & there.keys() if here[key] != there[key]]:
        yield f"{len(other)} observations are different {where}: {sorted(other)[:3]}"


def steps_taken(folder: Path) -> int:
    """All steps that were ever taken, of the stand-in."""
    return sum(path.stat().st_size for path in folder.glob("trials/*/steps.log"))


def steps_needed(ledger: Ledger) -> int:
    return sum(ledger.reached(trial) for trial in ledger.proposals)
