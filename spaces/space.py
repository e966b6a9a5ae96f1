"""A space: the recipes that a sweep may try, declared in one YAML file."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from spaces.errors import InputError
from spaces.objectives import Objective, parse_objectives
from spaces.recipe import Recipe

SHIPPED = Path(__file__).parent


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    name: str
    values: tuple[Any, ...]
    when: tuple[tuple[str, Any], ...] = ()
    """(field, value) pairs that must all hold for the parameter to exist."""

    def sample(self, generator: np.random.Generator) -> Any:
        return self.values[int(generator.integers(len(self.values)))]


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, both included; `log` draws its logarithm evenly."""

    name: str
    low: float
    high: float
    log: bool = False
    integer: bool = False
    when: tuple[tuple[str, Any], ...] = ()

    def sample(self, generator: np.random.Generator) -> Any:
        half = 0.5 if self.integer else 0.0  # so that both ends of an integer range get a whole bin
        low, high = self.low - half, self.high + half
        drawn = math.exp(generator.uniform(math.log(low), math.log(high))) if self.log else generator.uniform(low, high)
        return int(np.clip(round(drawn), self.low, self.high)) if self.integer else float(drawn)


Parameter = Choice | Range


@dataclass(frozen=True)
class Space:
    """What may be tried, at which rungs it is scored, and what counts."""

    name: str
    about: str
    base: str
    """Default base: `puppets`, a diffusers folder, or a hub id."""
    subject: str
    """Default subject: `puppets/robot`, `puppets/person`, or a folder; empty when a person must give one."""
    rungs: tuple[int, ...]
    """Step counts at which trials are scored, increasing."""
    eta: float
    """One in eta trials of a rung goes on to the next."""
    objectives: tuple[Objective, ...]
    parameters: tuple[Parameter, ...]
    """The fields that are searched, conditions after what they depend on."""
    fixed: tuple[tuple[str, Any], ...]
    """The fields with one value."""

    def active(self, parameter: Parameter, values: Mapping[str, Any]) -> bool:
        """Whether the parameter's conditions hold among the values chosen so far."""
        known = {**dict(self.fixed), **values}
        return all(known.get(field) == value for field, value in parameter.when)

    def recipe(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe of one point of the space (inactive parameters left out)."""
        return Recipe.parse({**dict(self.fixed), **values}, where=f"space {self.name}")

    def sample(self, generator: np.random.Generator) -> dict[str, Any]:
        """The values of one random point."""
        values: dict[str, Any] = {}
        for parameter in self.parameters:
            if self.active(parameter, values):
                values[parameter.name] = parameter.sample(generator)
        return values


def shipped_spaces() -> list[str]:
    """Names of the spaces that come with posefront."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def space_file(name_or_path: str) -> Path:
    """The file of a shipped space, or the path as it is."""
    shipped = SHIPPED / f"{name_or_path}.yaml"
    return shipped if not Path(name_or_path).suffix and shipped.is_file() else Path(name_or_path)


def load_space(name_or_path: str) -> Space:
    """A shipped space by name, or any by file. InputError names the file, the line and what would be right."""
    path = space_file(name_or_path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        shipped = ", ".join(shipped_spaces())
        raise InputError(
            name_or_path, f"no such space ({reason(error)}); shipped are {shipped}, or give a YAML file"
        ) from None
    return parse_space(text, path.stem, path)


def reason(error: Exception) -> str:
    """An OS error without its number and path; any other error's first line."""
    return getattr(error, "strerror", None) or str(error).splitlines()[0]


def parse_space(text: str, name: str, where: object = "space") -> Space:
    """A space from YAML text."""
    return _Parser(text, name, where).space()


class _Parser:
    """Reads one document; knows the line of every key for its complaints."""

    KEYS = ("about", "base", "subject", "rungs", "eta", "objectives", "recipe")
    RANGE_KEYS = ("low", "high", "log")

    def __init__(self, text: str, name: str, where: object) -> None:
        self.name, self.where = name, where
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            self.document = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            self.lines: dict[tuple[str, ...], int] = {}
            raise InputError(
                self._at(mark.line + 1 if mark else 1), f"is not YAML: {getattr(error, 'problem', error)}"
            ) from None
        self.lines = dict(_key_lines(root))
        if not isinstance(self.document, dict):
            raise InputError(where, f"should be a mapping with {', '.join(self.KEYS)}")

    def space(self) -> Space:
        document = self.document
        for key in document:
            if key not in self.KEYS:
                raise self._error((key,), f"no such field; fields are {', '.join(self.KEYS)}")
        recipe = document.get("recipe")
        if not isinstance(recipe, dict) or not recipe:
            raise self._error(("recipe",), "should map recipe fields to a value, a list of choices, or {low, high}")
        fixed, parameters = [], []
        for field, given in recipe.items():
            if field not in Recipe.model_fields:
                raise self._error(
                    ("recipe", field), f"no such recipe field; fields are {', '.join(Recipe.model_fields)}"
                )
            parameter = self._parameter(field, given)
            if parameter is None:
                fixed.append((field, given))
            else:
                parameters.append(parameter)
        space = Space(
            name=self.name,
            about=str(document.get("about", "")).strip(),
            base=str(document.get("base", "puppets")),
            subject=str(document.get("subject", "")),
            rungs=self._rungs(document.get("rungs")),
            eta=self._eta(document.get("eta", 3)),
            objectives=self._objectives(document.get("objectives", ["identity", "pose"])),
            parameters=self._in_order(parameters, {field for field, _ in fixed}),
            fixed=tuple(fixed),
        )
        self._check_every_value(space)
        return space

    def _parameter(self, field: str, given: Any) -> Parameter | None:
        key = ("recipe", field)
        if isinstance(given, list):
            return self._choice(field, given, ())
        if not isinstance(given, dict):
            return None
        when = given.get("when", {})
        if not isinstance(when, dict):
            raise self._error(key, f"when: {when!r} should map a field to the value it must have")
        conditions = tuple(when.items())
        rest = {k: v for k, v in given.items() if k != "when"}
        if set(rest) == {"choice"}:
            return self._choice(field, rest["choice"], conditions)
        if not {"low", "high"} <= set(rest) <= set(self.RANGE_KEYS):
            raise self._error(key, f"{sorted(rest)} should be low and high (and log), or choice; when is optional")
        low, high, log = rest["low"], rest["high"], rest.get("log", False)
        for end in (low, high):
            if isinstance(end, bool) or not isinstance(end, int | float):
                hint = " (YAML reads 1e-4 as text, write 1.0e-4)" if isinstance(end, str) else ""
                raise self._error(key, f"{end!r} should be a number{hint}")
        if not isinstance(log, bool):
            raise self._error(key, f"log: {log!r} should be true or false")
        if not (math.isfinite(low) and math.isfinite(high) and low < high) or (log and low <= 0):
            raise self._error(key, f"low {low} and high {high} should be low < high{', both above 0' if log else ''}")
        return Range(field, low, high, log, isinstance(low, int) and isinstance(high, int), conditions)

    def _choice(self, field: str, values: Any, when: tuple[tuple[str, Any], ...]) -> Choice:
        if not isinstance(values, list) or not values:
            raise self._error(("recipe", field), f"{values!r} should be a list of at least one value")
        return Choice(field, tuple(values), when)

    def _in_order(self, parameters: list[Parameter], known: set[str]) -> tuple[Parameter, ...]:
        """Conditions after what they depend on; a condition on nothing, or in a circle, is refused."""
        names = known | {p.name for p in parameters}
        ordered: list[Parameter] = []
        waiting = list(parameters)
        while waiting:
            ready = [p for p in waiting if all(field in known for field, _ in p.when)]
            if not ready:
                field = next(f for f, _ in waiting[0].when if f not in known)
                why = "depends on itself" if field in names else "is not in this space"
                raise self._error(("recipe", waiting[0].name), f"when: {field!r} {why}")
            ordered += ready
            known = known | {p.name for p in ready}
            waiting = [p for p in waiting if p not in ready]
        return tuple(ordered)

    def _check_every_value(self, space: Space) -> None:
        """Each value a field may take is tried in a recipe, so that a sweep never meets a bad one."""
        start = {p.name: p.values[0] if isinstance(p, Choice) else p.low for p in space.parameters}
        for name, value in space.fixed:
            self._check_value(space, {}, name, value)
        for parameter in space.parameters:
            values = parameter.values if isinstance(parameter, Choice) else (parameter.low, parameter.high)
            context = {field: start[field] for field in start if field in dict(parameter.when)} | dict(parameter.when)
            for value in values:
                self._check_value(space, context, parameter.name, value)

    def _check_value(self, space: Space, context: dict[str, Any], name: str, value: Any) -> None:
        try:
            Recipe.parse({**context, name: value}, where="")
        except InputError as error:
            hint = " (YAML reads 1e-4 as text, write 1.0e-4)" if isinstance(value, str) and _is_number(value) else ""
            raise self._error(
                ("recipe", name), str(error).removeprefix(": ").removeprefix(f"{name}: ") + hint
            ) from None

    def _rungs(self, given: Any) -> tuple[int, ...]:
        whole = isinstance(given, list) and all(isinstance(r, int) and not isinstance(r, bool) and r > 0 for r in given)
        if not whole or not given or sorted(set(given)) != given:
            raise self._error(
                ("rungs",), f"{given!r} should be a list of increasing step counts, such as [100, 200, 400]"
            )
        return tuple(given)

    def _eta(self, given: Any) -> float:
        if isinstance(given, bool) or not isinstance(given, int | float) or not 1 < given < math.inf:
            raise self._error(("eta",), f"{given!r} should be a number above 1, such as 3")
        return float(given)

    def _objectives(self, given: Any) -> tuple[Objective, ...]:
        if not isinstance(given, list):
            raise self._error(("objectives",), f"{given!r} should be a list, such as [identity, pose]")
        return parse_objectives(given, self._place(("objectives",)))

    def _error(self, key: tuple[str, ...], problem: str) -> InputError:
        return InputError(self._place(key), problem)

    def _place(self, key: tuple[str, ...]) -> str:
        return f"{self._at(self.lines.get(key, 1))}: {'.'.join(map(str, key))}"

    def _at(self, line: int) -> str:
        return f"{self.where}, line {line}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _key_lines(node: yaml.Node | None, path: tuple[str, ...] = ()) -> Any:
    """(key path, line) of every mapping key below `node`, lines counted from 1."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, key.value)
            yield here, key.start_mark.line + 1
            yield from _key_lines(value, here)
