"""How an exported adapter is loaded: where its files go, and a program that draws with it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spaces import Inference
from trainables.export.files import Exported, MadeFrom
from trainables.hub import SHIPPED

Form = Literal["diffusers", "kohya", "merged"]
POSE, OUT = "pose.png", "out.png"
"""What the program reads and writes."""
_TO = ".to(torch.float32)"
"""The precision is said, since transformers takes that of the files, and diffusers fp32 whatever they are."""


@dataclass(frozen=True)
class Drawing:
    """The models that an adapter was trained on, and how the sweep drew with it."""

    base: str
    """A folder, a hub id, or the name of a shipped base."""
    controlnet: str | None
    """None is the one in the base's folder."""
    steps: int
    """Of the sampler."""
    inference: Inference
    prompt: str
    """One to try, with the token."""


def how_to_load(form: Form, made_from: MadeFrom, files: Exported, drawing: Drawing) -> str:
    """Markdown; its program runs in the export's folder as it is."""
    program = f"```python\n{program_of(form, made_from, files, drawing)}```"
    if form != "kohya":
        return program
    places = []
    if files.lora:
        tag = f"<lora:{Path(files.lora).stem}:1>"
        places.append(f"- `{files.lora}`: `models/loras` of ComfyUI; `models/Lora` of A1111, whose prompts say `{tag}`")
    if files.token:
        said = f"`embedding:{made_from.token}`; `embeddings` of A1111, whose prompts say `{made_from.token}`"
        places.append(f"- `{files.token}`: `models/embeddings` of ComfyUI, whose prompts say {said}")
    if files.controlnet:
        places.append(f"- `{files.controlnet}`: a whole ControlNet, for `models/controlnet` or `models/ControlNet`")
    return "\n".join([*places, "", "In diffusers:", "", program])


def program_of(form: Form, made_from: MadeFrom, files: Exported, drawing: Drawing) -> str:
    """Python that loads the files of the folder it runs in, and draws `out.png` in the pose of `pose.png`."""
    imports, lines = _loading(form, made_from, files, drawing)
    i = drawing.inference
    return "\n".join(
        [
            *imports,
            "",
            *lines,
            "picture = pipe(",
            f"    {made_from.prompt(drawing.prompt)!r},",
            f'    image=Image.open("{POSE}"),',
            f"    num_inference_steps={drawing.steps},",
            f"    guidance_scale={float(i.guidance)},",
            f"    controlnet_conditioning_scale={float(i.controlnet_scale)},",
            f"    control_guidance_start={float(i.controlnet_start)},",
            f"    control_guidance_end={float(i.controlnet_end)},",
            "    generator=torch.Generator().manual_seed(0),",
            ").images[0]",
            f'picture.save("{OUT}")',
            "",
        ]
    )


def _quoted(text: str) -> str:
    """As Python reads it: what a folder or a subject is called never becomes a part of the program."""
    return json.dumps(text, ensure_ascii=False)


def _loading(form: Form, made_from: MadeFrom, files: Exported, drawing: Drawing) -> tuple[list[str], list[str]]:
    """Imports, and the lines that make `pipe`."""
    imports = ["import torch", "from diffusers import StableDiffusionControlNetPipeline", "from PIL import Image"]
    if form == "merged":
        return imports, [f'pipe = StableDiffusionControlNetPipeline.from_pretrained("."){_TO}']
    imports[1] = "from diffusers import ControlNetModel, DPMSolverMultistepScheduler, StableDiffusionControlNetPipeline"
    base = _quoted(drawing.base)
    if drawing.base in SHIPPED:
        imports.append("from trainables.hub import SHIPPED")
        base = f"SHIPPED[{base}]"
    controlnet = _quoted(drawing.controlnet) if drawing.controlnet else f'{base}, subfolder="controlnet"'
    lines = [
        f"controlnet = ControlNetModel.from_pretrained({controlnet})",
        f"pipe = StableDiffusionControlNetPipeline.from_pretrained({base}, controlnet=controlnet){_TO}",
        'sampler = {"algorithm_type": "dpmsolver++"}',
        "pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, **sampler)",
    ]
    if files.token:
        lines.append(
            f'pipe.load_textual_inversion(".", weight_name={_quoted(files.token)}, token={_quoted(made_from.spoken)})'
        )
    if files.lora:
        lines.append(f'pipe.load_lora_weights(".", weight_name={_quoted(files.lora)})')
    if files.controlnet and form == "diffusers":
        lines.append(f'pipe.controlnet.load_lora_adapter(".", weight_name="{files.controlnet}", prefix="controlnet")')
    elif files.controlnet:
        imports.append("from safetensors.torch import load_file")
        lines.append(f'pipe.controlnet.load_state_dict(load_file("{files.controlnet}"))')
    if files.schedule:
        imports.append(f"from {Path(files.schedule).stem} import fall_with_noise")
        lines += [f"fall_with_noise(pipe.{part}, least={least})" for part, least in made_from.schedules.items()]
    return imports, lines
