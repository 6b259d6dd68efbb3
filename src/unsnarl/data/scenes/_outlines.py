"""Signed distances to the outlines of simple figures and of the eight primitives.

A point is (u, v) in an object's own frame, u to the right and v up; an object fills the square from -1 to 1. Distances
are in the same unit and negative inside. They are exact or exact to first order near the outline, which is what the
dark rim of an object needs.
"""

from __future__ import annotations

from math import atan2, cos, floor, pi, sin, sqrt
from typing import no_type_check

from numba import njit

from unsnarl.data.scenes._words import PRIMITIVES

CIRCLE, SQUARE, TRIANGLE, DIAMOND, STAR, CROSS, RING, HEART = range(len(PRIMITIVES))

HEART_UNIT = 1.12  # side of the square the heart is made of
HEART_TIP = -0.92  # height of its tip
STAR_OUTER, STAR_INNER = 1.05, 0.5  # radii of the star's tips and inner corners
TIP_X, TIP_Y = STAR_INNER * sin(pi / 5), STAR_INNER * cos(pi / 5)
FIFTH = 2 * pi / 5


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def disc(u, v, x, y, radius):
    """A disc about (x, y)."""
    return sqrt((u - x) ** 2 + (v - y) ** 2) - radius


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def oval(u, v, x, y, a, b):
    """An ellipse with half axes a and b, exact to first order on the outline."""
    p, q = (u - x) / a, (v - y) / b
    level = sqrt(p * p + q * q)
    slope = sqrt((p / a) ** 2 + (q / b) ** 2)
    return level * (level - 1.0) / slope if slope > 1e-9 else -min(a, b)


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def block(u, v, x, y, a, b, corner):
    """A rectangle of half sizes a and b with rounded corners."""
    p, q = abs(u - x) - a + corner, abs(v - y) - b + corner
    outside = sqrt(max(p, 0.0) ** 2 + max(q, 0.0) ** 2)
    return outside + min(max(p, q), 0.0) - corner


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def stick(u, v, x0, y0, x1, y1, radius):
    """A line from (x0, y0) to (x1, y1) with round ends."""
    px, py, dx, dy = u - x0, v - y0, x1 - x0, y1 - y0
    t = min(max((px * dx + py * dy) / (dx * dx + dy * dy), 0.0), 1.0)
    return sqrt((px - t * dx) ** 2 + (py - t * dy) ** 2) - radius


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def half_plane(u, v, x0, y0, x1, y1):
    """The points to the left of the line from (x0, y0) to (x1, y1)."""
    dx, dy = x1 - x0, y1 - y0
    return (dy * (u - x0) - dx * (v - y0)) / sqrt(dx * dx + dy * dy)


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def wedge(u, v, x0, y0, x1, y1, x2, y2):
    """A triangle whose corners are given counter-clockwise; exact inside, at most too small outside."""
    first, second = half_plane(u, v, x0, y0, x1, y1), half_plane(u, v, x1, y1, x2, y2)
    return max(first, second, half_plane(u, v, x2, y2, x0, y0))


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def star(u, v):
    """A star of five points, one of them up."""
    radius = sqrt(u * u + v * v)
    turn = atan2(u, v)  # from the upper point, clockwise
    turn = abs(turn - FIFTH * floor(turn / FIFTH + 0.5))
    # within half a point: the edge from the tip to the inner corner
    return half_plane(radius * sin(turn), radius * cos(turn), TIP_X, TIP_Y, 0.0, STAR_OUTER)


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def heart(u, v):
    """A square on its tip with half discs on its two upper sides."""
    x, y = abs(u) / HEART_UNIT, (v - HEART_TIP) / HEART_UNIT
    if x + y > sqrt(2.0):
        k = sqrt(2.0) / 4
        return HEART_UNIT * (sqrt((x - k) ** 2 + (y - 3 * k) ** 2) - 0.5)
    side = (x - y) / sqrt(2.0)
    return HEART_UNIT * side


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def primitive(kind, u, v):
    """The distance to the outline of one of the eight primitives."""
    if kind == CIRCLE:
        return disc(u, v, 0.0, 0.0, 0.98)
    if kind == SQUARE:
        return block(u, v, 0.0, 0.0, 0.88, 0.88, 0.0)
    if kind == TRIANGLE:
        return wedge(u, v, -0.98, -0.82, 0.98, -0.82, 0.0, 0.92)
    if kind == DIAMOND:
        return (abs(u) + abs(v) * 0.76 - 0.78) / sqrt(1.0 + 0.76**2)
    if kind == STAR:
        return star(u, v + 0.1)
    if kind == CROSS:
        return min(block(u, v, 0.0, 0.0, 0.95, 0.34, 0.0), block(u, v, 0.0, 0.0, 0.34, 0.95, 0.0))
    if kind == RING:
        return abs(sqrt(u * u + v * v) - 0.71) - 0.27
    return heart(u, v)
