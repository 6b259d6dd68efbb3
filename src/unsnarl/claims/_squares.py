"""Rendered squares on a full grid of position, hue and size: the images of several claims."""

from __future__ import annotations

from typing import Any

FACTORS = {"pos_x": 8, "pos_y": 8, "hue": 8, "scale": 4}


def squares(image_size: int = 32) -> Any:
    """The whole grid, 2,048 images of `image_size` pixels a side."""
    from unsnarl.data import Sprites

    return Sprites(None, image_size=image_size, factors=FACTORS, antialias=True)
