"""Recipe of `sd-tiny-32`: a real `StableDiffusionPipeline` for scenes of 32 x 32 pixels.

The UNet has three levels of 48, 96 and 128 channels, one residual block a level, text attention at 16 x 16, at 8 x 8 and in the
middle: 4.6 million parameters. Its images are pixels rearranged to 12 channels of 16 x 16 by `PixelUnshuffleVAE`. It predicts the image, not
the noise: these images are flat areas with sharp edges, so that nearly all of the noise has to be found in either case, and a small
network that has to write the noise out leaves grain. After 1,000 steps it denoised backgrounds as well as one that predicts v did after 3,000.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unsnarl.training import Task
from unsnarl.zoo._denoising import NoiseTask, time_density
from unsnarl.zoo._extra import diffusers, transformers
from unsnarl.zoo._recipe import Batches, Recipe
from unsnarl.zoo._scene_batches import CaptionedBatches
from unsnarl.zoo._tokenizer import scene_tokenizer

BATCH, IMAGES = 16, 300_000
# log-SNR of the steps that are trained: what these images show is decided between -8 and 1
DENSITY = {"mean": -2.5, "deviation": 2.5, "evenly": 0.2}
READING = 0.01  # weight of the second task
NOISE = {"num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2", "prediction_type": "sample"}
# The pipeline's constructor sets clip_sample to False and steps_offset to 1 whatever it is given; a threshold of 1 clips all the same.
SAMPLER: dict[str, Any] = NOISE | {
    "clip_sample": False,
    "thresholding": True,
    "sample_max_value": 1.0,
    "set_alpha_to_one": True,
    "steps_offset": 1,
    "timestep_spacing": "trailing",  # begins where there is nothing but noise
}
UNET: dict[str, Any] = {
    "sample_size": 16,
    "in_channels": 12,
    "out_channels": 12,
    "block_out_channels": (48, 96, 128),
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "cross_attention_dim": 128,
    "attention_head_dim": 4,
    "norm_num_groups": 16,
    "resnet_time_scale_shift": "scale_shift",
}


def text_model(clip: Any) -> Any:
    """The text encoder of a `CLIPModel` as a `CLIPTextModel` of its own."""
    alone = transformers().CLIPTextModel(clip.config.text_config)
    inner = getattr(alone, "text_model", alone)
    inner.load_state_dict(clip.text_model.state_dict())
    return alone.eval()


def _make(models: Mapping[str, Any], steps: int) -> Task:
    library = diffusers()
    abar = library.DDPMScheduler(**NOISE).alphas_cumprod
    unet = library.UNet2DConditionModel(**UNET)
    return NoiseTask(
        unet,
        text_model(models["clip-tiny"]),
        abar,
        prediction=str(NOISE["prediction_type"]),
        density=time_density(torch.logit(abar.double().clamp(1e-12, 1 - 1e-12)).float(), **DENSITY),
        steps=steps,
        read_from=unet.up_blocks[1],  # gives out 16 x 16
        channels=UNET["block_out_channels"][1],
        reading_weight=READING,
    )


def _batches(models: Mapping[str, Any]) -> Batches:
    return CaptionedBatches(scene_tokenizer(), BATCH, seed=3, targets=True)


def pipeline(unet: Any, clip: Any) -> Any:
    """The pipeline around a UNet, in single precision."""
    from unsnarl.zoo.pixel_vae import PixelUnshuffleVAE

    library = diffusers()
    made = library.StableDiffusionPipeline(
        vae=PixelUnshuffleVAE(),
        text_encoder=text_model(clip),
        tokenizer=scene_tokenizer(),
        unet=unet,
        scheduler=library.DDIMScheduler(**SAMPLER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.set_progress_bar_config(disable=True)
    return made


def _export(task: Any, models: Mapping[str, Any], folder: Path) -> None:
    pipeline(copy.deepcopy(task.average.module), models["clip-tiny"]).to(torch.float16).save_pretrained(folder)


def _load(folder: Path) -> Any:
    loaded = diffusers().StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    loaded.set_progress_bar_config(disable=True)
    return loaded


SD_TINY = Recipe(
    name="sd-tiny-32",
    summary="text to image, 32 x 32: a StableDiffusionPipeline with a UNet of 4.6 million parameters",
    make=_make,
    batches=_batches,
    export=_export,
    load=_load,
    steps=IMAGES // BATCH,
    batch_size=BATCH,
    seed=3,
    needs=("clip-tiny",),
    settings={"unet": UNET, "noise": NOISE, "density": DENSITY, "reading": READING},
)
