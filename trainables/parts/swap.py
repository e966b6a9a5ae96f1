"""Modules in place of others."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import nn


def replace_module(module: nn.Module, name: str, child: nn.Module) -> nn.Module:
    """Puts a child in the place of that name; what was there."""
    parent, _, last = name.rpartition(".")
    parent = module.get_submodule(parent)
    before = getattr(parent, last)
    setattr(parent, last, child)
    return before


@contextmanager
def swapped(module: nn.Module, children: Mapping[str, nn.Module]) -> Iterator[None]:
    """Inside, the children are in the places that they are named by."""
    before = {name: replace_module(module, name, child) for name, child in children.items()}
    try:
        yield
    finally:
        for name, child in before.items():
            replace_module(module, name, child)
