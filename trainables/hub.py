"""Where a base's files come from: a folder or the Hugging Face hub, and which of them are read. Without torch."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from spaces import InputError

SHIPPED = {"puppets": Path(__file__).parent / "puppets" / "base"}
"""Bases that come with posefront."""
BASE = {
    "unet": "config.json",
    "vae": "config.json",
    "text_encoder": "config.json",
    "tokenizer": "tokenizer_config.json",
    "scheduler": "scheduler_config.json",
}
"""What a base's folder must have, and the file that tells it is there."""
CONTROLNET = {"": "config.json"}
"""What a ControlNet's own folder must have."""
WITH_CONTROLNET = {**BASE, "controlnet": "config.json"}
_WEIGHTED = ("unet", "vae", "text_encoder", "controlnet", "")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SAFE = re.compile(
    r"(?:diffusion_pytorch_model|model)(?P<variant>\.fp16)?(?:-\d+-of-\d+)?(?P<late>\.fp16)?\.safetensors"
)
_PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".npy", ".npz")
_PLAIN = (".json", ".txt")
_FOREIGN = "adapter_config.json"
"""transformers follows its `base_model_name_or_path` to another model, and reads an adapter that may be a pickle."""
_TIMEOUT = 10.0


def is_hub_id(source: str | Path) -> bool:
    """Whether it has the form owner/name."""
    return _HUB_ID.fullmatch(str(source)) is not None


def folder_of(source: str | Path) -> Path | None:
    """The folder of a base that is shipped or on this machine; None for a hub id, or what is not there."""
    folder = SHIPPED.get(str(source), Path(source))
    return folder if folder.is_dir() else None


def find(source: str | Path, parts: Mapping[str, str], option: str | None = None) -> Path:
    """The folder of a source, complete with these parts; from the hub only what is read is downloaded."""
    files = check(source, parts, option)
    folder = folder_of(source)
    if folder is not None:
        return folder
    try:
        return Path(snapshot_download(str(source), allow_patterns=files))
    except Exception as error:  # the hub's client, and the network's below it, each have errors of their own
        raise InputError(_blamed(source, option), f"cannot be downloaded from the hub ({_line(error)})") from None


def check(source: str | Path, parts: Mapping[str, str], option: str | None = None) -> list[str]:
    """The files that loading will read, by their names in the source; of the hub's, nothing is downloaded.

    InputError, blamed on the command's option if one is given, when the source is not there, lacks a part, or has
    weights by pickle alone.
    """
    where, folder = _blamed(source, option), folder_of(source)
    if folder is not None:
        return read_files(_files(folder), parts, where)
    if not is_hub_id(source):
        raise InputError(where, "is neither a folder in the diffusers layout nor a hub id (owner/name) nor `puppets`")
    return read_files(_listed(str(source), where), parts, where)


def _blamed(source: str | Path, option: str | None) -> str:
    return f"{option} {source}" if option else str(source)


def read_files(files: Iterable[str], parts: Mapping[str, str], where: object) -> list[str]:
    """Of all files of a source those that are read: configs, vocabularies, and one variant of each part's weights."""
    by_folder: dict[str, list[PurePosixPath]] = {}
    for path in map(PurePosixPath, files):
        by_folder.setdefault("" if path.parent == PurePosixPath(".") else path.parent.as_posix(), []).append(path)
    chosen = []
    for part, config in parts.items():
        paths = by_folder.get(part, [])
        if config not in {path.name for path in paths}:
            raise InputError(where, _lacking(part, config, parts))
        weights: list[PurePosixPath] = []
        if part in _WEIGHTED:
            variant = weight_variant((path.name for path in paths), f"{where}/{part}" if part else where)
            weights = [path for path in paths if _variant(path.name) == (variant or "")]
            refuse_foreign((path.name for path in paths), f"{where}/{part}" if part else where)
        chosen += sorted(str(path) for path in paths if path.suffix in _PLAIN or path in weights)
    return chosen


def weight_variant(names: Iterable[str], where: object) -> str | None:
    """None where there are safetensors of the plain name, `fp16` where there are only such; split or whole."""
    names = list(names)
    found = {_variant(name) for name in names}
    if "" in found:
        return None
    if "fp16" in found:
        return "fp16"
    refuse_pickles(names, where)
    raise InputError(where, "cannot be loaded: it has a config and no safetensors")


def refuse_pickles(names: Iterable[str], where: object) -> None:
    """InputError that names the first pickle among files of which none is safetensors."""
    names = sorted(names)
    pickled = [name for name in names if name.lower().endswith(_PICKLED)]
    if pickled and not any(name.endswith(".safetensors") for name in names):
        hint = "load it where you trust it, and save it with save_pretrained(..., safe_serialization=True)"
        raise InputError(
            where, f"cannot be loaded: {pickled[0]} is a pickle, which may run code, and is not read; {hint}"
        )


def refuse_foreign(names: Iterable[str], where: object) -> None:
    """InputError where a model's folder says that it is to be read from somewhere else."""
    if _FOREIGN in set(names):
        raise InputError(where, f"has {_FOREIGN}, by which it would be read from elsewhere; take that file out")


def _variant(name: str) -> str | None:
    """The variant of a file of weights, empty for none; None when it is no such file."""
    match = _SAFE.fullmatch(name)
    return match and (match["variant"] or match["late"] or "").removeprefix(".")


def _lacking(part: str, config: str, parts: Mapping[str, str]) -> str:
    if part in ("", "controlnet"):
        return f"has no ControlNet ({f'{part}/{config}'.strip('/')}); name one with --controlnet"
    return f"has no {part}/{config}; a base has {', '.join(name for name in parts if name in BASE)}"


def _files(folder: Path) -> list[str]:
    """Names of the files in a folder and in those right below it."""
    return [path.relative_to(folder).as_posix() for path in (*folder.glob("*"), *folder.glob("*/*")) if path.is_file()]


def _listed(source: str, where: str) -> list[str]:
    """Names of a hub model's files, as the hub says or, where it does not answer, as they are in the cache."""
    try:
        return [file.rfilename for file in HfApi().model_info(source, timeout=_TIMEOUT).siblings or ()]
    except Exception as error:  # as above
        cached = _cached(source)
        if cached is None:
            raise InputError(where, _unlisted(error)) from None
        return _files(cached)


def _unlisted(error: Exception) -> str:
    if isinstance(error, GatedRepoError):
        return "is gated: accept its terms on its page at the hub and log in with `hf auth login`"
    if isinstance(error, RepositoryNotFoundError):
        return "is neither a folder nor a model that the hub has for you; a private one needs `hf auth login`"
    return f"is not a folder, and the hub does not give it ({_line(error)}) nor is it in the hub's cache"


def _cached(source: str) -> Path | None:
    """The folder of what was downloaded before, complete or not."""
    try:
        return Path(snapshot_download(source, allow_patterns=[], local_files_only=True))
    except (OSError, ValueError):  # nothing there, or no name that the hub allows
        return None


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
