"""One flat shape on black: the factors of dSprites (Matthey et al. 2017), on a grid of any size, with or without hue.

A pixel is mapped back into the frame of the shape (moved, turned, scaled), where the signed distance to the outline
says whether it lies inside. Distances are in pixels, so `0.5 - distance` cut to [0, 1] is the coverage of an edge pixel.
Square, ellipse and heart have nearly the same area at the same scale, so brightness alone does not tell the shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, floor, sqrt
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float, Int, UInt8
from numba import njit
from torch import Tensor

from unsnarl.arrays import check_range
from unsnarl.data._shapes3d import check_factor_indices, hue_colors
from unsnarl.data._simulator import Simulator, images
from unsnarl.errors import OptionError, UnknownNameError

SHAPES = ("square", "ellipse", "heart")
SQUARE, ELLIPSE = 0, 1

FACTORS = {"shape": 3, "scale": 6, "orientation": 40, "pos_x": 32, "pos_y": 32}  # the grid of dSprites
HELD = {"shape": "square", "scale": 0.75, "orientation": 0.0, "pos_x": 0.5, "pos_y": 0.5}
NAMES = (*FACTORS, "hue")

# Sizes at scale 1 as shares of the image's width. Centres move between MARGIN and 1 - MARGIN, so the largest shape
# stays inside at every angle.
MARGIN = 0.25
SQUARE_HALF = 11 / 64
ELLIPSE_HALF = (15 / 64, 10 / 64)
HEART_WIDTH = 0.364  # of the square the heart is made of
HEART_CENTROID = 0.6566  # its height above the tip, in units of that square
LARGEST_RADIUS = 0.2432  # of the circle that holds any of the shapes


def sprite_grid(factors: Mapping[str, int | Sequence[Any]] | None = None) -> dict[str, np.ndarray]:
    """Factor name -> its values in order, from the number of values or the values themselves.

    A number n means: the first n shapes; n scales from 0.5 to 1; n angles from 0 to 360 degrees, the end left out
    (dSprites repeats the angle 0 there); n positions from 0 to 1; n hues from 0 to 1, the end left out.

    Raises:
        UnknownNameError: a name that is not one of shape, scale, orientation, pos_x, pos_y, hue.
        OptionError: fewer than two values, doubled values, or a value outside its range.

    Examples:
        >>> sprite_grid({"hue": 4, "shape": ["heart", "square"]})
        {'hue': array([0.  , 0.25, 0.5 , 0.75]), 'shape': array(['heart', 'square'], dtype='<U6')}
    """
    grid = {}
    for name, values in (FACTORS if factors is None else factors).items():
        if name not in NAMES:
            raise UnknownNameError("sprite factor", name, list(NAMES))
        if isinstance(values, int | np.integer) and not isinstance(values, bool):
            most = len(SHAPES) if name == "shape" else 10_000
            check_range(int(values), f"factors[{name!r}]", low=2, high=most, integer=True)
            grid[name] = _even_values(name, int(values))
        elif isinstance(values, str) or not isinstance(values, Iterable):
            raise OptionError(
                f"factors[{name!r}]={values!r} must be a number of values or a list of values; use held= for a single one"
            )
        else:
            grid[name] = np.array([_checked_value(name, v, "factors") for v in values])
            if len(np.unique(grid[name])) < max(2, len(grid[name])):
                raise OptionError(f"factors[{name!r}]={list(values)!r} must be two or more different values")
    if not grid:
        raise OptionError("factors names no factor")
    return grid


def render_sprites(
    factor_indices: Int[np.ndarray, "n factor"],
    image_size: int = 64,
    *,
    factors: Mapping[str, int | Sequence[Any]] | None = None,
    held: Mapping[str, Any] | None = None,
    antialias: bool = False,
) -> UInt8[np.ndarray, "n channel height width"]:
    """Images of one sprite each; the same factors give the same pixels in any batch.

    Args:
        factor_indices: one row an image, one column for each of `factors`, in their order.
        image_size: height and width in pixels, at least 8.
        factors: the grid as `sprite_grid` takes it; None is that of dSprites.
        held: values of factors that do not vary, such as `{"shape": "heart"}`; others keep their default (a white
            square of scale 0.75 in the middle).
        antialias: grey edge pixels by coverage; otherwise every pixel is on or off, as in dSprites.

    Returns:
        Three channels when the hue varies or is held, else one.

    Raises:
        DataError: wrong shape, or an index outside its factor's range.
        OptionError, UnknownNameError: as in `sprite_grid`.

    Cost: O(n * pixels of the sprite).
    """
    check_range(image_size, "image_size", low=8, integer=True)
    return _render(factor_indices, image_size, sprite_grid(factors), _checked_held(factors, held), antialias)


class Sprites(Simulator):
    """Square, ellipse and heart with the factors of dSprites, and optionally a hue.

    Orientation is in degrees, counter-clockwise; positions run from 0 (left, top) to 1 (right, bottom) of the range in
    which the largest sprite stays inside.

    Args:
        size: number of images drawn; None renders the whole grid once, in order.
        image_size: height and width in pixels.
        factors: factor name -> number of values or the values, in the order the table should have; None is the grid of
            dSprites (3 shapes, 6 scales, 40 orientations, 32 x 32 positions).
        held: values of factors that do not vary; others keep their default.
        antialias: grey edge pixels by coverage; otherwise every pixel is on or off.
        seed: seed of the draws.
        correlate: pairs of factors drawn together, see `Simulator`.
        leave_out: factor combinations never drawn, see `Simulator`.
        only_left_out: draw only from the combinations left out.

    Examples:
        >>> squares = Sprites(None, image_size=32, factors={"pos_x": 8, "pos_y": 8, "hue": 8, "scale": 4})
        >>> tuple(squares.observations.shape), squares.factor_sizes
        ((2048, 3, 32, 32), [8, 8, 8, 4])
    """

    def __init__(
        self,
        size: int | None = 10_000,
        *,
        image_size: int = 64,
        factors: Mapping[str, int | Sequence[Any]] | None = None,
        held: Mapping[str, Any] | None = None,
        antialias: bool = False,
        seed: int = 0,
        correlate: Mapping[tuple[str, str], float] | None = None,
        leave_out: Iterable[Mapping[str, Any]] = (),
        only_left_out: bool = False,
    ):
        check_range(image_size, "image_size", low=8, integer=True)
        self.image_size, self.antialias = image_size, antialias
        self.grid = sprite_grid(factors)
        self.held = _checked_held(factors, held)
        super().__init__(size, seed=seed, correlate=correlate, leave_out=leave_out, only_left_out=only_left_out)

    def render_indices(self, indices: Int[np.ndarray, "n factor"]) -> Tensor:
        """Images of shape (n, 1 or 3, image_size, image_size), uint8."""
        return images(_render(indices, self.image_size, self.grid, self.held, self.antialias))


def _even_values(name: str, count: int) -> np.ndarray:
    if name == "shape":
        return np.array(SHAPES[:count])
    if name == "scale":
        return np.linspace(0.5, 1.0, count)
    if name == "orientation":
        return 360.0 * np.arange(count) / count
    if name == "hue":
        return np.arange(count) / count
    return np.linspace(0.0, 1.0, count)


def _checked_value(name: str, value: Any, argument: str) -> Any:
    label = f"{argument}[{name!r}]"
    if name == "shape":
        if value not in SHAPES:
            raise OptionError(f"{label} holds {value!r}; choose from {', '.join(SHAPES)}")
        return str(value)
    if name == "orientation":
        check_range(value, label)
    elif name == "scale":
        check_range(value, label, low=0, high=1, open_low=True)
    else:
        check_range(value, label, low=0, high=1)
    return float(value)


def _checked_held(factors: Mapping[str, Any] | None, held: Mapping[str, Any] | None) -> dict[str, Any]:
    checked: dict[str, Any] = dict(HELD)
    for name, value in (held or {}).items():
        if name not in NAMES:
            raise UnknownNameError("sprite factor", name, list(NAMES))
        if name in (FACTORS if factors is None else factors):
            raise OptionError(f"{name!r} is in factors and in held; it can either vary or be held")
        checked[name] = _checked_value(name, value, "held")
    return checked


def _turns(degrees: Float[np.ndarray, " n"]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Cosine and sine, exact at quarter turns: a square turned by 90 degrees is the same square, pixel by pixel."""
    quarter, rest = np.divmod(degrees, 90.0)
    c, s = np.cos(np.radians(rest)), np.sin(np.radians(rest))
    turn = quarter.astype(np.int64) % 4
    return np.choose(turn, [c, -s, -c, s]), np.choose(turn, [s, c, -s, -c])


def _render(
    factor_indices: Int[np.ndarray, "n factor"],
    image_size: int,
    grid: dict[str, np.ndarray],
    held: dict[str, Any],
    antialias: bool,
) -> UInt8[np.ndarray, "n channel height width"]:
    indices = check_factor_indices(factor_indices, grid, [len(values) for values in grid.values()])
    n = len(indices)
    # what each factor does is worked out once for each of its values and looked up for the images
    at = {name: indices[:, column] for column, name in enumerate(grid)}
    value = {name: grid.get(name, np.array([held[name]])) for name in (*HELD, *(["hue"] if "hue" in held else []))}
    value.update(grid)
    at.update({name: np.zeros(n, dtype=np.int64) for name in value if name not in grid})

    shape = np.array([SHAPES.index(s) for s in value["shape"]])
    cosine, sine = _turns(value["orientation"])
    place = np.empty((n, 5))
    place[:, 0] = (image_size * (MARGIN + (1 - 2 * MARGIN) * value["pos_x"]))[at["pos_x"]]
    place[:, 1] = (image_size * (MARGIN + (1 - 2 * MARGIN) * value["pos_y"]))[at["pos_y"]]
    place[:, 2] = (image_size * value["scale"])[at["scale"]]
    place[:, 3], place[:, 4] = cosine[at["orientation"]], sine[at["orientation"]]
    white = np.full((n, 1), 255, dtype=np.uint8)
    colors = hue_colors(value["hue"] % 1.0)[at["hue"]] if "hue" in value else white
    out = np.zeros((n, colors.shape[1], image_size, image_size), dtype=np.uint8)
    _draw(shape[at["shape"]], place, colors, antialias, out)
    return out


@njit(cache=True, nogil=True)
@no_type_check
def _signed_distance(shape, size, u, v):
    """Distance in pixels from a point of the shape's own frame (u right, v up) to its outline, negative inside."""
    if shape == SQUARE:
        p, q = abs(u) - SQUARE_HALF * size, abs(v) - SQUARE_HALF * size
        outside = max(p, 0.0) * max(p, 0.0) + max(q, 0.0) * max(q, 0.0)
        return sqrt(outside) + min(max(p, q), 0.0)
    if shape == ELLIPSE:
        a, b = ELLIPSE_HALF[0] * size, ELLIPSE_HALF[1] * size
        level = sqrt((u / a) ** 2 + (v / b) ** 2)
        slope = sqrt((u / a**2) ** 2 + (v / b**2) ** 2)
        # to first order, which is exact on the outline
        return level * (level - 1.0) / slope if slope > 0.0 else -b
    # heart: a unit square on its tip with half discs on its two upper sides
    unit = HEART_WIDTH * size
    x, y = abs(u) / unit, v / unit + HEART_CENTROID
    if x + y > 1.0:
        return unit * (sqrt((x - 0.25) ** 2 + (y - 0.75) ** 2) - sqrt(0.125))
    along = max(0.5 * (x + y), 0.0)
    to_side = (x - along) ** 2 + (y - along) ** 2
    to_notch = x * x + (y - 1.0) ** 2
    distance = unit * sqrt(min(to_side, to_notch))
    return distance if x > y else -distance


@njit(cache=True, nogil=True)
@no_type_check
def _draw(shapes, place, colors, antialias, out):
    n, channels, height, width = out.shape
    for i in range(n):
        cx, cy, size, c, s = place[i, 0], place[i, 1], place[i, 2], place[i, 3], place[i, 4]
        reach = LARGEST_RADIUS * size + 0.5
        for row in range(max(0, floor(cy - reach)), min(height, ceil(cy + reach))):
            for column in range(max(0, floor(cx - reach)), min(width, ceil(cx + reach))):
                dx, dy = column + 0.5 - cx, cy - row - 0.5
                distance = _signed_distance(shapes[i], size, c * dx + s * dy, c * dy - s * dx)
                # without antialias, a centre on the outline is inside, whatever way the last bit was rounded
                on = 1.0 if distance < 1e-9 else 0.0
                coverage = min(max(0.5 - distance, 0.0), 1.0) if antialias else on
                if coverage > 0.0:
                    for channel in range(channels):
                        out[i, channel, row, column] = np.uint8(coverage * colors[i, channel] + 0.5)
