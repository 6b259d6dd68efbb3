"""Images a second of the three renderers at 64 x 64 on one thread, beside the plain way to draw the same pictures.

Run `python benchmarks/rendering.py`. Peers, each drawing one image after the other:

- shapes3d: a ray caster in NumPy, all pixels of one image at once, 2 x 2 rays a pixel;
- sprites: the outline tested for all pixels of one image at once in NumPy;
- glyphs: Pillow's `ImageDraw.text` with the fonts opened beforehand.

Every peer gets the same scenes, and the pictures are compared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from unsnarl.data import _glyphs as letters
from unsnarl.data import _shapes3d as room
from unsnarl.data import _sprites as flat
from unsnarl.data._glyphs import GlyphOptions, render_glyphs
from unsnarl.data._shapes3d import render_shapes3d
from unsnarl.data._sprites import render_sprites


def best_seconds(draw: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        draw()
        times.append(time.perf_counter() - start)
    return min(times)


def random_rows(sizes: list[int], count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([rng.integers(s, size=count) for s in sizes], axis=1)


# --- shapes3d -------------------------------------------------------------------------------------------------------


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=-1)


def _ball(radius: float, height: float, o: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    o = o - np.array([0, height, 0])
    a, b, c = _dot(d, d), _dot(o, d), _dot(o, o) - radius**2
    root = b * b - a * c
    t = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
    t = np.where(t > 0, t, np.inf)
    return t, (o + np.where(np.isinf(t), 0, t)[..., None] * d) / radius


def _box(size: float, o: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    o = o - np.array([0, size / 2, 0])
    d = np.where(d == 0, 1e-12, d)
    side = -np.sign(d)
    enter, leave = (side * size / 2 - o) / d, (-side * size / 2 - o) / d
    axis = enter.argmax(axis=-1)
    near = enter.max(axis=-1)
    t = np.where((near <= leave.min(axis=-1)) & (near > 0), near, np.inf)
    return t, np.eye(3)[axis] * side


def _tube(radius: float, low: float, high: float, o: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flat_o, flat_d = o * [1, 0, 1], d * [1, 0, 1]
    a, b, c = _dot(flat_d, flat_d), _dot(flat_o, flat_d), _dot(flat_o, flat_o) - radius**2
    root = b * b - a * c
    t = (-b - np.sqrt(np.maximum(root, 0))) / a
    y = o[..., 1] + t * d[..., 1]
    t = np.where((root > 0) & (t > 0) & (y >= low) & (y <= high), t, np.inf)
    return t, (flat_o + np.where(np.isinf(t), 0, t)[..., None] * flat_d) / radius


def _hit(shape: int, size: float, o: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    o, d = np.broadcast_arrays(o, d)
    if shape == 0:
        return _box(size, o, d)
    if shape == 2:
        return _ball(0.6 * size, 0.6 * size, o, d)
    if shape == 1:
        parts = [_tube(0.5 * size, 0, 1.1 * size, o, d)]
        t = (1.1 * size - o[..., 1]) / np.where(d[..., 1] == 0, 1e-12, d[..., 1])
        at = o + t[..., None] * d
        inside = (at[..., 0] ** 2 + at[..., 2] ** 2 <= (0.5 * size) ** 2) & (d[..., 1] < 0) & (o[..., 1] > 1.1 * size)
        parts.append((np.where(inside, t, np.inf), np.broadcast_to([0.0, 1.0, 0.0], at.shape)))
    else:
        parts = [_tube(0.4 * size, 0.4 * size, 1.1 * size, o, d)]
        parts += [_ball(0.4 * size, height * size, o, d) for height in (0.4, 1.1)]
    t = np.stack([p[0] for p in parts])
    nearest = t.argmin(axis=0)
    normal = np.take_along_axis(np.stack([p[1] for p in parts]), nearest[None, ..., None], axis=0)[0]
    return t.min(axis=0), normal


def plain_room(row: np.ndarray, side: int = 64) -> np.ndarray:
    """One image of the room by NumPy, straight from the geometry."""
    names = list(room.GRID)
    size, shape = room.GRID["scale"][row[3]], int(row[4])
    colors = room.hue_colors(room.GRID["floor_hue"][row[:3]]).astype(float)
    around = np.pi / 4 + np.radians(room.GRID[names[5]][row[5]])
    eye = np.array([room.EYE_DISTANCE * np.cos(around), room.EYE_HEIGHT, room.EYE_DISTANCE * np.sin(around)])
    forward = np.array([0, room.GAZE_HEIGHT, 0]) - eye
    forward /= np.linalg.norm(forward)
    right = np.array([np.sin(around), 0, -np.cos(around)])
    up = np.cross(right, forward)
    cells = (np.arange(2 * side) + 0.5) / (2 * side)
    reach = np.tan(np.radians(room.FIELD_OF_VIEW) / 2)
    px, py = (2 * cells - 1)[None, :, None] * reach, (1 - 2 * cells)[:, None, None] * reach
    d = forward + px * right + py * up
    d /= np.linalg.norm(d, axis=-1, keepdims=True)

    with np.errstate(divide="ignore", invalid="ignore"):
        t, normal = _hit(shape, size, eye, d)
        surface = np.where(np.isinf(t), room.SKY, room.OBJECT)
        t_room = np.full(t.shape, 1e3)
        room_normal = np.zeros(d.shape)
        room_surface = np.full(t.shape, room.SKY)
        for axis, at, name in ((1, 0.0, room.FLOOR), (0, -room.ROOM, room.WALL), (2, -room.ROOM, room.WALL)):
            distance = (at - eye[axis]) / d[..., axis]
            nearer = (d[..., axis] < 0) & (distance < t_room)
            t_room = np.where(nearer, distance, t_room)
            room_normal[nearer] = np.eye(3)[axis]
            room_surface[nearer] = name
    above = (room_surface == room.WALL) & (eye[1] + t_room * d[..., 1] > room.WALL_HEIGHT)
    room_surface[above] = room.SKY
    behind = np.isinf(t)
    t = np.where(behind, t_room, t)
    normal = np.where(behind[..., None], room_normal, normal)
    surface = np.where(behind, room_surface, surface)

    at = eye + t[..., None] * d
    lamp = np.stack(np.broadcast_arrays(*np.meshgrid([-0.5, 0.5], [-0.5, 0.5])), axis=-1) * room.LAMP
    lamp = np.tile(lamp, (side, side, 1))  # every ray of a pixel looks at another quarter of the lamp
    to_lamp = np.array(room.LIGHT) + np.stack([lamp[..., 0], np.zeros(t.shape), lamp[..., 1]], axis=-1) - at
    distance = np.linalg.norm(to_lamp, axis=-1)
    facing = _dot(normal, to_lamp) / distance
    y = at[..., 1]
    lit = np.isinf(_hit(shape, size, at, to_lamp)[0])
    shade = 0.33 + 0.11 * normal[..., 1] - 0.14 * np.exp(-y / (0.25 * size)) + 0.55 * np.maximum(facing, 0)
    half = to_lamp / distance[..., None] - d
    shine = _dot(normal, half) / np.linalg.norm(half, axis=-1)
    gloss = np.where((facing > 0) & (shine > 0), 0.4 * np.abs(shine) ** 40, 0)
    x, z = at[..., 0] + room.ROOM, at[..., 2] + room.ROOM
    corner = np.where(normal[..., 2] > 0, x, np.where(normal[..., 0] > 0, z, np.minimum(x, z)))
    ambient = 0.36 * (1 - 0.35 * np.exp(-corner / 0.7))
    if shape == 0:
        gap = np.hypot(*(np.maximum(np.abs(at[..., k]) - size / 2, 0) for k in (0, 2)))
    else:
        gap = np.maximum(np.hypot(at[..., 0], at[..., 2]) - (0, 0.5, 0.25, 0.2)[shape] * size, 0)
    ambient *= np.where(
        surface == room.FLOOR,
        1 - 0.6 * (1 - np.minimum(gap / (0.75 * size), 1)) ** 3,
        1 - 0.35 * np.exp(-np.maximum(y, 0) / 0.7),
    )
    direct = np.where(lit, 0.62 * np.maximum(facing, 0) * np.minimum(37 / distance**2, 1), 0)
    grey = ambient + direct
    blue = np.clip(2.2 * d[..., 1], 0, 1)[..., None]
    image = blue * np.array(room.SKY_RGB) + 0.96 * (1 - blue) * 255
    for k in (room.FLOOR, room.WALL):
        image = np.where((surface == k)[..., None], grey[..., None] * colors[k], image)
    thing = ((1 - gloss) * shade)[..., None] * colors[2] + gloss[..., None] * 255
    image = np.where((surface == room.OBJECT)[..., None], thing, image)
    image = image.reshape(side, 2, side, 2, 3).mean(axis=(1, 3))
    return np.round(image).astype(np.uint8).transpose(2, 0, 1)


# --- sprites --------------------------------------------------------------------------------------------------------


def plain_sprite(row: np.ndarray, grid: dict[str, np.ndarray], side: int = 64) -> np.ndarray:
    """One black and white sprite by NumPy: is each pixel's centre inside the outline?"""
    shape, scale, degrees, pos_x, pos_y = (values[i] for values, i in zip(grid.values(), row, strict=True))
    rows, columns = np.mgrid[:side, :side] + 0.5
    dx, dy = columns - side * (0.25 + 0.5 * pos_x), side * (0.25 + 0.5 * pos_y) - rows
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    u, v = (c * dx + s * dy) / (scale * side), (c * dy - s * dx) / (scale * side)
    if shape == "square":
        inside = np.maximum(np.abs(u), np.abs(v)) < flat.SQUARE_HALF + 1e-9
    elif shape == "ellipse":
        inside = (u / flat.ELLIPSE_HALF[0]) ** 2 + (v / flat.ELLIPSE_HALF[1]) ** 2 < 1 + 1e-9
    else:
        x, y = np.abs(u) / flat.HEART_WIDTH, v / flat.HEART_WIDTH + flat.HEART_CENTROID
        inside = ((x < y) & (x + y <= 1)) | ((x - 0.25) ** 2 + (y - 0.75) ** 2 < 0.125) & (x + y > 1)
    return (inside * np.uint8(255))[None]


# --- glyphs ---------------------------------------------------------------------------------------------------------


def plain_glyphs(rows: np.ndarray, options: GlyphOptions, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
    """Glyphs by Pillow's text drawing, each font and size opened once."""
    shares, side = options.em_shares, options.image_size
    fonts = {
        (path, s): ImageFont.truetype(path, shares[s] * side, layout_engine=ImageFont.Layout.BASIC)
        for path in options.files
        for s in range(options.sizes)
    }
    rise = {key: -font.getbbox("H", anchor="ls")[1] / 2 for key, font in fonts.items()}
    out = np.empty((len(rows), 1, side, side), dtype=np.uint8)
    for i, (c, family, weight, slant, size, x, y) in enumerate(rows.tolist()):
        key = options.files[(family * 2 + weight) * 2 + slant], size
        font, character = fonts[key], options.characters[c]
        canvas = Image.new("L", (side, side))
        place = (xs[x] - font.getlength(character) / 2, ys[y] + rise[key])
        ImageDraw.Draw(canvas).text(place, character, fill=255, font=font, anchor="ls")
        out[i, 0] = np.asarray(canvas)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000, help="images a renderer draws")
    parser.add_argument("--peer-images", type=int, default=200, help="images a peer draws (glyphs: ten times as many)")
    parser.add_argument("--repeats", type=int, default=3, help="runs, of which the fastest counts")
    args = parser.parse_args()
    n, few = args.images, args.peer_images
    lines = []

    rows = random_rows([len(v) for v in room.GRID.values()], n)
    render_shapes3d(rows[:1])
    room._layer_store.cache_clear()
    cold = best_seconds(lambda: render_shapes3d(rows), 1)
    ours = best_seconds(lambda: render_shapes3d(rows), args.repeats)
    plain = np.empty((few, 3, 64, 64), dtype=np.uint8)

    def draw_rooms() -> None:
        for i in range(few):
            plain[i] = plain_room(rows[i])

    peer = best_seconds(draw_rooms, 1)
    gap = np.abs(render_shapes3d(rows[:few]).astype(int) - plain).mean()
    lines.append(("shapes3d, first use", n / cold, few / peer, gap))
    lines.append(("shapes3d", n / ours, few / peer, gap))

    grid = flat.sprite_grid()
    rows = random_rows([len(v) for v in grid.values()], n)
    plain = np.empty((few, 1, 64, 64), dtype=np.uint8)

    def draw_sprites() -> None:
        for i in range(few):
            plain[i] = plain_sprite(rows[i], grid)

    peer = best_seconds(draw_sprites, args.repeats)
    for antialias in (False, True):
        render_sprites(rows[:1], antialias=antialias)
        ours = best_seconds(lambda smooth=antialias: render_sprites(rows, antialias=smooth), args.repeats)
        gap = np.abs(render_sprites(rows[:few], antialias=antialias).astype(int) - plain).mean()
        lines.append(("sprites, antialiased" if antialias else "sprites", n / ours, few / peer, gap))

    options = GlyphOptions.of()
    rows = random_rows([len(v) for v in options.grid.values()], n)
    start = time.perf_counter()
    render_glyphs(rows[:1])
    setup = time.perf_counter() - start
    ours = best_seconds(lambda: render_glyphs(rows), args.repeats)
    many = rows[: 10 * few]
    atlas = letters._atlas(options)
    peer = best_seconds(lambda: plain_glyphs(many, options, atlas.rows, atlas.columns), args.repeats)
    gap = np.abs(render_glyphs(many).astype(int) - plain_glyphs(many, options, atlas.rows, atlas.columns)).mean()
    lines.append(("glyphs", n / ours, len(many) / peer, gap))

    print(f"{'64 x 64, one thread':24}{'images/s':>12}{'peer':>12}{'ratio':>10}{'mean |difference|':>20}")
    for name, ours, peer, gap in lines:
        print(f"{name:24}{ours:12,.0f}{peer:12,.0f}{ours / peer:9.1f}x{gap:20.2f}")
    print(f"glyphs: {setup:.1f} s once to rasterise {len(options.characters)} characters in {len(options.files)} faces")


if __name__ == "__main__":
    main()
