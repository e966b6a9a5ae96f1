"""Where a judge's weights come from: a folder or a hub id, by safetensors."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from transformers.utils import logging as transformers_logging

from spaces import InputError
from trainables.hub import refuse_foreign, refuse_pickles
from trainables.judge_choice import is_source

_WANTED = ("*.json", "*.txt", "*.safetensors")


def local_folder(source: str | Path, wanted: tuple[str, ...] = _WANTED) -> Path:
    """The folder of a judge, from the hub where it is none: only the files that match `wanted` are downloaded."""
    if Path(source).is_dir():
        if wanted == _WANTED:
            check_folder(Path(source))
        return Path(source)
    if not is_source(str(source)):
        raise InputError(source, "is neither a judge's name, nor a folder, nor a hub id such as owner/name")
    try:
        return Path(snapshot_download(str(source), allow_patterns=list(wanted)))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise InputError(source, f"is no folder, and the hub does not give it ({_first_line(error)})") from None


def check_folder(folder: Path) -> None:
    """InputError where a folder has its weights by pickle alone, or would be read from elsewhere."""
    names = [path.name for path in folder.iterdir()]
    refuse_pickles(names, folder)
    refuse_foreign(names, folder)


@contextmanager
def readable(folder: Path) -> Iterator[None]:
    """What goes wrong in loading is one line that names the folder; progress bars and notes on unused parts are not."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # whatever the insides of the libraries make of a broken config or file
        raise InputError(folder, f"cannot be loaded as a judge ({_first_line(error)})") from None
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
