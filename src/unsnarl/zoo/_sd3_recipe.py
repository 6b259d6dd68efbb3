"""Recipes of `sd3-tiny-32`, a real `StableDiffusion3Pipeline` for scenes of 32 x 32 pixels, and of its two text encoders.

The transformer has 6 joint layers of width 128 on patches of 2 x 2 pixels: 3.5 million parameters. It reads two text encoders of
width 64, side by side, and no third. These learn from the frozen image encoder of `clip-tiny` (Zhai et al. 2022,
arXiv 2111.07991: locked-image tuning), so that no image encoder has to be trained for them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unsnarl.training import EMA, Task
from unsnarl.zoo._contrastive import HIGHEST_SCALE, as_saved, clip_config, contrastive_loss, image_embeddings
from unsnarl.zoo._degrade import degrade
from unsnarl.zoo._denoising import FlowTask
from unsnarl.zoo._extra import diffusers, transformers
from unsnarl.zoo._recipe import Batches, Recipe
from unsnarl.zoo._scene_batches import CaptionedBatches, ContrastiveBatches
from unsnarl.zoo._schedule import adamw, cosine_rate, set_rate
from unsnarl.zoo._tokenizer import scene_tokenizer

TEXT_WIDTH, TEXT_BATCH, TEXT_STEPS = 64, 64, 3_000
ZERO_TOKENS = 8
BATCH, IMAGES = 16, 250_000
DENSITY = {"mean": -2.5, "deviation": 2.5}  # of the log-SNR, as for sd-tiny-32
READING, READ_FROM = 0.01, 3  # weight of the second task, and the layer whose tokens it reads
FLOW = {"num_train_timesteps": 1000, "shift": 1.0}
TRANSFORMER: dict[str, Any] = {
    "sample_size": 32,
    "patch_size": 2,
    "in_channels": 3,
    "num_layers": 6,
    "attention_head_dim": 32,
    "num_attention_heads": 4,
    "joint_attention_dim": 2 * TEXT_WIDTH,
    "caption_projection_dim": 128,
    "pooled_projection_dim": 2 * TEXT_WIDTH,
    "out_channels": 3,
    "pos_embed_max_size": 16,
}


class LockedImageTask(Task):
    """Text encoders trained by `contrastive_loss` against images seen by a frozen encoder.

    Args:
        clip: the `CLIPModel` whose image encoder is used; left as it is.
        text_encoders: `CLIPTextModelWithProjection`; each gets a linear map of the image embeddings of its own.
        steps: over which the rate falls.
        lr: highest learning rate.
    """

    def __init__(self, clip: Any, text_encoders: list[Any], *, steps: int, lr: float = 1e-3):
        super().__init__()
        self._frozen = (clip.requires_grad_(False).eval(),)
        self.encoders = nn.ModuleList(text_encoders)
        self.average = EMA(self.encoders, steps=200)
        seen = clip.config.projection_dim
        self.heads = nn.ModuleList(nn.Linear(seen, one.config.projection_dim) for one in text_encoders)
        self.scales = nn.Parameter(torch.full((len(text_encoders),), 2.66))
        self.steps, self.lr = steps, lr

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """AdamW with CLIP's betas."""
        optimizer = adamw(self, lr=self.lr, weight_decay=0.1, betas=(0.9, 0.98), clip_norm=1.0)
        self.average.follow(self.encoders, optimizer)
        return {"main": optimizer}

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The sum of the encoders' losses, and the mean share of captions found."""
        set_rate(self.optimizers_["main"], cosine_rate(step, self.steps, 200))
        images, ids, wrong_ids, there, true = batch
        with torch.no_grad():
            seen = image_embeddings(self._frozen[0], degrade(images, generator, 0.3))
        losses, found = [], []
        for encoder, head, scale in zip(self.encoders, self.heads, self.scales, strict=True):
            texts, wrong = encoder(input_ids=torch.cat([ids, wrong_ids])).text_embeds.chunk(2)
            loss, share = contrastive_loss(head(seen), texts, wrong, there, true, scale.exp().clamp(max=HIGHEST_SCALE))
            losses.append(loss)
            found.append(share)
        return {"loss": torch.stack(losses).sum(), "found": torch.stack(found).mean()}


def _text_encoder() -> Any:
    config = clip_config(scene_tokenizer(), width=TEXT_WIDTH, projection=TEXT_WIDTH).text_config
    return transformers().CLIPTextModelWithProjection(config)


def _make_texts(models: Mapping[str, Any], steps: int) -> Task:
    return LockedImageTask(models["clip-tiny"], [_text_encoder(), _text_encoder()], steps=steps)


def _text_batches(models: Mapping[str, Any]) -> Batches:
    return ContrastiveBatches(scene_tokenizer(), TEXT_BATCH, seed=4)


def _export_texts(task: Any, models: Mapping[str, Any], folder: Path) -> None:
    for number, encoder in enumerate(task.average.module):
        as_saved(encoder).save_pretrained(folder / f"text_encoder_{number + 1}")


def _load_texts(folder: Path) -> tuple[Any, Any]:
    kind = transformers().CLIPTextModelWithProjection
    first, second = (
        kind.from_pretrained(folder / f"text_encoder_{number}", dtype=torch.float32).eval() for number in (1, 2)
    )
    return first, second


SD3_TEXTS = Recipe(
    name="sd3-tiny-texts",
    summary="the two text encoders of sd3-tiny-32",
    make=_make_texts,
    batches=_text_batches,
    export=_export_texts,
    load=_load_texts,
    steps=TEXT_STEPS,
    batch_size=TEXT_BATCH,
    seed=4,
    needs=("clip-tiny",),
    settings={"text_width": TEXT_WIDTH},
)


def _make(models: Mapping[str, Any], steps: int) -> Task:
    transformer = diffusers().SD3Transformer2DModel(**TRANSFORMER)
    return FlowTask(
        transformer,
        models["sd3-tiny-texts"],
        zero_tokens=ZERO_TOKENS,
        **DENSITY,
        steps=steps,
        read_from=transformer.transformer_blocks[READ_FROM],
        channels=TRANSFORMER["attention_head_dim"] * TRANSFORMER["num_attention_heads"],
        reading_weight=READING,
    )


def _batches(models: Mapping[str, Any]) -> Batches:
    return CaptionedBatches(scene_tokenizer(), BATCH, seed=3, targets=True)


def pipeline(transformer: Any, text_encoders: tuple[Any, Any]) -> Any:
    """The pipeline around a transformer, in single precision. Call it with `max_sequence_length=8`."""
    from unsnarl.zoo.pixel_vae import PixelUnshuffleVAE

    library = diffusers()
    made = library.StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=library.FlowMatchEulerDiscreteScheduler(**FLOW),
        vae=PixelUnshuffleVAE(factor=1, block_out_channels=(1,), latent_channels=3),
        text_encoder=text_encoders[0],
        tokenizer=scene_tokenizer(),
        text_encoder_2=text_encoders[1],
        tokenizer_2=scene_tokenizer(),
        text_encoder_3=None,
        tokenizer_3=None,
    )
    made.set_progress_bar_config(disable=True)
    return made


def _export(task: Any, models: Mapping[str, Any], folder: Path) -> None:
    pipeline(copy.deepcopy(task.average.module), models["sd3-tiny-texts"]).to(torch.float16).save_pretrained(folder)


def _load(folder: Path) -> Any:
    loaded = diffusers().StableDiffusion3Pipeline.from_pretrained(
        folder, dtype=torch.float32, text_encoder_3=None, tokenizer_3=None, image_encoder=None, feature_extractor=None
    )
    loaded.set_progress_bar_config(disable=True)
    return loaded


SD3_TINY = Recipe(
    name="sd3-tiny-32",
    summary="text to image, 32 x 32: a StableDiffusion3Pipeline with a transformer of 3.5 million parameters",
    make=_make,
    batches=_batches,
    export=_export,
    load=_load,
    steps=IMAGES // BATCH,
    batch_size=BATCH,
    seed=3,
    needs=("sd3-tiny-texts",),
    settings={"transformer": TRANSFORMER, "flow": FLOW, "density": DENSITY, "reading": READING},
)
