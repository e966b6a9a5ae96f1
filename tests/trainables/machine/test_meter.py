"""What a stretch of work takes of memory, measured on real allocations."""

import gc

import pytest
import torch

from trainables.machine.meter import Meter, card_memory, device_name

CPU = torch.device("cpu")
MB = 2**20


def test_the_peak_of_a_process_has_what_was_freed_since_and_a_new_meter_forgets_it():
    meter = Meter(CPU)
    before = meter.peak()
    block = torch.ones(300 * MB // 4)
    del block
    gc.collect()
    assert meter.peak() - before > 250 * MB
    assert Meter(CPU).peak() < meter.peak() + 50 * MB
    again = Meter(CPU)
    assert again.peak() - before < 150 * MB, "the kernel was asked to forget the peak"


def test_a_cpu_is_named_as_one_and_has_no_card():
    assert device_name(CPU).startswith("CPU (") and card_memory(CPU) == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_card_it_is_what_torch_holds():
    card = torch.device("cuda")
    Meter(card)
    first = torch.ones(200 * MB // 4, device=card)
    meter = Meter(card)
    held = meter.peak()
    second = torch.ones(300 * MB // 4, device=card)
    del second
    assert held >= 200 * MB and meter.peak() >= 500 * MB
    del first
    assert Meter(card).peak() < held
    assert card_memory(card) > 10**9 and not device_name(card).startswith("CPU")
