"""What trains at which step: a pure function of recipe and step, so that an interrupted fine-tune goes on as it was."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spaces.recipe import Recipe

PARTS = ("unet", "text_encoder", "controlnet", "token")
"""What can train, in the order in which it is made and saved."""


def adapted(recipe: "Recipe") -> tuple[str, ...]:
    """The parts that train at any step, in the order of PARTS."""
    found = frozenset[str]().union(*(training(recipe, step) for step in (0, *switches(recipe))))
    return tuple(part for part in PARTS if part in found)


def training(recipe: "Recipe", step: int) -> frozenset[str]:
    """The parts that train in the step after `step` steps.

    Until `token_until` the token alone; then all but it. From `pose_from` on `pose_trains` chooses, and unless the
    ControlNet was there from the start, text encoder and token are frozen (MagicPose-style second stage).
    """
    posed = in_the_loop(recipe, step)
    second_stage = posed and recipe.pose_from != 0
    if recipe.token_until is not None and step < recipe.token_until and not second_stage:
        return frozenset({"token"})
    until = recipe.text_encoder_until
    trains = {
        "unet": recipe.unet != "frozen" and not (posed and recipe.pose_trains == "controlnet"),
        "controlnet": posed and recipe.pose_trains != "unet",
        "text_encoder": recipe.text_encoder != "frozen" and not second_stage and (until is None or step < until),
        "token": recipe.token != "frozen" and not second_stage and recipe.token_until is None,
    }
    return frozenset(part for part, does in trains.items() if does)


def in_the_loop(recipe: "Recipe", step: int) -> bool:
    """Whether the ControlNet is in the loop in the step after `step` steps."""
    return recipe.pose_from is not None and step >= recipe.pose_from


def switches(recipe: "Recipe") -> tuple[int, ...]:
    """The steps above 0 at which another stage may begin, increasing."""
    steps = {recipe.token_until, recipe.text_encoder_until, recipe.pose_from} - {None, 0}
    return tuple(sorted(steps))
