"""A cluster file as it was read: what the checks ask of it."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from spaces import InputError
from spaces.text import YAML_BYTES, parse_yaml, read_text

COMMANDS = (
    "initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands",
    "head_start_ray_commands", "worker_start_ray_commands",
)  # fmt: skip


@dataclass(frozen=True)
class ClusterFile:
    """A file that `ray up` takes, of the right shape so far as these methods need it."""

    path: Path
    text: str
    config: dict[str, Any]

    @cached_property
    def provider(self) -> dict[str, Any]:
        return _mapping(self.config.get("provider"))

    @cached_property
    def on_aws(self) -> bool:
        """Whether nodes are EC2's: by Ray's provider, or by ours, which is one."""
        module = str(self.provider.get("module", ""))
        return self.provider.get("type") == "aws" or (
            self.provider.get("type") == "external" and module.startswith("search.cluster.")
        )

    @cached_property
    def types(self) -> dict[str, dict[str, Any]]:
        """Node types by name, the head's too."""
        return {str(name): _mapping(kind) for name, kind in _mapping(self.config.get("available_node_types")).items()}

    @cached_property
    def head_type(self) -> str | None:
        name = self.config.get("head_node_type")
        return name if isinstance(name, str) else None

    @cached_property
    def workers(self) -> dict[str, dict[str, Any]]:
        return {name: kind for name, kind in self.types.items() if name != self.head_type}

    @cached_property
    def docker_image(self) -> str:
        """Empty where nodes run without Docker."""
        return str(_mapping(self.config.get("docker")).get("image") or "")

    def commands(self, *keys: str) -> list[tuple[str, str]]:
        """Commands under these keys (all by default), each with where it is."""
        return [
            (f"{key}[{number}]", str(command))
            for key in keys or COMMANDS
            for number, command in enumerate(_list(self.config.get(key)))
        ]

    @cached_property
    def mounts(self) -> dict[str, str]:
        """Remote path to local path, as written."""
        return {str(remote): str(local) for remote, local in _mapping(self.config.get("file_mounts")).items()}

    def local(self, mount: str) -> Path:
        """A mount's local path: `ray up` reads it relative to where it is called, which is the file's folder."""
        return self.path.parent / os.path.expanduser(mount)


def node_config(kind: dict[str, Any]) -> dict[str, Any]:
    return _mapping(kind.get("node_config"))


def resources(kind: dict[str, Any]) -> dict[str, Any]:
    return _mapping(kind.get("resources"))


def is_spot(kind: dict[str, Any]) -> bool:
    return _mapping(node_config(kind).get("InstanceMarketOptions")).get("MarketType") == "spot"


def read(path: Path) -> ClusterFile:
    """The file. InputError when it is not there, is no YAML, has a name twice, or is not a mapping."""
    try:
        text = read_text(path, YAML_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise InputError(path, f"cannot be read ({reason}); it should be a file that `ray up` takes") from None
    root, config = parse_yaml(text, path)
    if not isinstance(config, dict) or not isinstance(config.get("provider"), dict):
        raise InputError(path, "should be a cluster's file: a mapping with cluster_name, provider and node types")
    _each_once(root, path)
    return ClusterFile(path, text, config)


def _each_once(node: yaml.Node | None, path: Path) -> None:
    """YAML would take the last of two values of a name, without a word."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen and name != "<<":
                raise InputError(f"{path}, line {key.start_mark.line + 1}", f"{name!r} is there twice")
            seen.add(name)
            _each_once(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _each_once(value, path)


def words(command: str) -> Iterator[str]:
    """A shell command's words, without their quotes."""
    return (word.strip("'\"") for word in re.split(r"[\s;|&]+", command) if word)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
