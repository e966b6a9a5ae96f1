"""A recipe in words: what sets it apart, short enough for a table's cell."""

from spaces import Recipe


def in_words(recipe: Recipe) -> str:
    """What trains, where and how fast; of the rest, what is not as usual."""
    parts = [*_trains(recipe), *_held_back(recipe), *_learned_from(recipe)]
    return ", ".join(part for part in parts if part)


def _trains(recipe: Recipe) -> list[str]:
    unet, text_encoder, token, controlnet = "", "", "", ""
    if recipe.unet == "lora":
        kinds = [kind for kind in (recipe.adapter, recipe.init) if kind not in ("lora", "gaussian")]
        unet = " ".join([*kinds, f"{recipe.targets} rank {recipe.rank} at {recipe.learning_rate:.1e}"])
    elif recipe.unet == "full-kv":
        unet = f"full K/V at {recipe.learning_rate:.1e}"
    if recipe.text_encoder == "lora":
        until = f" until {recipe.text_encoder_until}" if recipe.text_encoder_until else ""
        rate = recipe.text_encoder_learning_rate
        text_encoder = f"text encoder rank {recipe.text_encoder_rank} at {rate:.1e}{until}"
    if recipe.token == "trained":
        vectors = f" of {recipe.token_vectors} vectors" if recipe.token_vectors > 1 else ""
        alone = f", alone until {recipe.token_until}" if recipe.token_until else ""
        token = f"token{vectors} at {recipe.token_learning_rate:.1e}{alone}"
    if recipe.pose_from is not None:
        lora = f", its LoRA rank {recipe.controlnet_rank}" if recipe.controlnet_rank else ""
        controlnet = f"ControlNet from {recipe.pose_from}{lora}"
    return [unet, text_encoder, token, controlnet]


def _held_back(recipe: Recipe) -> list[str]:
    kind = "" if recipe.dropout_kind in (None, "input") else f" of {recipe.dropout_kind}"
    return [
        f"rank falls to {recipe.min_rank}" if recipe.rank_schedule == "timestep" else "",
        f"dropout {recipe.dropout:.2g}{kind}" if recipe.dropout else "",
    ]


def _learned_from(recipe: Recipe) -> list[str]:
    return [
        f"prior {recipe.prior_weight:.2g}{' by the base' if recipe.prior == 'base' else ''}"
        if recipe.prior_weight
        else "",
        f"background {recipe.mask_weight:g}" if recipe.mask_weight < 1 else "",
        "sizes" if recipe.size_augmentation else "",
    ]
