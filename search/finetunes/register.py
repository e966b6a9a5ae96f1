"""Puts one of a sweep's fine-tunes into MLflow's registry."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from search.finetunes.generate import adapter_of, load_base
from search.views.show import Found
from search.views.words import in_words
from spaces import InputError, Observation
from spaces.paths import NAME


@dataclass(frozen=True)
class Registered:
    """What became of it."""

    model: str
    version: str
    alias: str
    prompt: str
    """One to try."""


def register(found: Found, observation: Observation, model: str) -> Registered:
    """Registers an observation's adapter with all that it takes to draw with it but the base.

    InputError when the adapter is gone or of another base, the subject cannot be read, or MLflow has not got the sweep.
    """
    from search.tracking.registry import ALIAS, CHECKPOINT_TAG, Entry
    from search.tracking.registry import register as enter
    from trainables.poses import target_poses
    from trainables.pyfunc import ADAPTER, FILE, DrawnWith
    from trainables.subject import Subject, skeleton_of

    if not NAME.fullmatch(model):
        raise InputError("--as", f"{model!r} should be letters, digits, dots, dashes and underscores, at most 100")
    config, job = found.config, found.config.job
    if found.ledger.parent_run_id is None:
        raise InputError(config.name, f"has no run in MLflow; `posefront record {config.name}` writes it")
    found.fetch(Path(job.subject))
    adapter, subject = adapter_of(found, observation), Subject.load(job.subject)
    load_base(found, adapter, device="cpu", precision="fp32")  # what does not load is no champion
    pose, skeleton = (subject.poses or target_poses(subject, "shipped"))[0], skeleton_of(subject)
    own = Path(subject.skeleton or "")
    name = own.name if own.is_file() else skeleton.name
    posed = {"skeleton": name, "size": pose.size, "keypoints": [list(map(float, row)) for row in pose.keypoints]}
    prompt = subject.named(subject.prompts[0], token=True)
    drawn = DrawnWith(
        base=_lasting(job.base), controlnet=job.controlnet and _lasting(job.controlnet), precision=job.precision,
        device=job.device, steps=job.panel.steps, inference=observation.inference,
    )  # fmt: skip
    with TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        shutil.copytree(adapter, data / ADAPTER)
        (data / FILE).write_text(drawn.model_dump_json(indent=2), encoding="utf-8")
        if own.is_file():
            shutil.copyfile(own, data / own.name)
        checkpoint = f"{config.name}/{observation.name}"
        scores = {name: f"{value:.4f}" for name, value in observation.scores.items()}
        recipe = {f"recipe.{name}": str(value) for name, value in observation.recipe.flat().items()}
        entry = Entry(
            model,
            observation,
            data,
            {"prompt": prompt, "pose": json.dumps(posed)},
            {CHECKPOINT_TAG: checkpoint, "recipe": in_words(observation.recipe), **scores, **recipe},
            _described(found, observation, f"{subject.token} {subject.class_noun}"),
        )
        version = enter(config.tracking_uri, found.ledger.parent_run_id, entry)
    return Registered(model, version, ALIAS, prompt)


def _lasting(source: str) -> str:
    """A folder by its whole path; a hub id or a shipped base as it is."""
    return str(Path(source).absolute()) if Path(source).is_dir() else source


def _described(found: Found, observation: Observation, words: str) -> str:
    scores = ", ".join(f"{name} {value:.3f}" for name, value in observation.scores.items())
    return (
        f"`{observation.name}` of the sweep `{found.config.name}`: draws **{words}** in a pose.\n\n"
        f"{scores}.\n\n{in_words(observation.recipe)}; {observation.steps} steps on `{found.config.job.base}`.\n\n"
        "Input: `prompt`, and `pose`, the text of a pose's JSON; output: `picture`, a PNG. Loading it needs posefront "
        "installed and the base where it was."
    )
