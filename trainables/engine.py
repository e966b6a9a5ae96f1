"""How a step is computed, which changes its time and memory and not its result."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Engine:
    """Options of the training engine."""

    micro_batch: int | None = None
    """Samples that go through the models at once; None is all of a step's. Halved by itself when memory runs out."""
    halves: bool = True
    """Whether it is; a trial that has a part of a card asks for more instead."""
    gradient_checkpointing: bool = False
    """Compute the UNet's and ControlNet's activations again instead of keeping them: less memory, a third more time."""
    compile: bool = False
    """`torch.compile` the UNet and ControlNet: minutes once, and then faster steps where the device likes it."""


DEFAULT = Engine()
