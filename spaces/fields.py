"""What a space says of the recipe's fields: fixed values, choices, ranges; with conditions and an expert's prior."""

import math
from typing import Any

from pydantic import ValidationError

from spaces.document import Document
from spaces.errors import InputError
from spaces.parameters import Choice, Conditions, Parameter, Range
from spaces.recipe import Recipe, explain

Fixed = tuple[tuple[str, Any], ...]
RANGE_KEYS = ("low", "high", "log", "prior", "spread", "when")
CHOICE_KEYS = ("choice", "prior", "when")
_SHAPES = "a value, a list of choices, {choice: [...]} or {low, high}"
_AS_TEXT = " (YAML reads 1e-4 as text, write 1.0e-4)"


def read_fields(document: Document) -> tuple[Fixed, tuple[Parameter, ...]]:
    """The fields with one value, and those that are searched, conditions after what they depend on.

    InputError names the line of the first value, condition or prior that cannot be.
    """
    given = document.values.get("recipe")
    if not isinstance(given, dict) or not given:
        raise document.error(("recipe",), f"should map recipe fields to {_SHAPES}")
    for name in given:
        if name not in Recipe.model_fields:
            raise document.error(("recipe", name), f"no such recipe field; fields are {', '.join(Recipe.model_fields)}")
    fixed = tuple((name, value) for name, value in given.items() if not isinstance(value, list | dict))
    parameters = [
        _Field(document, name).parameter(value) for name, value in given.items() if isinstance(value, list | dict)
    ]
    _check_values(document, fixed, parameters)
    ordered = _in_order(document, parameters, dict(fixed))
    _check_conditions(document, ordered, dict(fixed))
    return fixed, ordered


class _Field:
    """Reads one field."""

    def __init__(self, document: Document, name: str) -> None:
        self.document, self.name = document, name

    def parameter(self, given: Any) -> Parameter:
        if isinstance(given, list):
            return self._choice({"choice": given})
        return self._choice(given) if "choice" in given else self._range(given)

    def _choice(self, given: dict[str, Any]) -> Choice:
        self._check_keys(given, CHOICE_KEYS)
        values = given["choice"]
        if not isinstance(values, list) or not values:
            raise self._error(f"{values!r} should be a list of at least one value")
        if any(isinstance(value, list | dict) for value in values):
            raise self._error(f"{values!r} should be a list of plain values")
        for number, value in enumerate(values):
            if value in values[:number]:
                raise self._error(f"{value!r} is there twice, each choice should be once")
        weights = self._weights(values, given["prior"]) if "prior" in given else None
        return Choice(self.name, tuple(values), self._when(given), weights)

    def _weights(self, values: list[Any], given: Any) -> tuple[float, ...]:
        """A value that a mapping does not name has no weight: it is left to the draws that are even."""
        weights = given if isinstance(given, list) else []
        if isinstance(given, dict):
            for value in given:
                if value not in values:
                    raise self._error(f"prior: {value!r} is no choice; choices are {_listed(values)}", "prior")
            weights = [given.get(value, 0) for value in values]
        right = all(is_number(weight) and 0 <= weight < math.inf for weight in weights)
        if len(weights) != len(values) or not right or sum(weights) <= 0:
            wanted = "weights, as a mapping or a list: none negative, one above 0"
            raise self._error(f"prior: {given!r} should give the choices {_listed(values)} {wanted}", "prior")
        return tuple(float(weight) for weight in weights)

    def _range(self, given: dict[str, Any]) -> Range:
        if not {"low", "high"} <= set(given):
            raise self._error(f"{_listed(given)} should be low and high (and log), or choice")
        self._check_keys(given, RANGE_KEYS)
        for name in ("low", "high", "prior", "spread"):
            if name in given and not is_number(given[name]):
                hint = _AS_TEXT if isinstance(given[name], str) else ""
                raise self._error(f"{name}: {given[name]!r} should be a number{hint}", name)
        low, high, log = given["low"], given["high"], given.get("log", False)
        if not isinstance(log, bool):
            raise self._error(f"log: {log!r} should be true or false", "log")
        if not (math.isfinite(low) and math.isfinite(high) and low < high) or (log and low <= 0):
            raise self._error(f"low {low} and high {high} should be low < high{', both above 0' if log else ''}")
        self._check_prior(given, log)
        integer = isinstance(low, int) and isinstance(high, int)
        return Range(self.name, low, high, log, integer, self._when(given), given.get("prior"), given.get("spread"))

    def _check_prior(self, given: dict[str, Any], log: bool) -> None:
        low, high, prior, spread = given["low"], given["high"], given.get("prior"), given.get("spread")
        if prior is not None and not low <= prior <= high:
            raise self._error(f"prior: {prior} should be between low {low} and high {high}", "prior")
        if spread is not None and prior is None:
            raise self._error("spread: is of a prior; give a prior, or leave it out", "spread")
        if spread is not None and not (1 if log else 0) < spread < math.inf:
            what = "a factor above 1, since the range is log" if log else "a deviation above 0"
            raise self._error(f"spread: {spread} should be {what}", "spread")

    def _when(self, given: dict[str, Any]) -> Conditions:
        when = given.get("when", {})
        if not isinstance(when, dict) or any(value == [] or isinstance(value, dict) for value in when.values()):
            raise self._error(f"when: {when!r} should map a field to the value, or values, it must have", "when")
        return tuple((other, tuple(v) if isinstance(v, list) else (v,)) for other, v in when.items())

    def _check_keys(self, given: dict[str, Any], known: tuple[str, ...]) -> None:
        for key in given:
            if key not in known:
                raise self._error(f"{key!r} should be one of {', '.join(known)}", key)

    def _error(self, problem: str, *inner: str) -> InputError:
        return self.document.error(("recipe", self.name, *inner), problem)


def _in_order(document: Document, parameters: list[Parameter], fixed: dict[str, Any]) -> tuple[Parameter, ...]:
    """Conditions after what they depend on; a condition on nothing, or in a circle, is refused."""
    names, known = {p.name for p in parameters}, set(fixed)
    ordered: list[Parameter] = []
    waiting = list(parameters)
    while waiting:
        ready = [p for p in waiting if all(field in known for field, _ in p.when)]
        if not ready:
            field = next(f for f, _ in waiting[0].when if f not in known)
            why = "depends on itself" if field in names else "is not in this space"
            raise document.error(("recipe", waiting[0].name, "when"), f"when: {field!r} {why}")
        ordered += ready
        known |= {p.name for p in ready}
        waiting = [p for p in waiting if p not in ready]
    return tuple(ordered)


def _check_conditions(document: Document, parameters: tuple[Parameter, ...], fixed: dict[str, Any]) -> None:
    """A condition is on choices or fixed values, and on values that they can have."""
    by_name = {p.name: p for p in parameters}
    for parameter in parameters:
        key = ("recipe", parameter.name, "when")
        for field, allowed in parameter.when:
            other = by_name.get(field)
            if isinstance(other, Range):
                raise document.error(
                    key, f"when: {field} is a range, a condition should be on choices or a fixed value"
                )
            values = (fixed[field],) if other is None else other.values
            default = Recipe.model_fields[field].default
            for value in allowed:
                if value not in values and not (other is not None and other.when and value == default):
                    raise document.error(key, f"when: {field} is never {value!r} here, it is one of {_listed(values)}")


def _check_values(document: Document, fixed: Fixed, parameters: list[Parameter]) -> None:
    """Each value that a field may take is right by itself."""
    for name, value in fixed:
        _check_value(document, {}, name, value)
    for parameter in parameters:
        values = parameter.values if isinstance(parameter, Choice) else (parameter.low, parameter.high)
        for value in values:
            context = {field: allowed[0] for field, allowed in parameter.when}
            _check_value(document, context, parameter.name, value)


def _check_value(document: Document, context: dict[str, Any], name: str, value: Any) -> None:
    try:
        Recipe.model_validate({**context, name: value})
    except ValidationError as error:
        if error.errors()[0]["loc"][:1] != (name,):
            return  # it is the company that is wrong, which may be another in this space
        hint = _AS_TEXT if isinstance(value, str) and _reads_as_number(value) else ""
        raise document.error(("recipe", name), explain(error).removeprefix(f"{name}: ") + hint) from None


def is_number(value: Any) -> bool:
    """YAML's booleans are Python's, which are numbers too; and its whole numbers know no end, which floats do."""
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**300)


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _listed(values: Any) -> str:
    return ", ".join("null" if value is None else str(value) for value in values)
