import pytest
import torch
from torch import nn

from trainables.puppets.loop import fit, seeded


class Stopped(Exception):
    """Stands for a power cut."""


def line(work, steps, stop_at=None) -> nn.Linear:
    with seeded(0):
        module = nn.Linear(3, 1)

    def loss(generator: torch.Generator, step: int) -> torch.Tensor:
        if step == stop_at:
            raise Stopped
        x = torch.randn(16, 3, generator=generator)
        return (module(x) - x.sum(1, keepdim=True)).square().mean()

    fit("line", module, loss, steps, 1e-2, work, seed=1)
    return module


def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(tmp_path):
    whole = line(tmp_path / "whole", 450)
    with pytest.raises(Stopped):
        line(tmp_path / "cut", 450, stop_at=333)
    resumed = line(tmp_path / "cut", 450)
    assert torch.equal(whole.weight, resumed.weight) and torch.equal(whole.bias, resumed.bias)


def test_it_learns_and_a_finished_training_is_read_back(tmp_path):
    first = line(tmp_path, 600)
    assert torch.allclose(first.weight, torch.ones(1, 3), atol=0.1)
    again = line(tmp_path, 600, stop_at=0)
    assert torch.equal(first.weight, again.weight)


def test_a_seeded_block_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    with seeded(5):
        first = torch.randn(3)
    with seeded(5):
        second = torch.randn(3)
    assert torch.equal(first, second) and torch.equal(torch.random.get_rng_state(), before)
