"""DAAM of images that are already there: attention to words at many noise levels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.arrays import check_range
from unsnarl.diffusion._attention import AttentionStore, daam
from unsnarl.diffusion._hosts import Host
from unsnarl.diffusion._words import token_positions
from unsnarl.errors import OptionError
from unsnarl.systems.diffusion._pid_words import Mention


@torch.no_grad()
def attention_maps(
    host: Host,
    latents: Float[Tensor, "n c h w"],
    prompt: str,
    words: Sequence[Mention],
    *,
    sizes: Sequence[Sequence[int] | None] = (None,),
    steps: int = 25,
    seed: int = 0,
) -> Float[np.ndarray, "choice word n height width"]:
    """Cross-attention to words, averaged over heads, layers and evenly spaced times of the noise schedule.

    DAAM (Tang et al. 2023, arXiv 2210.04885) watches the sampling of an image; here the image is noised instead, so that it can be
    had of any image.

    Args:
        host: whose attention it is.
        latents: of the images.
        prompt: that is told.
        words: of the prompt.
        sizes: choices of layers: those with so many places a column, or None for all. All come from the same passes.
        steps: noise levels.
        seed: of the noise.

    Raises:
        OptionError: no step, or a choice without layers.
        DataError: a word beyond the tokens that are read.

    Cost: n * steps rows of the denoiser.
    """
    check_range(steps, "steps", low=1, integer=True)
    tokens = [token_positions(host.pipeline.tokenizer, prompt, one.text, one.occurrence) for one in words]
    told = host.encode_texts([prompt])
    at = ((torch.arange(steps) + 0.5) / steps * len(host.log_snr)).long()
    level = host.log_snr[at].to(latents.device)
    signal, spread = (torch.sigmoid(sign * level).sqrt().to(latents.dtype)[:, None, None, None] for sign in (1, -1))
    generator = torch.Generator().manual_seed(seed)
    maps = []
    for x in latents:
        noise = torch.randn((steps, *x.shape), generator=generator).to(x)
        with ExitStack() as stack:
            stores = [stack.enter_context(AttentionStore(host, sizes=choice)) for choice in sizes]
            host.predict_noise(signal * x + spread * noise, level, told)
        for store, choice in zip(stores, sizes, strict=True):
            if not store.layers("cross"):
                raise OptionError(f"sizes={tuple(choice or ())}: no cross-attention layer has so many places a column")
        maps.append([[daam(store, positions, host.image_size).mean(0) for positions in tokens] for store in stores])
    stacked = torch.stack([torch.stack([torch.stack(row) for row in one]) for one in maps], dim=2)
    return np.asarray(stacked.double().cpu().numpy())
