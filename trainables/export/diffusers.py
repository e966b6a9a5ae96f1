"""An adapter for diffusers: `load_lora_weights(folder)`, `load_textual_inversion(folder)`, and the ControlNet's."""

import shutil
from pathlib import Path

from trainables.export import timestep_rank
from trainables.export.files import CONTROLNET, TOKEN, WEIGHTS, Exported, read_made_from
from trainables.export.lora import read_loras, write_loras


def write_diffusers(adapter: Path, out: Path, lora_scale: float = 1.0) -> Exported:
    """The files of a saved adapter, `lora_scale` made part of UNet's and text encoder's alpha.

    InputError when the folder holds no adapter, or not all of one.
    """
    made_from = read_made_from(adapter)
    files = made_from.files
    for name in files:
        if name == WEIGHTS and lora_scale != 1:
            scaled = {part: lora.scaled(lora_scale) for part, lora in read_loras(adapter / name).items()}
            write_loras(out / name, scaled)
        else:
            shutil.copyfile(adapter / name, out / name)
    lora, token, controlnet = (name if name in files else None for name in (WEIGHTS, TOKEN, CONTROLNET))
    if not made_from.schedules:
        return Exported(lora, token, controlnet)
    schedule = Path(timestep_rank.__file__)
    shutil.copyfile(schedule, out / schedule.name)
    return Exported(lora, token, controlnet, schedule.name)
