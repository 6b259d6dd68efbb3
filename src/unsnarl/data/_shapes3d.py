"""A lit room with one object in it: the six factors of DeepMind's 3D Shapes (Kim and Mnih 2018), drawn on demand.

Light does not bounce in this room, so an image is exactly a sum of five grey layers, each times one colour:

    image = floor * floor_rgb + wall * wall_rgb + object * object_rgb + sky * sky_rgb + white

A layer is coverage times shade. It depends on the scene (scale, shape, orientation) and never on the hues: there are
480 scenes, each is ray cast once (4 to 16 rays a pixel) when it is first asked for, and colouring an image is then five
multiplications a channel. This is also what makes the counterfactuals exact: a new hue changes one colour, and only
where its layer is not zero.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import cos, exp, pi, radians, sin, sqrt, tan
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float, Int, UInt8, UInt16
from numba import njit
from torch import Tensor

from unsnarl.arrays import check_range
from unsnarl.data._simulator import Simulator, images
from unsnarl.errors import DataError

SHAPES = ("cube", "cylinder", "sphere", "capsule")
CUBE, CYLINDER, SPHERE = 0, 1, 2

GRID: dict[str, np.ndarray] = {
    "floor_hue": np.arange(10) / 10,
    "wall_hue": np.arange(10) / 10,
    "object_hue": np.arange(10) / 10,
    "scale": np.linspace(0.75, 1.25, 8),
    "shape": np.array(SHAPES),
    "orientation": np.linspace(-30.0, 30.0, 15),
}

SKY_RGB = (150, 195, 240)

LAYERS = 5
FLOOR, WALL, OBJECT, SKY, WHITE = range(LAYERS)
UNIT = 1 << 15  # the fixed-point value of a layer at full coverage and full light

CACHE_BYTES = 1 << 28  # layers of all scenes are kept up to this size (images up to 236 pixels wide)

# The room, in units of the height of the scale-1 cube: y points up, the two walls meet at the corner (-ROOM, -ROOM).
ROOM = 2.7
WALL_HEIGHT = 2.4
EYE_DISTANCE, EYE_HEIGHT = 3.75, 1.7
GAZE_HEIGHT = 0.7
FIELD_OF_VIEW = 46.0
LIGHT = (1.6, 4.4, 3.6)  # the centre of a square lamp
LAMP = 0.9  # half its width; it makes the penumbra

# A pixel and the lamp are each cut into 4 x 4 cells; ray r passes cell PIXEL_CELL[r] and asks whether it sees
# LAMP_CELL[r]. The corner cells come first: a pixel whose four corner rays agree on what they meet needs no more.
PIXEL_CELL = np.array([0, 3, 12, 15, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14])
LAMP_CELL = PIXEL_CELL[[2, 0, 3, 1, 9, 14, 4, 12, 7, 15, 5, 10, 13, 6, 11, 8]]
CORNERS, RAYS = 4, 16


def hue_colors(hues: Float[np.ndarray, " hue"]) -> UInt8[np.ndarray, "hue 3"]:
    """Fully saturated RGB colours for hues in [0, 1) (HSV with saturation and value 1).

    Examples:
        >>> hue_colors(np.array([0.0, 0.5])).tolist()
        [[255, 0, 0], [0, 255, 255]]
    """
    return np.array([[round(255 * c) for c in colorsys.hsv_to_rgb(h, 1, 1)] for h in hues], dtype=np.uint8)


def check_factor_indices(indices: np.ndarray, names: Iterable[str], sizes: Iterable[int]) -> np.ndarray:
    """Factor indices as a contiguous int64 array of shape (n, factor).

    Raises:
        DataError: wrong shape or dtype, or an index outside its factor's range.
    """
    names, limits = list(names), np.array(list(sizes))
    indices = np.asarray(indices)
    if indices.ndim != 2 or indices.shape[1] != len(limits):
        raise DataError(f"factor_indices must have shape (n, {len(limits)}), got {indices.shape}")
    if indices.dtype.kind not in "iu":
        raise DataError(f"factor_indices must be integers, got dtype {indices.dtype}")
    wrong = np.argwhere((indices < 0) | (indices >= limits))
    if len(wrong):
        row, column = wrong[0]
        raise DataError(
            f"factor_indices[{row}] has {names[column]}={indices[row, column]}, "
            f"but {names[column]} has {limits[column]} values (0 to {limits[column] - 1})"
        )
    return np.ascontiguousarray(indices, dtype=np.int64)


def render_shapes3d(
    factor_indices: Int[np.ndarray, "n factor"], image_size: int = 64
) -> UInt8[np.ndarray, "n channel height width"]:
    """Images of the room for grid indices of (floor_hue, wall_hue, object_hue, scale, shape, orientation).

    The same factors give the same pixels in any batch.

    Args:
        factor_indices: one row a scene, each below the factor's size (10, 10, 10, 8, 4, 15).
        image_size: height and width in pixels, at least 8.

    Raises:
        DataError: wrong shape, or an index outside its factor's range.
        OptionError: an image size below 8.

    Cost: O(n * pixels), and once about 20 times that for each different (scale, shape, orientation).
    """
    check_range(image_size, "image_size", low=8, integer=True)
    sizes = [len(values) for values in GRID.values()]
    indices = check_factor_indices(factor_indices, GRID, sizes)
    out = np.empty((len(indices), 3, image_size, image_size), dtype=np.uint8)
    colors = np.empty((len(indices), LAYERS, 3), dtype=np.uint32)
    colors[:, [FLOOR, WALL, OBJECT]] = hue_colors(GRID["floor_hue"])[indices[:, :3]]
    colors[:, SKY] = SKY_RGB
    colors[:, WHITE] = 255

    scenes = np.ravel_multi_index(tuple(indices[:, 3:].T), sizes[3:])
    unique, inverse = np.unique(scenes, return_inverse=True)
    scene_bytes = LAYERS * 2 * image_size**2
    if scene_bytes * np.prod(sizes[3:]) <= CACHE_BYTES:
        layers = _kept_layers(image_size, unique)
        _color(layers, scenes, colors, out, np.arange(len(out)))
        return out
    step = max(1, CACHE_BYTES // scene_bytes)
    for start in range(0, len(unique), step):  # large pictures: a few scenes at a time, none kept
        part = unique[start : start + step]
        rows = np.flatnonzero((inverse >= start) & (inverse < start + step))
        layers = np.empty((len(part), LAYERS, image_size, image_size), dtype=np.uint16)
        _cast_scenes(part, np.arange(len(part)), layers)
        _color(layers, inverse - start, colors, out, rows)
    return out


class Shapes3D(Simulator):
    """The six factors of 3D Shapes in a ray-cast room: floor, wall and object hue, scale, shape, orientation.

    Names, order and sizes of the factors are those of the original data set (480,000 combinations); the pictures are
    our own. Orientation is the view's angle in degrees: the camera walks around the object, so the corner of the room
    moves with it.

    Args:
        size: number of scenes drawn; None renders all 480,000 (5.9 GB at 64 pixels).
        image_size: height and width in pixels.
        seed: seed of the draws.
        correlate: pairs of factors drawn together, see `Simulator`.
        leave_out: factor combinations never drawn, see `Simulator`.
        only_left_out: draw only from the combinations left out.

    Examples:
        >>> rooms = Shapes3D(size=4, seed=0)
        >>> tuple(rooms.observations.shape), rooms.factor_sizes
        ((4, 3, 64, 64), [10, 10, 10, 8, 4, 15])
        >>> rooms.intervene([0], shape="sphere").factors["shape"].tolist()
        ['sphere']
    """

    def __init__(
        self,
        size: int | None = 10_000,
        *,
        image_size: int = 64,
        seed: int = 0,
        correlate: Mapping[tuple[str, str], float] | None = None,
        leave_out: Iterable[Mapping[str, Any]] = (),
        only_left_out: bool = False,
    ):
        self.image_size = image_size
        self.grid = dict(GRID)
        super().__init__(size, seed=seed, correlate=correlate, leave_out=leave_out, only_left_out=only_left_out)

    def render_indices(self, indices: Int[np.ndarray, "n factor"]) -> Tensor:
        """Images of shape (n, 3, image_size, image_size), uint8."""
        return images(render_shapes3d(indices, self.image_size))


@lru_cache(maxsize=2)
def _layer_store(image_size: int) -> tuple[UInt16[np.ndarray, "scene layer height width"], np.ndarray]:
    """Room for the layers of every scene, and which of them are filled; pages are only touched when filled."""
    scenes = len(GRID["scale"]) * len(GRID["shape"]) * len(GRID["orientation"])
    return np.zeros((scenes, LAYERS, image_size, image_size), dtype=np.uint16), np.zeros(scenes, dtype=bool)


def _kept_layers(image_size: int, scenes: np.ndarray) -> UInt16[np.ndarray, "scene layer height width"]:
    layers, filled = _layer_store(image_size)
    missing = scenes[~filled[scenes]]
    if len(missing):
        _cast_scenes(missing, missing, layers)
        filled[missing] = True  # last, so that a second thread at worst casts the same values again
    return layers


def _cast_scenes(scenes: np.ndarray, rows: np.ndarray, layers: np.ndarray) -> None:
    scale, shape, orientation = np.unravel_index(scenes, [len(GRID[n]) for n in ("scale", "shape", "orientation")])
    _cast(
        GRID["scale"][scale],
        np.ascontiguousarray(shape, dtype=np.int64),
        np.radians(GRID["orientation"][orientation]),
        np.ascontiguousarray(rows, dtype=np.int64),
        layers,
    )


# The kernels run on one thread and without the interpreter lock: threads and worker processes can call them side by
# side, which numba's own parallel loops do not allow after a fork.


@njit(cache=True, nogil=True)
@no_type_check
def _color(layers, scenes, colors, out, rows):
    height, width = out.shape[2], out.shape[3]
    for i in rows:
        scene = layers[scenes[i]]
        for channel in range(3):
            floor, wall, thing = colors[i, FLOOR, channel], colors[i, WALL, channel], colors[i, OBJECT, channel]
            sky, white = colors[i, SKY, channel], colors[i, WHITE, channel]
            for y in range(height):
                for x in range(width):
                    total = (
                        np.uint32(scene[FLOOR, y, x]) * floor
                        + np.uint32(scene[WALL, y, x]) * wall
                        + np.uint32(scene[OBJECT, y, x]) * thing
                        + np.uint32(scene[SKY, y, x]) * sky
                        + np.uint32(scene[WHITE, y, x]) * white
                    )
                    out[i, channel, y, x] = (total + np.uint32(UNIT // 2)) >> np.uint32(15)


@njit(cache=True, nogil=True)
@no_type_check
def _hit(shape, size, ox, oy, oz, dx, dy, dz):
    """Distance along the ray to the object that stands on the origin (infinite when missed), and the normal there."""
    far = np.inf
    rise, reach = 0.6 * size, 0.93 * size  # a ball around any of the shapes: most rays miss it
    a, b = dx * dx + dy * dy + dz * dz, ox * dx + (oy - rise) * dy + oz * dz
    if b * b <= a * (ox * ox + (oy - rise) ** 2 + oz * oz - reach * reach):
        return far, 0.0, 0.0, 0.0
    if shape == CUBE:
        half = 0.5 * size
        near, leave = -far, far
        nx, ny, nz = 0.0, 0.0, 0.0
        for axis in range(3):
            o, d = (ox, dx) if axis == 0 else ((oy - half, dy) if axis == 1 else (oz, dz))
            if d == 0.0:
                if abs(o) > half:
                    return far, 0.0, 0.0, 0.0
                continue
            side = 1.0 if d < 0 else -1.0  # the face that is met first looks against the ray
            enter, exit_ = (side * half - o) / d, (-side * half - o) / d
            if enter > near:
                near = enter
                nx, ny, nz = (side, 0.0, 0.0) if axis == 0 else ((0.0, side, 0.0) if axis == 1 else (0.0, 0.0, side))
            leave = min(leave, exit_)
        if near > leave or near <= 0.0:
            return far, 0.0, 0.0, 0.0
        return near, nx, ny, nz

    if shape == SPHERE:
        radius = 0.6 * size
        t = _hit_ball(radius, radius, ox, oy, oz, dx, dy, dz)
        return t, (ox + t * dx) / radius, (oy + t * dy - radius) / radius, (oz + t * dz) / radius

    # a cylinder from low to high, with flat lids or with half balls
    if shape == CYLINDER:
        radius, low, high = 0.5 * size, 0.0, 1.1 * size
    else:
        radius, low, high = 0.4 * size, 0.4 * size, 1.1 * size
    a, b, c = dx * dx + dz * dz, ox * dx + oz * dz, ox * ox + oz * oz - radius * radius
    root = b * b - a * c
    if root > 0.0 and a > 0.0:
        t = (-b - sqrt(root)) / a
        y = oy + t * dy
        if t > 0.0 and low <= y <= high:
            return t, (ox + t * dx) / radius, 0.0, (oz + t * dz) / radius
    if shape == CYLINDER:
        if dy < 0.0 and oy > high:
            t = (high - oy) / dy
            x, z = ox + t * dx, oz + t * dz
            if x * x + z * z <= radius * radius:
                return t, 0.0, 1.0, 0.0
        return far, 0.0, 0.0, 0.0
    best, center = far, 0.0
    for end in (low, high):
        t = _hit_ball(radius, end, ox, oy, oz, dx, dy, dz)
        if t < best:
            best, center = t, end
    return best, (ox + best * dx) / radius, (oy + best * dy - center) / radius, (oz + best * dz) / radius


@njit(cache=True, nogil=True)
@no_type_check
def _hit_ball(radius, height, ox, oy, oz, dx, dy, dz):
    oy -= height
    a = dx * dx + dy * dy + dz * dz
    b = ox * dx + oy * dy + oz * dz
    root = b * b - a * (ox * ox + oy * oy + oz * oz - radius * radius)
    if root <= 0.0:
        return np.inf
    t = (-b - sqrt(root)) / a
    return t if t > 0.0 else np.inf


@njit(cache=True, nogil=True)
@no_type_check
def _hit_room(ex, ez, dx, dy, dz):
    """What a ray from the eye meets when the object is not in its way: distance, normal and surface."""
    t, nx, ny, nz, surface = 1e3, 0.0, 0.0, 0.0, SKY
    if dy < 0.0:
        t, ny, surface = -EYE_HEIGHT / dy, 1.0, FLOOR
    if dx < 0.0 and (-ROOM - ex) / dx < t:
        t, nx, ny, nz, surface = (-ROOM - ex) / dx, 1.0, 0.0, 0.0, WALL
    if dz < 0.0 and (-ROOM - ez) / dz < t:
        t, nx, ny, nz, surface = (-ROOM - ez) / dz, 0.0, 0.0, 1.0, WALL
    if surface == WALL and EYE_HEIGHT + t * dy > WALL_HEIGHT:
        return t, 0.0, 0.0, 0.0, SKY
    return t, nx, ny, nz, surface


@njit(cache=True, nogil=True)
@no_type_check
def _footprint_distance(shape, size, x, z):
    """Distance on the floor from the ring or square where the object touches or nearly touches it."""
    if shape == CUBE:
        u, v = max(abs(x) - 0.5 * size, 0.0), max(abs(z) - 0.5 * size, 0.0)
        return sqrt(u * u + v * v)
    radius = 0.5 if shape == CYLINDER else (0.25 if shape == SPHERE else 0.2)
    return max(sqrt(x * x + z * z) - radius * size, 0.0)


@njit(cache=True, nogil=True)
@no_type_check
def _cast(scales, shapes, angles, rows, layers):
    """Ray cast each scene and write its five layers."""
    n, side = len(scales), layers.shape[2]
    reach = tan(radians(FIELD_OF_VIEW) / 2)
    tilt = (EYE_HEIGHT - GAZE_HEIGHT) / EYE_DISTANCE
    length = sqrt(1 + tilt * tilt)
    total = np.empty(LAYERS)
    for k in range(n):
        shape, size = shapes[k], scales[k]
        around = pi / 4 + angles[k]
        ex, ez = EYE_DISTANCE * cos(around), EYE_DISTANCE * sin(around)
        # camera axes: forward looks at the object, right is level, up completes them
        fx, fy, fz = -cos(around) / length, -tilt / length, -sin(around) / length
        rx, rz = sin(around), -cos(around)
        ux, uy, uz = -rz * fy, rz * fx - rx * fz, rx * fy
        for row in range(side):
            for column in range(side):
                total[:] = 0.0
                first_met, agree, count = -1, True, 0
                while count < CORNERS or (not agree and count < RAYS):
                    cell, lamp = PIXEL_CELL[count], LAMP_CELL[count]
                    sx = (column + (cell % 4 + 0.5) / 4) / side
                    sy = (row + (cell // 4 + 0.5) / 4) / side
                    px, py = (2 * sx - 1) * reach, (1 - 2 * sy) * reach
                    dx, dy, dz = fx + px * rx + py * ux, fy + py * uy, fz + px * rz + py * uz
                    norm = 1 / sqrt(dx * dx + dy * dy + dz * dz)
                    dx, dy, dz = dx * norm, dy * norm, dz * norm
                    lx = LIGHT[0] + LAMP * (2 * (lamp % 4 + 0.5) / 4 - 1)
                    ly = LIGHT[1]
                    lz = LIGHT[2] + LAMP * (2 * (lamp // 4 + 0.5) / 4 - 1)

                    t, nx, ny, nz = _hit(shape, size, ex, EYE_HEIGHT, ez, dx, dy, dz)
                    surface = OBJECT
                    if t == np.inf:
                        t, nx, ny, nz, surface = _hit_room(ex, ez, dx, dy, dz)
                    x, y, z = ex + t * dx, EYE_HEIGHT + t * dy, ez + t * dz
                    tx, ty, tz = lx - x, ly - y, lz - z
                    distance = sqrt(tx * tx + ty * ty + tz * tz)
                    facing = (nx * tx + ny * ty + nz * tz) / distance
                    lit = facing > 0.0
                    if surface == SKY:
                        blue = min(max(2.2 * dy, 0.0), 1.0)
                        total[SKY] += blue
                        total[WHITE] += 0.96 * (1 - blue)
                    elif surface == OBJECT:
                        shade = 0.33 + 0.11 * ny - 0.14 * exp(-y / (0.25 * size)) + 0.55 * max(facing, 0.0)
                        hx, hy, hz = tx / distance - dx, ty / distance - dy, tz / distance - dz
                        shine = (nx * hx + ny * hy + nz * hz) / sqrt(hx * hx + hy * hy + hz * hz)
                        gloss = 0.4 * shine**40 if lit and shine > 0.0 else 0.0
                        total[OBJECT] += (1 - gloss) * shade
                        total[WHITE] += gloss
                    else:
                        # corners are darker: walls and object keep part of the ambient light away
                        corner = x + ROOM if nz > 0 else (z + ROOM if nx > 0 else min(x, z) + ROOM)
                        ambient = 0.36 * (1 - 0.35 * exp(-corner / 0.7))
                        if surface == FLOOR:
                            open_floor = min(_footprint_distance(shape, size, x, z) / (0.75 * size), 1.0)
                            ambient *= 1 - 0.6 * (1 - open_floor) ** 3
                        else:
                            ambient *= 1 - 0.35 * exp(-y / 0.7)
                        lit = _hit(shape, size, x, y, z, tx, ty, tz)[0] == np.inf
                        direct = 0.62 * max(facing, 0.0) * min(37.0 / (distance * distance), 1.0) if lit else 0.0
                        total[surface] += ambient + direct

                    met = 8 * surface + 4 * (nx == 1.0) + 2 * (ny == 1.0) + lit
                    if count == 0:
                        first_met = met
                    agree = agree and met == first_met
                    count += 1
                for layer in range(LAYERS):
                    layers[rows[k], layer, row, column] = np.uint16(total[layer] / count * UNIT + 0.5)
