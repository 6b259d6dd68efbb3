"""Is the generator of sprites good enough to stand experiments on, and are its regressors? Numbers with bars.

Bars were set before the models were trained. What is compared with uniform assumes a generator trained on independent factors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.arrays import check_range, check_same_length
from unsnarl.data._color_sprites import CIRCULAR, NAMES, RANGES, draw_sprites, render_color_sprites
from unsnarl.data._sprites import SHAPES
from unsnarl.data.scenes import to_signed
from unsnarl.errors import OptionError
from unsnarl.zoo._degrade import degrade
from unsnarl.zoo._gan_regressors import FactorRegressors, SpriteReading

BINS = 10
RIDGE = 1e-5  # of the mean variance of w, whose directions differ much in size

# name of a number -> (bar, whether it has to be at least that, or at most)
GATES: dict[str, tuple[float, str]] = {
    "regressors: worst R2 on renders": (0.97, "least"),
    "regressors: shape accuracy on renders": (0.98, "least"),
    "gan: coverage": (0.9, "least"),
    "gan: sure": (0.9, "least"),
    "gan: R2 of ridge from w": (0.6, "least"),
    "gan: Frechet distance over floor": (0.5, "most"),
}


def frechet_distance(first: Float[np.ndarray, "n feature"], second: Float[np.ndarray, "m feature"]) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2): squared distance of two Gaussians (Heusel et al. 2017, arXiv 1706.08500).

    Examples:
        >>> x = np.random.default_rng(0).standard_normal((500, 3))
        >>> expected = np.square(2 * x.mean(0) + 1).sum() + 4 * x.var(0, ddof=1).sum()
        >>> bool(abs(frechet_distance(x, 3 * x + 1) - expected) < 1e-9)
        True
    """
    means = first.mean(0) - second.mean(0)
    a, b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (first, second))
    values, vectors = np.linalg.eigh(a)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    middle = np.linalg.eigvalsh(root @ b @ root)
    return float(means @ means + np.trace(a) + np.trace(b) - 2 * np.sqrt(np.maximum(middle, 0.0)).sum())


def coverage(reading: SpriteReading, bins: int = BINS) -> dict[str, float]:
    """Factor -> share of the bins of its range with at least half as many images as a uniform factor would put there.

    What is read outside a range counts in its last bin up to a tenth of the range, and further out nowhere.
    """
    out = {}
    n = len(reading.hue_length)
    for name in NAMES:
        if name == "shape":
            counts = np.array([(reading[name] == shape).sum() for shape in SHAPES])
        else:
            low, high = RANGES[name]
            place = np.floor(bins * (reading[name] - low) / (high - low)).astype(np.int64)
            within = (place >= -1) & (place <= bins)
            counts = np.bincount(np.clip(place[within], 0, bins - 1), minlength=bins)
        out[name] = float((counts >= 0.5 * n / len(counts)).mean())
    return out


def reading_accuracy(reading: SpriteReading, rows: Float[np.ndarray, "n 7"]) -> dict[str, float]:
    """How well sprites were read: R^2 of every continuous factor, of the unit vector for the hue, and the share of right shapes."""
    check_same_length(reading=reading.hue_length, rows=rows)
    out = {"shape": float((reading["shape"] == np.array(SHAPES)[rows[:, 0].astype(np.int64)]).mean())}
    for column, name in enumerate(RANGES, start=1):
        true, told = rows[:, column, None], reading[name][:, None]
        if name == CIRCULAR:
            true, told = (np.concatenate([np.sin(2 * np.pi * v), np.cos(2 * np.pi * v)], 1) for v in (true, told))
        out[name] = float(1 - np.square(told - true).sum() / np.square(true - true.mean(0)).sum())
    return out


def linear_readability(
    codes: Float[np.ndarray, "n width"], reading: SpriteReading, penalty: float = RIDGE
) -> dict[str, float]:
    """Factor -> R^2 of ridge regression from codes to what was read, fitted on one half and scored on the other.

    Args:
        codes: such as w.
        reading: of the images made from them. A factor of several columns (shape, hue) counts as one vector.
        penalty: n times this times the mean variance of the codes is added to the diagonal.
    """
    check_same_length(codes=codes, reading=reading.hue_length)
    targets, factors = reading.numeric()
    half = len(codes) // 2
    x, y = codes[:half] - codes[:half].mean(0), targets[:half] - targets[:half].mean(0)
    gram = x.T @ x
    weights = np.linalg.solve(gram + penalty * np.trace(gram) / len(gram) * np.eye(len(gram)), x.T @ y)
    told = (codes[half:] - codes[:half].mean(0)) @ weights + targets[:half].mean(0)
    wrong = np.square(told - targets[half:]).sum(0)
    spread = np.square(targets[half:] - targets[half:].mean(0)).sum(0)
    out = {}
    for name in NAMES:
        columns = [place for place, factor in enumerate(factors) if factor == name]
        out[name] = float(1 - wrong[columns].sum() / max(spread[columns].sum(), 1e-12))
    return out


def gan_gates(
    models: Mapping[str, Any],
    *,
    n: int = 4_000,
    seed: int = 0,
    name: str = "gan-tiny-32",
    correlate: Mapping[tuple[str, str], float] | None = None,
) -> dict[str, float]:
    """Every number of the generator and of its regressors; those with a bar are in `GATES`.

    Args:
        models: "gan-regressors", and the generator under its name; without a generator only the regressors are graded.
        n: images of each kind.
        seed: of latents and renders, none of which were trained on.
        name: of the generator.
        correlate: what went together in the sprites it was trained on, which it is then compared with.

    Returns:
        name -> number. The Fréchet distance is in the regressors' features; "floor" is that of renders from other renders, and "over
        floor" the difference, as a share of the distance of renders from renders of one shape alone. "rendered again" is the root
        mean squared difference in grey values (0 to 2) of an image and the render of what is read in it.

    Raises:
        OptionError: no regressors, or too few images.

    Cost: some 12 ms for each of the n images, on one core.
    """
    check_range(n, "n", low=300, integer=True)
    if "gan-regressors" not in models:
        raise OptionError('models must hold "gan-regressors"')
    regressors: FactorRegressors = models["gan-regressors"]
    rows = draw_sprites(n, np.random.default_rng([seed, 41]))
    renders = to_signed(render_color_sprites(rows))
    out: dict[str, float] = {}
    worse = degrade(renders, torch.Generator().manual_seed(seed), 1.0)
    for kind, images in (("renders", renders), ("degraded renders", worse)):
        reading = regressors.read(images)
        found = reading_accuracy(reading, rows)
        out[f"regressors: shape accuracy on {kind}"] = found.pop("shape")
        out[f"regressors: worst R2 on {kind}"] = min(found.values())
        out |= {f"regressors: R2 of {factor} on {kind}": value for factor, value in found.items()}
        out[f"{kind}: sure"] = float(reading.sure.mean())
        out[f"{kind}: rendered again"] = _rendered_again(images, reading)
    return (
        out
        if name == "gan-regressors" or name not in models
        else out | _generator_gates(models[name], regressors, n, seed, correlate)
    )


def _generator_gates(
    generator: Any,
    regressors: FactorRegressors,
    n: int,
    seed: int,
    correlate: Mapping[tuple[str, str], float] | None,
) -> dict[str, float]:
    z = torch.randn(n, generator.latent, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        w = torch.cat([generator.style(part) for part in z.split(256)])
        made = torch.cat([generator.synthesize(part) for part in w.split(256)])
    reading = regressors.read(made)
    real, others = (draw_sprites(n, np.random.default_rng([seed, k]), correlate) for k in (43, 47))
    one_shape = others.copy()
    one_shape[:, 0] = 0
    drawn = [to_signed(render_color_sprites(rows)) for rows in (real, others, one_shape)]
    features, *compared = (regressors.features(x).double().numpy() for x in (drawn[0], made, *drawn[1:]))
    distance, floor, far = (frechet_distance(features, other) for other in compared)
    filled = coverage(reading)
    linear = linear_readability(w.double().numpy(), reading)
    return {
        "gan: Frechet distance": distance,
        "gan: Frechet floor": floor,
        "gan: Frechet distance over floor": (distance - floor) / max(far - floor, 1e-12),
        "gan: coverage": float(np.mean(list(filled.values()))),
        **{f"gan: coverage of {factor}": value for factor, value in filled.items()},
        "gan: sure": float(reading.sure.mean()),
        "gan: rendered again": _rendered_again(made, reading),
        "gan: R2 of ridge from w": float(np.mean(list(linear.values()))),
        **{f"gan: R2 of ridge from w to {factor}": value for factor, value in linear.items()},
    }


def _rendered_again(images: Tensor, reading: SpriteReading) -> float:
    again = to_signed(render_color_sprites(reading.rows))
    return float((again - images.cpu()).square().mean().sqrt())
