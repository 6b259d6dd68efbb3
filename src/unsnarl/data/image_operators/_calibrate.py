"""Strengths that make operators comparable: each changes the pixels by the same amount on average."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from unsnarl.arrays import check_range
from unsnarl.data.image_operators._colors import Brightness, Contrast, Hue, Saturation
from unsnarl.data.image_operators._operator import ImageOperator, are_grey, as_pixels
from unsnarl.data.image_operators._surface import Shape, Texture
from unsnarl.errors import DataError, OptionError

PUBLISHED_HEIGHT = 300  # pixels of the images that A = 4 was set on
SHARE = 0.8  # of the most that the weakest operator can change: there, strengths still differ in effect
NOTHING = 1e-6  # changes up to here are rounding
CLOSE = 0.005  # a change this near to the wanted one, as a share of it, is near enough


def default_operators(*, height: int | None = None) -> tuple[ImageOperator, ...]:
    """The six operators of Nauta et al. 2021 (arXiv 2011.02863) at their published strengths.

    Args:
        height: of the images, in pixels; scales the amplitude of the shape operator by height / 300. Below 75 pixels it
            is then less than 1 and the operator does nothing: calibrate.
    """
    scale = 1.0 if height is None else height / PUBLISHED_HEIGHT
    return tuple(o.scaled(scale) for o in (Hue(), Shape(), Texture(), Contrast(), Saturation(), Brightness()))


def as_operators(operators: Any) -> tuple[ImageOperator, ...]:
    """Checked operators, from a sequence, or from a mapping name -> operator.

    Raises:
        OptionError: none, something that is not an operator, or two of the same name.
    """
    chosen = tuple(operators.values()) if isinstance(operators, Mapping) else tuple(operators)
    for operator in chosen:
        if not callable(operator) or not getattr(operator, "name", ""):
            raise OptionError(f"operators must be image operators (callable, with a name), found {operator!r}")
    names = [o.name for o in chosen]
    if not names or len(set(names)) < len(names):
        raise OptionError(f"operators must be one or more of different names, got {', '.join(names) or 'none'}")
    return chosen


def pixel_change(operators: Iterable[ImageOperator], images: Any) -> dict[str, float]:
    """Mean absolute change of a pixel's channels, in [0, 1], by each operator.

    Cost: one pass of every operator over the images.
    """
    pixels = as_pixels(images)
    return {o.name: _change(o, pixels) for o in as_operators(operators)}


def calibrated(
    operators: Sequence[ImageOperator],
    images: Any,
    *,
    change: float | None = None,
    most: int = 64,
    rounds: int = 24,
) -> tuple[ImageOperator, ...]:
    """The operators at strengths that change these images equally much.

    Strengths were published for photographs of birds; on other images one operator may change ten times as much as
    another, and its scores are then larger for that reason alone. Contrast, saturation and brightness change pixels in
    proportion to 1 - strength; for the others the strength is found by bisection (the shape operator moves whole pixels,
    so its change comes in steps: the nearest one is taken).

    Args:
        operators: what `default_operators` gives, or others.
        images: typical images (n, 3, height, width).
        change: the mean absolute change of a channel, in [0, 1]; None takes the smallest change that an
            operator makes at its given strength, so that none is made stronger than given except those that do nothing
            there; and no more than 80% of what the weakest operator can do.
        most: images used, evenly spread.
        rounds: steps of the bisection.

    Returns:
        Operators in the same order.

    Raises:
        DataError: grey images with an operator on colour, constant images, or an operator that changes nothing.
        OptionError: `change` is not above 0.

    Warns:
        UserWarning: an operator cannot reach `change` and is left at its strongest.

    Cost: about `rounds` passes of each operator over `most` images; texture dominates, 2 s for 64 images of 64 x 64.
    """
    chosen = as_operators(operators)
    check_range(most, "most", low=1, integer=True)
    check_range(rounds, "rounds", low=1, integer=True)
    pixels = as_pixels(images)
    pixels = pixels[np.unique(np.linspace(0, len(pixels) - 1, min(int(most), len(pixels))).astype(int))]
    if are_grey(pixels).all() and any(getattr(o, "colored", False) for o in chosen):
        raise DataError(
            "all images are grey, so hue and saturation change nothing and cannot be calibrated; leave them out"
        )
    height = pixels.shape[2]
    reach = {o.name: _change(o.at(o.strongest(height)), pixels) for o in chosen}
    dead = [name for name, size in reach.items() if size <= NOTHING]
    if dead:
        raise DataError(f"{', '.join(dead)} cannot change these images at any strength; leave the operator out")
    if change is None:
        given = [c for c in (_change(o, pixels) for o in chosen) if c > NOTHING]
        change = min([*given, SHARE * min(reach.values())])
    check_range(change, "change", low=0, high=1, open_low=True)
    out = []
    for operator in chosen:
        if reach[operator.name] < change:
            warnings.warn(
                f"{operator.name} changes a pixel by {reach[operator.name]:.3g} at most, less than {change:.3g}; "
                "it is left at its strongest",
                UserWarning,
                stacklevel=2,
            )
            out.append(operator.at(operator.strongest(height)))
            continue
        out.append(operator.at(_strength(operator, pixels, change, rounds)))
    return tuple(out)


def _change(operator: ImageOperator, pixels: np.ndarray) -> float:
    changed = np.clip(operator.change(pixels), 0.0, 1.0)
    return float(np.abs(changed - pixels).mean(dtype=np.float64))


def _strength(operator: ImageOperator, pixels: np.ndarray, change: float, rounds: int) -> float:
    weak, strong = operator.neutral, operator.strongest(pixels.shape[2])
    best, gap = strong, abs(_change(operator.at(strong), pixels) - change)
    for _ in range(rounds):
        middle = (weak + strong) / 2
        found = _change(operator.at(middle), pixels)
        if abs(found - change) < gap:
            best, gap = middle, abs(found - change)
        if gap <= CLOSE * change:
            break
        if found < change:
            weak = middle
        else:
            strong = middle
    return best
