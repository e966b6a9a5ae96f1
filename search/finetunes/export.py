"""Takes a sweep's fine-tunes out of it, in a form that other programs load."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from search.finetunes.generate import adapter_of, kept, load_base, pick
from search.views.show import Found
from spaces import InputError, Observation

if TYPE_CHECKING:
    from trainables.export import Form


def picks(found: Found, wanted: str) -> list[Observation]:
    """All of the front for `front`, the confirmed one if there is one, else the one that is picked.

    InputError where an adapter is not kept.
    """
    front = found.confirmed or found.front
    chosen = front if wanted == "front" and front else [pick(found, wanted)]
    return [kept(found, observation) for observation in chosen]


def check_form(observations: list[Observation], form: "Form") -> None:
    """InputError for the first that cannot be written in a form, before any is."""
    for o in observations:
        if o.recipe.rank_schedule == "timestep" and form != "diffusers":
            reason = f"{o.name} has rank_schedule timestep, which {form} cannot say; diffusers' form can, with a hook"
            raise InputError("--format", reason)


def folders(out: Path, observations: list[Observation], force: bool) -> list[Path]:
    """Where each is to go: `out` itself, or for several a folder each in it, by trial and steps.

    InputError when there is something already, unless it may be overwritten, or nothing can be written.
    """
    single = len(observations) == 1
    chosen = [out if single else out / o.name.replace(":", "-") for o in observations]
    for folder in chosen:
        if folder.exists() and not folder.is_dir():
            raise InputError("--out", f"{folder} is a file; give a folder")
        if folder.is_dir() and any(folder.iterdir()) and not force:
            raise InputError("--out", f"{folder} is not empty; give another folder, or --force to write into it")
    return chosen


def export(found: Found, observation: Observation, out: Path, form: "Form", half: bool) -> None:
    """Writes the adapter, its page, its samples and a pose to try; all of it or nothing.

    What is there by the same names is overwritten. InputError when the adapter is gone or is of another base.
    """
    from trainables.export import (
        POSE,
        SAMPLES,
        Drawing,
        Exported,
        read_made_from,
        write_card,
        write_diffusers,
        write_kohya,
        write_merged,
    )
    from trainables.poses import target_poses
    from trainables.skeleton import render
    from trainables.subject import Subject, skeleton_of

    job, scale = found.config.job, observation.inference.lora_scale
    found.fetch(Path(job.subject))
    adapter, subject = adapter_of(found, observation), Subject.load(job.subject)
    base = load_base(found, adapter, device="cpu", precision="fp32")
    with whole(out) as folder:
        if form == "diffusers":
            files = write_diffusers(adapter, folder, scale)
        elif form == "kohya":
            name = f"{found.config.name}-{observation.trial}-{observation.steps}"
            files = write_kohya(base, adapter, folder, name, half, scale)
        else:
            files = Exported()
            write_merged(base, adapter, folder, half, scale)
        samples = adapter.parent / f"grid{observation.label and '-'}{observation.label}.png"
        found.fetch(samples)
        if samples.is_file():
            shutil.copyfile(samples, folder / SAMPLES)
        pose = (subject.poses or target_poses(subject, "shipped"))[0]
        render(pose.keypoints, base.size, skeleton_of(subject), source_size=pose.size).save(folder / POSE)
        prompt = subject.named(subject.prompts[0], token=True)
        drawing = Drawing(job.base, job.controlnet, job.panel.steps, observation.inference, prompt)
        write_card(folder, form, read_made_from(adapter), files, drawing, found.config.name, observation)


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """A folder to write to, which becomes `out`, or a part of what is there, once all is written."""
    out = out.absolute()
    staging = out.parent / f".{out.name}.partial"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
    except OSError as error:
        raise InputError("--out", f"{out} cannot be written ({error.strerror})") from None
    try:
        yield staging
        if out.exists():
            shutil.copytree(staging, out, dirs_exist_ok=True)
        else:
            staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
