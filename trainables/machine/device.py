"""Where the models are put, and in which precision."""

from typing import Literal

import torch

from spaces import InputError

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def device_named(name: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU; any other name is torch's. InputError when it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch raises either for what it was not built for
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError("--device", f"{name!r} is not to be had here ({reason}), it should be auto or cpu") from None
    return device


def precision_of(name: Precision | Literal["auto"], device: torch.device) -> Precision:
    """`auto` is bf16 on a GPU that has it, fp16 on an older one, and fp32 elsewhere.

    InputError for bf16 on a GPU that would only emulate it: slower than fp32, and nobody asked for that.
    """
    if device.type != "cuda":
        return "fp32" if name == "auto" else name
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    if name == "auto":
        return "bf16" if native else "fp16"
    if name == "bf16" and not native:
        card = torch.cuda.get_device_name(device)
        raise InputError("--precision", f"bf16: {card} has no such arithmetic, it should be fp16 or fp32")
    return name
