import pytest
import torch

from spaces import InputError
from trainables.machine.device import device_named, precision_of

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_devices_that_are_not_there_are_an_input_error() -> None:
    assert device_named("cpu") == CPU
    assert device_named("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("cuda:63", "gpu", "xpu:9"):
        with pytest.raises(InputError, match=f"^--device: '{name}' is not to be had here .*auto or cpu$"):
            device_named(name)


def test_on_the_cpu_every_precision_may_be_asked_for() -> None:
    assert precision_of("auto", CPU) == "fp32"
    assert [precision_of(name, CPU) for name in ("fp32", "bf16", "fp16")] == ["fp32", "bf16", "fp16"]


def test_a_gpu_with_bf16_computes_in_it_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert precision_of("auto", GPU) == precision_of("bf16", GPU) == "bf16"
    assert precision_of("fp32", GPU) == "fp32"


def test_bf16_is_refused_on_a_gpu_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    assert precision_of("auto", GPU) == "fp16"
    with pytest.raises(InputError, match=r"^--precision: bf16: Tesla T4 has no such arithmetic, it should be fp16 or"):
        precision_of("bf16", GPU)
