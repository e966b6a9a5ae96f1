"""Several processes that train one model: `torchrun --nproc-per-node 2 -m trainables.puppets.train`.

On a CPU two processes of one thread each take half the time, where two threads of one process gain next to nothing.
Each process draws the same whole batch, takes its part of it, and averages its gradients with the others'.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed, nn

_PATIENCE = timedelta(hours=6)
"""The others wait this long for what the first process does alone."""


def join() -> None:
    """Meets the other processes, where torchrun started several."""
    if distributed.is_torchelastic_launched():
        distributed.init_process_group("gloo", timeout=_PATIENCE)


def leave() -> None:
    """Parts from them when all are done: one that left early would break the others' connections."""
    if distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def is_first() -> bool:
    """Whether this process is the one that writes files and reports progress."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


@contextmanager
def first_process_first() -> Iterator[None]:
    """The first process runs the block, then the others, who find the files that it left."""
    if not is_first():
        distributed.barrier()
    yield
    if distributed.is_initialized() and is_first():
        distributed.barrier()


def part_of(batch: torch.Tensor) -> torch.Tensor:
    """This process's share of a batch's first dimension: all of it where there is but one process.

    Raises ValueError where the batch does not split evenly: the mean over it would then be weighted.
    """
    if not distributed.is_initialized():
        return batch
    count = distributed.get_world_size()
    if len(batch) % count:
        raise ValueError(f"a batch of {len(batch)} does not split among {count} processes")
    return batch.chunk(count)[distributed.get_rank()]


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Each gradient becomes the mean over the processes."""
    if not distributed.is_initialized():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    together = torch.cat([g.flatten() for g in gradients]).div_(distributed.get_world_size())
    distributed.all_reduce(together)
    for gradient, mean in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))
