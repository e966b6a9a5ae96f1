"""The page that goes with an exported adapter: what it is, what it scored, and how it is loaded."""

from pathlib import Path

from huggingface_hub import ModelCardData

from spaces import Observation
from trainables.export.files import Exported, MadeFrom
from trainables.export.loading import Drawing, Form, how_to_load
from trainables.hub import SHIPPED

CARD, RECIPE, SAMPLES = "README.md", "recipe.json", "samples.png"
_LICENCES = {"stable-diffusion-v1-5/stable-diffusion-v1-5": "creativeml-openrail-m"}
_PAGE = """---
{data}
---

# {words}

A {kind} of `{base}` that knows one {noun} by the words **{words}**: trial {trial} of the sweep {sweep}, after {steps}
training steps.
{samples}
## Loading

{loading}

## Scores

On the sweep's panel of prompts, target poses and noise: {sampler} sampler steps, guidance {i.guidance:g},
ControlNet scale {i.controlnet_scale:g} from {i.controlnet_start:g} to {i.controlnet_end:g} of the steps, LoRA scale
{i.lora_scale:g} (made part of the files).

| score | value |
| --- | --- |
{scores}

## Recipe

| field | value |
| --- | --- |
{recipe}
| seed | {seed} |

## Licence

What was trained derives from the base and the ControlNet, whose licences go with it (Stable Diffusion 1.5: CreativeML
Open RAIL-M). The subject's pictures have rights of their own, and so does a person who is on them: see to both before
passing this on.
"""


def write_card(
    out: Path, form: Form, made_from: MadeFrom, files: Exported, drawing: Drawing, sweep: str, observation: Observation
) -> None:
    """README.md and recipe.json; samples.png is shown if it lies beside them."""
    made_from.write(
        out / RECIPE, format=form, files=list(files.names), controlnet=drawing.controlnet, sweep=sweep,
        trial=observation.trial, scores=observation.scores, inference=observation.inference.model_dump(),
    )  # fmt: skip
    samples = f"\n![Samples, each row above the poses that it was asked for]({SAMPLES})\n"
    page = _PAGE.format(
        data=_front_matter(form, made_from, drawing.base),
        words=_words(form, made_from),
        kind="fine-tuned copy" if form == "merged" else "fine-tune",
        base=drawing.base,
        noun=made_from.class_noun,
        trial=observation.trial,
        sweep=sweep,
        steps=made_from.steps,
        samples=samples if (out / SAMPLES).is_file() else "",
        loading=how_to_load(form, made_from, files, drawing),
        sampler=drawing.steps,
        i=drawing.inference,
        scores="\n".join(f"| {name} | {value:.4f} |" for name, value in observation.scores.items()),
        recipe="\n".join(f"| {name} | {_said(value)} |" for name, value in made_from.recipe.flat().items()),
        seed=made_from.seed,
    )
    (out / CARD).write_text(page, encoding="utf-8")


def _front_matter(form: Form, made_from: MadeFrom, base: str) -> str:
    """What the hub reads of a card."""
    on_hub = base not in SHIPPED and not Path(base).is_dir()
    tags = ["stable-diffusion", "dreambooth", "controlnet"]
    return ModelCardData(
        base_model=base if on_hub else None,
        license=_LICENCES.get(base),
        library_name="diffusers",
        pipeline_tag="text-to-image",
        tags=tags if form == "merged" else [*tags, "lora"],
        instance_prompt=_words(form, made_from),
    ).to_yaml()


def _words(form: Form, made_from: MadeFrom) -> str:
    """What names the subject in a prompt. In ComfyUI and A1111 a token is called as its file is."""
    words = f"{made_from.token} {made_from.class_noun}"
    return words if form == "kohya" else made_from.prompt(words)


def _said(value: str | int | float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
