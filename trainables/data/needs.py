"""What a recipe needs of the subject's pictures: known before anything is loaded."""

from spaces import InputError, Recipe
from trainables.subject import Subject, skeleton_of


def check_needs(subject: Subject, recipe: Recipe) -> None:
    """InputError names the first picture that lacks what the recipe trains with."""
    for picture in subject.pictures:
        if recipe.pose_from is not None and picture.keypoints is None:
            raise InputError(
                picture.path,
                "has no keypoints, and pose_from: trains with the poses of the pictures; "
                f"give its line in metadata.jsonl keypoints of {skeleton_of(subject).name}",
            )
        if recipe.mask_weight < 1 and picture.mask is None and picture.keypoints is None:
            raise InputError(
                picture.path,
                "has neither mask nor keypoints, and mask_weight: weighs the background; "
                "give its line in metadata.jsonl one of them",
            )
