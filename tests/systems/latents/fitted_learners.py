"""A table with two true factors, images with two, and each learner fitted on one of them."""

from __future__ import annotations

from typing import Any

import numpy as np

import unsnarl
from unsnarl.nn import Architecture

DENSE = Architecture(kind="dense", hidden=(32,))
CONV = Architecture(widths=(4, 8), depth=1, hidden=(16,))


def table(n: int, seed: int = 0) -> np.ndarray:
    """Eight features, each a smooth function of the same two numbers."""
    mix, waves = np.random.default_rng(100).normal(size=(2, 2, 8))
    factors = np.random.default_rng(seed).uniform(-1, 1, size=(n, 2))
    return (5 + np.tanh(factors @ mix) + 0.3 * np.sin(3 * factors @ waves)).astype(np.float32)


def images(n: int, seed: int = 0) -> np.ndarray:
    """A bright block of 2 by 4 pixels in one of four rows and two columns."""
    rng = np.random.default_rng(seed)
    x = np.zeros((n, 1, 8, 8), np.uint8)
    for image, row, column in zip(x, rng.integers(0, 4, n), rng.integers(0, 2, n), strict=True):
        image[0, 2 * row : 2 * row + 2, 4 * column : 4 * column + 4] = 255
    return x


_AUTO: dict[str, Any] = {"network": DENSE, "batch_size": 64, "lr": 5e-3, "steps": 250}
_GAN: dict[str, Any] = {"network": CONV, "batch_size": 32, "lr": 4e-3, "steps": 250, "generator_every": 2}
OPTIONS: dict[str, dict[str, Any]] = {
    "AE": {"latents": 2, **_AUTO},
    "BioAE": {"latents": 3, **_AUTO},
    "QLAE": {"latents": 3, "levels": 8, **_AUTO},
    "VQVAE": {"latents": 2, "entries": 32, "size": 4, **_AUTO},
    "VAE": {"latents": 3, **_AUTO},
    "BetaVAE": {"latents": 3, "beta": 2.0, **_AUTO},
    "BetaTCVAE": {"latents": 3, "beta": 2.0, **_AUTO},
    "FactorVAE": {"latents": 3, "gamma": 5.0, "discriminator_width": 16, **_AUTO},
    "InfoWGANGP": {"latents": 2, **_GAN},
    "QuantizedInfoWGANGP": {"latents": 2, "levels": 4, **_GAN},
}
GANS = ("InfoWGANGP", "QuantizedInfoWGANGP")
GAUSSIAN = ("VAE", "BetaVAE", "BetaTCVAE", "FactorVAE")
QUANTIZED = ("QLAE", "VQVAE", "QuantizedInfoWGANGP")


def make(name: str, **options: Any) -> Any:
    """A learner of that name with small networks, not fitted."""
    return getattr(unsnarl, name)(**(OPTIONS[name] | options))


def data(name: str, n: int = 300, seed: int = 0) -> np.ndarray:
    """What a learner of that name learns from."""
    return images(n, seed) if name in GANS else table(n, seed)


def fit_learner(name: str) -> Any:
    """Fitted on 300 observations."""
    return make(name).fit(data(name))
