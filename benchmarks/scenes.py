"""Captioned scenes a second on one thread, by part, beside Pillow.

Run `python benchmarks/scenes.py`. The peer draws scenes of plain circles, squares, triangles and rings on plain
backgrounds with Pillow's `ImageDraw` at four times the size and reduces them by averaging, one after the other; the
pictures are compared on the same scenes. It draws no masks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from unsnarl.data.scenes import Scene, SceneObject, SceneStream, render_scenes
from unsnarl.data.scenes._colors import ground_colors, object_colors
from unsnarl.data.scenes._words import COLOR_NAMES

FINE = 4
SHAPES = ("circle", "square", "triangle", "ring")


def seconds(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Best wall and best processor seconds."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return min(walls), min(cpus)


def simple_scenes(count: int) -> list[Scene]:
    rng = np.random.default_rng(0)
    out = []
    for _ in range(count):
        color, background = rng.choice(COLOR_NAMES, 2, replace=False)
        x, y = rng.uniform(0.35, 0.65, 2)
        one = SceneObject(str(rng.choice(SHAPES)), str(color), size="medium", x=float(x), y=float(y))
        out.append(Scene((one,), "plain", str(background)))
    return out


def pillow(scene: Scene, side: int) -> np.ndarray:
    one, big = scene.objects[0], side * FINE
    color = COLOR_NAMES.index(one.color)
    zero = np.zeros(1, dtype=np.int64)
    tone = ground_colors(np.array([COLOR_NAMES.index(scene.background)]), np.array([False]), zero)[0, 0]
    main, _, _, rim, *_ = object_colors(np.array([color]), zero - 1, zero)[0]
    canvas = Image.new("RGB", (big, big), tuple(round(v) for v in tone))
    draw = ImageDraw.Draw(canvas)
    half, cx, cy = 0.5 * one.diameter * big, one.x * big, one.y * big
    line = min(0.85 * side / 32 * FINE, 0.115 * half)
    fill, edge = (tuple(round(v) for v in c) for c in (main, rim))

    def disc(radius: float, color: tuple[int, ...]) -> None:
        draw.ellipse((cx - radius, cy - radius, cx + radius - 1, cy + radius - 1), fill=color)

    if one.kind == "circle":
        disc(0.98 * half, edge)
        disc(0.98 * half - line, fill)
    elif one.kind == "ring":
        disc(0.98 * half, edge)
        disc(0.98 * half - line, fill)
        disc(0.44 * half + line, edge)
        disc(0.44 * half, tuple(round(v) for v in tone))
    elif one.kind == "square":
        for inset, paint in ((0.0, edge), (line, fill)):
            s = 0.88 * half - inset
            draw.rectangle((cx - s, cy - s, cx + s - 1, cy + s - 1), fill=paint)
    else:
        points = np.array([(-0.98, 0.82), (0.98, 0.82), (0.0, -0.92)])
        middle = np.array([0.0, 0.2])
        for share, paint in ((1.0, edge), (1.0 - line / (0.6 * half), fill)):
            corners = middle + share * (points - middle)
            draw.polygon([(cx + half * u, cy + half * v) for u, v in corners], fill=paint)
    return np.asarray(canvas.reduce(FINE)).transpose(2, 0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=3000, help="scenes of the stream")
    parser.add_argument("--repeats", type=int, default=3, help="runs, of which the fastest counts")
    args = parser.parse_args()
    n = args.images
    lines = []
    for side in (32, 64):
        stream = SceneStream(0, image_size=side)
        scenes = stream.scenes(range(n))
        render_scenes(scenes[:2], side)
        if side == 32:
            lines.append(("scenes", n, seconds(lambda s=stream: s.scenes(range(n)), args.repeats)))
            lines.append(("captions", n, seconds(lambda s=stream, d=scenes: s.captions(range(n), d), args.repeats)))
        lines.append((f"images, {side}", n, seconds(lambda d=scenes, k=side: render_scenes(d, k), args.repeats)))
        whole = seconds(lambda s=stream: s.batch(range(n)), args.repeats)
        lines.append((f"whole batch, {side}", n, whole))
    simple = simple_scenes(1000)
    lines.append(("simple scenes, 32", 1000, seconds(lambda: render_scenes(simple), args.repeats)))
    lines.append(("the same by Pillow", 1000, seconds(lambda: [pillow(s, 32) for s in simple], args.repeats)))
    drawn = np.stack([pillow(s, 32) for s in simple])
    gap = np.abs(drawn.astype(int) - render_scenes(simple).images).mean()

    print(f"{'one thread':22}{'a second':>12}{'a CPU second':>14}{'CPU us each':>13}")
    for name, count, (wall, cpu) in lines:
        print(f"{name:22}{count / wall:12,.0f}{count / cpu:14,.0f}{1e6 * cpu / count:13,.0f}")
    print(f"mean |difference| to Pillow on the simple scenes: {gap:.2f} of 255")


if __name__ == "__main__":
    main()
