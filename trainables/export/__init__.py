"""Adapters as files: what a checkpoint keeps, and the forms in which other programs load them."""

from trainables.export.card import CARD, RECIPE, SAMPLES, write_card
from trainables.export.diffusers import write_diffusers
from trainables.export.files import CONFIG, CONTROLNET, TOKEN, WEIGHTS, Exported, MadeFrom, read_made_from
from trainables.export.kohya import write_kohya
from trainables.export.loading import OUT, POSE, Drawing, Form
from trainables.export.merged import write_merged
from trainables.export.saved import load_adapter, save_adapter

__all__ = [
    "CARD",
    "CONFIG",
    "CONTROLNET",
    "OUT",
    "POSE",
    "RECIPE",
    "SAMPLES",
    "TOKEN",
    "WEIGHTS",
    "Drawing",
    "Exported",
    "Form",
    "MadeFrom",
    "load_adapter",
    "read_made_from",
    "save_adapter",
    "write_card",
    "write_diffusers",
    "write_kohya",
    "write_merged",
]
