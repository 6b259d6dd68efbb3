"""Recipes of the two CLIPs: `clip-tiny`, whose text encoder conditions the generators, and `clip-eval`, which only scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unsnarl.training import Task
from unsnarl.zoo._contrastive import ContrastiveTask, as_saved, clip_config
from unsnarl.zoo._extra import transformers
from unsnarl.zoo._recipe import Batches, Recipe
from unsnarl.zoo._scene_batches import ContrastiveBatches
from unsnarl.zoo._tokenizer import scene_tokenizer

BATCH = 64


def clip_recipe(name: str, summary: str, seed: int, steps: int, degraded: float, **sizes: int) -> Recipe:
    """A CLIP of scenes; `sizes` are those of `clip_config`."""

    def make(models: Mapping[str, Any], total: int) -> Task:
        return ContrastiveTask(clip_config(scene_tokenizer(), **sizes), steps=total, degraded=degraded)

    def batches(models: Mapping[str, Any]) -> Batches:
        return ContrastiveBatches(scene_tokenizer(), BATCH, seed=seed)

    return Recipe(
        name=name,
        summary=summary,
        make=make,
        batches=batches,
        export=_export,
        load=_load,
        steps=steps,
        batch_size=BATCH,
        seed=seed,
        settings={"degraded": degraded, **sizes},
    )


def _export(task: Any, models: Mapping[str, Any], folder: Path) -> None:
    as_saved(task.average.module).save_pretrained(folder)
    scene_tokenizer().save_pretrained(folder)
    image_processor().save_pretrained(folder)


def _load(folder: Path) -> Any:
    return transformers().CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()


def image_processor() -> Any:
    """A `CLIPImageProcessor` for images of the zoo: 32 x 32, scaled to [-1, 1]."""
    size = {"height": 32, "width": 32}
    library = transformers()
    processor = getattr(library, "CLIPImageProcessorPil", None) or library.CLIPImageProcessor
    return processor(
        size=size, crop_size=size, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_convert_rgb=True
    )


CLIP_TINY = clip_recipe(
    "clip-tiny",
    "CLIP of scenes, text width 128: its text encoder conditions sd-tiny-32, its image encoder serves DisenBooth",
    seed=1,
    steps=3_000,
    degraded=0.3,
)
CLIP_EVAL = clip_recipe(
    "clip-eval",
    "another CLIP of scenes, of another width and seed, that scores only",
    seed=2,
    steps=3_000,
    degraded=0.6,
    width=96,
    vision_layers=4,
    text_layers=3,
    projection=96,
)
