"""Images and masks of scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from unsnarl.arrays import check_choice, check_range
from unsnarl.data.scenes import _words as words
from unsnarl.data.scenes._colors import ground_colors, object_colors
from unsnarl.data.scenes._paint import BODY_AT, paint
from unsnarl.data.scenes._scene import Scene
from unsnarl.data.scenes._things import BODY_NUMBERS
from unsnarl.errors import DataError

SIZES = (32, 64)

_KIND = {name: i for i, name in enumerate(words.KINDS)}
_COLOR = {name: i for i, name in enumerate(words.COLOR_NAMES)} | {words.SHADE: -1}
_TEXTURE = {name: i for i, name in enumerate(words.TEXTURES)}
_PATTERN = {name: i for i, name in enumerate(words.PATTERNS)}
_STYLE = {name: i for i, name in enumerate(words.STYLES)}
_FRAME = {None: 0, "black": 1, "white": 2}


@dataclass(frozen=True)
class RenderedScenes:
    """Images of scenes with the share of every pixel that shows each object.

    Args:
        images: (n, 3, side, side), 0 to 255.
        visible: (n, object, side, side), 0 to 255: the share of the pixel that shows the object; what is in front of
            it, or the frame, counts as not shown. Rows of objects that a scene does not have are 0.
        whole: the same for the object alone, as if nothing were in front of it.
    """

    images: UInt8[np.ndarray, "n 3 side side"]
    visible: UInt8[np.ndarray, "n object side side"]
    whole: UInt8[np.ndarray, "n object side side"]

    def masks(self, of: str = "visible", at_least: float = 0.5) -> Bool[np.ndarray, "n object side side"]:
        """Pixels of which an object covers at least a share.

        Args:
            of: "visible", or "whole" for the object without what is in front of it.
            at_least: the share, in (0, 1]; the smallest above 0 gives every pixel the object touches.
        """
        check_choice(of, ("visible", "whole"), "of")
        check_range(at_least, "at_least", low=0, high=1, open_low=True)
        shares = self.visible if of == "visible" else self.whole
        return np.asarray(shares >= max(255 * at_least, 1))

    def boxes(self, of: str = "visible") -> Int[np.ndarray, "n object 4"]:
        """Left, top, right and bottom edge in pixels of each mask's box (right and bottom exclusive); zeros if empty."""
        masks = self.masks(of)
        out = np.zeros((*masks.shape[:2], 4), dtype=np.int64)
        filled = np.asarray(masks.any(axis=(2, 3)))
        for axis, low in ((2, 0), (3, 1)):
            line = np.asarray(masks.any(axis=axis))
            out[..., low] = line.argmax(axis=-1)
            out[..., low + 2] = line.shape[-1] - line[..., ::-1].argmax(axis=-1)
        out[~filled] = 0
        return out


def render_scenes(scenes: Scene | Sequence[Any], image_size: int = 32) -> RenderedScenes:
    """Images and masks; the same scene gives the same pixels in any batch.

    Every pixel is the mean of 4 x 4 samples.

    Args:
        scenes: one scene or several.
        image_size: height and width in pixels, 32 or 64.

    Raises:
        OptionError: another image size.
        DataError: something that is not a scene.

    Cost: O(n * pixels); about a millisecond an image at 32 pixels.

    Examples:
        >>> from unsnarl.data.scenes import Scene, SceneObject
        >>> drawn = render_scenes(Scene((SceneObject("cat", "red"),)))
        >>> drawn.images.shape, drawn.masks().shape
        ((1, 3, 32, 32), (1, 1, 32, 32))
    """
    check_choice(image_size, SIZES, "image_size")
    scenes = [scenes] if isinstance(scenes, Scene) else list(scenes)
    for i, scene in enumerate(scenes):
        if not isinstance(scene, Scene):
            raise DataError(f"scenes[{i}] is a {type(scene).__name__}, not a Scene")
    n, most = len(scenes), max((len(s.objects) for s in scenes), default=0)
    kinds = np.full((n, most), -1, dtype=np.int64)
    looks = np.zeros((n, most, 3), dtype=np.int64)  # texture, color, accent
    numbers = np.zeros((n, most, BODY_AT + BODY_NUMBERS))
    order = np.tile(np.arange(most), (n, 1))
    for i, scene in enumerate(scenes):
        for k, thing in enumerate(scene.objects):
            kinds[i, k] = _KIND[thing.kind]
            looks[i, k] = _TEXTURE[thing.texture], _COLOR[thing.color], _COLOR[thing.accent]
            numbers[i, k] = (
                thing.x * image_size,
                thing.y * image_size,
                0.5 * thing.diameter * image_size,
                thing.tilt if thing.turn == "tilted" else 0.0,
                0.0,
                -1.0 if thing.facing == "left" else 1.0,
                -1.0 if thing.turn == "upside down" else 1.0,
                *thing.body,
            )
        order[i, : len(scene.order)] = scene.order[::-1]
    tilt = np.radians(numbers[..., 3])
    numbers[..., 3], numbers[..., 4] = np.cos(tilt), np.sin(tilt)
    pattern = np.array([_PATTERN[s.pattern] for s in scenes], dtype=np.int64)
    styles = np.array([_STYLE[s.style] for s in scenes], dtype=np.int64)
    background = np.array([_COLOR[s.background] for s in scenes], dtype=np.int64)
    grounds = np.array([(p, *s.phase) for p, s in zip(pattern, scenes, strict=True)], dtype=np.float64).reshape(n, 3)
    drawn = RenderedScenes(
        np.empty((n, 3, image_size, image_size), dtype=np.uint8),
        np.empty((n, most, image_size, image_size), dtype=np.uint8),
        np.empty((n, most, image_size, image_size), dtype=np.uint8),
    )
    paint(
        grounds,
        ground_colors(background, pattern == _PATTERN["gradient"], styles),
        kinds,
        np.ascontiguousarray(looks[..., 0]),
        numbers,
        object_colors(looks[..., 1], looks[..., 2], np.broadcast_to(styles[:, None], kinds.shape)),
        order,
        styles,
        np.array([_FRAME[s.frame] for s in scenes], dtype=np.int64),
        drawn.images,
        drawn.visible,
        drawn.whole,
    )
    return drawn


def to_signed(images: UInt8[np.ndarray, "*n"] | UInt8[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Images from 0..255 to float32 in [-1, 1], as a diffusion model takes them."""
    return torch.as_tensor(images).float() / 127.5 - 1.0


def from_signed(images: Float[Tensor, "*n"]) -> UInt8[Tensor, "*n"]:
    """Images from [-1, 1] back to 0..255; values outside are cut off.

    Examples:
        >>> from_signed(to_signed(np.array([0, 7, 255], dtype=np.uint8))).tolist()
        [0, 7, 255]
    """
    return ((images.clamp(-1, 1) + 1.0) * 127.5).round().to(torch.uint8)
