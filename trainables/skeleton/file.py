"""Skeletons that people write: a YAML file of any morphology, and the shipped ones by name."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spaces import InputError
from spaces.paths import inside
from spaces.text import YAML_BYTES, parse_yaml, read_text
from trainables.skeleton.shape import OPENPOSE_18, PUPPET_13, Drawing, Skeleton

_HERE = Path(__file__).parent
_SHAPE = "name, joints: [names], limbs: [[joint, joint], ...], mirror: [[right, left], ...]"

Name = Annotated[str, Field(pattern=r"^\S(.*\S)?$", max_length=60)]
Pair = Annotated[list[str], Field(min_length=2, max_length=2)]


class _File(BaseModel):
    """A skeleton file."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: Name
    joints: list[Name] = Field(min_length=2, max_length=200)
    limbs: list[Pair] = Field(min_length=1)
    mirror: list[Pair] = []
    root: str | None = None
    body: list[str] = []
    drawing: Drawing = "openpose"


def load_skeleton(path: str | Path) -> Skeleton:
    """A skeleton from YAML; every mistake is an InputError with file, line, field, value and what would be right."""
    path = Path(path)
    try:
        text = read_text(path, YAML_BYTES)
    except UnicodeDecodeError as error:
        raise InputError(path, f"is not UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})") from None
    tree, values = parse_yaml(text, path)
    if not isinstance(values, dict):
        raise InputError(path, f"should be a mapping with {_SHAPE}")
    return _Checker(path, tree).skeleton(values)


def skeleton_named(name: str, where: object = "skeleton", folder: Path | None = None) -> Skeleton:
    """A shipped skeleton by name, or a `.yaml` file, inside `folder` if one is given; InputError lists the names."""
    if isinstance(name, str) and name in SKELETONS:
        return SKELETONS[name]
    if not isinstance(name, str) or not name.lower().endswith((".yaml", ".yml")):
        known = ", ".join(SKELETONS)
        raise InputError(
            where, f"{name!r:.80} is not a skeleton; there are {known}, or name a skeleton file such as x.yaml"
        )
    path = Path(name) if folder is None else inside(folder, name, where)
    if not path.is_file():
        raise InputError(where, f"{name!r} is not in {folder or Path.cwd()}; a skeleton file has {_SHAPE}")
    return load_skeleton(path)


class _Checker:
    """What a schema cannot say: joints that are named exist, and all hangs together."""

    def __init__(self, path: Path, tree: yaml.Node) -> None:
        self.path, self.tree = path, tree

    def skeleton(self, values: dict[str, Any]) -> Skeleton:
        try:
            file = _File.model_validate(values)
        except ValidationError as error:
            raise self._complaint(error) from None
        index = {joint: number for number, joint in enumerate(file.joints)}
        for number, joint in enumerate(file.joints):
            if joint in file.joints[:number]:
                raise self._wrong(("joints", number), f"{joint!r} is there twice")
        limbs = self._limbs(file, index)
        root = 0 if file.root is None else self._joint(file.root, index, "root")
        if file.root is None and (degrees := Counter(joint for limb in limbs for joint in limb)):
            busiest = min(degrees, key=lambda joint: (-degrees[joint], joint))
            root = busiest if degrees[busiest] > 2 else 0
        self._check_whole(file, limbs)
        body = tuple(self._joint(joint, index, "body", number) for number, joint in enumerate(file.body))
        return Skeleton(file.name, tuple(file.joints), limbs, self._mirror(file, index), root, body, file.drawing)

    def _limbs(self, file: _File, index: dict[str, int]) -> tuple[tuple[int, int], ...]:
        limbs, seen = [], set()
        for number, (first, second) in enumerate(file.limbs):
            pair = tuple(self._joint(joint, index, "limbs", number) for joint in (first, second))
            if first == second:
                raise self._wrong(("limbs", number), f"joins {first!r} with itself; a limb joins two joints")
            if frozenset(pair) in seen:
                raise self._wrong(("limbs", number), f"{first} to {second} is there twice")
            seen.add(frozenset(pair))
            limbs.append(pair)
        return tuple(limbs)

    def _mirror(self, file: _File, index: dict[str, int]) -> tuple[int, ...]:
        mirror = list(range(len(file.joints)))
        for number, (first, second) in enumerate(file.mirror):
            a, b = (self._joint(joint, index, "mirror", number) for joint in (first, second))
            for joint, name in ((a, first), (b, second)):
                if mirror[joint] != joint:
                    raise self._wrong(("mirror", number), f"{name!r} has the other side {file.joints[mirror[joint]]!r}")
            if a == b:
                raise self._wrong(("mirror", number), f"{first!r} is its own other side; leave it out")
            mirror[a], mirror[b] = b, a
        return tuple(mirror)

    def _check_whole(self, file: _File, limbs: tuple[tuple[int, int], ...]) -> None:
        """All joints hang together: a joint on its own could not be placed by any limb."""
        reached, fresh = {0}, {0}
        while fresh:
            fresh = {b for limb in limbs for a, b in (limb, limb[::-1]) if a in fresh} - reached
            reached |= fresh
        for number, joint in enumerate(file.joints):
            if number not in reached:
                raise self._wrong(("joints", number), f"no limbs lead from {file.joints[0]!r} to {joint!r}")

    def _joint(self, name: str, index: dict[str, int], *field: str | int) -> int:
        if name not in index:
            raise self._wrong(field, f"{name!r} is not a joint; joints are {', '.join(index)}")
        return index[name]

    def _complaint(self, error: ValidationError) -> InputError:
        first = error.errors()[0]
        field = first["loc"]
        if first["type"] == "missing":
            return InputError(f"{self.path}", f"{field[0]}: is missing; a skeleton has {_SHAPE}")
        if first["type"] == "extra_forbidden":
            return self._wrong(field, f"no such field; fields are {', '.join(_File.model_fields)}")
        reason = first["msg"].removeprefix("Input should be ")
        return self._wrong(field, f"{first['input']!r:.80} is not right, it should be {reason}")

    def _wrong(self, field: tuple[str | int, ...], problem: str) -> InputError:
        name = ".".join(map(str, field))
        return InputError(f"{self.path}, line {_line(self.tree, field)}", f"{name}: {problem}")


def _line(node: yaml.Node, field: tuple[str | int, ...]) -> int:
    """The line, from 1, that the value at a field's path is on, or the deepest part of the path that is there."""
    for part in field:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(part)]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = [(node.value[part], node.value[part])]
        else:
            found = []
        if not found:
            break
        node = found[0][1]
    return node.start_mark.line + 1


SKELETONS = {skeleton.name: skeleton for skeleton in (PUPPET_13, OPENPOSE_18)}
SKELETONS |= {skeleton.name: skeleton for skeleton in map(load_skeleton, sorted(_HERE.glob("*.yaml")))}
"""All that have a name."""
