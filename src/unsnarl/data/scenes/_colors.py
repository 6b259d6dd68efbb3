"""What colour each material of each object gets, given its two colours and the style of the image."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from unsnarl.data.scenes._things import ACCENT, DARK, LEAF, MAIN, MARK, MATERIALS, RIM, WHITE
from unsnarl.data.scenes._words import COLORS, STYLES

NONE, SKETCH, PASTEL, NEON, MOSAIC = range(len(STYLES))

WHEEL = np.array(list(COLORS.values()), dtype=np.float64)
PAPER = np.array([250.0, 247.0, 238.0])
PENCIL = np.array([62.0, 60.0, 66.0])
LEAF_RGB = np.array([60.0, 170.0, 60.0])
LIGHT = 150.0  # a colour brighter than this gets a darker shade, others a lighter one


def _mix(colors: np.ndarray, other: np.ndarray | float, share: float) -> np.ndarray:
    return (1.0 - share) * colors + share * other


def shades(colors: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """A darker shade of light colours and a lighter one of dark colours, far enough to be seen as a mark."""
    brightness = colors @ np.array([0.3, 0.59, 0.11])
    return np.where((brightness > LIGHT)[..., None], _mix(colors, 0.0, 0.45), _mix(colors, 255.0, 0.6))


def object_colors(
    main: Int[np.ndarray, "*n"], accent: Int[np.ndarray, "*n"], style: Int[np.ndarray, "*n"]
) -> Float[np.ndarray, "*n material 3"]:
    """RGB of every material of every object, in 0..255.

    Args:
        main: index of the main colour.
        accent: index of the second colour, or -1 for a shade of the main one.
        style: index of the style.
    """
    own = WHEEL[main]
    second = np.where((accent < 0)[..., None], shades(own), WHEEL[accent])
    out = np.empty((*main.shape, MATERIALS, 3))
    out[..., MAIN, :], out[..., ACCENT, :], out[..., MARK, :] = own, second, second
    out[..., RIM, :] = _mix(own, 0.0, 0.66)
    out[..., DARK, :], out[..., WHITE, :], out[..., LEAF, :] = 24.0, 252.0, LEAF_RGB
    kind = style[..., None, None]
    pastel = _mix(out, 255.0, 0.52)
    pastel[..., RIM, :], pastel[..., DARK, :] = _mix(own, 120.0, 0.4), 84.0
    sketch = _mix(out, PAPER, 0.56)
    sketch[..., RIM, :], sketch[..., DARK, :] = PENCIL, PENCIL
    neon = 0.36 * out
    neon[..., RIM, :] = _mix(own, 255.0, 0.22)
    neon[..., ACCENT, :], neon[..., MARK, :] = 0.8 * second, 0.8 * second
    neon[..., DARK, :], neon[..., WHITE, :], neon[..., LEAF, :] = 255.0, 215.0, 1.2 * LEAF_RGB
    return np.select([kind == PASTEL, kind == SKETCH, kind == NEON], [pastel, sketch, neon], out)


def ground_colors(
    color: Int[np.ndarray, " n"], gradient: np.ndarray, style: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "n 2 3"]:
    """RGB of the two tones of every background, in 0..255: ground and marks, or the two ends of a gradient."""
    own = WHEEL[color]
    # paler than objects of the same colour, so that these stay visible
    ground = _mix(own, 255.0, 0.22)
    out = np.stack([ground, _mix(own, 0.0, 0.26)], axis=1)
    ends = np.stack([_mix(own, 255.0, 0.66), _mix(own, 0.0, 0.3)], axis=1)
    out = np.where(gradient[:, None, None], ends, out)
    kind = style[:, None, None]
    neon = np.stack([0.3 * own, 0.6 * own], axis=1)
    out = np.select(
        [kind == PASTEL, kind == SKETCH, kind == NEON], [_mix(out, 255.0, 0.55), _mix(out, PAPER, 0.62), neon], out
    )
    return np.round(out)  # whole numbers: the mean of 16 equal samples is then the sample to the last bit
