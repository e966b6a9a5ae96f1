"""How much memory a stretch of work takes, and on what: of a GPU what torch holds of it, else of this process."""

import platform
import re
from contextlib import suppress
from pathlib import Path

import torch
from accelerate.utils.memory import should_reduce_batch_size

_SELF = Path("/proc/self")


class Meter:
    """Measures from when it is made. It belongs to one process: two trials on one card do not see each other.

    On a GPU it is what torch's allocator has reserved, which no one else can have, whether tensors fill it or not; the
    CUDA context, some hundred megabytes for each process, is not in it. On a CPU it is the resident set of the whole
    process, Python and its libraries too, which is what a trial takes of a machine.
    """

    def __init__(self, device: torch.device) -> None:
        """Forgets the peak so far, and gives back what earlier work left in the allocator."""
        self._device = device
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        else:
            with suppress(OSError):  # where that is not allowed the peak is the process's own: never too little
                (_SELF / "clear_refs").write_text("5")  # the kernel's way to say: the peak is what it is now

    def peak(self) -> int:
        """Bytes at most since then; 0 where there is no way to tell."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_reserved(self._device)
        if not _SELF.exists():
            return 0
        found = re.search(r"^VmHWM:\s*(\d+) kB$", (_SELF / "status").read_text(encoding="utf-8"), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0


def ran_out(error: RuntimeError) -> bool:
    """Whether it is for want of memory, on whatever device: a smaller batch may do then."""
    return isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)


def limit(device: torch.device, memory: int | None) -> None:
    """Lets torch take so many bytes of a card and no more; None is all.

    Who takes more than its part then runs out of memory itself, not another that happens to ask next.
    """
    if device.type == "cuda":
        share = 1.0 if memory is None else min(1.0, memory / card_memory(device))
        torch.cuda.set_per_process_memory_fraction(share, device)


def device_name(device: torch.device) -> str:
    """What the seconds and the memory of a device are known by: `NVIDIA L4`, or `CPU (AMD EPYC)`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type.upper()} ({_processor()})"


def card_memory(device: torch.device) -> int:
    """Bytes of a card; 0 for a CPU, whose memory is not shared out by us."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return " ".join(found[1].split()) if found else platform.machine()
