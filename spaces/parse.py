"""A space from YAML text. Whatever is wrong is said with its line, and with what would be right."""

import math
from itertools import product
from typing import Any

import numpy as np
from pydantic import ValidationError

from spaces.document import Document
from spaces.errors import InputError
from spaces.fields import is_number, read_fields
from spaces.inference import Inference
from spaces.objectives import Objective, parse_objectives
from spaces.parameters import Choice
from spaces.requirements import Requirements, parse_requirement
from spaces.space import Space

KEYS = ("about", "base", "controlnet", "subject", "rungs", "eta", "objectives", "recipe", "inference", "require")
MOST_INFERENCES = 16
"""So many ways to draw a checkpoint may be scored; each costs a whole panel at every rung."""
MOST_STEPS = 1_000_000
STEP_FIELDS = ("text_encoder_until", "token_until", "pose_from")
"""Fields that are a number of training steps: what they begin or end must happen before the last rung."""
_POINTS = 256
"""So many points of a space are tried, for fields that are right alone and wrong together."""


def parse_space(text: str, name: str, where: object = "space") -> Space:
    """A space from YAML text."""
    document = Document(text, where)
    values = document.values
    for key in values:
        if key not in KEYS:
            raise document.error((key,), f"no such field; fields are {', '.join(KEYS)}")
    fixed, parameters = read_fields(document)
    space = Space(
        name=name,
        about=_text(document, "about", "what it searches", "").strip(),
        base=_text(document, "base", "a folder or a hub id such as owner/name", "puppets"),
        controlnet=_text(document, "controlnet", "a folder or a hub id such as owner/name", None),
        subject=_text(document, "subject", "a folder", ""),
        rungs=_rungs(document),
        eta=_eta(document),
        objectives=_objectives(document),
        parameters=parameters,
        fixed=fixed,
        inferences=_inferences(document),
        requirements=_requirements(document),
    )
    _check_steps(document, space)
    _check_points(document, space)
    return space


def _text(document: Document, name: str, what: str, default: str | None) -> str | None:
    given = document.values.get(name, default)
    if given is not None and not isinstance(given, str):
        raise document.error((name,), f"{given!r} should be {what}")
    return default if given is None else given


def _rungs(document: Document) -> tuple[int, ...]:
    given = document.values.get("rungs")
    steps = isinstance(given, list) and all(type(r) is int and 0 < r <= MOST_STEPS for r in given)
    if not steps or not given or sorted(set(given)) != given:
        raise document.error(
            ("rungs",),
            f"{given!r} should be a list of increasing step counts up to {MOST_STEPS:,}, such as [100, 200, 400]",
        )
    return tuple(given)


def _eta(document: Document) -> float:
    given = document.values.get("eta", 3)
    if not is_number(given) or not 1 < given < math.inf:
        raise document.error(("eta",), f"{given!r} should be a number above 1, such as 3")
    return float(given)


def _objectives(document: Document) -> tuple[Objective, ...]:
    given = document.values.get("objectives", ["identity", "pose"])
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise document.error(("objectives",), f"{given!r} should be a list, such as [identity, pose]")
    return parse_objectives(given, document.place(("objectives",)))


def _requirements(document: Document) -> Requirements:
    given = document.values.get("require", [])
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise document.error(("require",), f"{given!r} should be a list, such as ['drift < 0.2']")
    return tuple(parse_requirement(text, document.place(("require",))) for text in texts)


def _inferences(document: Document) -> tuple[Inference, ...]:
    """All combinations of the values, the first of each in the main one."""
    given, known = document.values.get("inference", {}), ", ".join(Inference.model_fields)
    if not isinstance(given, dict):
        raise document.error(("inference",), f"{given!r} should map {known} to a value or a list of values")
    for name, values in given.items():
        if name not in Inference.model_fields:
            raise document.error(("inference", name), f"no such setting; settings are {known}")
        if values == [] or isinstance(values, dict):
            raise document.error(("inference", name), f"{values!r} should be a value or a list of values")
    lists = [values if isinstance(values, list) else [values] for values in given.values()]
    count = math.prod(len(values) for values in lists)
    if count > MOST_INFERENCES:
        counts = " x ".join(str(len(values)) for values in lists)
        raise document.error(
            ("inference",), f"{counts} are {count} ways to draw, it should be at most {MOST_INFERENCES}"
        )
    ways = [dict(zip(given, values, strict=True)) for values in product(*lists)]
    inferences = tuple(_inference(document, values) for values in ways)
    names = [inference.name for inference in inferences]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise document.error(("inference",), f"{name} is there twice, each value should be once")
    return inferences


def _inference(document: Document, values: dict[str, Any]) -> Inference:
    try:
        return Inference.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ("inference", *(str(part) for part in first["loc"]))
        problem = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        found = f"{first['input']!r} is not right, it" if first["loc"] else "it"
        raise document.error(key, f"{found} should be {problem}") from None


def _check_steps(document: Document, space: Space) -> None:
    """A stage that begins or ends after the last rung never does."""
    last, fixed = space.rungs[-1], dict(space.fixed)
    searched = {p.name: p.values if isinstance(p, Choice) else (p.high,) for p in space.parameters}
    for name in STEP_FIELDS:
        for value in searched.get(name, (fixed.get(name),)):
            if is_number(value) and value >= last:
                raise document.error(
                    ("recipe", name), f"{value} steps should be below the last rung, {last}: nothing comes after it"
                )


def _check_points(document: Document, space: Space) -> None:
    """Values that are right alone may be wrong together: recipes from all over the space are tried."""
    generator = np.random.default_rng(0)
    for _ in range(_POINTS):
        point = space.sample(generator)
        try:
            space.recipe(point)
        except InputError as error:
            problem = str(error).removeprefix(f"space {space.name}: ")
            field = problem.partition(":")[0]
            key = ("recipe", field) if ("recipe", field) in document.lines else ("recipe",)
            drawn = ", ".join(f"{name}: {value}" for name, value in point.items()) or "its values"
            raise document.error(key, f"{problem.removeprefix(f'{field}: ')} (in this space with {drawn})") from None
