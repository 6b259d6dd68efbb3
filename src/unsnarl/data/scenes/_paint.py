"""The kernel that paints scenes: 4 x 4 samples a pixel, and how many of them show each object.

The first object from the front that covers a sample gives its colour. The counts of samples are exact, so a mask knows
every pixel an object touches, and a pixel that no sample of an object touches is the same with and without it, to the
last bit. A mosaic averages colours and counts over the same tiles, so this holds there too.
"""

from __future__ import annotations

from math import floor, pi, sin
from typing import no_type_check

import numpy as np
from numba import njit

from unsnarl.data.scenes._colors import MOSAIC, NEON, PASTEL, SKETCH
from unsnarl.data.scenes._outlines import primitive
from unsnarl.data.scenes._things import MAIN, MARK, RIM, thing
from unsnarl.data.scenes._words import PATTERNS, PRIMITIVES, TEXTURES

FINE = 4  # samples a pixel along each side
SAMPLES = FINE * FINE
STRIPED, CHECKERED, DOTTED, WAVY, GRADIENT = range(1, len(PATTERNS))
SPOTTED, BANDED, CHECKED = range(1, len(TEXTURES))
FIRST_THING = len(PRIMITIVES)

# the numbers of an object: centre and half diameter in pixels, cosine and sine of the tilt, mirrors, body
CENTER_X, CENTER_Y, HALF, COSINE, SINE, MIRROR_X, MIRROR_Y, BODY_AT = range(8)

FRAME = 16  # the frame is a sixteenth of the width
FAR = 2.2  # pixels from the middle of a pixel to a silhouette that surely does not touch it (distances may be rough)
WIDEST_LINE = 0.115  # dark lines of small objects are narrower, so that the colour stays
TILES = 16  # tiles of a mosaic along each side


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _part(x):
    """The fractional part."""
    return x - floor(x)


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _ground(pattern, x, y, shift_x, shift_y):
    """Share of the second tone of a background at (x, y) in [0, 1]."""
    if pattern == STRIPED:
        return 1.0 if _part(5.0 * x + shift_x) < 0.5 else 0.0
    if pattern == CHECKERED:
        a, b = floor(6.0 * x + 2.0 * shift_x), floor(6.0 * y + 2.0 * shift_y)
        return 1.0 if _part(0.5 * (a + b)) == 0.0 else 0.0
    if pattern == DOTTED:
        b = 5.0 * y + shift_y
        a = 5.0 * x + shift_x + _part(0.5 * floor(b))
        a, b = _part(a) - 0.5, _part(b) - 0.5
        return 1.0 if a * a + b * b < 0.095 else 0.0
    if pattern == WAVY:
        b = 4.0 * y + shift_y + 0.28 * sin(2 * pi * (2.0 * x + shift_x))
        return 1.0 if _part(b) < 0.5 else 0.0
    if pattern == GRADIENT:
        return y
    return 0.0


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _marked(texture, kind, u, v):
    """Whether a point of an object's own frame lies on a mark of its texture."""
    if texture == SPOTTED:
        b = 1.75 * v + 0.25
        a = 1.75 * u + _part(0.5 * floor(b))
        a, b = _part(a) - 0.5, _part(b) - 0.5
        return a * a + b * b < 0.085
    if texture == BANDED:
        # a cat and a fish wear their bands upright, and a cat has room for narrow ones only
        if kind == FIRST_THING:
            return _part(2.1 * u + 0.45) < 0.5
        w = u if kind == FIRST_THING + 1 else v
        return _part(1.6 * w + 0.2) < 0.42
    if texture == CHECKED:
        return _part(0.5 * (floor(2.6 * u) + floor(2.6 * v))) == 0.0
    return False


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _look(kind, numbers, i, k, dx, dy, line):
    """Distance to an object's silhouette, material and place in its own frame, at an offset from its centre in pixels."""
    c, s, half = numbers[i, k, COSINE], numbers[i, k, SINE], numbers[i, k, HALF]
    u = numbers[i, k, MIRROR_X] * (c * dx + s * dy) / half
    v = numbers[i, k, MIRROR_Y] * (c * dy - s * dx) / half
    beyond = max(abs(u), abs(v)) - 1.0
    if beyond > 0.0:
        return beyond, MAIN, u, v
    if kind < FIRST_THING:
        return primitive(kind, u, v), MAIN, u, v
    body = (
        numbers[i, k, BODY_AT],
        numbers[i, k, BODY_AT + 1],
        numbers[i, k, BODY_AT + 2],
        numbers[i, k, BODY_AT + 3],
        numbers[i, k, BODY_AT + 4],
        numbers[i, k, BODY_AT + 5],
    )
    distance, material = thing(kind - FIRST_THING, body, u, v, line)
    return distance, material, u, v


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def paint(grounds, tones, kinds, textures, numbers, colors, order, styles, frames, out, seen, whole):
    """Paint every scene into `out` (n, 3, side, side) and the samples of its objects into `seen` and `whole`.

    Args:
        grounds: (n, 3) pattern, and its two shifts.
        tones: (n, 2, 3) colours of the background.
        kinds: (n, object), -1 where there is none.
        textures: (n, object).
        numbers: (n, object, 13).
        colors: (n, object, material, 3).
        order: (n, object) indices from the front to the back.
        styles: (n,).
        frames: (n,) 0 none, 1 black, 2 white.
        out: images.
        seen: (n, object, side, side) share of 0..255 of a pixel that shows the object.
        whole: the same without what lies in front of it.
    """
    n, objects = kinds.shape
    side = out.shape[2]
    image = np.empty((side, side, 3))
    counts = np.empty((2, objects, side, side), dtype=np.int64)
    shown, nearby = np.empty(objects, dtype=np.int64), np.empty(objects, dtype=np.int64)
    reaches, lines = np.empty(objects), np.empty(objects)
    step, unit = 1.0 / FINE, side / 32.0
    for i in range(n):
        style, pattern = styles[i], int(grounds[i, 0])
        shift_x, shift_y = grounds[i, 1], grounds[i, 2]
        counts[:] = 0
        width = (1.35 if style == NEON else 0.85) * unit  # of the dark lines, in pixels
        if style == PASTEL:
            width *= 0.8
        present = 0  # from the front to the back
        for place in range(objects):
            k = order[i, place]
            if kinds[i, k] >= 0:
                shown[present] = k
                reaches[k] = numbers[i, k, HALF] * (abs(numbers[i, k, COSINE]) + abs(numbers[i, k, SINE]))
                lines[k] = min(width / numbers[i, k, HALF], WIDEST_LINE)
                present += 1
        even = pattern == 0 and style != SKETCH
        for row in range(side):
            for column in range(side):
                near = 0
                for place in range(present):
                    k = shown[place]
                    dx, dy = column + 0.5 - numbers[i, k, CENTER_X], numbers[i, k, CENTER_Y] - row - 0.5
                    if abs(dx) > reaches[k] + 0.5 or abs(dy) > reaches[k] + 0.5:
                        continue
                    distance, _, _, _ = _look(kinds[i, k], numbers, i, k, dx, dy, lines[k])
                    if distance * numbers[i, k, HALF] < FAR:
                        nearby[near] = k
                        near += 1
                if near == 0 and even:
                    image[row, column] = tones[i, 0]
                    continue
                red, green, blue = 0.0, 0.0, 0.0
                for sample in range(SAMPLES):
                    x, y = column + (sample % FINE + 0.5) * step, row + (sample // FINE + 0.5) * step
                    hit, hit_material = -1, -1
                    for place in range(near):
                        k = nearby[place]
                        dx, dy = x - numbers[i, k, CENTER_X], numbers[i, k, CENTER_Y] - y
                        distance, material, u, v = _look(kinds[i, k], numbers, i, k, dx, dy, lines[k])
                        if distance >= 0.0:
                            continue
                        counts[1, k, row, column] += 1
                        if hit < 0:
                            if distance > -lines[k]:
                                material = RIM
                            elif material == MAIN and textures[i, k] > 0 and _marked(textures[i, k], kinds[i, k], u, v):
                                material = MARK
                            hit, hit_material = k, material
                            counts[0, k, row, column] += 1
                    if hit >= 0:
                        r = colors[i, hit, hit_material, 0]
                        g = colors[i, hit, hit_material, 1]
                        b = colors[i, hit, hit_material, 2]
                    else:
                        share = _ground(pattern, x / side, y / side, shift_x, shift_y)
                        r = (1.0 - share) * tones[i, 0, 0] + share * tones[i, 1, 0]
                        g = (1.0 - share) * tones[i, 0, 1] + share * tones[i, 1, 1]
                        b = (1.0 - share) * tones[i, 0, 2] + share * tones[i, 1, 2]
                    if style == SKETCH and _part(0.25 * (x + y) / unit) < 0.25 and hit_material != RIM:
                        strength = 0.62 if hit >= 0 else 0.86  # hatching
                        r, g, b = strength * r, strength * g, strength * b
                    red, green, blue = red + r, green + g, blue + b
                image[row, column, 0] = red / SAMPLES
                image[row, column, 1] = green / SAMPLES
                image[row, column, 2] = blue / SAMPLES
        if style == MOSAIC:
            _tile(image, counts)
        edge = side // FRAME if frames[i] > 0 else 0
        level = SAMPLES * (1 if style != MOSAIC else (side // TILES) ** 2)
        for row in range(side):
            for column in range(side):
                framed = min(row, column, side - 1 - row, side - 1 - column) < edge
                for channel in range(3):
                    value = 255.0 * (frames[i] - 1) if framed else image[row, column, channel]
                    out[i, channel, row, column] = np.uint8(min(max(value, 0.0), 255.0) + 0.5)
                for k in range(objects):
                    for layer, target in ((0, seen), (1, whole)):
                        count = counts[layer, k, row, column]
                        share = (255 * count + level - 1) // level  # any sample at all shows
                        if framed and layer == 0:
                            share = 0
                        target[i, k, row, column] = np.uint8(share)


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _tile(image, counts):
    """A mosaic of 16 x 16 stones: each one colour, some lighter, with dark joints to the right and below."""
    side = image.shape[0]
    edge = side // TILES
    for top in range(TILES):
        for left in range(TILES):
            rows, columns = slice(top * edge, (top + 1) * edge), slice(left * edge, (left + 1) * edge)
            light = 1.0 + 0.1 * (((5 * top + 3 * left + (top * left) % 7) % 8) / 3.5 - 1.0)
            for channel in range(3):
                mean = image[rows, columns, channel].mean() * light
                image[rows, columns, channel] = mean
                joint = 0.8 * mean
                image[(top + 1) * edge - 1, columns, channel] = joint
                image[rows, (left + 1) * edge - 1, channel] = joint
            for layer in range(2):
                for k in range(counts.shape[1]):
                    counts[layer, k, rows, columns] = counts[layer, k, rows, columns].sum()
