"""Hosts whose latents are pixels rearranged: what is told of a latent place is told of true pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional


def pixel_factor(host: Any) -> int:
    """By which factor a host's latents are pixels rearranged (`PixelUnshuffleVAE`); 0 where they are no pixels."""
    vae = getattr(getattr(host, "pipeline", None), "vae", None)
    return int(getattr(getattr(vae, "config", None), "factor", 0)) if type(vae).__name__ == "PixelUnshuffleVAE" else 0


def fold_to_pixels(host: Any) -> Callable[[Tensor], Tensor] | None:
    """Squares of latents (n, c, h, w) to their sums at true pixels (n, height, width); None where latents are no pixels."""
    factor = pixel_factor(host)
    return (lambda squares: functional.pixel_shuffle(squares, factor).sum(1)) if factor else None
