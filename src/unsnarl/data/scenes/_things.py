"""Six procedural things and a fruit: from a body of six numbers in [0, 1], what each point of the picture is made of.

Every function takes the body, a point (u, v) of the thing's own frame and the width of its dark lines, and returns the
distance to the silhouette (negative inside) and the material there. The thing faces right and fills about -1 to 1.
"""

from __future__ import annotations

from math import floor, sqrt
from typing import no_type_check

from numba import njit

from unsnarl.data.scenes._outlines import block, disc, oval, stick, wedge

MAIN, ACCENT, MARK, RIM, DARK, WHITE, LEAF = range(7)
MATERIALS = 7

# what the six numbers of a body change, for each thing
BODY = {
    "cat": ("ear height", "head size", "body thickness", "tail", "leg length", "muzzle"),
    "fish": ("body height", "tail size", "back fin", "body length", "eye", "belly fin"),
    "house": ("width", "roof height", "eaves", "door place", "chimney", "window"),
    "robot": ("head width", "body width", "antenna", "leg length", "arm", "eyes"),
    "tree": ("pointedness", "crown width", "trunk width", "trunk height", "lobes", "fruits"),
    "cup": ("height", "taper", "handle", "saucer", "band", "band place"),
}
BODY_NUMBERS = 6


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def cat(b, u, v, line):
    """A standing cat that looks at the viewer: two ears, two eyes, muzzle, tail up behind."""
    leg, thick, radius, ear = 0.26 + 0.16 * b[4], 0.46 + 0.18 * b[2], 0.36 + 0.1 * b[1], 0.2 + 0.2 * b[0]
    belly = -0.96 + leg
    back = belly + thick
    hx, hy = 0.96 - radius, min(back + 0.16, 0.97 - ear - 0.8 * radius)
    body = block(u, v, -0.16, 0.5 * (belly + back), 0.58, 0.5 * thick, 0.2)
    legs = min(
        block(u, v, -0.6, -0.96 + 0.5 * leg + 0.1, 0.155, 0.5 * leg + 0.1, 0.04),
        block(u, v, 0.22, -0.96 + 0.5 * leg + 0.1, 0.155, 0.5 * leg + 0.1, 0.04),
    )
    tip = min(back + 0.3 + 0.5 * b[3], 0.85)
    tail = min(
        stick(u, v, -0.62, back - 0.14, -0.84, back + 0.14, 0.125),
        stick(u, v, -0.84, back + 0.14, -0.78 + 0.12 * b[3], tip, 0.125),
    )
    head = oval(u, v, hx, hy, radius, 0.88 * radius)
    base, top = hy + 0.3 * radius, hy + 0.8 * radius + ear
    ears = min(
        wedge(u, v, hx - 0.98 * radius, base, hx - 0.05 * radius, base, hx - 0.82 * radius, top),
        wedge(u, v, hx + 0.05 * radius, base, hx + 0.98 * radius, base, hx + 0.82 * radius, top),
    )
    face = min(head, ears)
    d = min(body, legs, tail, face)
    if face > 0.0:
        if (v > tip - 0.16 and tail < 0.0) or (v < -0.8 and legs < 0.0):
            return d, ACCENT  # the tip of the tail and the paws
        return d, RIM if face < line else MAIN
    ex = 0.46 * radius
    if disc(u, v, hx - ex, hy + 0.12 * radius, 0.115) < 0.0 or disc(u, v, hx + ex, hy + 0.12 * radius, 0.115) < 0.0:
        return d, DARK
    if oval(u, v, hx, hy - 0.48 * radius, (0.4 + 0.25 * b[5]) * radius, 0.36 * radius) < 0.0:
        return d, ACCENT
    return d, MAIN


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def fish(b, u, v, line):
    """A fish from the side: oval body, forked tail, fins in the accent colour, a white eye."""
    high, tail, long = 0.46 + 0.26 * b[0], 0.42 + 0.3 * b[1], 0.6 + 0.12 * b[3]
    cx = 0.97 - long
    body = oval(u, v, cx, -0.04, long, high)
    root = cx - 0.8 * long
    fan = wedge(u, v, root, -0.04, -0.97, -0.04 + tail, -0.97, -0.04 - tail)
    fan = max(fan, -wedge(u, v, -1.3, tail - 0.1, -1.3, -tail, -0.97 + 0.24, -0.04))
    fin = 0.18 + 0.3 * b[2]
    back = wedge(u, v, cx - 0.5 * long, 0.6 * high, cx + 0.4 * long, 0.6 * high, cx - 0.45 * long, 0.85 * high + fin)
    low = 0.06 + 0.26 * b[5]
    belly = wedge(
        u, v, cx + 0.2 * long, -0.65 * high, cx - 0.4 * long, -0.65 * high, cx - 0.4 * long, -0.9 * high - low
    )
    d = min(body, fan, back, belly)
    if body > 0.0:
        return d, RIM if body < line and fan < 0.0 else ACCENT
    ex, ey, radius = cx + 0.5 * long, 0.12 * high, 0.15 + 0.08 * b[4]
    eye = disc(u, v, ex, ey, radius)
    if eye < 0.0:
        return d, DARK if disc(u, v, ex + 0.04, ey, 0.55 * radius) < 0.0 else WHITE
    if stick(u, v, cx + 0.8 * long, -0.32 * high, cx + 0.62 * long, -0.38 * high, 0.04) < 0.0:
        return d, DARK
    return d, MAIN


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def house(b, u, v, line):
    """A house from the front: gable roof in the accent colour, chimney, door and window."""
    wide, roof, eaves = 0.66 + 0.18 * b[0], 0.55 + 0.3 * b[1], 0.06 + 0.12 * b[2]
    top = 0.95 - roof
    walls = block(u, v, 0.0, 0.5 * (top - 0.95), wide, 0.5 * (top + 0.95), 0.0)
    gable = wedge(u, v, -wide - eaves, top - 0.04, wide + eaves, top - 0.04, 0.0, 0.95)
    stack = 0.45 + 0.15 * b[4]
    chimney = block(u, v, stack * wide, 0.45 + 0.2 * b[4], 0.13, 0.32, 0.0)
    d = min(walls, gable, chimney)
    if gable < 0.0:
        return d, ACCENT
    if walls > 0.0:
        return d, RIM if gable < line else MAIN
    if gable < line:
        return d, RIM
    dx = (-0.5 + 0.5 * b[3]) * wide
    tall = 0.3 + 0.1 * (top + 0.95)
    if block(u, v, dx, -0.95 + 0.5 * tall, 0.19, 0.5 * tall + 0.02, 0.0) < 0.0:
        return d, DARK
    wx, wy, pane = dx + 0.5 * wide + 0.25, 0.5 * top - 0.4, 0.16 + 0.06 * b[5]
    wx = min(wx, wide - pane - 0.12)
    pane = block(u, v, wx, wy, pane, pane, 0.0)
    if pane < 0.0:
        return d, WHITE
    return d, RIM if pane < 0.75 * line else MAIN


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def robot(b, u, v, line):
    """A robot: square head that looks ahead, antenna, square body with a panel, one arm stretched forward, two legs."""
    hw, bw, leg, rod = 0.34 + 0.14 * b[0], 0.36 + 0.16 * b[1], 0.2 + 0.18 * b[3], 0.1 + 0.16 * b[2]
    head_top = 0.9 - rod
    head_low = head_top - 0.52
    body_low = -0.96 + leg
    head = block(u, v, 0.06, 0.5 * (head_top + head_low), hw, 0.5 * (head_top - head_low), 0.06)
    body = block(u, v, 0.0, 0.5 * (head_low + body_low) - 0.02, bw, 0.5 * (head_low - body_low) - 0.03, 0.05)
    neck = block(u, v, 0.04, head_low, 0.14, 0.12, 0.0)
    legs = min(
        block(u, v, -0.6 * bw, -0.96 + 0.5 * leg, 0.14, 0.5 * leg + 0.02, 0.0),
        block(u, v, 0.6 * bw, -0.96 + 0.5 * leg, 0.14, 0.5 * leg + 0.02, 0.0),
    )
    feet = min(
        block(u, v, -0.6 * bw + 0.06, -0.89, 0.2, 0.08, 0.0), block(u, v, 0.6 * bw + 0.06, -0.89, 0.2, 0.08, 0.0)
    )
    shoulder = head_low - 0.2
    front = stick(u, v, bw, shoulder, 0.88, shoulder - 0.28 + 0.56 * b[4], 0.11)
    back = stick(u, v, -bw - 0.06, shoulder, -bw - 0.2, shoulder - 0.45, 0.1)
    wire = stick(u, v, 0.06, head_top, 0.06, 0.86, 0.07)
    bulb = disc(u, v, 0.06, 0.86, 0.13)
    limbs = min(front, back, feet)
    d = min(head, body, neck, legs, limbs, wire, bulb)
    if bulb < 0.0:
        return d, ACCENT
    if head < 0.0:
        radius = 0.1 + 0.05 * b[5]
        y = 0.5 * (head_top + head_low) + 0.06
        first, second = disc(u, v, 0.16 - 0.32 * hw, y, radius + 0.03), disc(u, v, 0.16 + 0.42 * hw, y, radius + 0.03)
        eyes = min(first, second)
        if eyes < 0.0:
            return d, DARK if eyes < -0.55 * radius else WHITE
        return d, DARK if block(u, v, 0.18, y - 0.27, 0.5 * hw, 0.045, 0.0) < 0.0 else MAIN
    if head < line and body > -line:
        return d, RIM
    if body < 0.0:
        y = 0.5 * (head_low + body_low)
        return d, ACCENT if block(u, v, 0.04, y, 0.5 * bw, 0.14, 0.0) < 0.0 else MAIN
    if limbs < 0.0:
        return d, RIM if body < line else ACCENT
    return d, RIM if head < line or body < 0.6 * line else MAIN


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def tree(b, u, v, line):
    """A tree: a crown between round and pointed with lobes, a trunk in the accent colour, sometimes fruits."""
    high, wide, thick = 0.3 + 0.25 * b[3], 0.68 + 0.28 * b[1], 0.12 + 0.12 * b[2]
    foot = -0.96 + high
    t = (v - foot) / (0.96 - foot)
    crown = max(foot - v, v - 0.96)
    if 0.0 <= t <= 1.0:
        round_ = 2.0 * sqrt(max(t * (1.0 - t), 0.0))
        point = min(1.0 - t, 9.0 * t)
        tiers = 1.0 + (0.1 + 0.22 * b[4]) * (2.0 * (3.0 * (1.0 - t) - floor(3.0 * (1.0 - t))) - 1.0) * (
            1.0 if t < 0.97 else 0.0
        )
        share = b[0] * b[0] * (3.0 - 2.0 * b[0])
        profile = wide * ((1.0 - share) * round_ + share * point * tiers)
        beside = abs(u) - profile
        crown = max(crown, beside * (0.75 if beside < 0.0 else 0.4))
    else:
        crown = max(crown, abs(u) - wide)
    trunk = block(u, v, 0.0, -0.96 + 0.5 * high + 0.1, thick, 0.5 * high + 0.1, 0.0)
    d = min(trunk, crown)
    if crown > 0.0:
        return d, RIM if crown < line else ACCENT
    if b[5] > 0.45:
        middle = 0.5 * (foot + 0.96) - 0.1
        radius = 0.06 + 0.07 * b[5]
        dots = min(disc(u, v, -0.26, middle - 0.14, radius), disc(u, v, 0.28, middle - 0.08, radius))
        if min(dots, disc(u, v, 0.0, middle + 0.32, radius)) < 0.0:
            return d, ACCENT
    return d, MAIN


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def cup(b, u, v, line):
    """A mug: open above, handle to the right, a band and a saucer in the accent colour."""
    high, taper, grip, plate = 0.62 + 0.26 * b[0], 0.16 * b[1], 0.3 + 0.12 * b[2], 0.6 + 0.34 * b[3]
    low = -0.8
    top = low + 2.0 * high
    if top > 0.86:
        top = 0.86
    half, cx = 0.6, -0.2
    lean = taper * (top - v) / (top - low)
    mug = max((abs(u - cx) - half + lean) * 0.97, low - v, v - top)
    middle = 0.5 * (low + top) + 0.02
    handle = abs(oval(u, v, cx + half - 0.5 * taper, middle, grip + 0.12, 0.8 * grip + 0.14)) - 0.1
    handle = max(handle, cx + half - lean - 0.08 - u)
    rim = oval(u, v, cx, top, half, 0.17)
    saucer = oval(u, v, cx + 0.04, -0.84, plate, 0.12)
    d = min(mug, handle, rim, saucer)
    if rim < 0.0:
        return d, RIM if rim > -0.9 * line else DARK
    if mug < 0.0:
        at = low + (0.3 + 0.4 * b[5]) * (top - low)
        return d, ACCENT if abs(v - at) < 0.08 + 0.16 * b[4] else MAIN
    if handle < 0.0:
        return d, RIM if mug < 0.6 * line else MAIN
    return d, RIM if mug < line else ACCENT


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def orange(u, v, line):
    """An orange with its leaf and stalk; all oranges are alike."""
    fruit = disc(u, v, 0.0, -0.2, 0.77)
    leaf = max(disc(u, v, 0.36, 0.3, 0.6), disc(u, v, 0.42, 1.1, 0.6))
    stalk = stick(u, v, 0.0, 0.5, -0.04, 0.82, 0.08)
    d = min(fruit, leaf, stalk)
    if leaf < 0.0:
        return d, LEAF
    if stalk < 0.0:
        return d, RIM
    if fruit < 0.0 and leaf < line:
        return d, RIM
    return d, WHITE if oval(u, v, -0.34, 0.1, 0.16, 0.11) < 0.0 else MAIN


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def thing(which, b, u, v, line):
    """Silhouette distance and material of thing number `which` (in the order of the words), the fruit last."""
    if which == 0:
        return cat(b, u, v, line)
    if which == 1:
        return fish(b, u, v, line)
    if which == 2:
        return house(b, u, v, line)
    if which == 3:
        return robot(b, u, v, line)
    if which == 4:
        return tree(b, u, v, line)
    if which == 5:
        return cup(b, u, v, line)
    return orange(u, v, line)
