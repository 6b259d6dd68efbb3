"""Small sequences in which what is said, how and with which face add up to the label, and a learner fitted on them."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from unsnarl.systems.multimodal.dlf import DLF

STEPS = 8


def sequences(n: int, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Text of 6, audio of 4, vision of 5 features, 4 to 8 steps, zeros after the last; the label is a multiple of .5."""
    patterns = np.random.default_rng(7).normal(size=(3, 6))
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, STEPS + 1, n)
    mask = np.arange(STEPS) < lengths[:, None]
    parts = rng.normal(size=(3, n))
    out: dict[str, np.ndarray] = {"mask": mask}
    for part, pattern, (name, size) in zip(parts, patterns, (("text", 6), ("audio", 4), ("vision", 5)), strict=True):
        x = 0.5 * rng.normal(size=(n, STEPS, size)) + part[:, None, None] * pattern[:size]
        x[~mask] = 0
        out[name] = x.astype(np.float32)
    y = np.clip(np.round(2 * parts.sum(0)) / 2, -3, 3)
    return out, y.astype(np.float32)


def small(**options: Any) -> Any:
    """A learner with small networks and the published losses."""
    base: dict[str, Any] = {
        "text_encoder": None,
        "d": 8,
        "heads": 2,
        "layers": 1,
        "kernel": 3,
        "batch_size": 16,
        "accumulate": 2,
        "lr": 3e-3,
        "epochs": 2,
        "pool": "last_valid",
        "embedding_dropout": 0.0,
        "text_dropout": 0.1,
        "output_dropout": 0.1,
    }
    return DLF(**{**base, **options})


@pytest.fixture(scope="session")
def fitted() -> Any:
    """A learner fitted for a few epochs on 200 samples; it must not be changed."""
    x, y = sequences(200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return small(epochs=6, batch_size=40, accumulate=1, lr=8e-3).fit(x, y, validation=sequences(60, 1))


@pytest.fixture
def data() -> Any:
    """`sequences`."""
    return sequences


@pytest.fixture
def make() -> Any:
    """`small`."""
    return small
