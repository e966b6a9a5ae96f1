"""A space from YAML text. Whatever is wrong is said with its line, and with what would be right."""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import yaml
from pydantic import ValidationError

from spaces.errors import InputError
from spaces.inference import Inference
from spaces.objectives import Objective, parse_objectives
from spaces.parameters import Choice, Conditions, Parameter, Range
from spaces.recipe import Recipe, explain
from spaces.space import Space

MOST_INFERENCES = 16
"""So many ways to draw a checkpoint may be scored; each costs a whole panel at every rung."""
STEP_FIELDS = ("text_encoder_until", "token_until", "pose_from")
"""Fields that are a number of training steps: what they begin or end must happen before the last rung."""
_POINTS = 256
"""So many points of a space are tried, for fields that are right alone and wrong together."""
_AS_TEXT = " (YAML reads 1e-4 as text, write 1.0e-4)"
_SHAPES = "a value, a list of choices, {choice: [...]} or {low, high}"


def parse_space(text: str, name: str, where: object = "space") -> Space:
    """A space from YAML text."""
    return _Parser(text, name, where).space()


class _Parser:
    """Reads one document; knows the line of every key for its complaints."""

    KEYS = ("about", "base", "controlnet", "subject", "rungs", "eta", "objectives", "recipe", "inference")
    RANGE_KEYS = ("low", "high", "log", "prior", "spread", "when")
    CHOICE_KEYS = ("choice", "prior", "when")

    def __init__(self, text: str, name: str, where: object) -> None:
        self.name, self.where = name, where
        self.lines: dict[tuple[str, ...], int] = {}
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            self.document = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            raise InputError(
                self._at(mark.line + 1 if mark else 1), f"is not YAML: {getattr(error, 'problem', error)}"
            ) from None
        for key, line in _key_lines(root):
            if key in self.lines:
                raise InputError(self._at(line), f"{'.'.join(key)}: is there already, in line {self.lines[key]}")
            self.lines[key] = line
        if not isinstance(self.document, dict):
            raise InputError(where, f"should be a mapping with {', '.join(self.KEYS)}")

    def space(self) -> Space:
        document = self.document
        for key in document:
            if key not in self.KEYS:
                raise self._error((key,), f"no such field; fields are {', '.join(self.KEYS)}")
        fixed, parameters = self._fields()
        self._check_values(fixed, parameters)
        space = Space(
            name=self.name,
            about=str(document.get("about", "")).strip(),
            base=str(document.get("base", "puppets")),
            controlnet=self._text("controlnet"),
            subject=str(document.get("subject", "")),
            rungs=self._rungs(document.get("rungs")),
            eta=self._eta(document.get("eta", 3)),
            objectives=self._objectives(document.get("objectives", ["identity", "pose"])),
            parameters=self._in_order(parameters, dict(fixed)),
            fixed=tuple(fixed),
            inferences=self._inferences(document.get("inference", {})),
        )
        self._check_steps(space)
        self._check_points(space)
        return space

    # The recipe's fields.

    def _fields(self) -> tuple[list[tuple[str, Any]], list[Parameter]]:
        recipe = self.document.get("recipe")
        if not isinstance(recipe, dict) or not recipe:
            raise self._error(("recipe",), f"should map recipe fields to {_SHAPES}")
        fixed: list[tuple[str, Any]] = []
        parameters: list[Parameter] = []
        for field, given in recipe.items():
            if field not in Recipe.model_fields:
                raise self._error(
                    ("recipe", field), f"no such recipe field; fields are {', '.join(Recipe.model_fields)}"
                )
            if isinstance(given, list):
                parameters.append(self._choice(field, {"choice": given}))
            elif isinstance(given, dict):
                parameters.append(self._choice(field, given) if "choice" in given else self._range(field, given))
            else:
                fixed.append((field, given))
        return fixed, parameters

    def _choice(self, field: str, given: dict[str, Any]) -> Choice:
        self._check_keys(field, given, self.CHOICE_KEYS)
        values = given["choice"]
        if not isinstance(values, list) or not values:
            raise self._error(("recipe", field), f"{values!r} should be a list of at least one value")
        if any(isinstance(value, list | dict) for value in values):
            raise self._error(("recipe", field), f"{values!r} should be a list of plain values")
        repeated = next((value for i, value in enumerate(values) if value in values[:i]), _NOTHING)
        if repeated is not _NOTHING:
            raise self._error(("recipe", field), f"{repeated!r} is there twice, each choice should be once")
        weights = self._weights(field, values, given["prior"]) if "prior" in given else None
        return Choice(field, tuple(values), self._when(field, given), weights)

    def _weights(self, field: str, values: list[Any], given: Any) -> tuple[float, ...]:
        """A value that a mapping does not name has no weight: it is left to the draws that are even."""
        if isinstance(given, dict):
            for value in given:
                if value not in values:
                    raise self._error(
                        ("recipe", field, "prior"), f"prior: {value!r} is no choice; choices are {_listed(values)}"
                    )
            weights = [given.get(value, 0) for value in values]
        else:
            weights = given if isinstance(given, list) else []
        right = all(_is_number(weight) and 0 <= weight < math.inf for weight in weights)
        if len(weights) != len(values) or not right or sum(weights) <= 0:
            raise self._error(
                ("recipe", field, "prior"),
                f"prior: {given!r} should give the choices {_listed(values)} weights, as a mapping or a list: none "
                "negative, one above 0",
            )
        return tuple(float(weight) for weight in weights)

    def _range(self, field: str, given: dict[str, Any]) -> Range:
        if not {"low", "high"} <= set(given):
            raise self._error(("recipe", field), f"{_listed(given)} should be low and high (and log), or choice")
        self._check_keys(field, given, self.RANGE_KEYS)
        numbers = {name: given[name] for name in ("low", "high", "prior", "spread") if name in given}
        for name, number in numbers.items():
            if not _is_number(number):
                hint = _AS_TEXT if isinstance(number, str) else ""
                raise self._error(("recipe", field, name), f"{name}: {number!r} should be a number{hint}")
        low, high, log = given["low"], given["high"], given.get("log", False)
        if not isinstance(log, bool):
            raise self._error(("recipe", field, "log"), f"log: {log!r} should be true or false")
        if not (math.isfinite(low) and math.isfinite(high) and low < high) or (log and low <= 0):
            raise self._error(
                ("recipe", field), f"low {low} and high {high} should be low < high{', both above 0' if log else ''}"
            )
        prior, spread = numbers.get("prior"), numbers.get("spread")
        if prior is not None and not low <= prior <= high:
            raise self._error(("recipe", field, "prior"), f"prior: {prior} should be between low {low} and high {high}")
        if spread is not None and prior is None:
            raise self._error(("recipe", field, "spread"), "spread: is of a prior; give a prior, or leave it out")
        if spread is not None and not (1 if log else 0) < spread < math.inf:
            what = "a factor above 1, since the range is log" if log else "a deviation above 0"
            raise self._error(("recipe", field, "spread"), f"spread: {spread} should be {what}")
        integer = isinstance(low, int) and isinstance(high, int)
        return Range(field, low, high, log, integer, self._when(field, given), prior, spread)

    def _check_keys(self, field: str, given: dict[str, Any], known: tuple[str, ...]) -> None:
        for key in given:
            if key not in known:
                raise self._error(("recipe", field, key), f"{key!r} should be one of {', '.join(known)}")

    def _when(self, field: str, given: dict[str, Any]) -> Conditions:
        when = given.get("when", {})
        if not isinstance(when, dict) or any(value == [] or isinstance(value, dict) for value in when.values()):
            raise self._error(
                ("recipe", field, "when"), f"when: {when!r} should map a field to the value, or values, it must have"
            )
        return tuple((other, tuple(v) if isinstance(v, list) else (v,)) for other, v in when.items())

    def _in_order(self, parameters: list[Parameter], fixed: dict[str, Any]) -> tuple[Parameter, ...]:
        """Conditions after what they depend on; a condition on nothing, on no value, or in a circle, is refused."""
        by_name = {p.name: p for p in parameters}
        known = set(fixed)
        ordered: list[Parameter] = []
        waiting = list(parameters)
        while waiting:
            ready = [p for p in waiting if all(field in known for field, _ in p.when)]
            if not ready:
                field = next(f for f, _ in waiting[0].when if f not in known)
                why = "depends on itself" if field in by_name else "is not in this space"
                raise self._error(("recipe", waiting[0].name, "when"), f"when: {field!r} {why}")
            ordered += ready
            known |= {p.name for p in ready}
            waiting = [p for p in waiting if p not in ready]
        for parameter in ordered:
            for field, allowed in parameter.when:
                self._check_condition(parameter.name, field, allowed, by_name.get(field), fixed.get(field))
        return tuple(ordered)

    def _check_condition(
        self, name: str, field: str, allowed: tuple[Any, ...], parameter: Parameter | None, fixed: Any
    ) -> None:
        if isinstance(parameter, Range):
            raise self._error(
                ("recipe", name, "when"), f"when: {field} is a range, a condition should be on choices or a fixed value"
            )
        values = (fixed,) if parameter is None else parameter.values
        for value in allowed:
            if value not in values:
                raise self._error(
                    ("recipe", name, "when"), f"when: {field} is never {value!r} here, it is one of {_listed(values)}"
                )

    # Whether a sweep may meet a wrong recipe.

    def _check_values(self, fixed: list[tuple[str, Any]], parameters: list[Parameter]) -> None:
        """Each value that a field may take is right by itself."""
        for name, value in fixed:
            self._check_value({}, name, value)
        for parameter in parameters:
            values = parameter.values if isinstance(parameter, Choice) else (parameter.low, parameter.high)
            for value in values:
                self._check_value({field: allowed[0] for field, allowed in parameter.when}, parameter.name, value)

    def _check_value(self, context: dict[str, Any], name: str, value: Any) -> None:
        try:
            Recipe.model_validate({**context, name: value})
        except ValidationError as error:
            if error.errors()[0]["loc"][:1] != (name,):
                return  # it is the company that is wrong, which may be another in this space
            hint = _AS_TEXT if isinstance(value, str) and _reads_as_number(value) else ""
            raise self._error(("recipe", name), explain(error).removeprefix(f"{name}: ") + hint) from None

    def _check_points(self, space: Space) -> None:
        """Values that are right alone may be wrong together: recipes from all over the space are tried."""
        generator = np.random.default_rng(0)
        for _ in range(_POINTS):
            point = space.sample(generator)
            try:
                space.recipe(point)
            except InputError as error:
                problem = str(error).removeprefix(f"space {space.name}: ")
                field = problem.partition(":")[0]
                key = ("recipe", field) if ("recipe", field) in self.lines else ("recipe",)
                drawn = ", ".join(f"{name}: {value}" for name, value in point.items())
                raise self._error(key, f"{problem.removeprefix(f'{field}: ')} (in this space with {drawn})") from None

    def _check_steps(self, space: Space) -> None:
        last = space.rungs[-1]
        given = {**dict(space.fixed), **{p.name: p for p in space.parameters}}
        for name in STEP_FIELDS:
            values = given.get(name)
            if isinstance(values, Range):
                values = (values.high,)
            elif isinstance(values, Choice):
                values = values.values
            else:
                values = (values,)
            for value in values:
                if _is_number(value) and value >= last:
                    raise self._error(
                        ("recipe", name), f"{value} steps should be below the last rung, {last}: nothing comes after it"
                    )

    # The rest of the document.

    def _inferences(self, given: Any) -> tuple[Inference, ...]:
        """All combinations of the values, the first of each in the main one."""
        names = ", ".join(Inference.model_fields)
        if not isinstance(given, dict):
            raise self._error(("inference",), f"{given!r} should map {names} to a value or a list of values")
        for name, values in given.items():
            if name not in Inference.model_fields:
                raise self._error(("inference", name), f"no such setting; settings are {names}")
            if values == [] or isinstance(values, dict):
                raise self._error(("inference", name), f"{values!r} should be a value or a list of values")
        lists = [values if isinstance(values, list) else [values] for values in given.values()]
        ways = [dict(zip(given, values, strict=True)) for values in product(*lists)]
        if len(ways) > MOST_INFERENCES:
            counts = " x ".join(str(len(values)) for values in lists)
            raise self._error(
                ("inference",), f"{counts} are {len(ways)} ways to draw, it should be at most {MOST_INFERENCES}"
            )
        inferences = tuple(self._inference(values) for values in ways)
        names_seen = [inference.name for inference in inferences]
        repeated = next((name for name in names_seen if names_seen.count(name) > 1), None)
        if repeated is not None:
            raise self._error(("inference",), f"{repeated} is there twice, each value should be once")
        return inferences

    def _inference(self, values: dict[str, Any]) -> Inference:
        try:
            return Inference.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ("inference", *(str(part) for part in first["loc"]))
            problem = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            found = f"{first['input']!r} is not right, it" if first["loc"] else "it"
            raise self._error(key, f"{found} should be {problem}") from None

    def _text(self, key: str) -> str | None:
        given = self.document.get(key)
        if given is not None and not isinstance(given, str):
            raise self._error((key,), f"{given!r} should be a folder or a hub id such as owner/name")
        return given

    def _rungs(self, given: Any) -> tuple[int, ...]:
        whole = isinstance(given, list) and all(isinstance(r, int) and not isinstance(r, bool) and r > 0 for r in given)
        if not whole or not given or sorted(set(given)) != given:
            raise self._error(
                ("rungs",), f"{given!r} should be a list of increasing step counts, such as [100, 200, 400]"
            )
        return tuple(given)

    def _eta(self, given: Any) -> float:
        if not _is_number(given) or not 1 < given < math.inf:
            raise self._error(("eta",), f"{given!r} should be a number above 1, such as 3")
        return float(given)

    def _objectives(self, given: Any) -> tuple[Objective, ...]:
        if not isinstance(given, list):
            raise self._error(("objectives",), f"{given!r} should be a list, such as [identity, pose]")
        return parse_objectives(given, self._place(("objectives",)))

    # Where something is.

    def _error(self, key: tuple[str, ...], problem: str) -> InputError:
        return InputError(self._place(key), problem)

    def _place(self, key: tuple[str, ...]) -> str:
        """Line and name of the field; the line is that of the innermost key that is there."""
        known = next((key[:n] for n in range(len(key), 0, -1) if key[:n] in self.lines), ())
        return f"{self._at(self.lines.get(known, 1))}: {'.'.join(map(str, key[:2]))}"

    def _at(self, line: int) -> str:
        return f"{self.where}, line {line}"


_NOTHING = object()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _listed(values: Any) -> str:
    return ", ".join("null" if value is None else str(value) for value in values)


def _key_lines(node: yaml.Node | None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    """(key path, line) of every mapping key below `node`, lines counted from 1."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, key.value)
            yield here, key.start_mark.line + 1
            yield from _key_lines(value, here)
