"""Pairs of variables whose mutual information is known exactly: Gaussian vectors, and images drawn from them.

A smooth injective map of each variable changes no mutual information, so images whose parameters are correlated Gaussians
share exactly as many nats as the parameters do (Butakov et al. 2024, arXiv 2305.08013). They test whether an estimator finds a
few numbers of information in many pixels.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Float

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import OptionError

PARAMETERS = {"blobs": 2, "gaussians": 5, "rectangles": 4}
SIZES = {"blobs": 16, "gaussians": 32, "rectangles": 32}
SHORTEST_SIDE = 2.0  # pixels; each edge then has a pixel of its own whose grey value tells where it is
MOST_NATS_A_COORDINATE = (
    16.0  # the two variables then differ by e^-16, and float64 keeps half of that difference's digits
)


def gaussian_pair(
    mi: float, dx: int = 1, dy: int = 1, n: int = 1000, seed: int = 0
) -> tuple[Float[np.ndarray, "n dx"], Float[np.ndarray, "n dy"]]:
    """N draws of two standard normal vectors with exactly `mi` nats of mutual information.

    d = min(dx, dy) pairs of coordinates are correlated by rho = sqrt(1 - exp(-2 mi / d)), all others are independent; then each
    vector is turned by a random rotation, so that every coordinate takes part.

    Args:
        mi: mutual information in nats.
        dx: coordinates of x.
        dy: coordinates of y.
        n: draws.
        seed: of the rotations and the draws.

    Returns:
        x of shape (n, dx) and y of shape (n, dy), float64.

    Raises:
        OptionError: mi negative, not finite or above 16 min(dx, dy), which float64 cannot hold; a size below 1.

    >>> x, y = gaussian_pair(0.5, n=100_000)
    >>> abs(-0.5 * np.log(1 - np.corrcoef(x[:, 0], y[:, 0])[0, 1] ** 2) - 0.5).item() < 0.01
    True
    """
    check_range(dx, "dx", low=1, integer=True)
    check_range(dy, "dy", low=1, integer=True)
    check_range(n, "n", low=1, integer=True)
    check_range(seed, "seed", low=0, integer=True)
    dx, dy, n = int(dx), int(dy), int(n)
    d = min(dx, dy)
    check_range(mi, "mi", low=0, high=MOST_NATS_A_COORDINATE * d)
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, dx)), rng.standard_normal((n, dy))
    rest = math.exp(-mi / d)  # sqrt(1 - rho^2), exact where rho rounds to 1
    y[:, :d] = math.sqrt(-math.expm1(-2 * mi / d)) * x[:, :d] + rest * y[:, :d]
    return x @ _rotation(dx, rng), y @ _rotation(dy, rng)


def _rotation(d: int, rng: np.random.Generator) -> Float[np.ndarray, "d d"]:
    """A random orthogonal matrix, uniform over all (signs fixed as Mezzadri 2007 has it)."""
    q, r = np.linalg.qr(rng.standard_normal((d, d)))
    return q * np.sign(np.diag(r))


def image_pair(
    mi: float,
    kind: Literal["blobs", "gaussians", "rectangles"] | str = "blobs",
    n: int = 1000,
    seed: int = 0,
    *,
    size: int | None = None,
    noise: float = 0.0,
) -> tuple[Float[np.ndarray, "n 1 size size"], Float[np.ndarray, "n 1 size size"]]:
    r"""N pairs of images that share exactly `mi` nats: each image is an injective picture of a `gaussian_pair` vector.

    | kind         | parameters | picture                                                                         |
    |--------------|------------|---------------------------------------------------------------------------------|
    | "blobs"      | 2          | a round blob exp(-10 \|p - c\|^2) at c                                        |
    | "gaussians"  | 5          | an elliptic blob: centre, two widths (0.1 to 0.3 of the side) and correlation   |
    | "rectangles" | 4          | left, right, top and bottom edge, anti-aliased, sides of at least 2 pixels      |

    The parameters are Phi(x), the normal distribution function, so each is uniform. All pictures of a kind have the same
    distribution whatever `mi` is, and the x and the y images too.

    Args:
        mi: mutual information in nats.
        kind: the map, see above.
        n: pairs.
        seed: of everything.
        size: pixels a side; 16 for blobs and 32 for the others as published.
        noise: standard deviation of Gaussian pixel noise, added to each image independently. It can only lower the information:
            `mi` is exact without noise and an upper bound with it.

    Returns:
        Two float32 arrays of shape (n, 1, size, size), in [0, 1] before noise.

    Raises:
        OptionError: unknown kind, mi out of range, negative noise, or a size below 8.
    """
    check_choice(kind, tuple(PARAMETERS), "kind")
    check_range(noise, "noise", low=0)
    size = SIZES[kind] if size is None else size
    check_range(size, "size", low=8, integer=True)
    d = PARAMETERS[kind]
    parameters = gaussian_pair(mi, d, d, n, seed)
    rng = np.random.default_rng([int(seed), 1])
    images = []
    for values in parameters:
        image = draw_images(values, kind, int(size))
        if noise:
            image = image + np.float32(noise) * rng.standard_normal(image.shape, dtype=np.float32)
        images.append(image)
    return images[0], images[1]


def draw_images(
    values: Float[np.ndarray, "n d"], kind: Literal["blobs", "gaussians", "rectangles"] | str, size: int
) -> Float[np.ndarray, "n 1 size size"]:
    """The picture of each row of standard normal parameters; see `image_pair`.

    Raises:
        OptionError: unknown kind, or another number of parameters than it has.
    """
    check_choice(kind, tuple(PARAMETERS), "kind")
    if values.shape[1] != PARAMETERS[kind]:
        raise OptionError(f"kind={kind!r} has {PARAMETERS[kind]} parameters, but the values have {values.shape[1]}")
    from scipy.special import ndtr

    draw = {"blobs": _blobs, "gaussians": _gaussians, "rectangles": _rectangles}[kind]
    u = ndtr(values)
    pictures = np.empty((len(u), 1, size, size), dtype=np.float32)
    for start in range(0, len(u), 1024):
        pictures[start : start + 1024, 0] = draw(u[start : start + 1024], size)
    return pictures


def _pixels(size: int) -> Float[np.ndarray, " size"]:
    return (np.arange(size) + 0.5) / size  # centres of the pixels of the unit square


def _blobs(u: Float[np.ndarray, "n 2"], size: int) -> Float[np.ndarray, "n size size"]:
    along = np.exp(-10 * (_pixels(size) - u[:, :, None]) ** 2)  # (n, 2, size)
    return along[:, 1, :, None] * along[:, 0, None, :]


def _gaussians(u: Float[np.ndarray, "n 5"], size: int) -> Float[np.ndarray, "n size size"]:
    """exp(-(a^2 - 2 r a b + b^2) / (2 (1 - r^2))), a and b the offsets from the centre in widths.

    The paper's code fixes no ranges; these keep a part of every blob on the picture and no axis degenerate.
    """
    width = 0.1 + 0.2 * u[:, 2:4]
    r = (1.6 * u[:, 4] - 0.8)[:, None, None]
    offset = (_pixels(size) - u[:, :2, None]) / width[:, :, None]
    a, b = offset[:, 0, None, :], offset[:, 1, :, None]
    return np.exp(-(a**2 - 2 * r * a * b + b**2) / (2 * (1 - r**2)))


def _rectangles(u: Float[np.ndarray, "n 4"], size: int) -> Float[np.ndarray, "n size size"]:
    """Each pixel's grey value is the share of it that the rectangle covers."""
    shortest = SHORTEST_SIDE / size
    cover = []
    for u1, u2 in ((u[:, 0], u[:, 1]), (u[:, 2], u[:, 3])):
        low = (1 - shortest) * (1 - np.sqrt(1 - u1))  # low and high are uniform over all that leave the shortest side
        high = low + shortest + u2 * (1 - low - shortest)
        pixel = np.arange(size) / size
        inside = np.minimum(high[:, None], pixel + 1 / size) - np.maximum(low[:, None], pixel)
        cover.append(np.clip(inside, 0, None) * size)
    return cover[1][:, :, None] * cover[0][:, None, :]
