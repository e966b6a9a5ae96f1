"""Reads text that people write into values, and says what is wrong with it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from spaces import InputError, text
from spaces.text import JSON_BYTES

Model = TypeVar("Model", bound=BaseModel)
Tell = Callable[[InputError], None]
"""Takes a mistake: raises it, or keeps it so that reading goes on to the next."""


def raise_first(mistake: InputError) -> None:
    """The `Tell` of a reader that needs everything right."""
    raise mistake


@contextmanager
def telling(tell: Tell) -> Iterator[None]:
    """A mistake inside the block is told, and the block ends."""
    try:
        yield
    except InputError as mistake:
        tell(mistake)


def read_text(path: Path, most: int = JSON_BYTES) -> str:
    """UTF-8, with or without a byte order mark."""
    try:
        return text.read_text(path, most)
    except FileNotFoundError:
        raise InputError(path, "is missing; a subject has subject.yaml, metadata.jsonl and pictures") from None
    except UnicodeDecodeError as error:
        raise InputError(path, f"is not UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})") from None


def read_yaml(path: Path) -> Any:
    return text.parse_yaml(read_text(path, text.YAML_BYTES), path)[1]


def json_lines(path: Path, tell: Tell) -> Iterator[tuple[str, Any]]:
    """The values of a file's lines, each with its place; blank lines are passed over."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            with telling(tell):
                yield f"{path}:{number}", text.parse_json(line, f"{path}:{number}")


def parsed(model: type[Model], values: Any, where: object, tell: Tell) -> Model | None:
    """The values as a model, or None; each mistake is told with field, value and what would be right."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        complaints = error.errors()
    for complaint in complaints:
        tell(InputError(where, _in_words(model, complaint)))
    return None


def _in_words(model: type[Model], complaint: ErrorDetails) -> str:
    field = ".".join(str(part) for part in complaint["loc"])
    if complaint["type"] == "missing":
        return f"{field}: is missing"
    if complaint["type"] == "extra_forbidden":
        names = ", ".join(known.alias or name for name, known in model.model_fields.items())
        return f"{field}: no such field; fields are {names}"
    reason = complaint["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    value = f"{field}: {complaint['input']!r:.80}" if field else f"{complaint['input']!r:.80}"
    return f"{value} is not right, it should be {reason}"
