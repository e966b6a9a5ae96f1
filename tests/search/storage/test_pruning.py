import shutil
from pathlib import Path

import numpy as np
import pytest

from search.front import front_of
from search.journal import Ended, Ledger, Observed, Proposed
from search.rungs import Continue
from search.storage.pruning import Pruning
from spaces import OBJECTIVES, Inference, Recipe
from tests.search.examples import observed

OBJ = (OBJECTIVES["identity"], OBJECTIVES["pose"])


def checkpoint(
    home: Path, ledger: Ledger, trial: str, steps: int, identity: float, pose: float,
    drawn: tuple[float, float] | None = None,
) -> None:  # fmt: skip
    """`drawn` are identity and pose of another way to draw."""
    folder = home / trial / f"step-{steps:06d}"
    (folder / "adapter").mkdir(parents=True)
    for name in ("adapter/weights", "state.safetensors", "grid.png", "observation.json"):
        (folder / name).touch()
    checkpoint = [observed(trial, steps, identity, pose)]
    if drawn is not None:
        checkpoint.append(observed(trial, steps, *drawn, way=Inference(lora_scale=0.5)))
    ledger.add(Observed(0.0, tuple(checkpoint), Continue(1, 1), str(folder)))


def left(home: Path) -> set[str]:
    kept = {str(path.parent.relative_to(home)) + ":adapter" for path in home.rglob("adapter")}
    return kept | {str(path.parent.relative_to(home)) + ":state" for path in home.rglob("state.safetensors")}


def test_the_front_keeps_adapters_and_the_unfinished_keep_all(tmp_path):
    ledger, pruning = Ledger(), Pruning(OBJ, tmp_path)
    for trial in ("done", "live"):
        ledger.add(Proposed(0.0, trial, Recipe(), {}, 1))
    checkpoint(tmp_path, ledger, "done", 10, 0.1, 0.9)  # on the front
    checkpoint(tmp_path, ledger, "done", 20, 0.1, 0.5)
    checkpoint(tmp_path, ledger, "live", 5, 0.0, 0.1)
    checkpoint(tmp_path, ledger, "live", 10, 0.0, 0.1)
    checkpoint(tmp_path, ledger, "live", 20, 0.0, 0.2)
    unscored = tmp_path / "live" / "step-000040" / "adapter"
    unscored.mkdir(parents=True)
    ledger.add(Ended(0.0, "done", "finished", "", 20))
    pruning.prune(ledger)
    goes_on = {f"live/step-{steps:06d}:{what}" for steps in (10, 20) for what in ("adapter", "state")}
    goes_on |= {"live/step-000040:adapter"}
    assert left(tmp_path) == {"done/step-000010:adapter"} | goes_on
    ledger.add(Ended(0.0, "live", "failed", "", 20))
    pruning.prune(ledger)
    assert left(tmp_path) == {"done/step-000010:adapter"}
    assert len(list(tmp_path.rglob("grid.png"))) == len(list(tmp_path.rglob("observation.json"))) == 5


def test_a_checkpoint_keeps_its_adapter_when_any_way_to_draw_it_is_on_the_front(tmp_path):
    ledger, pruning = Ledger(), Pruning(OBJ, tmp_path)
    ledger.add(Proposed(0.0, "done", Recipe(), {}, 1))
    checkpoint(tmp_path, ledger, "done", 10, 0.1, 0.5)
    checkpoint(tmp_path, ledger, "done", 20, 0.05, 0.4, drawn=(0.05, 0.6))
    checkpoint(tmp_path, ledger, "done", 40, 0.02, 0.2, drawn=(0.01, 0.3))
    ledger.add(Ended(0.0, "done", "finished", "", 40))
    pruning.prune(ledger)
    assert left(tmp_path) == {"done/step-000010:adapter", "done/step-000020:adapter"}


def may_stay(ledger: Ledger) -> set[str]:
    """By definition: the newest two of a trial that has not ended stay whole, of others what is on the front."""
    on_front = {(o.trial, o.steps) for o in front_of(ledger.table, OBJ)}
    stays = set()
    for trial, steps in ledger.observed:
        newest = sorted(rung for name, rung in ledger.observed if name == trial)[-2:]
        whole = trial not in ledger.endings and steps in newest
        folder = f"{trial}/step-{steps:06d}"
        stays |= {f"{folder}:state"} if whole else set()
        stays |= {f"{folder}:adapter"} if whole or (trial, steps) in on_front else set()
    return stays


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("every", [1, 5])
def test_it_keeps_what_may_stay_however_often_it_is_asked_and_after_an_interruption(tmp_path, seed, every):
    ledger, pruning, generator = Ledger(), Pruning(OBJ, tmp_path), np.random.default_rng(seed)
    waiting = {f"t{i:02d}": [10, 20, 40] for i in range(12)}
    for trial in waiting:
        ledger.add(Proposed(0.0, trial, Recipe(), {}, 1))
    while waiting:
        trial = str(generator.choice(sorted(waiting)))
        scores = generator.random(4).round(1)
        checkpoint(tmp_path, ledger, trial, waiting[trial].pop(0), *scores[:2], drawn=tuple(scores[2:]))
        if not waiting[trial] or generator.random() < 0.3:
            del waiting[trial]
            ledger.add(Ended(0.0, trial, "stopped", "", 10))
        if len(ledger.observed) % every == 0:
            pruning.prune(ledger)
            assert left(tmp_path) == may_stay(ledger)
        if len(ledger.observed) == 15:
            pruning = Pruning(OBJ, tmp_path)  # as after an interruption, with the whole ledger at once
    pruning.prune(ledger)
    assert left(tmp_path) == may_stay(ledger) and len(ledger.endings) == 12


def test_what_could_not_be_deleted_is_tried_again(tmp_path, monkeypatch):
    ledger, pruning = Ledger(), Pruning(OBJ, tmp_path)
    ledger.add(Proposed(0.0, "done", Recipe(), {}, 1))
    for steps, identity in ((10, 0.1), (20, 0.2), (40, 0.3)):
        checkpoint(tmp_path, ledger, "done", steps, identity, 0.5)
    remove = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", lambda path: (_ for _ in ()).throw(PermissionError(str(path))))
    with pytest.raises(PermissionError):
        pruning.prune(ledger)
    monkeypatch.setattr(shutil, "rmtree", remove)
    pruning.prune(ledger)
    assert left(tmp_path) == may_stay(ledger)
    assert len(left(tmp_path)) == 4 and "done/step-000010:adapter" not in left(tmp_path)
