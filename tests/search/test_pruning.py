from pathlib import Path

from search.journal import Ended, Ledger, Observed, Proposed
from search.pruning import prune
from search.rungs import Continue
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
    ledger = Ledger()
    for trial in ("done", "live"):
        ledger.add(Proposed(0.0, trial, Recipe(), {}, 1))
    checkpoint(tmp_path, ledger, "done", 10, 0.1, 0.9)  # on the front
    checkpoint(tmp_path, ledger, "done", 20, 0.1, 0.5)
    checkpoint(tmp_path, ledger, "live", 10, 0.0, 0.1)
    checkpoint(tmp_path, ledger, "live", 20, 0.0, 0.2)
    unscored = tmp_path / "live" / "step-000040" / "adapter"
    unscored.mkdir(parents=True)
    ledger.add(Ended(0.0, "done", "finished", "", 20))
    prune(ledger, OBJ, tmp_path)
    goes_on = {"live/step-000020:adapter", "live/step-000020:state", "live/step-000040:adapter"}
    assert left(tmp_path) == {"done/step-000010:adapter"} | goes_on
    ledger.add(Ended(0.0, "live", "failed", "", 20))
    prune(ledger, OBJ, tmp_path)
    assert left(tmp_path) == {"done/step-000010:adapter"}
    assert len(list(tmp_path.rglob("grid.png"))) == len(list(tmp_path.rglob("observation.json"))) == 4


def test_a_checkpoint_keeps_its_adapter_when_any_way_to_draw_it_is_on_the_front(tmp_path):
    ledger = Ledger()
    ledger.add(Proposed(0.0, "done", Recipe(), {}, 1))
    checkpoint(tmp_path, ledger, "done", 10, 0.1, 0.5)
    checkpoint(tmp_path, ledger, "done", 20, 0.05, 0.4, drawn=(0.05, 0.6))
    checkpoint(tmp_path, ledger, "done", 40, 0.02, 0.2, drawn=(0.01, 0.3))
    ledger.add(Ended(0.0, "done", "finished", "", 40))
    prune(ledger, OBJ, tmp_path)
    assert left(tmp_path) == {"done/step-000010:adapter", "done/step-000020:adapter"}
