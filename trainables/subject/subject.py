"""A subject: the few pictures of one thing, what they are called, and the poses it is to be drawn in."""

from dataclasses import dataclass
from pathlib import Path

from spaces import InputError
from trainables.skeleton import PUPPET_13, SKELETONS, Skeleton, skeleton_named
from trainables.subject.cards import NAME
from trainables.subject.parts import Picture, Pose
from trainables.subject.reading import PICTURES, Reader
from trainables.subject.text_file import raise_first

SHIPPED = Path(__file__).parent.parent / "puppets" / "subjects"


@dataclass(frozen=True, eq=False)
class Subject:
    """A subject folder, read and checked."""

    folder: Path
    token: str
    """The rare word that comes to mean the subject, such as `sks`."""
    class_noun: str
    """What it is one of, such as `robot`."""
    prompts: tuple[str, ...]
    """Each with `{name}` where the subject is named."""
    pictures: tuple[Picture, ...]
    poses: tuple[Pose, ...]
    skeleton: str | None
    """What `skeleton_named` knows the skeleton of all keypoints by: its name, or where the subject's own file is."""
    held_out_prompts: tuple[str, ...] = ()
    """For a confirmation, in place of `prompts`; none is the shipped ones."""

    @classmethod
    def load(cls, folder: str | Path) -> "Subject":
        """Reads subject.yaml, metadata.jsonl, the pictures and, if there, poses.jsonl.

        `puppets/NAME` is the shipped subject of that name where no such folder exists. Any mistake in the files is
        an InputError that names the file, the line and what would be right.
        """
        folder = find_folder(folder)
        reader = Reader(folder, raise_first)
        card = reader.card()
        pictures = tuple(reader.pictures(card.token))
        if not pictures:
            raise InputError(folder / PICTURES, "has no pictures; each is a line with file_name and text")
        poses = tuple(reader.poses(pictures))
        skeleton = card.skeleton
        if skeleton is not None and skeleton not in SKELETONS:
            skeleton = str((folder / skeleton).absolute())
        held_out = tuple(card.held_out_prompts)
        return cls(folder, card.token, card.class_noun, tuple(card.prompts), pictures, poses, skeleton, held_out)

    def named(self, prompt: str, token: bool) -> str:
        """The prompt with `{name}` as token and class noun, or as the class noun alone."""
        return prompt.replace(NAME, f"{self.token} {self.class_noun}" if token else self.class_noun)


def skeleton_of(subject: Subject) -> Skeleton:
    """The skeleton of all the subject's keypoints; the puppets' where it names none."""
    return skeleton_named(subject.skeleton or PUPPET_13.name, subject.folder / "subject.yaml")


def find_folder(folder: str | Path) -> Path:
    """The subject's folder; InputError where there is none."""
    path = Path(folder)
    if not path.exists() and path.parts[:1] == ("puppets",) and len(path.parts) == 2:
        path = SHIPPED / path.parts[1]
    if not path.is_dir():
        raise InputError(folder, "is no folder; a subject is a folder with subject.yaml, metadata.jsonl and pictures")
    return path
