"""What is looked at before a sweep starts, so that a mistake is one line now and not a failed trial later."""

import socket

import numpy as np

from spaces import InputError, Space
from trainables import hub
from trainables.data.needs import check_needs
from trainables.job import Job
from trainables.judge_choice import choose
from trainables.panels.held_out import panel_poses, unseen
from trainables.poses import with_poses
from trainables.subject import Subject

POINTS = 128
"""So many of a space's recipes are asked what they need of the subject."""


def check_job(job: Job, space: Space) -> None:
    """The subject is read in full, and has what the space's recipes train with; of the models only that they are
    there, and that the judges suit the subject."""
    subject = with_poses(Subject.load(job.subject), job.poses)
    generator = np.random.default_rng(0)
    for _ in range(POINTS):
        check_needs(subject, space.recipe(space.sample(generator)))
    hub.check(job.base, hub.BASE if job.controlnet else hub.WITH_CONTROLNET, "--base")
    if job.controlnet is not None:
        hub.check(job.controlnet, hub.CONTROLNET, "--controlnet")
    for grade, wanted in (("plain", job.panel.plain), ("hard", job.panel.hard)):
        if (count := sum(pose.grade == grade for pose in subject.poses)) < wanted:
            asked = f"{count} {grade} target poses; the panel asks for {wanted}"
            raise InputError(job.subject, f"has {asked}: `posefront subject poses` writes some, or --poses shipped")
    judges = choose(job.judges, hub.folder_of(job.base), subject)
    if "prompt" in [each.name for each in (*space.objectives, *space.requirements)] and judges.prompt is None:
        asked = "an objective" if any(each.name == "prompt" for each in space.objectives) else "required"
        raise InputError("--prompt-judge", f"prompt is {asked}, and no judge of prompts was named, such as clip")


def check_held_out(job: Job) -> None:
    """The subject has something to confirm on: InputError where nothing is left that the search did not see."""
    subject = with_poses(Subject.load(job.subject), job.poses)
    unseen(subject, panel_poses(subject, job.panel), job.panel)


def check_address(address: str) -> None:
    """Whether something listens at HOST:PORT: Ray itself would try for minutes. `auto` finds this machine's own."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError("--address", f"{address!r} should be HOST:PORT of a Ray head, such as 10.0.0.1:6379, or auto")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError("--address", f"no Ray head answers at {address} ({reason})") from None
