"""A small space, and observations and sweeps over it."""

from pathlib import Path

from search.config import SweepConfig
from search.storage.remote import storage_for
from spaces import Inference, Observation, Recipe, Space, parse_space
from trainables.job import Job

TEXT = """
subject: nowhere
rungs: [10, 20, 40]
eta: 2
recipe:
  rank: {low: 2, high: 64, log: true}
  learning_rate: {low: 1.0e-4, high: 5.0e-3, log: true}
  dropout: {low: 0.0, high: 0.4}
  text_encoder: [frozen, lora]
  text_encoder_rank: {low: 2, high: 32, log: true, when: {text_encoder: lora}}
"""


def small_space(text: str = TEXT) -> Space:
    return parse_space(text, "small")


def observed(
    trial: str, steps: int, identity: float, pose: float, recipe: Recipe | None = None, way: Inference | None = None
) -> Observation:
    """Of the main way to draw, unless another is given."""
    scores, label = {"identity": identity, "pose": pose}, way.name if way else ""
    return Observation(trial, recipe or Recipe(), 1, steps, scores, inference=way or Inference(), label=label)


def make_cache(home: Path, seconds: float) -> Path:
    """Where `curves.Curves` reads how long a rung takes."""
    cache = home / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "seconds").write_text(str(seconds))
    return cache


def small_sweep(
    home: Path, trials: int = 6, seconds: float = 0.01, where: str | None = None, **changes: object
) -> SweepConfig:
    """A sweep of `curves.Curves`, two trials at a time, with its cache made; on a storage if `where` names one."""
    cache = make_cache(home, seconds)
    storage = storage_for(where, home, "small", "nowhere") if where else None
    job = Job(
        folder=str(home / "small"), cache=str(cache), subject="nowhere", rungs=small_space().rungs, storage=storage
    )
    settings = {
        "name": "small", "space_name": "small", "space_text": TEXT, "job": job, "trials": trials, "workers": 2,
        "tracking_uri": f"sqlite:///{home}/mlflow.db", "artifacts": str(home / "mlartifacts"),
    }  # fmt: skip
    return SweepConfig(**settings | changes)
