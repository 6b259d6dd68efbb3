"""What an information estimate must not be computed from: denoisers that are no conditional mean, noise they never saw, wrong images."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from numbers import Integral
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.diffusion._photos import load_photos
from unsnarl.errors import DataError, OptionError

FEW_STEP_SCHEDULERS = ("LCMScheduler", "TCDScheduler", "FlowMatchLCMScheduler", "SCMScheduler")
FEW_STEP_NAMES = re.compile(
    r"(?:^|[-_.])(?:turbo|lcm|lightning|hyper|schnell|tcd|pcm|dmd2?|flash|distill(?:ed)?|hypersd)(?:$|[-_.\d])", re.I
)


def refuse_distilled(pipeline: Any, name: Any = None) -> None:
    """Refuse a denoiser that was distilled to few steps or to guidance: its answer is no longer the mean of the noise.

    It is known by its scheduler (made for consistency models), by an embedding of the guidance scale in the denoiser, by the name of
    an adapter, or by the name it was loaded from.

    Args:
        pipeline: of diffusers.
        name: by which the caller asked for it.

    Raises:
        OptionError: says by what it is known.
    """
    denoiser = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    config = getattr(denoiser, "config", None)
    scheduler = type(getattr(pipeline, "scheduler", None)).__name__
    adapters = list(getattr(denoiser, "peft_config", None) or {})
    names = [
        name,
        getattr(getattr(pipeline, "config", None), "_name_or_path", None),
        getattr(config, "_name_or_path", None),
    ]
    reasons = [f"its scheduler is {scheduler}"] if scheduler in FEW_STEP_SCHEDULERS else []
    if getattr(config, "time_cond_proj_dim", None) is not None or getattr(config, "guidance_embeds", None):
        reasons.append("its denoiser is told a guidance scale")
    for one in [*names, *adapters]:
        if isinstance(one, str) and FEW_STEP_NAMES.search(PurePath(one).name):
            reasons.append(f"of its name {one!r}")
    if reasons:
        raise OptionError(
            "the model was distilled to few steps or to guidance ("
            + "; ".join(dict.fromkeys(reasons))
            + "), so its answer is "
            "not the mean of the noise and no information can be read off it; take the model it was distilled from"
        )


def refuse_guidance(guidance: float | None) -> None:
    """Refuse a guidance scale.

    Raises:
        OptionError: neither None nor 1.
    """
    if guidance is not None and guidance != 1:
        raise OptionError(
            f"guidance={guidance!r}: a guided answer is not the mean of the noise, and no information can be read off it; leave it "
            "out (images are generated with sampling_guidance=)"
        )


def check_prompt(prompt: Any, name: str = "prompt") -> None:
    """Refuse what is no text.

    Raises:
        DataError: with its type.
    """
    if not isinstance(prompt, str):
        raise DataError(f"{name} must be one text, got {type(prompt).__name__}")


def checked_seeds(seeds: Any) -> list[int]:
    """Seeds as a list.

    Raises:
        OptionError: not a sequence of at least one whole number from 0.
    """
    found = list(seeds) if isinstance(seeds, (Sequence, np.ndarray)) and not isinstance(seeds, str) else []
    if not found or not all(isinstance(one, Integral) and int(one) >= 0 for one in found):
        raise OptionError(f"seeds={seeds!r} must be a sequence of at least one whole number from 0, one an image")
    return [int(one) for one in found]


def warn_range(host: Any, low: float, high: float) -> None:
    """Warn where the integral asks for noise outside the host's schedule.

    Warns:
        UserWarning: with both ranges.
    """
    known = getattr(host, "log_snr", None)
    if known is None:
        return
    least, most = float(known.min()), float(known.max())
    if low < least - 0.5 or high > most + 0.5:  # half a unit is a step or two of the noise schedule
        warnings.warn(
            f"the integral is over log-SNRs from {low:g} to {high:g}, but the model's noise schedule has {least:.2f} to "
            f"{most:.2f}; what lies outside is taken from its ends (choose loc=, scale= and clip= to fit)",
            UserWarning,
            stacklevel=3,
        )


def read_images(image: Any, size: int) -> Float[Tensor, "n 3 size size"]:
    """One image or several as the host takes them.

    Args:
        image: a tensor or array (3, s, s) or (n, 3, s, s), float in [-1, 1] or uint8; a PIL image; or a list of these.
        size: pixels a side that the host wants.

    Raises:
        DataError: another size or shape, or values outside [-1, 1]. Images are not resized here, since what a position tells depends
            on what was cut off.
    """
    if isinstance(image, str):
        raise DataError(f"image must be pixels, got the text {image!r}; the order is decompose(prompt, words, image)")
    for one in image if isinstance(image, (list, tuple)) else [image]:
        if isinstance(one, (Tensor, np.ndarray)):
            sides = tuple(one.shape[-2:])
        elif hasattr(one, "convert") and hasattr(one, "size"):
            sides = tuple(one.size[::-1])
        else:
            raise DataError(f"image must be a tensor, an array or PIL images, got {type(one).__name__}")
        if sides != (size, size):
            raise DataError(
                f"image has {' x '.join(map(str, sides))} pixels; the model takes {size} x {size}, so resize it first"
            )
    return load_photos(image, size).to(torch.float32)
