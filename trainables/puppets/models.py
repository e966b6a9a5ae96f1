"""The architectures of the embedded base: Stable Diffusion's layout, small enough for two cores."""

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDPMScheduler, UNet2DConditionModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    Dinov2Config,
    Dinov2Model,
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
)

from trainables.puppets.poses import SIZE
from trainables.skeleton import PUPPET_13

LATENT_CHANNELS = 8
LATENT_SHAPE = (LATENT_CHANNELS, SIZE // 4, SIZE // 4)
TOKENS = 24
"""Length of a padded caption."""
RARE_TOKENS = ("sks", "zwx", "ohwx", "phol", "kvk", "bnha", "qlz", "wrf")
"""Words that no training caption used: names for new subjects."""


def autoencoder() -> AutoencoderKL:
    """64 x 64 x 3 to 16 x 16 x 8."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=SIZE,
        mid_block_add_attention=False,
    )


def tokenizer(words: Iterable[str], folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer in which each of `words` and each rare token is one token, and any other text is spelled out.

    Its vocabulary is learned by byte-pair encoding (Sennrich et al. 2016) from those words alone.
    """
    words = [*words, *RARE_TOKENS]
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix="", unk_token="<|endoftext|>"))
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        min_frequency=1,
        end_of_word_suffix="</w>",
        initial_alphabet=letters,
        show_progress=False,
    )
    bpe.train_from_iterator(words, trainer)
    vocabulary, merges = _vocabulary(bpe, letters)
    made = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TOKENS)
    made.save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def _vocabulary(bpe: Tokenizer, letters: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """CLIP's order: letters, letters that end a word, merged pieces, then the two special tokens."""
    merges = [tuple(merge) for merge in json.loads(bpe.to_str())["model"]["merges"]]
    pieces = letters + [f"{letter}</w>" for letter in letters] + [a + b for a, b in merges]
    pieces = [*dict.fromkeys(pieces), "<|startoftext|>", "<|endoftext|>"]
    return {piece: number for number, piece in enumerate(pieces)}, merges


def text_encoder(tokens: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokens),
            hidden_size=64,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            projection_dim=64,
            bos_token_id=tokens.bos_token_id,
            eos_token_id=tokens.eos_token_id,
            pad_token_id=tokens.pad_token_id,
        )
    )


def unet() -> UNet2DConditionModel:
    """Convolutions at 16 x 16, and at 8 x 8 cross-attention as well."""
    return UNet2DConditionModel(
        sample_size=SIZE // 4,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(64, 128),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=64,
        attention_head_dim=4,  # diffusers' name for the number of heads
        norm_num_groups=16,
    )


def controlnet(base: UNet2DConditionModel) -> ControlNetModel:
    """Zhang et al. 2023: a copy of the UNet's encoder, and zero convolutions."""
    return ControlNetModel.from_unet(base, conditioning_embedding_out_channels=(16, 32, 64))


def noise_schedule() -> DDPMScheduler:
    """Stable Diffusion's noise schedule."""
    return DDPMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        prediction_type="epsilon", steps_offset=1, timestep_spacing="trailing",
    )  # fmt: skip


def identity_encoder() -> Dinov2Model:
    return Dinov2Model(
        Dinov2Config(
            image_size=SIZE, patch_size=8, hidden_size=128, num_hidden_layers=4, num_attention_heads=4, mlp_ratio=3,
            layerscale_value=1.0, drop_path_rate=0.0,
        )
    )  # fmt: skip


def keypoint_detector() -> VitPoseForPoseEstimation:
    backbone = VitPoseBackboneConfig(
        image_size=[SIZE, SIZE], patch_size=[8, 8], hidden_size=128, num_hidden_layers=6, num_attention_heads=4,
        mlp_ratio=3, part_features=0, num_experts=1, out_indices=[6],
    )  # fmt: skip
    return VitPoseForPoseEstimation(
        VitPoseConfig(
            backbone_config=backbone, num_labels=len(PUPPET_13.joints), scale_factor=2, use_simple_decoder=True
        )
    )


def parameter_count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
