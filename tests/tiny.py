"""A base and a subject that are as small as they can be and still have every part."""

import json
from pathlib import Path

import numpy as np
import torch
import yaml
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDPMScheduler,
    StableDiffusionControlNetPipeline,
    UNet2DConditionModel,
)
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from trainables.skeleton import PUPPET_13

SIZE = 32
"""Side of the tiny base's pictures: 8 x 8 latents."""
WORDS = ("a", "robot", "person", "sks", "on", "grass", "sand", "snow", "at", "night", "photo", "of", "the", "red")
PROMPTS = ("a {name} on grass", "a {name} on sand", "a photo of the {name} at night")


def make_tiny_base(folder: Path, prediction_type: str = "epsilon") -> Path:
    """Random weights in the full diffusers layout, ControlNet included; the same each time."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        tokenizer = _tokenizer()
        unet = UNet2DConditionModel(
            sample_size=SIZE // 4, in_channels=4, out_channels=4, block_out_channels=(16, 32), layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32, attention_head_dim=2, norm_num_groups=8,
        )  # fmt: skip
        controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8, 16))
        _wake(controlnet)
        pipeline = StableDiffusionControlNetPipeline(
            vae=AutoencoderKL(
                block_out_channels=(8, 16, 16), down_block_types=("DownEncoderBlock2D",) * 3,
                up_block_types=("UpDecoderBlock2D",) * 3, layers_per_block=1, latent_channels=4, norm_num_groups=8,
                sample_size=SIZE,
            ),
            text_encoder=CLIPTextModel(
                CLIPTextConfig(
                    vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                    num_attention_heads=2, max_position_embeddings=16, projection_dim=32,
                    bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
                    pad_token_id=tokenizer.pad_token_id,
                )
            ),
            tokenizer=tokenizer,
            unet=unet,
            controlnet=controlnet,
            scheduler=DDPMScheduler(
                beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                prediction_type=prediction_type, steps_offset=1,
            ),
            safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def make_tiny_subject(folder: Path) -> Path:
    """Three pictures of a red figure in a scene of its own, each with keypoints and a mask, and four poses."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    card = {"class": "robot", "token": "sks", "skeleton": PUPPET_13.name, "prompts": list(PROMPTS)}
    (folder / "subject.yaml").write_text(yaml.safe_dump(card))
    lines = []
    for number, place in enumerate(("grass", "sand", "snow")):
        keypoints = _figure(generator)
        picture = Image.fromarray(generator.integers(0, 120, (SIZE, SIZE, 3), dtype=np.uint8))
        mask = Image.new("L", (SIZE, SIZE))
        for drawing, fill in ((ImageDraw.Draw(picture), (220, 40, 40)), (ImageDraw.Draw(mask), 255)):
            for a, b in PUPPET_13.limbs:
                drawing.line([tuple(keypoints[a, :2]), tuple(keypoints[b, :2])], fill=fill, width=3)
        picture.save(folder / f"{number}.png")
        mask.save(folder / f"{number}-mask.png")
        lines.append(
            {"file_name": f"{number}.png", "text": f"a sks robot on {place}", "keypoints": keypoints.tolist(),
             "mask": f"{number}-mask.png"}
        )  # fmt: skip
    poses = [{"grade": grade, "keypoints": _figure(generator).tolist()} for grade in ("plain", "plain", "hard", "hard")]
    for name, values in (("metadata.jsonl", lines), ("poses.jsonl", poses)):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in values))
    return folder


def _figure(generator: np.random.Generator) -> np.ndarray:
    """Keypoints of a figure that stands upright, more or less: 13 x 3."""
    upright = [(16, 5), (12, 10), (9, 14), (7, 18), (20, 10), (23, 14), (25, 18)]
    upright += [(13, 19), (12, 24), (12, 29), (19, 19), (20, 24), (20, 29)]
    places = np.array(upright) + generator.uniform(-1.5, 1.5, (13, 2))
    return np.column_stack([places.round(2), np.ones(13)])


def _wake(controlnet: ControlNetModel) -> None:
    """A new ControlNet's last layers are zero, so that it does nothing: not so here."""
    condition = controlnet.controlnet_cond_embedding.conv_out
    for layer in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block, condition):
        torch.nn.init.normal_(layer.weight, std=0.05)


def _tokenizer() -> CLIPTokenizer:
    """CLIP's byte-pair encoding in which each of WORDS is one token and all else is spelled out."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    learned = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    learned.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=2048, min_frequency=1, end_of_word_suffix="</w>", show_progress=False)
    learned.train_from_iterator(WORDS, trainer)
    merges = [tuple(merge) for merge in json.loads(learned.to_str())["model"]["merges"]]
    pieces = letters + [f"{letter}</w>" for letter in letters] + [a + b for a, b in merges]
    vocabulary = {piece: number for number, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=16)
