"""The spaces that come with posefront, and those that a person wrote: YAML files."""

from pathlib import Path

from spaces.errors import InputError
from spaces.parse import parse_space
from spaces.space import Space
from spaces.text import YAML_BYTES, read_text

SHIPPED = Path(__file__).parent


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
        text = read_text(path, YAML_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        shipped = ", ".join(shipped_spaces())
        raise InputError(
            name_or_path, f"no such space ({reason(error)}); shipped are {shipped}, or give a YAML file"
        ) from None
    return parse_space(text, path.stem, path)


def reason(error: Exception) -> str:
    """An OS error without its number and path; any other error's first line."""
    return getattr(error, "strerror", None) or str(error).splitlines()[0]
