"""Adapters as files: what a checkpoint keeps, and the forms in which other programs load them."""

from trainables.export.files import CONFIG, CONTROLNET, TOKEN, WEIGHTS, MadeFrom, read_made_from
from trainables.export.saved import load_adapter, save_adapter

__all__ = [
    "CONFIG",
    "CONTROLNET",
    "TOKEN",
    "WEIGHTS",
    "MadeFrom",
    "load_adapter",
    "read_made_from",
    "save_adapter",
]
